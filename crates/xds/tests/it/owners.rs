//! No owner of streams takes the part of the others, and no stream the time of the others.

use std::{collections::BTreeSet, time::Duration};

use byname_xds::{CloseReason, DeltaRequest, Limits, OpeningCost, ServerAction, ServerEvent, StatusCode, StreamId};

use crate::{
    fixture::{Fixture, closed, message, strings, told},
    world::{Item, TestCaller},
};

impl Fixture {
    fn open_of(&mut self, stream: u64, owner: &str) -> Result<(), CloseReason> {
        let caller = TestCaller { namespace: "shop", zone: "a" };
        let actions = self.handle(ServerEvent::Opened {
            stream: StreamId(stream),
            caller,
            owner: Some(owner.into()),
            random: 0,
            cost: OpeningCost::Whole,
        });
        if actions.is_empty() { Ok(()) } else { Err(closed(&actions).clone()) }
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("name-{number:04}")).collect()
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn streams_of_one_owner_are_bounded() {
    let mut fixture = Fixture::with(Limits { streams_per_owner: 2, ..Limits::default() });
    for stream in 2..4 {
        assert_eq!(fixture.open_of(stream, "evil"), Ok(()));
    }
    let refused = fixture.open_of(4, "evil").unwrap_err();
    assert_eq!(refused, CloseReason::TooManyStreamsOfOwner { limit: 2 });
    assert_eq!(refused.status(), StatusCode::ResourceExhausted);
    assert_eq!(fixture.open_of(5, "shop"), Ok(()), "others are let in");
    fixture.handle(ServerEvent::Closed { stream: StreamId(2) });
    assert_eq!(fixture.open_of(6, "evil"), Ok(()), "a place is free again");
}

#[test]
fn new_streams_of_one_owner_are_half_of_all() {
    let mut fixture = Fixture::new();
    let let_in = (2..1_000).filter(|stream| fixture.open_of(*stream, "evil").is_ok()).count();
    assert_eq!(let_in, 100);
    let refused = fixture.open_of(2_000, "evil").unwrap_err();
    assert_eq!(refused, CloseReason::TooManyNewStreamsOfOwner { per_second: 100 });
    let let_in = (3_000..4_000).filter(|stream| fixture.open_of(*stream, "shop").is_ok()).count();
    assert_eq!(let_in, 99, "refused streams take no place of others, and one was open before");
}

#[test]
fn names_of_one_owner_are_bounded_over_all_its_streams() {
    // Ten names of nine bytes.
    let mut fixture = Fixture::with(Limits { bytes_per_owner: 10 * (256 + 9), ..Limits::default() });
    for stream in 2..4 {
        fixture.open_of(stream, "evil").unwrap();
    }
    fixture.open_of(4, "shop").unwrap();
    let all = names(0..20);
    let all = refs(&all);
    fixture.settle(2, fixture.clusters, &all[..6]);
    fixture.settle(2, fixture.clusters, &all[..6]);
    let actions = fixture.subscribe(3, fixture.clusters, &all[..5]);
    assert_eq!(closed(&actions), &CloseReason::TooManyBytesOfOwner { limit: 2_650 });
    fixture.settle(4, fixture.clusters, &all[..10]);
    // What is unsubscribed from, or was of a stream that ended, counts no longer.
    fixture.unsubscribe(2, fixture.clusters, &all[..3]);
    fixture.open_of(5, "evil").unwrap();
    fixture.settle(5, fixture.clusters, &all[..7]);
    fixture.handle(ServerEvent::Closed { stream: StreamId(5) });
    fixture.settle(2, fixture.endpoints, &all[..7]);
}

#[test]
fn farewells_of_one_owner_are_bounded() {
    let mut fixture = Fixture::with(Limits { bytes_per_owner: 10 * (256 + 9), ..Limits::default() });
    fixture.open_of(2, "evil").unwrap();
    // It never acknowledges, so its farewells stay.
    message(&fixture.subscribe(2, fixture.clusters, &["*", "a"]));
    let all = names(0..20);
    for name in &refs(&all)[..9] {
        fixture.subscribe(2, fixture.clusters, &[name]);
        assert_eq!(fixture.unsubscribe(2, fixture.clusters, &[name]), []);
    }
    let actions = fixture.subscribe(2, fixture.clusters, &[&all[9], &all[10]]);
    assert_eq!(closed(&actions), &CloseReason::TooManyBytesOfOwner { limit: 2_650 });
}

#[test]
fn a_stream_without_a_subscription_is_closed() {
    let mut fixture = Fixture::new();
    fixture.open(2, "shop", "a");
    fixture.settle(2, fixture.clusters, &["a"]);
    assert_eq!(fixture.wait(59_999), []);
    let actions = fixture.wait(1);
    let [ServerAction::Close { stream: StreamId(1), reason }] = &*actions else { panic!("{actions:?}") };
    assert_eq!(reason.to_string(), "no subscription for 60 s; reconnect when there is something to ask for");
    fixture.unsubscribe(2, fixture.clusters, &["a"]);
    assert_eq!(fixture.wait(59_999), []);
    assert_eq!(closed(&fixture.wait(1)), reason);
}

#[test]
fn a_wildcard_that_stands_for_nothing_is_a_subscription() {
    let mut fixture = Fixture::new();
    let answer = fixture.subscribe(1, fixture.clusters, &["*"]);
    fixture.ack(1, message(&answer));
    assert_eq!(fixture.wait(120_000), []);
}

#[test]
fn a_stream_gets_what_it_asks_for_in_turns_and_others_are_served_between() {
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 4, ..Limits::default() });
    let all = names(0..10);
    for name in &all {
        fixture.set(fixture.clusters, name, 1);
    }
    fixture.open(2, "shop", "a");
    let first = fixture.subscribe(1, fixture.clusters, &refs(&all));
    assert_eq!(message(&first).resources.len(), 4);
    assert_eq!(fixture.world.encoded.get(), 4);
    assert_eq!(told(message(&fixture.subscribe(2, fixture.clusters, &["name-0009"]))), "name-0009");
    let mut got = 4;
    let mut last = message(&first).clone();
    while got < 10 {
        last = message(&fixture.ack(1, &last)).clone();
        got += last.resources.len();
    }
    assert_eq!(fixture.world.encoded.get(), 10, "each once");
}

/// A change may have to be encoded for many classes. Whoever asks meanwhile is answered.
#[test]
fn a_change_for_many_classes_is_passed_on_in_turns() {
    const ZONES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 4, ..Limits::default() });
    let by_zone = |value| Item { value, is_by_zone: true, ..Item::default() };
    fixture.set_item(fixture.extensions, "byname", by_zone(1));
    for (stream, zone) in (10..).zip(ZONES.iter().chain(&ZONES)) {
        fixture.open(stream, "shop", zone);
        fixture.settle(stream, fixture.extensions, &["byname"]);
    }
    let begun = fixture.world.encoded.get();
    fixture.set_item(fixture.extensions, "byname", by_zone(2));
    let mut told_streams = BTreeSet::new();
    let mut actions = fixture.wait(1_000);
    for turn in 1.. {
        let encoded = fixture.world.encoded.get() - begun;
        assert!(encoded <= 4 * turn, "{encoded} in {turn} turns");
        for action in &actions {
            let ServerAction::Send { stream, message } = action else { panic!("{action:?}") };
            assert_eq!(told(message), "byname");
            assert!(told_streams.insert(*stream), "twice");
        }
        if fixture.server.next_wake() != Some(Duration::ZERO) {
            break;
        }
        // An event of somebody else gets its answer between.
        let name = format!("name-{turn}");
        assert_eq!(told(message(&fixture.subscribe(1, fixture.clusters, &[&name]))), format!("-{name}"));
        fixture.handle(ServerEvent::Closed { stream: StreamId(1) });
        fixture.open(1, "shop", "a");
        actions = fixture.wait(0);
    }
    assert_eq!((told_streams.len(), fixture.world.encoded.get() - begun), (20, 10), "all, and each class once");
}

#[test]
fn streams_that_wait_for_a_turn_get_what_needs_none() {
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 1, ..Limits::default() });
    let by_zone = |value| Item { value, is_by_zone: true, ..Item::default() };
    fixture.set_item(fixture.extensions, "byname", by_zone(1));
    fixture.set(fixture.endpoints, "a", 1);
    for (stream, zone) in [(2, "a"), (3, "b"), (4, "c")] {
        fixture.open(stream, "shop", zone);
        fixture.settle(stream, fixture.extensions, &["byname"]);
        fixture.settle(stream, fixture.endpoints, &["a"]);
    }
    fixture.set_item(fixture.extensions, "byname", by_zone(2));
    assert_eq!(message(&fixture.wait(1_000)).resource_type, fixture.extensions, "to one of three");
    fixture.set(fixture.endpoints, "a", 2);
    fixture.now += Duration::from_millis(50);
    let actions = fixture.handle(ServerEvent::Synced);
    let told_endpoints = actions.iter().filter(
        |action| matches!(action, ServerAction::Send { message, .. } if message.resource_type == fixture.endpoints),
    );
    assert_eq!(told_endpoints.count(), 3, "{actions:?}");
}

#[test]
fn a_turn_ends_after_many_bytes() {
    let mut fixture = Fixture::with(Limits { encoded_bytes_per_turn: 1_000, ..Limits::default() });
    let all = names(0..6);
    for name in &all {
        fixture.set_item(fixture.clusters, name, Item { bytes: 600, ..Item::default() });
    }
    assert_eq!(message(&fixture.subscribe(1, fixture.clusters, &refs(&all))).resources.len(), 2);
    assert_eq!(fixture.world.encoded.get(), 2);
}

#[test]
fn a_client_has_the_whole_time_to_answer_however_long_its_message_took() {
    let mut fixture = Fixture::new();
    let answer = fixture.subscribe(1, fixture.clusters, &["a"]);
    let sent = message(&answer);
    // The server had much to do before the message went out.
    fixture.now += Duration::from_secs(50);
    fixture.server.went_out(fixture.now, StreamId(1), (sent.resource_type, sent.nonce));
    assert_eq!(fixture.wait(59_999), []);
    assert!(matches!(closed(&fixture.wait(1)), CloseReason::NotAcknowledged { .. }));
}

#[test]
fn known_versions_are_looked_at_in_turns_too() {
    let mut fixture = Fixture::with(Limits { encodings_per_turn: 4, ..Limits::default() });
    let all = names(0..10);
    for name in &all {
        fixture.set(fixture.clusters, name, 1);
    }
    let caller = TestCaller { namespace: "shop", zone: "a" };
    let known: Vec<(&str, String)> = all
        .iter()
        .map(|name| (name.as_str(), fixture.world.version(fixture.clusters, name, &caller).unwrap().to_string()))
        .collect();
    fixture.set(fixture.clusters, "name-0009", 2);
    // The client acknowledges nothing, since nothing is sent to it: the server goes on by itself.
    assert_eq!(fixture.resume(1, fixture.clusters, &refs(&all), &known), []);
    assert_eq!(fixture.server.next_wake(), Some(Duration::ZERO));
    assert_eq!(fixture.wait(0), []);
    assert_eq!(told(message(&fixture.wait(0))), "name-0009");
    assert!(fixture.server.next_wake() > Some(fixture.now), "nothing is left to do");
}

#[test]
fn what_cannot_be_sent_is_missing_until_it_changes() {
    use crate::world::TOO_LARGE;
    let mut fixture = Fixture::new();
    fixture.set_item(fixture.clusters, "a", Item { bytes: TOO_LARGE + 1, ..Item::default() });
    fixture.set(fixture.clusters, "b", 1);
    let answer = fixture.subscribe(1, fixture.clusters, &["a", "b"]);
    assert_eq!(told(message(&answer)), "b -a");
    fixture.ack(1, message(&answer));
    let request = DeltaRequest { subscribe: strings(&["a"]), ..DeltaRequest::default() };
    fixture.open(2, "shop", "a");
    assert_eq!(told(message(&fixture.request(2, fixture.clusters, request))), "-a");
    assert_eq!(fixture.world.encoded.get(), 2, "it is tried once");
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.wait(1_000);
    let [ServerAction::Send { message, .. }] = &*actions else { panic!("{actions:?}") };
    assert_eq!(told(message), "a", "stream 2 has not acknowledged yet");
}
