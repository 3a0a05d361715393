//! What is sent first, and what together: sections "Eventual consistency considerations" and "Resource warming".

use std::time::Duration;

use byname_xds::{DeltaResponse, Limits, ServerAction, TypeIndex};

use crate::{
    fixture::{Body, Fixture, message, told},
    world::Item,
};

fn messages(actions: &[ServerAction<Body>]) -> Vec<&DeltaResponse<Body>> {
    let mut messages = Vec::new();
    for action in actions {
        if let ServerAction::Send { message, .. } = action {
            messages.push(message);
        }
    }
    messages
}

fn with_a_cluster() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.set(fixture.endpoints, "a", 1);
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.settle(1, fixture.endpoints, &["a"]);
    fixture
}

#[test]
fn endpoints_are_sent_again_after_their_cluster() {
    let mut fixture = with_a_cluster();
    fixture.set(fixture.clusters, "a", 2);
    let actions = fixture.wait(1_000);
    let sent: Vec<_> = messages(&actions).iter().map(|message| (message.resource_type, told(message))).collect();
    assert_eq!(sent, [(fixture.clusters, "a".to_owned()), (fixture.endpoints, "a".to_owned())]);
}

#[test]
fn a_removed_cluster_brings_no_endpoints() {
    let mut fixture = with_a_cluster();
    fixture.remove(fixture.clusters, "a");
    assert_eq!(told(message(&fixture.wait(1_000))), "-a");
}

/// The types and names of all messages.
fn sent(actions: &[ServerAction<Body>]) -> Vec<(TypeIndex, String)> {
    messages(actions).iter().map(|message| (message.resource_type, told(message))).collect()
}

#[test]
fn a_cluster_is_removed_after_the_names_that_lead_to_it() {
    let mut fixture = with_a_cluster();
    fixture.set(fixture.extensions, "byname", 1);
    fixture.settle(1, fixture.extensions, &["byname"]);
    let (extensions, clusters) = (fixture.extensions, fixture.clusters);
    // One deletion is several changes, one after the other.
    fixture.remove(clusters, "a");
    fixture.now += Duration::from_millis(100);
    fixture.set(extensions, "byname", 2);
    assert_eq!(sent(&fixture.wait(900)), [(extensions, "byname".to_owned()), (clusters, "-a".to_owned())]);
}

#[test]
fn a_cluster_stays_while_the_names_that_lead_to_it_cannot_be_sent() {
    let mut fixture = with_a_cluster();
    let (extensions, clusters) = (fixture.extensions, fixture.clusters);
    fixture.set(extensions, "byname", 1);
    let waiting = fixture.subscribe(1, extensions, &["byname"]);
    fixture.set(extensions, "byname", 2);
    fixture.remove(clusters, "a");
    fixture.set(clusters, "new", 1);
    assert_eq!(fixture.wait(1_000), [], "the names wait for an ACK, and the removal for the names");
    let new = fixture.subscribe(1, clusters, &["new", "missing"]);
    assert_eq!(told(message(&new)), "new -missing", "all else goes on");
    assert_eq!(fixture.ack(1, message(&new)), []);
    let last = fixture.ack(1, message(&waiting));
    assert_eq!(sent(&last), [(extensions, "byname".to_owned()), (clusters, "-a".to_owned())]);

    // The same where the names wait for another turn.
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 1, ..Limits::default() });
    let by_zone = |value| Item { value, is_by_zone: true, ..Item::default() };
    fixture.open(2, "shop", "b");
    fixture.set(clusters, "a", 1);
    fixture.set_item(extensions, "byname", by_zone(1));
    for stream in 1..=2 {
        fixture.settle(stream, clusters, &["a"]);
        fixture.settle(stream, extensions, &["byname"]);
    }
    fixture.set_item(extensions, "byname", by_zone(2));
    fixture.remove(clusters, "a");
    let both = [(extensions, "byname".to_owned()), (clusters, "-a".to_owned())];
    assert_eq!(sent(&fixture.wait(1_000)), both);
    assert_eq!(sent(&fixture.wait(0)), both);
}

#[test]
fn endpoints_do_not_overtake_their_cluster() {
    let mut fixture = with_a_cluster();
    let actions = fixture.subscribe(1, fixture.clusters, &["b"]);
    let unacknowledged = message(&actions).clone();
    fixture.set(fixture.clusters, "a", 2);
    fixture.wait(1_000);
    fixture.set(fixture.endpoints, "a", 2);
    assert_eq!(fixture.wait(1_000), [], "the cluster waits for an ACK, and its endpoints for the cluster");
    let actions = fixture.ack(1, &unacknowledged);
    let sent: Vec<_> = messages(&actions).iter().map(|message| (message.resource_type, told(message))).collect();
    assert_eq!(sent, [(fixture.clusters, "a".to_owned()), (fixture.endpoints, "a".to_owned())]);
}

#[test]
fn endpoints_that_wait_for_their_cluster_hold_up_no_others() {
    let mut fixture = with_a_cluster();
    fixture.settle(1, fixture.endpoints, &["b"]);
    message(&fixture.subscribe(1, fixture.clusters, &["other"]));
    fixture.set(fixture.clusters, "a", 2);
    fixture.wait(1_000);
    fixture.set(fixture.endpoints, "a", 2);
    fixture.set(fixture.endpoints, "b", 2);
    assert_eq!(told(message(&fixture.wait(1_000))), "b");
}

#[test]
fn a_message_holds_whole_resources_up_to_its_limit() {
    let mut fixture = Fixture::with(Limits { message_bytes: 1_000, ..Limits::default() });
    let names = ["a", "b", "c", "large", "x", "y"];
    for name in names {
        let bytes = if name == "large" { 5_000 } else { 400 };
        fixture.set_item(fixture.clusters, name, Item { bytes, ..Item::default() });
    }
    let mut actions = fixture.subscribe(1, fixture.clusters, &names);
    let mut sent = Vec::new();
    while let Some(message) = messages(&actions).last().map(|message| (*message).clone()) {
        sent.push(told(&message));
        actions = fixture.ack(1, &message);
    }
    assert_eq!(sent, ["a b", "c", "large", "x y"]);
}

#[test]
fn names_that_change_all_the_time_hold_up_no_others() {
    let mut fixture = Fixture::with(Limits { message_bytes: 1, ..Limits::default() });
    let names = ["a", "b", "c", "d"];
    let mut value = 0;
    let mut sent = Vec::new();
    let mut actions = fixture.subscribe(1, fixture.endpoints, &names);
    for _ in 0..12 {
        value += 1;
        for name in ["a", "b"] {
            fixture.set(fixture.endpoints, name, value);
        }
        actions.extend(fixture.wait(1_000));
        let last = message(&actions).clone();
        sent.push(told(&last));
        actions = fixture.ack(1, &last);
    }
    assert_eq!(sent[..6], ["-a", "b", "-c", "-d", "a", "b"]);
}
