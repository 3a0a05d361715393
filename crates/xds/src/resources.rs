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
    /// The bytes of all bodies.
    bytes: usize,
    limit_bytes: usize,
}

impl<S: ResourceSource> Resources<S> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { encoded: HashMap::new(), bytes: 0, limit_bytes }
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
        if !self.encoded.get(&id).is_some_and(|variants| variants.contains_key(&class)) {
            let body = source.encode(resource_type, name, &class);
            let bytes = body.as_ref().len();
            if self.bytes.saturating_add(bytes) > self.limit_bytes {
                self.encoded.clear();
                self.bytes = 0;
            }
            self.bytes = self.bytes.saturating_add(bytes);
            let encoded = Encoded { version: Version::of(body.as_ref()), body };
            self.encoded.entry(id).or_default().insert(class.clone(), encoded);
        }
        self.encoded.get(&id)?.get(&class)
    }

    /// Drops all variants: the resource changed, or nobody watches it.
    pub(crate) fn forget(&mut self, id: NameId) {
        let variants = self.encoded.remove(&id).into_iter().flat_map(BTreeMap::into_values);
        self.bytes = variants.fold(self.bytes, |bytes, one| bytes.saturating_sub(one.body.as_ref().len()));
    }

    /// The number of names with a variant.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }
}
