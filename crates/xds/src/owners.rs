//! What each owner of streams has of the server's streams and memory, so that none takes the part of the others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{CloseReason, Limits, OpeningCost, admission::book};

/// What each owner has. An owner that has nothing is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    parts: HashMap<Arc<str>, Part>,
    /// The number of owners at which those that have nothing are looked for.
    sweep_at: usize,
}

/// What one owner has.
#[derive(Debug, Default)]
struct Part {
    streams: usize,
    /// Bytes that its subscriptions take, about.
    bytes: usize,
    /// When all its streams that were let in would be in, one after the other at the rate allowed.
    booked_until: Duration,
}

impl Owners {
    /// Says why the owner may not open another stream now, if it may not.
    pub(crate) fn may_open(
        &self,
        now: Duration,
        owner: &str,
        cost: OpeningCost,
        limits: &Limits,
    ) -> Result<(), CloseReason> {
        let Some(part) = self.parts.get(owner) else { return Ok(()) };
        if part.streams >= limits.streams_per_owner {
            return Err(CloseReason::TooManyStreamsOfOwner { limit: limits.streams_per_owner });
        }
        let per_second = cost.rate(limits.new_streams_per_owner_and_second);
        match book(now, part.booked_until, per_second) {
            Some(_) => Ok(()),
            None => Err(CloseReason::TooManyNewStreamsOfOwner { per_second }),
        }
    }

    /// Counts a new stream of the owner.
    pub(crate) fn open(&mut self, now: Duration, owner: &Arc<str>, cost: OpeningCost, limits: &Limits) {
        if self.parts.len() >= self.sweep_at {
            self.parts.retain(|_, part| part.streams > 0 || part.booked_until > now);
            self.sweep_at = self.parts.len() * 2 + 1;
        }
        let part = self.parts.entry(Arc::clone(owner)).or_default();
        part.streams += 1;
        let booked_until = book(now, part.booked_until, cost.rate(limits.new_streams_per_owner_and_second));
        part.booked_until = booked_until.unwrap_or(part.booked_until);
    }

    /// Counts a stream of the owner as closed, whose subscriptions took so many bytes.
    pub(crate) fn close(&mut self, owner: &str, bytes: usize) {
        if let Some(part) = self.parts.get_mut(owner) {
            part.streams = part.streams.saturating_sub(1);
            part.bytes = part.bytes.saturating_sub(bytes);
        }
    }

    /// Counts bytes of a stream's subscriptions, which were `before`.
    pub(crate) fn charge(&mut self, owner: &str, before: usize, bytes: usize) {
        if let Some(part) = self.parts.get_mut(owner) {
            part.bytes = part.bytes.saturating_sub(before).saturating_add(bytes);
        }
    }

    /// The bytes that the owner's subscriptions take.
    pub(crate) fn bytes(&self, owner: &str) -> usize {
        self.parts.get(owner).map_or(0, |part| part.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_without_streams_are_forgotten() {
        let (mut owners, limits) = (Owners::default(), Limits::default());
        for number in 0..10_000_u64 {
            let owner: Arc<str> = number.to_string().into();
            owners.open(Duration::from_secs(number), &owner, OpeningCost::Whole, &limits);
            owners.close(&owner, 0);
        }
        assert!(owners.parts.len() <= 3, "{}", owners.parts.len());
    }
}
