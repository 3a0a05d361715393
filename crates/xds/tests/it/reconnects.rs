//! What a client brings from an earlier stream: `initial_resource_versions`, section "Incremental xDS".

use byname_xds::{CloseReason, DeltaRequest, Limits, ServerAction, ServerEvent, StreamId};

use crate::fixture::{Fixture, closed, message, told};

/// A fixture with the clusters a and b, and the versions that a client of it has.
fn with_clusters() -> (Fixture, String, String) {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.set(fixture.clusters, "b", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a", "b"]);
    let version = |index: usize| message(&actions).resources[index].version.to_string();
    let (a, b) = (version(0), version(1));
    fixture.handle(ServerEvent::Closed { stream: StreamId(1) });
    assert_eq!(fixture.server.size(), byname_xds::Size::default());
    fixture.open(2, "shop", "a");
    (fixture, a, b)
}

#[test]
fn what_is_known_and_equal_is_not_sent() {
    let (mut fixture, a, b) = with_clusters();
    assert_eq!(fixture.resume(2, fixture.clusters, &["a", "b"], &[("a", a), ("b", b)]), []);
    fixture.set(fixture.clusters, "a", 2);
    assert_eq!(told(message(&fixture.wait(1_000))), "a");
}

#[test]
fn what_changed_meanwhile_is_sent() {
    let (mut fixture, a, b) = with_clusters();
    fixture.set(fixture.clusters, "a", 2);
    fixture.remove(fixture.clusters, "b");
    assert_eq!(told(message(&fixture.resume(2, fixture.clusters, &["a", "b"], &[("a", a), ("b", b)]))), "a -b");
}

#[test]
fn known_endpoints_are_sent_again_if_their_cluster_was() {
    let (mut fixture, a, b) = with_clusters();
    fixture.set(fixture.endpoints, "a", 1);
    fixture.set(fixture.endpoints, "b", 1);
    let actions = fixture.subscribe(2, fixture.endpoints, &["a", "b"]);
    let known = ["a", "b"].map(|name| {
        let resource = message(&actions).resources.iter().find(|resource| &*resource.name == name);
        (name, resource.unwrap().version.to_string())
    });
    fixture.open(3, "shop", "a");
    fixture.set(fixture.clusters, "a", 2);
    assert_eq!(told(message(&fixture.resume(3, fixture.clusters, &["a", "b"], &[("a", a), ("b", b)]))), "a");
    assert_eq!(told(message(&fixture.resume(3, fixture.endpoints, &["a", "b"], &known))), "a");
}

#[test]
fn a_version_of_another_server_is_replaced() {
    let (mut fixture, ..) = with_clusters();
    let known = [("a", "v7".to_owned()), ("gone", String::new())];
    assert_eq!(told(message(&fixture.resume(2, fixture.clusters, &["a", "gone"], &known))), "a -gone");
}

#[test]
fn known_names_without_a_subscription_are_ignored() {
    let (mut fixture, a, b) = with_clusters();
    assert_eq!(fixture.resume(2, fixture.clusters, &["a"], &[("a", a), ("b", b)]), []);
    assert_eq!(fixture.server.size().names, 1);
}

#[test]
fn known_names_that_the_wildcard_lacks_are_told_as_removed() {
    let (mut fixture, a, _) = with_clusters();
    assert_eq!(told(message(&fixture.resume(2, fixture.clusters, &["*"], &[("a", a)]))), "-a");
}

#[test]
fn versions_count_in_the_first_request_of_a_type_alone() {
    let (mut fixture, a, _) = with_clusters();
    fixture.settle(2, fixture.clusters, &["other"]);
    assert_eq!(told(message(&fixture.resume(2, fixture.clusters, &["a"], &[("a", a)]))), "a");
}

#[test]
fn events_of_a_closed_stream_do_nothing() {
    let mut fixture = Fixture::new();
    fixture.handle(ServerEvent::Closed { stream: StreamId(1) });
    assert_eq!(fixture.subscribe(1, fixture.clusters, &["a"]), []);
    assert_eq!(fixture.request(1, fixture.clusters, DeltaRequest::default()), []);
    assert_eq!(fixture.server.size(), byname_xds::Size::default());
}

/// The same with a server that may be behind.
fn stale_with_clusters() -> (Fixture, String, String) {
    let (mut fixture, a, b) = with_clusters();
    fixture.handle(ServerEvent::WatchesFailed);
    fixture.wait(30_000);
    (fixture, a, b)
}

#[test]
fn a_stale_server_serves_who_knows_the_same() {
    let (mut fixture, a, b) = stale_with_clusters();
    fixture.set(fixture.clusters, "cold", 1);
    let known = [("a", a), ("b", b)];
    assert_eq!(told(message(&fixture.resume(2, fixture.clusters, &["a", "b", "cold"], &known))), "cold");
    // A watch that works tells of changes, which take nobody back.
    fixture.open(3, "shop", "a");
    assert_eq!(fixture.resume(3, fixture.clusters, &["a", "b"], &known), []);
    fixture.set(fixture.clusters, "a", 2);
    let changed = fixture.wait(1_000);
    assert!(
        matches!(&*changed, [ServerAction::Send { stream: StreamId(3), message }] if told(message) == "a"),
        "{changed:?}"
    );
}

#[test]
fn a_stale_server_refuses_who_knows_something_else() {
    let other = || "0123456789abcdef".to_owned();
    let (_, a, b) = with_clusters();
    for (reason, known) in [
        ("another version", [("a", a.clone()), ("b", other())]),
        ("a name that the server lacks", [("a", a.clone()), ("gone", other())]),
        ("a version that is none", [("b", b), ("gone", String::new())]),
        ("a version that cannot be read", [("a", a), ("b", "v7".to_owned())]),
    ] {
        let (mut fixture, ..) = stale_with_clusters();
        fixture.set(fixture.clusters, "cold", 1);
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).chain(["cold"]).collect();
        let actions = fixture.resume(2, fixture.clusters, &names, &known);
        assert_eq!((closed(&actions), actions.len()), (&CloseReason::Stale, 1), "{reason}: nothing is sent before");
        fixture.handle(ServerEvent::WatchesRecovered);
        fixture.open(3, "shop", "a");
        message(&fixture.resume(3, fixture.clusters, &names, &known));
    }
}

/// Versions are compared in turns, and the last turn refuses like the first one.
#[test]
fn a_stale_server_compares_all_versions() {
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 2, ..Limits::default() });
    let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let caller = crate::world::TestCaller { namespace: "shop", zone: "a" };
    names.iter().for_each(|name| drop(fixture.set(fixture.clusters, name, 1)));
    let version = |name: &str| fixture.world.version(fixture.clusters, name, &caller).unwrap().to_string();
    let known: Vec<(&str, String)> = names.iter().map(|name| (*name, version(name))).collect();
    fixture.set(fixture.clusters, "8", 2);
    fixture.handle(ServerEvent::WatchesFailed);
    fixture.wait(30_000);
    assert_eq!(fixture.resume(1, fixture.clusters, &names, &known), []);
    for _ in 0..3 {
        assert_eq!(fixture.wait(0), []);
    }
    assert_eq!(closed(&fixture.wait(0)), &CloseReason::Stale);
}

/// While all servers are behind, a client whose stream ended might not find one that knows the same.
#[test]
fn streams_of_a_stale_server_do_not_age() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.handle(ServerEvent::WatchesFailed);
    fixture.wait(30_000);
    assert_eq!(fixture.wait(3 * 60 * 60 * 1_000), []);
    fixture.handle(ServerEvent::WatchesRecovered);
    let ends = fixture.server.next_wake().unwrap() - fixture.now;
    assert!(ends.as_secs() <= 12 * 60, "ends stay spread over as long: {ends:?}");
    assert_eq!(closed(&fixture.wait(12 * 60 * 1_000)), &CloseReason::Aged);

    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.handle(ServerEvent::WatchesFailed);
    assert_eq!(closed(&fixture.wait(7 * 60 * 60 * 1_000)), &CloseReason::Aged, "an identity was checked long ago");
}
