//! How changes reach those that they concern.

use byname_xds::{ServerAction, Version};

use crate::{
    fixture::{Fixture, message, told},
    world::Item,
};

#[test]
fn a_change_that_nobody_watches_costs_nothing() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a"]);
    let (size, wake) = (fixture.server.size(), fixture.server.next_wake());
    fixture.set(fixture.clusters, "other", 1);
    fixture.set(fixture.endpoints, "a", 1);
    assert_eq!((fixture.server.size(), fixture.server.next_wake()), (size, wake));
    assert_eq!(fixture.world.encoded.get(), 0);
}

#[test]
fn a_resource_is_encoded_once_for_each_class() {
    let mut fixture = Fixture::new();
    fixture.open(2, "shop", "a");
    fixture.open(3, "shop", "b");
    let by_zone = |value| Item { value, is_by_zone: true, ..Item::default() };
    fixture.set_item(fixture.endpoints, "a", by_zone(1));
    for stream in 1..=3 {
        fixture.settle(stream, fixture.endpoints, &["a"]);
    }
    assert_eq!(fixture.world.encoded.get(), 2, "zones a and b");
    fixture.set_item(fixture.endpoints, "a", by_zone(2));
    assert_eq!(fixture.wait(50).len(), 3);
    assert_eq!(fixture.world.encoded.get(), 4);
}

#[test]
fn a_change_is_sent_to_its_subscribers_alone_and_shares_its_bytes() {
    let mut fixture = Fixture::new();
    fixture.open(2, "shop", "a");
    fixture.open(3, "shop", "a");
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.settle(2, fixture.clusters, &["a", "b"]);
    fixture.settle(3, fixture.clusters, &["b"]);
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.wait(1_000);
    let [ServerAction::Send { stream: one, message: first }, ServerAction::Send { stream: two, message: second }] =
        &*actions
    else {
        panic!("{actions:?}")
    };
    assert_eq!((one.0, two.0), (1, 2));
    assert!(std::sync::Arc::ptr_eq(&first.resources[0].body, &second.resources[0].body));
}

#[test]
fn a_change_back_within_the_window_sends_nothing() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.endpoints, "a", 1);
    fixture.settle(1, fixture.endpoints, &["a"]);
    fixture.set(fixture.endpoints, "a", 2);
    fixture.set(fixture.endpoints, "a", 1);
    assert_eq!(fixture.wait(50), []);
}

#[test]
fn who_asks_while_a_window_is_open_gets_the_new_content() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.set(fixture.clusters, "a", 2);
    fixture.open(2, "shop", "a");
    let actions = fixture.subscribe(2, fixture.clusters, &["a"]);
    let expected =
        fixture.world.version(fixture.clusters, "a", &crate::world::TestCaller { namespace: "shop", zone: "a" });
    assert_eq!(Some(message(&actions).resources[0].version), expected);
}

#[test]
fn a_version_is_the_hash_of_the_bytes_as_sent() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let resource = &message(&actions).resources[0];
    assert_eq!(resource.version, Version::of(&resource.body));
    assert_eq!(told(message(&actions)), "a");
}

#[test]
fn a_message_says_since_when_its_oldest_change_is_known() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    fixture.wait(5_000);
    let first = fixture.now;
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.wait(1_000);
    let unacknowledged = message(&actions).clone();
    assert_eq!(unacknowledged.since, Some(first));
    // These wait for the ACK.
    let second = fixture.now;
    fixture.set(fixture.clusters, "b", 1);
    fixture.wait(1_000);
    fixture.set(fixture.clusters, "a", 2);
    fixture.wait(1_000);
    let actions = fixture.ack(1, &unacknowledged);
    assert_eq!((told(message(&actions)), message(&actions).since), ("b a".to_owned(), Some(second)));
    // A client that asks gets no change, but an answer.
    fixture.open(2, "shop", "a");
    assert_eq!(message(&fixture.subscribe(2, fixture.clusters, &["a"])).since, None);
}
