//! What a caller may not see is answered as missing.

use std::time::Duration;

use byname_xds::{Limits, ServerEvent, StreamId};

use crate::{
    fixture::{Fixture, message, told},
    world::{Item, TestCaller},
};

#[test]
fn what_is_hidden_reads_like_what_is_missing() {
    let mut fixture = Fixture::new();
    fixture.show(fixture.clusters, "hidden", &["prod"]);
    fixture.open(2, "prod", "a");
    assert_eq!(told(message(&fixture.subscribe(1, fixture.clusters, &["hidden", "missing"]))), "-hidden -missing");
    assert_eq!(told(message(&fixture.subscribe(2, fixture.clusters, &["hidden", "missing"]))), "hidden -missing");
}

#[test]
fn a_resource_comes_and_goes_with_its_visibility() {
    let mut fixture = Fixture::new();
    fixture.show(fixture.clusters, "a", &["prod"]);
    fixture.settle(1, fixture.clusters, &["a"]);
    for (namespaces, expected) in [(&["shop", "prod"][..], "a"), (&["prod"], "-a")] {
        fixture.show(fixture.clusters, "a", namespaces);
        let actions = fixture.wait(1_000);
        let answer = message(&actions).clone();
        assert_eq!(told(&answer), expected);
        fixture.ack(1, &answer);
    }
}

#[test]
fn changes_of_what_is_hidden_send_nothing_and_encode_nothing() {
    let mut fixture = Fixture::new();
    fixture.settle(1, fixture.clusters, &["a"]);
    for _ in 0..3 {
        fixture.show(fixture.clusters, "a", &["prod"]);
        assert_eq!(fixture.wait(1_000), []);
    }
    assert_eq!(fixture.world.encoded.get(), 0);
}

#[test]
fn a_caller_of_whom_more_is_known_gets_what_that_caller_may_have() {
    let mut fixture = Fixture::new();
    fixture.show(fixture.clusters, "a", &["prod"]);
    fixture.set(fixture.clusters, "b", 1);
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    let caller = TestCaller { namespace: "prod", zone: "a" };
    let (stream, resource_type) = (StreamId(1), fixture.clusters);
    let actions = fixture.handle(ServerEvent::CallerChanged { stream, resource_type, caller });
    assert_eq!(told(message(&actions)), "a", "what stays the same is not sent again");
}

/// A resource with so many subscribers that it is sent less often: only those who may see it count.
#[test]
fn who_may_not_see_a_resource_slows_it_for_nobody() {
    for (see, next) in [(&["prod"][..], 50), (&["prod", "shop"], 120)] {
        let mut fixture = Fixture::with(Limits { resource_sends_per_second: 25, ..Limits::default() });
        fixture.open(2, "prod", "a");
        fixture.open(3, "shop", "a");
        let show = |fixture: &mut Fixture| fixture.show(fixture.endpoints, "a", see);
        show(&mut fixture);
        for stream in 1..=3 {
            fixture.settle(stream, fixture.endpoints, &["a"]);
        }
        fixture.set_item(
            fixture.endpoints,
            "a",
            Item { value: 1, seen_by: Some(see.iter().copied().collect()), ..Item::default() },
        );
        assert!(!fixture.wait(50).is_empty(), "the first is sent after its window");
        fixture.set_item(
            fixture.endpoints,
            "a",
            Item { value: 2, seen_by: Some(see.iter().copied().collect()), ..Item::default() },
        );
        let wake = fixture.server.next_wake().unwrap();
        assert_eq!(wake - fixture.now, Duration::from_millis(next), "{see:?}");
    }
}
