//! Subscribing and unsubscribing: sections "Subscribing to Resources", "Unsubscribing from Resources", "Knowing When a Requested
//! Resource Does Not Exist" and "How the client specifies what resources to return".

use std::time::Duration;

use byname_xds::{DeltaRequest, Limits, ResourceType, ResourceTypes, Server, ServerEvent};

use crate::fixture::{Fixture, message, strings, told};

#[test]
fn a_name_is_answered_at_once() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a", "b"]);
    assert_eq!(told(message(&actions)), "a -b");
}

#[test]
fn a_missing_name_is_sent_when_it_appears() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a"]);
    assert_eq!(fixture.set(fixture.clusters, "a", 1), []);
    assert_eq!(told(message(&fixture.wait(1_000))), "a");
}

#[test]
fn a_removed_resource_is_told_as_removed() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.remove(fixture.clusters, "a");
    assert_eq!(told(message(&fixture.wait(1_000))), "-a");
}

#[test]
fn a_name_subscribed_again_is_sent_again() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    assert_eq!(told(message(&fixture.subscribe(1, fixture.clusters, &["a", "b"]))), "a -b");
}

#[test]
fn nothing_is_sent_of_an_unsubscribed_name() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    assert_eq!(fixture.unsubscribe(1, fixture.clusters, &["a", "never-subscribed"]), []);
    fixture.set(fixture.clusters, "a", 1);
    assert_eq!(fixture.wait(1_000), []);
    assert_eq!(fixture.server.size().names, 1);
}

#[test]
fn a_name_in_both_lists_is_unsubscribed() {
    let mut fixture = Fixture::new();
    let both =
        DeltaRequest { subscribe: strings(&["a", "*"]), unsubscribe: strings(&["a", "*"]), ..DeltaRequest::default() };
    assert_eq!(fixture.request(1, fixture.extensions, both), []);
    assert_eq!(fixture.server.size().names, 0);
}

#[test]
fn a_wildcard_stands_for_the_names_of_its_type() {
    for subscribe in [strings(&["*"]), Vec::new()] {
        let mut fixture = Fixture::new();
        fixture.set(fixture.extensions, "byname", 1);
        let actions = fixture.request(1, fixture.extensions, DeltaRequest { subscribe, ..DeltaRequest::default() });
        assert_eq!(told(message(&actions)), "byname");
    }
}

#[test]
fn a_wildcard_may_stand_for_a_resource_of_its_own_name() {
    let mut types = ResourceTypes::default();
    let namespaces = types.add(ResourceType::new("type.test/namespaces", Duration::ZERO).wildcard(["*"]));
    let mut fixture = Fixture { server: Server::new(types, Limits::default()), ..Fixture::new() };
    fixture.handle(ServerEvent::Synced);
    fixture.open(1, "shop", "a");
    fixture.set(namespaces, "*", 1);
    fixture.settle(1, namespaces, &["*"]);
    assert_eq!(told(message(&fixture.set(namespaces, "*", 2))), "*");
    fixture.unsubscribe(1, namespaces, &["*"]);
    assert_eq!(fixture.server.size().names, 0);
}

#[test]
fn a_wildcard_without_names_gets_one_empty_answer() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["*"]);
    let empty = message(&actions).clone();
    assert_eq!(told(&empty), "");
    assert_eq!(fixture.ack(1, &empty), []);
}

#[test]
fn an_empty_request_is_no_wildcard_once_names_were_subscribed() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.extensions, "byname", 1);
    fixture.settle(1, fixture.extensions, &["other", "byname"]);
    fixture.unsubscribe(1, fixture.extensions, &["other", "byname"]);
    assert_eq!(fixture.request(1, fixture.extensions, DeltaRequest::default()), []);
    assert_eq!(fixture.server.size().names, 0);
}

#[test]
fn a_wildcard_goes_on_when_names_are_added() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.extensions, "byname", 1);
    fixture.settle(1, fixture.extensions, &["*"]);
    fixture.set(fixture.extensions, "more", 1);
    fixture.settle(1, fixture.extensions, &["more"]);
    fixture.set(fixture.extensions, "byname", 2);
    let actions = fixture.wait(1_000);
    assert_eq!(told(message(&actions)), "byname");
    let answer = message(&actions).clone();
    fixture.ack(1, &answer);

    assert_eq!(fixture.unsubscribe(1, fixture.extensions, &["*"]), []);
    assert_eq!(fixture.server.size().names, 1, "the name that was added stays");
}

#[test]
fn a_name_that_the_wildcard_has_too_is_sent_again_when_unsubscribed() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.extensions, "byname", 1);
    fixture.settle(1, fixture.extensions, &["*", "byname"]);
    assert_eq!(told(message(&fixture.unsubscribe(1, fixture.extensions, &["byname"]))), "byname");
}

#[test]
fn a_name_that_the_wildcard_lacks_is_told_as_removed_when_unsubscribed() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.settle(1, fixture.clusters, &["*", "a"]);
    let actions = fixture.unsubscribe(1, fixture.clusters, &["a"]);
    let farewell = message(&actions).clone();
    assert_eq!(told(&farewell), "-a");
    assert_eq!(fixture.ack(1, &farewell), []);
}

#[test]
fn a_farewell_is_taken_back() {
    for is_subscribed_again in [true, false] {
        let mut fixture = Fixture::new();
        fixture.set(fixture.clusters, "a", 1);
        fixture.settle(1, fixture.clusters, &["*", "a"]);
        let actions = fixture.subscribe(1, fixture.clusters, &["b"]);
        let unacknowledged = message(&actions).clone();
        fixture.unsubscribe(1, fixture.clusters, &["a"]);
        let expected = if is_subscribed_again {
            fixture.subscribe(1, fixture.clusters, &["a"]);
            "a"
        } else {
            fixture.unsubscribe(1, fixture.clusters, &["*"]);
            fixture.subscribe(1, fixture.clusters, &["c"]);
            "-c"
        };
        assert_eq!(told(message(&fixture.ack(1, &unacknowledged))), expected);
    }
}

#[test]
fn a_resource_that_is_never_removed_is_never_told_as_removed() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.subscribe(1, fixture.extensions, &["byname"]), []);
    fixture.set(fixture.extensions, "byname", 1);
    let actions = fixture.wait(1_000);
    let first = message(&actions).clone();
    fixture.ack(1, &first);
    fixture.remove(fixture.extensions, "byname");
    assert_eq!(fixture.wait(1_000), []);
    assert_eq!(fixture.subscribe(1, fixture.extensions, &["byname"]), [], "asked again, it keeps its last known good");
    fixture.set(fixture.extensions, "byname", 1);
    assert_eq!(told(message(&fixture.wait(1_000))), "byname", "the answer is still owed");
}
