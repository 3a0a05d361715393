//! A message under way, and its size.

use std::{sync::Arc, time::Duration};

use crate::{DeltaResponse, Nonce, SentResource, TypeIndex, Version, resources::Encoded};

/// A message under way, of at most so many bytes.
pub(crate) struct Draft<B> {
    message: DeltaResponse<B>,
    bytes: usize,
    limit_bytes: usize,
}

impl<B: AsRef<[u8]>> Draft<B> {
    pub(crate) fn new(resource_type: TypeIndex, nonce: Nonce, limit_bytes: usize) -> Self {
        let message = DeltaResponse { resource_type, nonce, resources: Vec::new(), removed: Vec::new(), since: None };
        Self { message, bytes: 0, limit_bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.message.resources.is_empty() && self.message.removed.is_empty()
    }

    /// The number of resources.
    pub(crate) fn resources(&self) -> usize {
        self.message.resources.len()
    }

    /// Whether another entry fits. The first one always does, however large.
    pub(crate) fn has_room_for(&self, entry_bytes: usize) -> bool {
        self.is_empty() || self.bytes.saturating_add(entry_bytes) <= self.limit_bytes
    }

    /// Adds a resource, or that there is none.
    pub(crate) fn add(&mut self, name: Arc<str>, encoded: Option<Encoded<B>>, entry_bytes: usize) {
        self.bytes = self.bytes.saturating_add(entry_bytes);
        match encoded {
            Some(Encoded { version, body }) => self.message.resources.push(SentResource { name, version, body }),
            None => self.message.removed.push(name),
        }
    }

    /// Takes note that the message passes a change on which is known since then.
    pub(crate) fn passes_on(&mut self, since: Option<Duration>) {
        self.message.since = [self.message.since, since].into_iter().flatten().min();
    }

    pub(crate) fn finish(self) -> DeltaResponse<B> {
        self.message
    }
}

/// About the bytes that an entry takes in a message: its tags and lengths are less than 32.
pub(crate) fn entry_bytes<B: AsRef<[u8]>>(name: &str, encoded: Option<&Encoded<B>>, url: &str) -> usize {
    let body_bytes = encoded.map_or(0, |encoded| encoded.body.as_ref().len() + url.len() + Version::TEXT_BYTES);
    name.len() + body_bytes + 32
}
