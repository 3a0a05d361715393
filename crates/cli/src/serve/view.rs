//! The names that the filter gets, by what its namespace sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use byname_core::wire;
use byname_xds::Visibility;

use super::class::{CallerClass, ListenerSettings, ModuleSchema};
use crate::{
    compile::{self, CompileOptions},
    kubernetes::NamespacedName,
};

/// The filter's configuration with the Services of all namespaces, and who sees which.
pub(super) struct FilterNames {
    wire: wire::Config,
    text: String,
    /// The Services that only these namespaces see.
    restricted: BTreeMap<NamespacedName, BTreeSet<Box<str>>>,
    /// The namespaces that see any of them, each with the first namespace that sees the same ones.
    views: BTreeMap<Box<str>, Arc<str>>,
}

impl FilterNames {
    pub(super) fn new<'s>(
        wire: wire::Config,
        text: String,
        visibilities: impl Iterator<Item = (&'s NamespacedName, &'s Visibility)>,
    ) -> Self {
        let restricted: BTreeMap<NamespacedName, BTreeSet<Box<str>>> = visibilities
            .filter_map(|(name, visibility)| match visibility {
                Visibility::Everyone => None,
                Visibility::Namespaces(namespaces) => Some((name.clone(), namespaces.clone())),
            })
            .collect();
        let mut seen: BTreeMap<&str, Vec<&NamespacedName>> = BTreeMap::new();
        for (name, namespaces) in &restricted {
            namespaces.iter().for_each(|namespace| seen.entry(namespace).or_default().push(name));
        }
        let mut firsts: BTreeMap<Vec<&NamespacedName>, Arc<str>> = BTreeMap::new();
        let mut views = BTreeMap::new();
        for (namespace, names) in seen {
            let first = firsts.entry(names).or_insert_with(|| namespace.into());
            views.insert(namespace.into(), Arc::clone(first));
        }
        Self { wire, text, restricted, views }
    }

    pub(super) fn differs_from(&self, other: &Self) -> bool {
        self.text != other.text || self.restricted != other.restricted
    }

    /// What callers of the namespace see: the same for all that see the same Services.
    pub(super) fn view_of(&self, namespace: Option<&str>) -> Option<Arc<str>> {
        self.views.get(namespace?).cloned()
    }

    /// The configuration that callers of this class get.
    pub(super) fn text_for(&self, class: &CallerClass, options: &CompileOptions) -> String {
        let visible = (!self.restricted.is_empty()).then(|| self.visible(class.view.as_deref(), options));
        let own = visible.or_else(|| (class.listener != ListenerSettings::default()).then(|| self.wire.clone()));
        let own = own.map(|config| with_listener(config, class.listener, options));
        match (class.schema, &own) {
            (ModuleSchema::Oldest, _) => compile::text(&compile::oldest(own.as_ref().unwrap_or(&self.wire))),
            (ModuleSchema::Current, Some(own)) => compile::text(own),
            (ModuleSchema::Current, None) => self.text.clone(),
        }
    }

    /// The configuration without what the view does not have, and without fallbacks that lead there. An alias that leads there is as one that
    /// leads to a missing Service.
    fn visible(&self, view: Option<&str>, options: &CompileOptions) -> wire::Config {
        let is_hidden = |name: &NamespacedName| {
            self.restricted.get(name).is_some_and(|namespaces| !view.is_some_and(|view| namespaces.contains(view)))
        };
        let is_hidden_key = |key: &str| NamespacedName::parse(key).is_some_and(|name| is_hidden(&name));
        let services = self.wire.table.services.iter().filter(|(key, _)| !is_hidden_key(key));
        let services = services.map(|(key, service)| (key.clone(), service.clone())).collect();
        let mut visible = compile::with_only(&self.wire, services, options);
        let fallbacks =
            self.wire.fallback.services.iter().filter(|(key, fallback)| {
                !is_hidden_key(key) && !fallback.service.as_deref().is_some_and(is_hidden_key)
            });
        visible.fallback.services = fallbacks.map(|(key, fallback)| (key, fallback.clone())).collect();
        visible
    }
}

/// The configuration with what a listener asks for, where the server's own configuration does not say it.
fn with_listener(mut config: wire::Config, listener: ListenerSettings, options: &CompileOptions) -> wire::Config {
    if listener.refuses_unknown_names && !options.base.says(["unknownNames"]) {
        config.unknown_names = wire::UnknownNames::Refuse;
    }
    if listener.port.is_some() && !options.base.says(["destinationPort"]) {
        config.destination_port = Some(wire::DestinationPort { header: None, listener_port: listener.port });
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_that_see_the_same_share_a_view() {
        let only = |names: &[&str]| Visibility::Namespaces(names.iter().map(|name| (*name).into()).collect());
        let (one, two, three) =
            (NamespacedName::new("a", "one"), NamespacedName::new("a", "two"), NamespacedName::new("a", "three"));
        let visibilities = [(&one, only(&["a", "b", "c"])), (&two, only(&["c"])), (&three, Visibility::Everyone)];
        let visibilities = visibilities.iter().map(|(name, visibility)| (*name, visibility));
        let names = FilterNames::new(wire::Config::default(), String::new(), visibilities);
        let views = ["a", "b", "c", "d"].map(|namespace| names.view_of(Some(namespace)));
        assert_eq!(views, [Some("a".into()), Some("a".into()), Some("c".into()), None]);
    }
}
