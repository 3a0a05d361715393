//! A small source: resources that are a number each.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use byname_xds::{ResourceSource, TypeIndex, Version};

/// Bytes of the largest resource that is sent.
pub(crate) const TOO_LARGE: usize = 1 << 20;

/// All resources, and a count of what was encoded.
#[derive(Default)]
pub(crate) struct World {
    items: BTreeMap<(TypeIndex, String), Item>,
    pub(crate) encoded: Cell<usize>,
}

/// One resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    pub(crate) value: u32,
    /// The namespaces whose callers see it; `None`: all of them.
    pub(crate) seen_by: Option<BTreeSet<&'static str>>,
    /// Whether each zone gets bytes of its own.
    pub(crate) is_by_zone: bool,
    /// How long its bytes are at least.
    pub(crate) bytes: usize,
    /// The resource that it leads to.
    pub(crate) leads_to: Option<(TypeIndex, &'static str)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestCaller {
    pub(crate) namespace: &'static str,
    pub(crate) zone: &'static str,
}

impl World {
    pub(crate) fn set(&mut self, resource_type: TypeIndex, name: &str, item: Item) {
        self.items.insert((resource_type, name.to_owned()), item);
    }

    pub(crate) fn remove(&mut self, resource_type: TypeIndex, name: &str) {
        self.items.remove(&(resource_type, name.to_owned()));
    }

    /// What a caller should have of a resource.
    pub(crate) fn version(&self, resource_type: TypeIndex, name: &str, caller: &TestCaller) -> Option<Version> {
        let item = self.visible(resource_type, name, caller)?;
        let zone = if item.is_by_zone { caller.zone } else { "" };
        Some(Version::of(&item.body(resource_type, name, zone)))
    }

    pub(crate) fn visible(&self, resource_type: TypeIndex, name: &str, caller: &TestCaller) -> Option<&Item> {
        let item = self.items.get(&(resource_type, name.to_owned()))?;
        item.seen_by.as_ref().is_none_or(|namespaces| namespaces.contains(caller.namespace)).then_some(item)
    }
}

impl Item {
    fn body(&self, resource_type: TypeIndex, name: &str, zone: &str) -> Vec<u8> {
        let lead = self.leads_to.map_or("-", |(_, name)| name);
        let mut body = format!("{resource_type:?} {name} {zone} {lead} {}", self.value).into_bytes();
        body.resize(body.len().max(self.bytes), b'.');
        body
    }
}

impl ResourceSource for World {
    type Caller = TestCaller;
    type Class = &'static str;
    type Body = Arc<[u8]>;

    fn class(&self, resource_type: TypeIndex, name: &str, caller: &TestCaller) -> Option<&'static str> {
        let item = self.visible(resource_type, name, caller)?;
        Some(if item.is_by_zone { caller.zone } else { "" })
    }

    fn leads_to(&self, resource_type: TypeIndex, name: &str, _: &&'static str) -> Vec<(TypeIndex, String)> {
        let item = &self.items[&(resource_type, name.to_owned())];
        item.leads_to.iter().map(|(led_type, led)| (*led_type, (*led).to_owned())).collect()
    }

    fn encode(&self, resource_type: TypeIndex, name: &str, class: &&'static str) -> Option<Arc<[u8]>> {
        self.encoded.set(self.encoded.get() + 1);
        let item = &self.items[&(resource_type, name.to_owned())];
        (item.bytes <= TOO_LARGE).then(|| item.body(resource_type, name, class).into())
    }
}
