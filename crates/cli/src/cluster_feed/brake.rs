//! The brake: holds the table when a list lacks many objects, until a second list agrees or somebody releases it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::metrics::{FeedMetrics, of_kind};
use crate::daemon::log;

/// The brake holds when at least so many objects of a kind vanish, …
const LEAST_OBJECTS: usize = 50;
/// … and they are at least this part of the kind, in percent.
const LEAST_PERCENT: usize = 30;

/// The kinds that are counted.
const KINDS: [&str; 6] = ["Service", "EndpointSlice", "Endpoints", "Pod", "Node", "Namespace"];

/// The objects of a kind that lists no longer have, compared to the last table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Number of vanished objects.
    pub(super) missing: usize,
    /// Number of objects before.
    pub(super) before: usize,
    /// Time of the last list.
    pub(super) listed: Instant,
}

impl Loss {
    fn is_great(self) -> bool {
        is_great(self.missing, self.before)
    }
}

fn is_great(missing: usize, before: usize) -> bool {
    missing >= LEAST_OBJECTS && missing.saturating_mul(100) >= before.saturating_mul(LEAST_PERCENT)
}

/// Several objects of a kind, as text for people.
fn plural(kind: &str) -> String {
    if kind.ends_with('s') { kind.to_owned() } else { format!("{kind}s") }
}

/// Losses by kind.
pub(super) type Losses = BTreeMap<&'static str, Loss>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is held, or what is held came back.
    Pass { came_back: bool },
    /// A second list agrees.
    Agreed,
    /// Somebody released it.
    Released,
    /// The table is held.
    Held { is_new: bool },
}

#[derive(Debug)]
struct Held {
    confirm_at: Instant,
    /// Whether the second list was asked for.
    is_asked: bool,
    missing: BTreeMap<&'static str, usize>,
}

/// Decides whether a table with losses may be written.
#[derive(Debug)]
pub(super) struct Brake {
    /// Time before the second list; zero for no brake.
    wait: Duration,
    held: Option<Held>,
    /// Whether the next table is written in any case.
    is_released: bool,
}

impl Brake {
    /// A brake that waits so long for the second list.
    pub(super) fn new(wait: Duration, metrics: &FeedMetrics) -> Self {
        let brake = Self { wait, held: None, is_released: false };
        brake.count(metrics);
        brake
    }

    /// Admits the next table in any case.
    pub(super) fn release(&mut self) {
        self.is_released = self.held.is_some();
    }

    /// Whether a table with these losses may be written. Logs and counts what is held.
    pub(super) fn admits(&mut self, losses: &Losses, metrics: &FeedMetrics) -> bool {
        let verdict = self.check(losses, Instant::now());
        self.count(metrics);
        match verdict {
            Verdict::Released => log::warn("brake: released by hand; going on without the vanished objects"),
            Verdict::Pass { came_back: false } | Verdict::Held { is_new: false } => {}
            Verdict::Pass { came_back: true } => log::note("brake: the vanished objects are back"),
            Verdict::Agreed => {
                log::warn("brake: a second list agrees that the objects are gone; going on without them")
            }
            Verdict::Held { is_new: true } => {
                let great = losses.iter().filter(|(_, loss)| loss.is_great());
                let great: Vec<String> =
                    great.map(|(kind, loss)| format!("{} of {} {}", loss.missing, loss.before, plural(kind))).collect();
                log::warn(&format!(
                    "brake: {} vanished from a list; what was known stays in use until a second list in {} s agrees, or \
                     until POST /debug/brake/release",
                    great.join(" and "),
                    self.wait.as_secs()
                ));
            }
        }
        !matches!(verdict, Verdict::Held { .. })
    }

    /// When the second list is due, if it was not asked for yet.
    pub(super) fn confirm_at(&self) -> Option<Instant> {
        self.held.as_ref().filter(|held| !held.is_asked).map(|held| held.confirm_at)
    }

    /// Records that the second list was asked for. Returns the kinds to list.
    pub(super) fn asked(&mut self) -> Vec<&'static str> {
        let Some(held) = &mut self.held else { return Vec::new() };
        held.is_asked = true;
        held.missing.keys().copied().collect()
    }

    /// Whether a table is held.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    fn count(&self, metrics: &FeedMetrics) {
        let held = |kind: &str| self.held.as_ref().and_then(|held| held.missing.get(kind)).copied();
        for kind in KINDS {
            let count = i64::try_from(held(kind).unwrap_or_default()).unwrap_or(i64::MAX);
            metrics.brake_held.get_or_create(&of_kind(kind)).set(count);
        }
    }

    fn check(&mut self, losses: &Losses, now: Instant) -> Verdict {
        if std::mem::take(&mut self.is_released) && self.held.take().is_some() {
            return Verdict::Released;
        }
        let great: BTreeMap<_, _> = losses.iter().filter(|(_, loss)| loss.is_great()).collect();
        if great.is_empty() || self.wait.is_zero() {
            return Verdict::Pass { came_back: self.held.take().is_some() };
        }
        if let Some(held) = &self.held {
            let before = |kind: &str| held.missing.get(kind).copied().unwrap_or_default();
            let is_same = great.iter().all(|(kind, loss)| {
                let more = loss.missing.saturating_sub(before(kind));
                !is_great(more, loss.before)
            });
            if is_same {
                if great.values().all(|loss| loss.listed >= held.confirm_at) {
                    self.held = None;
                    return Verdict::Agreed;
                }
                return Verdict::Held { is_new: false };
            }
        }
        let missing = great.into_iter().map(|(kind, loss)| (*kind, loss.missing)).collect();
        self.held = Some(Held { confirm_at: now + self.wait, is_asked: false, missing });
        Verdict::Held { is_new: true }
    }
}

/// Releases the brake from the HTTP server.
#[derive(Debug, Default)]
pub(crate) struct BrakeLever {
    is_held: AtomicBool,
    pulled: Notify,
}

impl BrakeLever {
    /// Shows whether the brake holds.
    pub(crate) fn show(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }

    /// Asks for the release. Returns whether the brake holds.
    pub(crate) fn pull(&self) -> bool {
        let is_held = self.is_held.load(Ordering::Relaxed);
        if is_held {
            self.pulled.notify_one();
        }
        is_held
    }

    /// Waits until somebody asks for the release.
    pub(super) async fn pulled(&self) {
        self.pulled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::object::ObjectKind, *};

    const WAIT: Duration = Duration::from_secs(60);

    fn new_brake(wait: Duration) -> Brake {
        Brake::new(wait, &FeedMetrics::default())
    }

    fn losses(missing: usize, before: usize, listed: Instant) -> Losses {
        Losses::from([("Service", Loss { missing, before, listed })])
    }

    #[test]
    fn every_kind_that_is_held_is_counted() {
        let (now, metrics) = (Instant::now(), FeedMetrics::default());
        let of_files = ["Service", "EndpointSlice", "Endpoints"];
        for kind in ObjectKind::ALL.map(ObjectKind::name).into_iter().chain(of_files) {
            let held = || metrics.brake_held.get_or_create(&of_kind(kind)).get();
            let mut brake = Brake::new(WAIT, &metrics);
            assert!(!brake.admits(&Losses::from([(kind, Loss { missing: 60, before: 100, listed: now })]), &metrics));
            assert_eq!(held(), 60, "{kind}");
            assert!(brake.admits(&Losses::new(), &metrics));
            assert_eq!(held(), 0, "{kind}");
        }
        assert_eq!(["Service", "Endpoints"].map(plural), ["Services", "Endpoints"]);
    }

    #[test]
    fn few_objects_or_a_small_part_pass() {
        let now = Instant::now();
        for (missing, before, passes) in
            [(0, 100, true), (49, 49, true), (50, 50, false), (50, 166, false), (50, 167, true), (3000, 10_000, false)]
        {
            let verdict = new_brake(WAIT).check(&losses(missing, before, now), now);
            assert_eq!(matches!(verdict, Verdict::Pass { .. }), passes, "{missing} of {before}");
        }
        assert_eq!(new_brake(Duration::ZERO).check(&losses(99, 99, now), now), Verdict::Pass { came_back: false });
    }

    #[test]
    fn a_second_list_releases_it() {
        let now = Instant::now();
        let mut brake = new_brake(WAIT);
        assert_eq!(brake.check(&losses(60, 100, now), now), Verdict::Held { is_new: true });
        assert_eq!(brake.confirm_at(), Some(now + WAIT));
        // Another change in the meantime is no second list, and a list that comes too soon is none either.
        let soon = now + WAIT / 2;
        assert_eq!(brake.check(&losses(60, 100, soon), soon), Verdict::Held { is_new: false });
        assert_eq!(brake.check(&losses(60, 100, soon), now + 2 * WAIT), Verdict::Held { is_new: false });
        assert_eq!((brake.asked(), brake.confirm_at()), (vec!["Service"], None));
        let later = now + WAIT;
        assert_eq!(brake.check(&losses(61, 100, later), later), Verdict::Agreed);
        assert!(!brake.is_held());
    }

    #[test]
    fn a_second_list_that_lacks_many_more_is_a_first_one() {
        let now = Instant::now();
        let mut brake = new_brake(WAIT);
        brake.check(&losses(60, 200, now), now);
        let later = now + WAIT;
        assert_eq!(brake.check(&losses(200, 200, later), later), Verdict::Held { is_new: true });
        assert_eq!(brake.confirm_at(), Some(later + WAIT));
    }

    #[test]
    fn a_release_by_hand_admits_one_table() {
        let now = Instant::now();
        let mut brake = new_brake(WAIT);
        brake.release();
        assert_eq!(brake.check(&losses(60, 100, now), now), Verdict::Held { is_new: true }, "nothing was held");
        brake.release();
        assert_eq!(brake.check(&losses(60, 100, now), now), Verdict::Released);
        assert_eq!(brake.check(&losses(60, 100, now), now), Verdict::Held { is_new: true });
    }

    #[test]
    fn objects_that_come_back_release_it() {
        let now = Instant::now();
        let mut brake = new_brake(WAIT);
        brake.check(&losses(60, 100, now), now);
        assert_eq!(brake.check(&losses(10, 100, now), now), Verdict::Pass { came_back: true });
        assert!(!brake.is_held());
    }
}
