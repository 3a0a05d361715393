//! When a change is passed on: changes are collected for a while, and a resource with many subscribers is sent less often.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::{Limits, TypeIndex, index::NameId, types::Window};

/// Changes that wait to be passed on.
///
/// The first change of a type opens a window, which closes whatever follows; all changes in it are passed on together. A
/// window that starts anew with each change would never close under steady changes. After a quiet time a window may be shorter than the
/// time between two windows' ends, which bounds the work.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// When the last window of each type closes.
    windows: HashMap<TypeIndex, Duration>,
    waiting: BTreeSet<(Duration, NameId)>,
    names: HashMap<NameId, ChangeState>,
}

/// The pace of one name.
#[derive(Clone, Copy, Debug)]
enum ChangeState {
    /// A change waits until this time; it is known since the other.
    Waiting { due: Duration, since: Duration },
    /// The last change was passed on at this time.
    PassedOn(Duration),
}

impl Coalescer {
    /// Takes a change of a resource with so many subscribers, which is known since `since`. `window` is that of its type.
    pub(crate) fn change(
        &mut self,
        (now, since): (Duration, Duration),
        (resource_type, id): (TypeIndex, NameId),
        window: Window,
        subscribers: usize,
        limits: &Limits,
    ) {
        let earliest = match self.names.get(&id) {
            Some(ChangeState::Waiting { .. }) => return,
            // Windows that close so far apart keep the pace by themselves. What was passed on a little late would else wait for longer than
            // the names that change with it.
            Some(ChangeState::PassedOn(at)) if interval(subscribers, limits) > window.apart => {
                at.saturating_add(interval(subscribers, limits))
            }
            _ => Duration::ZERO,
        };
        let closes = self.windows.entry(resource_type).or_default();
        if *closes <= now {
            *closes = now.saturating_add(window.length).max(closes.saturating_add(window.apart));
        }
        let due = earliest.max(*closes);
        self.waiting.insert((due, id));
        self.names.insert(id, ChangeState::Waiting { due, since });
    }

    /// Returns a change that is due, if there is one, and since when it is known.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<(NameId, Duration)> {
        let (due, id) = *self.waiting.first()?;
        if due > now {
            return None;
        }
        self.waiting.pop_first();
        let since = match self.names.insert(id, ChangeState::PassedOn(now)) {
            Some(ChangeState::Waiting { since, .. }) => since,
            _ => now,
        };
        Some((id, since))
    }

    /// When the next change is due.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Drops a name that nobody watches any more.
    pub(crate) fn forget(&mut self, id: NameId) {
        if let Some(ChangeState::Waiting { due, .. }) = self.names.remove(&id) {
            self.waiting.remove(&(due, id));
        }
    }

    /// The number of names with a change that waits or was passed on.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Whether a resource has so many subscribers that it is passed on less often than others.
pub(crate) fn is_paced(subscribers: usize, limits: &Limits) -> bool {
    interval(subscribers, limits) > limits.resource_interval
}

/// The least time between two changes of a resource that are passed on.
fn interval(subscribers: usize, limits: &Limits) -> Duration {
    let nanoseconds = 1_000_000_000 / u64::from(limits.resource_sends_per_second.max(1));
    let paced = nanoseconds.saturating_mul(u64::try_from(subscribers).unwrap_or(u64::MAX));
    limits.resource_interval.max(Duration::from_nanos(paced))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StreamId, index::Index};

    const WINDOW: Window = window(50, 50);
    const NAMES: TypeIndex = TypeIndex(0);

    const fn window(length: u64, apart: u64) -> Window {
        Window { length: Duration::from_millis(length), apart: Duration::from_millis(apart) }
    }

    fn ids(count: usize) -> Vec<NameId> {
        let mut index = Index::default();
        (0..count).map(|number| index.watch(NAMES, &number.to_string(), StreamId(0))).collect()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn due(coalescer: &mut Coalescer, now: u64) -> usize {
        std::iter::from_fn(|| coalescer.pop(ms(now))).count()
    }

    #[test]
    fn a_window_closes_however_many_changes_follow() {
        let (mut coalescer, limits) = (Coalescer::default(), Limits::default());
        for (time, id) in ids(50).into_iter().enumerate() {
            coalescer.change((ms(time as u64), ms(0)), (NAMES, id), WINDOW, 1, &limits);
        }
        assert_eq!(coalescer.next_wake(), Some(ms(50)));
        assert_eq!(due(&mut coalescer, 49), 0);
        assert_eq!(due(&mut coalescer, 50), 50, "all that changed in the window goes together");
        assert_eq!(coalescer.next_wake(), None);
    }

    #[test]
    fn a_change_after_a_quiet_time_is_passed_on_soon() {
        let (mut coalescer, limits) = (Coalescer::default(), Limits::default());
        let mut ids = ids(8).into_iter();
        let mut change = |coalescer: &mut Coalescer, time| {
            let id = ids.next().expect("eight names");
            coalescer.change((ms(time), ms(time)), (NAMES, id), window(10, 50), 1, &limits);
            coalescer.next_wake()
        };
        assert_eq!(change(&mut coalescer, 1_000), Some(ms(1_010)));
        assert_eq!(change(&mut coalescer, 1_009), Some(ms(1_010)), "the window closes whatever follows");
        assert_eq!(due(&mut coalescer, 1_010), 2);
        assert_eq!(change(&mut coalescer, 1_011), Some(ms(1_060)), "windows close 50 ms apart");
        assert_eq!(change(&mut coalescer, 1_050), Some(ms(1_060)));
        assert_eq!(due(&mut coalescer, 1_060), 2);
        assert_eq!(change(&mut coalescer, 1_105), Some(ms(1_115)), "at least 10 ms are collected");
        assert_eq!(due(&mut coalescer, 1_115), 1);
        assert_eq!(change(&mut coalescer, 1_200), Some(ms(1_210)), "quiet for 50 ms");
    }

    #[test]
    fn names_that_change_together_go_together() {
        let (mut coalescer, limits, ids) = (Coalescer::default(), Limits::default(), ids(2));
        let change = |coalescer: &mut Coalescer, time, id| {
            coalescer.change((ms(time), ms(time)), (NAMES, id), window(10, 50), 1, &limits);
        };
        change(&mut coalescer, 1_000, ids[0]);
        assert_eq!(due(&mut coalescer, 1_014), 1, "four milliseconds late");
        ids.iter().for_each(|id| change(&mut coalescer, 1_045, *id));
        assert_eq!(due(&mut coalescer, 1_060), 2);
    }

    #[test]
    fn types_have_windows_of_their_own() {
        let (mut coalescer, limits, ids) = (Coalescer::default(), Limits::default(), ids(2));
        coalescer.change((ms(0), ms(0)), (NAMES, ids[0]), window(1_000, 1_000), 1, &limits);
        coalescer.change((ms(10), ms(0)), (TypeIndex(1), ids[1]), WINDOW, 1, &limits);
        assert_eq!(due(&mut coalescer, 60), 1);
        assert_eq!(due(&mut coalescer, 1_000), 1);
    }

    #[test]
    fn a_resource_with_many_subscribers_is_passed_on_less_often() {
        let (mut coalescer, limits, ids) = (Coalescer::default(), Limits::default(), ids(1));
        let mut passed_on = |subscribers| {
            let start = coalescer.next_wake().unwrap_or_default() + ms(10_000);
            let mut count = 0;
            for time in 0..1_000 {
                let now = start + ms(time) + Duration::from_secs(subscribers as u64);
                coalescer.change((now, now), (NAMES, ids[0]), window(0, 0), subscribers, &limits);
                count += usize::from(coalescer.pop(now).is_some());
            }
            count
        };
        assert_eq!(passed_on(1), 20, "every 50 ms");
        assert_eq!(passed_on(5_000), 4, "every 250 ms: 20,000 sends a second");
    }

    #[test]
    fn a_change_that_waits_is_not_put_off_by_others() {
        let (mut coalescer, limits, ids) = (Coalescer::default(), Limits::default(), ids(1));
        let change = |coalescer: &mut Coalescer, time| {
            coalescer.change((ms(time), ms(time)), (NAMES, ids[0]), WINDOW, 5_000, &limits);
        };
        change(&mut coalescer, 0);
        assert_eq!(coalescer.pop(ms(50)), Some((ids[0], ms(0))));
        for time in [60, 200, 290] {
            change(&mut coalescer, time);
            assert_eq!(coalescer.next_wake(), Some(ms(300)), "250 ms after the last one");
        }
        assert_eq!(coalescer.pop(ms(1_000)), Some((ids[0], ms(60))), "since the first of them");
    }

    #[test]
    fn a_forgotten_name_leaves_nothing() {
        let (mut coalescer, limits, ids) = (Coalescer::default(), Limits::default(), ids(1));
        coalescer.change((ms(0), ms(0)), (NAMES, ids[0]), WINDOW, 1, &limits);
        coalescer.forget(ids[0]);
        assert_eq!((coalescer.next_wake(), coalescer.len()), (None, 0));
    }
}
