//! A queue in which everybody has their turn: whoever sends much waits for nobody but themselves.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// What waits, by whose it is.
pub(super) struct FairQueue<T> {
    waiting: HashMap<Arc<str>, VecDeque<T>>,
    /// Those of whom something waits, in the order of their turns.
    turns: VecDeque<Arc<str>>,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { waiting: HashMap::new(), turns: VecDeque::new() }
    }

    pub(super) fn push(&mut self, owner: &Arc<str>, one: T) {
        match self.waiting.get_mut(owner) {
            Some(waiting) => waiting.push_back(one),
            None => {
                self.waiting.insert(Arc::clone(owner), VecDeque::from([one]));
                self.turns.push_back(Arc::clone(owner));
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&owner)?;
        let one = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sends_much_does_not_hold_up_others() {
        let (evil, shop, billing): (Arc<str>, Arc<str>, Arc<str>) = ("evil".into(), "shop".into(), "billing".into());
        let mut queue = FairQueue::new();
        (0..1_000).for_each(|number| queue.push(&evil, ("evil", number)));
        [(&shop, ("shop", 0)), (&billing, ("billing", 0)), (&shop, ("shop", 1))]
            .into_iter()
            .for_each(|(owner, one)| queue.push(owner, one));
        let first: Vec<_> = (0..6).filter_map(|_| queue.pop()).collect();
        assert_eq!(first, [("evil", 0), ("shop", 0), ("billing", 0), ("evil", 1), ("shop", 1), ("evil", 2)]);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 997);
        assert!(queue.waiting.is_empty() && queue.turns.is_empty());
    }
}
