//! Encoded resources, each encoded once for each class of callers.

use std::collections::{BTreeMap, HashMap};

use crate::{ResourceSource, TypeIndex, Version, index::NameId};

/// The bytes of one variant, and their hash.
#[derive(Clone, Debug)]
pub(crate) struct Encoded<B> {
    pub(crate) version: Version,
    pub(crate) body: B,
}

/// The variants of watched names, from the first use until the resource changes.
pub(crate) struct Resources<S: ResourceSource> {
    encoded: HashMap<NameId, BTreeMap<S::Class, Encoded<S::Body>>>,
}

impl<S: ResourceSource> Resources<S> {
    pub(crate) fn new() -> Self {
        Self { encoded: HashMap::new() }
    }

    /// Returns what the caller gets of a resource; `None` where it is missing or hidden.
    pub(crate) fn get(
        &mut self,
        id: NameId,
        (resource_type, name): (TypeIndex, &str),
        caller: &S::Caller,
        source: &S,
    ) -> Option<&Encoded<S::Body>> {
        let class = source.class(resource_type, name, caller)?;
        let variants = self.encoded.entry(id).or_default();
        Some(variants.entry(class).or_insert_with_key(|class| {
            let body = source.encode(resource_type, name, class);
            Encoded { version: Version::of(body.as_ref()), body }
        }))
    }

    /// Drops all variants: the resource changed, or nobody watches it.
    pub(crate) fn forget(&mut self, id: NameId) {
        self.encoded.remove(&id);
    }

    /// The number of names with a variant.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }
}
