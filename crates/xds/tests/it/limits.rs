//! What exceeds a bound is refused, and the client is told.

use byname_xds::{CloseReason, DeltaRequest, Limits, StatusCode};

use crate::{
    fixture::{Fixture, closed, message, strings, told},
    world::Item,
};

#[test]
fn names_of_one_stream_are_bounded_over_all_types() {
    let mut fixture = Fixture::with(Limits { names_per_stream: 3, ..Limits::default() });
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    fixture.settle(1, fixture.endpoints, &["a"]);
    assert_eq!(told(message(&fixture.subscribe(1, fixture.endpoints, &["a"]))), "-a", "a name again is no more names");
    let actions = fixture.subscribe(1, fixture.endpoints, &["b"]);
    assert_eq!(closed(&actions), &CloseReason::TooManyNames { limit: 3 });
    assert_eq!(closed(&actions).status(), StatusCode::ResourceExhausted);
    assert_eq!(fixture.server.size(), byname_xds::Size::default());
}

#[test]
fn names_may_be_exchanged_at_the_bound() {
    let mut fixture = Fixture::with(Limits { names_per_stream: 2, ..Limits::default() });
    fixture.settle(1, fixture.clusters, &["a", "b"]);
    let exchange = DeltaRequest { subscribe: strings(&["c"]), unsubscribe: strings(&["a"]), ..DeltaRequest::default() };
    assert_eq!(told(message(&fixture.request(1, fixture.clusters, exchange))), "-c");
}

#[test]
fn a_refused_request_leaves_nothing() {
    let mut fixture = Fixture::with(Limits { names_per_stream: 1, ..Limits::default() });
    fixture.set(fixture.clusters, "a", 1);
    fixture.settle(1, fixture.clusters, &["a"]);
    fixture.set(fixture.clusters, "a", 2);
    let exchange =
        DeltaRequest { subscribe: strings(&["b", "c"]), unsubscribe: strings(&["a"]), ..DeltaRequest::default() };
    closed(&fixture.request(1, fixture.clusters, exchange));
    assert_eq!((fixture.server.size(), fixture.server.next_wake()), (byname_xds::Size::default(), None));
}

#[test]
fn farewells_count_as_names() {
    let mut fixture = Fixture::with(Limits { names_per_stream: 2, ..Limits::default() });
    message(&fixture.subscribe(1, fixture.clusters, &["*", "a"]));
    fixture.unsubscribe(1, fixture.clusters, &["a"]);
    fixture.subscribe(1, fixture.clusters, &["b"]);
    fixture.unsubscribe(1, fixture.clusters, &["b"]);
    let actions = fixture.subscribe(1, fixture.clusters, &["c"]);
    assert_eq!(closed(&actions), &CloseReason::TooManyNames { limit: 2 });
}

#[test]
fn long_names_are_refused() {
    let (mut fixture, long) = (Fixture::new(), "x".repeat(513));
    let actions = fixture.subscribe(1, fixture.clusters, &["a", &long]);
    assert_eq!(closed(&actions), &CloseReason::NameTooLong { bytes: 513, limit: 512 });

    fixture.open(2, "shop", "a");
    let actions = fixture.resume(2, fixture.clusters, &["*"], &[(&long, String::new())]);
    assert_eq!(closed(&actions), &CloseReason::NameTooLong { bytes: 513, limit: 512 });
}

#[test]
fn an_unknown_type_is_refused() {
    let mut fixture = Fixture::new();
    let request = DeltaRequest { type_url: "type.test/route\n".to_owned(), ..DeltaRequest::default() };
    let actions = fixture.handle(byname_xds::ServerEvent::Requested { stream: byname_xds::StreamId(1), request });
    assert_eq!(closed(&actions).to_string(), "this server has no resources of type \"type.test/route\\n\"");
    assert_eq!(closed(&actions).status(), StatusCode::InvalidArgument);
}

#[test]
fn a_long_reason_is_shortened() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let first = message(&actions).clone();
    let reason = format!("x{}", "é".repeat(4_000));
    let actions = fixture.nack(1, &first, &reason);
    let [byname_xds::ServerAction::Report(rejection)] = &*actions else { panic!("{actions:?}") };
    assert_eq!((rejection.reason.len(), reason.starts_with(&rejection.reason)), (1_023, true));
}

#[test]
fn encoded_bytes_are_bounded() {
    let kept = |encoded_bytes| {
        let mut fixture = Fixture::with(Limits { encoded_bytes, ..Limits::default() });
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        for name in &names {
            fixture.set_item(fixture.clusters, name, Item { bytes: 1_000, ..Item::default() });
        }
        fixture.settle(1, fixture.clusters, &names.iter().map(String::as_str).collect::<Vec<_>>());
        fixture.server.size().encoded
    };
    assert_eq!(kept(1 << 20), 10);
    assert!((1..=3).contains(&kept(3_000)), "{}", kept(3_000));
    assert_eq!(kept(0), 1, "a message needs one");
}
