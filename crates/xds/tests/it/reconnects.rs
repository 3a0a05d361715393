//! What a client brings from an earlier stream: `initial_resource_versions`, section "Incremental xDS".

use byname_xds::{DeltaRequest, ServerEvent, StreamId};

use crate::fixture::{Fixture, message, told};

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
