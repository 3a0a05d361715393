//! The memory of messages that come from clients, from their first byte until the control plane has taken them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes of all messages at once.
const BYTES: usize = 64 << 20;
/// Bytes of all messages of one identity at once: two of the longest.
const BYTES_OF_OWNER: usize = 16 << 20;

/// The messages of all clients.
#[derive(Clone, Default)]
pub(super) struct Inbox(Arc<Mutex<Held>>);

/// The bytes that are held.
#[derive(Default)]
struct Held {
    all: usize,
    by_owner: HashMap<Arc<str>, usize>,
}

/// Bytes of one client's messages, for as long as this lives.
pub(super) struct HeldBytes {
    inbox: Inbox,
    /// Whose share they are of; `None` where nobody is verified.
    owner: Option<Arc<str>>,
    bytes: usize,
}

impl Inbox {
    /// No bytes of this owner yet.
    pub(super) fn hold(&self, owner: Option<Arc<str>>) -> HeldBytes {
        HeldBytes { inbox: self.clone(), owner, bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldBytes {
    /// Holds more bytes, if there is room. The error says what is full.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), &'static str> {
        let mut held = self.inbox.held();
        if held.all.saturating_add(bytes) > BYTES {
            return Err("unread messages to this server take too much memory; retry later");
        }
        if let Some(owner) = &self.owner {
            let own = held.by_owner.entry(Arc::clone(owner)).or_default();
            if own.saturating_add(bytes) > BYTES_OF_OWNER {
                return Err("unread messages of your identity to this server take too much memory; retry later");
            }
            *own += bytes;
        }
        held.all += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes so many of the bytes apart.
    pub(super) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { inbox: self.inbox.clone(), owner: self.owner.clone(), bytes }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let mut held = self.inbox.held();
        held.all = held.all.saturating_sub(self.bytes);
        if let Some(owner) = &self.owner
            && let Entry::Occupied(mut own) = held.by_owner.entry(Arc::clone(owner))
        {
            *own.get_mut() = own.get().saturating_sub(self.bytes);
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_does_not_take_all() {
        let inbox = Inbox::default();
        let of = |owner: &str| inbox.hold(Some(owner.into()));
        let (mut evil, mut other, mut shop) = (of("evil"), of("evil"), of("shop"));
        assert!(evil.grow(BYTES_OF_OWNER - 1).is_ok() && other.grow(1).is_ok());
        assert!(other.grow(1).unwrap_err().contains("of your identity"));
        assert!(shop.grow(1 << 20).is_ok(), "others have room");
        let message = evil.split(1 << 20);
        drop(evil);
        assert!(other.grow(BYTES_OF_OWNER - (1 << 20) - 1).is_ok());
        assert!(other.grow(1).is_err(), "a message counts until it is taken");
        drop(message);
        assert!(other.grow(1).is_ok());
        drop((other, shop));
        assert!(inbox.held().all == 0 && inbox.held().by_owner.is_empty());
    }

    #[test]
    fn all_messages_together_are_bounded() {
        let inbox = Inbox::default();
        let mut anyone = inbox.hold(None);
        assert!(anyone.grow(BYTES).is_ok());
        assert!(inbox.hold(None).grow(1).unwrap_err().contains("to this server"));
    }
}
