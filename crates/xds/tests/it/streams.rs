//! Which streams are served, and for how long.

use std::{collections::BTreeSet, time::Duration};

use byname_xds::{CloseReason, Limits, OpeningCost, Server, ServerAction, ServerEvent, StatusCode, StreamId};

use crate::{
    fixture::{Fixture, closed, message, told, types},
    world::{TestCaller, World},
};

#[test]
fn a_server_that_is_not_synced_refuses_streams() {
    let mut server = Server::<World>::new(types().all, Limits::default());
    let caller = TestCaller { namespace: "shop", zone: "a" };
    let actions = server.handle(
        std::time::Duration::ZERO,
        ServerEvent::Opened { stream: StreamId(1), caller, owner: None, random: 0, cost: OpeningCost::Whole },
        &World::default(),
    );
    assert_eq!(closed(&actions), &CloseReason::NotSynced);
    assert_eq!(closed(&actions).status(), StatusCode::Unavailable);
    assert_eq!(server.size().streams, 0);
}

#[test]
fn a_stale_server_refuses_known_versions_and_serves_newcomers() {
    let mut fixture = Fixture::new();
    fixture.handle(ServerEvent::WatchesFailed);
    fixture.wait(30_000);
    let known = [("a", "0123456789abcdef".to_owned())];
    assert_eq!(closed(&fixture.resume(1, fixture.clusters, &["a"], &known)), &CloseReason::Stale);
    fixture.open(2, "shop", "a");
    assert_eq!(told(message(&fixture.subscribe(2, fixture.clusters, &["a"]))), "-a");
    fixture.handle(ServerEvent::WatchesRecovered);
    fixture.open(3, "shop", "a");
    assert_eq!(told(message(&fixture.resume(3, fixture.clusters, &["a"], &known))), "-a");
}

#[test]
fn a_herd_is_let_in_at_a_rate() {
    let mut fixture = Fixture::new();
    let refused = |actions: Vec<ServerAction<_>>| !actions.is_empty();
    assert_eq!((2..=300).filter(|stream| refused(fixture.open(*stream, "shop", "a"))).count(), 100);
    fixture.wait(500);
    assert_eq!((301..=500).filter(|stream| refused(fixture.open(*stream, "shop", "a"))).count(), 100);
}

#[test]
fn streams_end_at_an_age_that_is_spread() {
    let mut fixture = Fixture::with(Limits { idle_timeout: Duration::MAX, ..Limits::default() });
    let caller = TestCaller { namespace: "shop", zone: "a" };
    for (stream, random) in [(2, 0), (3, u32::MAX)] {
        fixture.handle(ServerEvent::Opened {
            stream: StreamId(stream),
            caller: caller.clone(),
            owner: None,
            random,
            cost: OpeningCost::Whole,
        });
    }
    let mut ends = Vec::new();
    while let Some(wake) = fixture.server.next_wake() {
        fixture.now = wake;
        for action in fixture.handle(ServerEvent::Woken) {
            let ServerAction::Close { stream, reason: CloseReason::Aged } = action else { panic!("{action:?}") };
            ends.push((stream.0, wake.as_secs()));
        }
    }
    assert_eq!(ends, [(2, 1_440), (1, 1_799), (3, 2_160)]);
}

#[test]
fn a_server_that_stops_closes_streams_one_by_one() {
    let mut fixture = Fixture::new();
    for stream in 2..=30 {
        fixture.open(stream, "shop", "a");
    }
    fixture.handle(ServerEvent::ShuttingDown);
    assert_eq!(closed(&fixture.open(31, "shop", "a")), &CloseReason::ShuttingDown);
    let mut ends = BTreeSet::new();
    while let Some(wake) = fixture.server.next_wake() {
        fixture.now = wake;
        for action in fixture.handle(ServerEvent::Woken) {
            assert!(matches!(action, ServerAction::Close { reason: CloseReason::ShuttingDown, .. }), "{action:?}");
            ends.insert(wake.as_secs());
        }
    }
    assert_eq!(ends.len(), 29, "one a second; the first one closed at once");
    assert_eq!(fixture.server.size().streams, 0);
}
