//! Encoded resources, each encoded once for each class of callers.

use std::collections::{BTreeMap, HashMap};

use crate::{ResourceSource, TypeIndex, Version, index::NameId};

/// The bytes of one variant, and their hash.
#[derive(Clone, Debug)]
pub(crate) struct Encoded<B> {
    pub(crate) version: Version,
    pub(crate) body: B,
}

/// The variants of one name, by the class of callers. `None` stands for one that cannot be sent.
type Variants<C, B> = BTreeMap<C, Option<Encoded<B>>>;

/// The variants of watched names, from the first use until the resource changes.
pub(crate) struct Resources<S: ResourceSource> {
    encoded: HashMap<NameId, Variants<S::Class, S::Body>>,
    /// The bytes of all bodies.
    bytes: usize,
    limit_bytes: usize,
    /// What may be encoded in this turn.
    encodings_left: usize,
    bytes_left: usize,
    /// Whether something was not encoded, since the last stream began, because the turn was over.
    has_put_off: bool,
}

/// What a caller gets of a resource.
pub(crate) enum Variant<B> {
    Found(Encoded<B>),
    /// It is missing or hidden, or cannot be sent.
    Missing,
    /// The turn is over: it is to be asked for again in another one.
    NotNow,
}

impl<S: ResourceSource> Resources<S> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { encoded: HashMap::new(), bytes: 0, limit_bytes, encodings_left: 0, bytes_left: 0, has_put_off: false }
    }

    /// Begins a turn, in which so many variants may be encoded, and no more after so many bytes.
    pub(crate) fn begin_turn(&mut self, encodings: usize, bytes: usize) {
        (self.encodings_left, self.bytes_left) = (encodings, bytes);
    }

    /// Whether nothing more may be encoded in this turn.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.encodings_left == 0 || self.bytes_left == 0
    }

    /// Begins to look at what one stream needs.
    pub(crate) fn begin_stream(&mut self) {
        self.has_put_off = false;
    }

    /// Whether something that the stream needs was not encoded because the turn was over.
    pub(crate) fn has_put_off(&self) -> bool {
        self.has_put_off
    }

    /// Returns what the caller gets of a resource.
    pub(crate) fn get(
        &mut self,
        id: NameId,
        (resource_type, name): (TypeIndex, &str),
        caller: &S::Caller,
        source: &S,
    ) -> Variant<S::Body> {
        let Some(class) = source.class(resource_type, name, caller) else { return Variant::Missing };
        if !self.encoded.get(&id).is_some_and(|variants| variants.contains_key(&class)) {
            if self.is_turn_over() {
                self.has_put_off = true;
                return Variant::NotNow;
            }
            self.encodings_left -= 1;
            let encoded = source.encode(resource_type, name, &class);
            let encoded = encoded.map(|body| Encoded { version: Version::of(body.as_ref()), body });
            let bytes = bytes(encoded.as_ref());
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            if self.bytes.saturating_add(bytes) > self.limit_bytes {
                self.encoded.clear();
                self.bytes = 0;
            }
            self.bytes = self.bytes.saturating_add(bytes);
            self.encoded.entry(id).or_default().insert(class.clone(), encoded);
        }
        let variant = self.encoded.get(&id).and_then(|variants| variants.get(&class));
        variant.cloned().flatten().map_or(Variant::Missing, Variant::Found)
    }

    /// Drops all variants: the resource changed, or nobody watches it.
    pub(crate) fn forget(&mut self, id: NameId) {
        let variants = self.encoded.remove(&id).into_iter().flat_map(BTreeMap::into_values);
        self.bytes = variants.fold(self.bytes, |all, one| all.saturating_sub(bytes(one.as_ref())));
    }

    /// The number of names with a variant.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }
}

fn bytes<B: AsRef<[u8]>>(encoded: Option<&Encoded<B>>) -> usize {
    encoded.map_or(0, |encoded| encoded.body.as_ref().len())
}
