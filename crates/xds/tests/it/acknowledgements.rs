//! Nonces, ACKs and NACKs: section "Incremental xDS".

use byname_xds::{CloseReason, DeltaRequest, Receipt, Rejection, ServerAction, StreamId};

use crate::fixture::{Body, Fixture, closed, message, strings, told};

fn rejection(actions: &[ServerAction<Body>]) -> &Rejection {
    match actions.first() {
        Some(ServerAction::Report(rejection)) => rejection,
        _ => panic!("a NACK is not reported: {actions:?}"),
    }
}

#[test]
fn one_message_of_a_type_waits_for_its_ack() {
    let mut fixture = Fixture::new();
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let first = message(&actions).clone();
    assert_eq!(fixture.subscribe(1, fixture.clusters, &["b"]), []);
    assert_eq!(fixture.subscribe(1, fixture.clusters, &["c"]), []);
    assert_eq!(told(message(&fixture.ack(1, &first))), "-b -c");
}

#[test]
fn types_do_not_wait_for_each_other() {
    let mut fixture = Fixture::new();
    message(&fixture.subscribe(1, fixture.clusters, &["a"]));
    assert_eq!(told(message(&fixture.subscribe(1, fixture.endpoints, &["a"]))), "-a");
}

#[test]
fn what_changes_meanwhile_is_sent_once_and_newest() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let first = message(&actions).clone();
    for value in 2..=9 {
        fixture.set(fixture.clusters, "a", value);
        assert_eq!(fixture.wait(1_000), []);
    }
    let actions = fixture.ack(1, &first);
    let second = message(&actions).clone();
    assert_eq!(&*second.resources[0].body, b"TypeIndex(1) a  - 9");
    assert_eq!(fixture.ack(1, &second), []);
}

#[test]
fn a_stale_nonce_acknowledges_nothing_but_subscriptions_count() {
    let mut fixture = Fixture::new();
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let first = message(&actions).clone();
    for response_nonce in ["0", "99", "", "x", "-1", "+1", "01", "1 ", "１"] {
        let stale = DeltaRequest {
            subscribe: strings(&["b"]),
            response_nonce: response_nonce.to_owned(),
            error: (response_nonce == "99").then(|| "no".to_owned()),
            ..DeltaRequest::default()
        };
        assert_eq!(fixture.request(1, fixture.clusters, stale), []);
    }
    assert_eq!(told(message(&fixture.ack(1, &first))), "-b");
}

#[test]
fn a_refused_version_is_not_sent_until_the_content_changes() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "a", 1);
    let actions = fixture.subscribe(1, fixture.clusters, &["a"]);
    let first = message(&actions).clone();
    let actions = fixture.nack(1, &first, "no such transport socket");
    let expected = Rejection {
        stream: StreamId(1),
        resource_type: fixture.clusters,
        resources: vec![("a".into(), first.resources[0].version)],
        reason: "no such transport socket".to_owned(),
        is_final: true,
    };
    assert_eq!(actions, [ServerAction::Report(expected)]);

    fixture.set(fixture.clusters, "a", 1);
    assert_eq!(fixture.wait(1_000), []);
    assert_eq!(fixture.subscribe(1, fixture.clusters, &["a"]), [], "asking again does not change the content");
    fixture.set(fixture.clusters, "a", 2);
    assert_eq!(told(message(&fixture.wait(1_000))), "a");
}

#[test]
fn a_bad_resource_does_not_keep_others_from_the_client() {
    let mut fixture = Fixture::new();
    for (name, value) in [("a", 1), ("bad", 2), ("c", 3)] {
        fixture.set(fixture.clusters, name, value);
    }
    let actions = fixture.subscribe(1, fixture.clusters, &["a", "bad", "c", "missing"]);
    let all = message(&actions).clone();
    assert_eq!(told(&all), "a bad c -missing");

    let mut actions = fixture.nack(1, &all, "bad is bad");
    assert_eq!((rejection(&actions).resources.len(), rejection(&actions).is_final), (3, false));
    let mut sent = Vec::new();
    while let Some(ServerAction::Send { message, .. }) = actions.last().cloned() {
        sent.push(told(&message));
        let is_bad = message.resources.iter().any(|resource| &*resource.name == "bad");
        actions = if is_bad { fixture.nack(1, &message, "bad is bad") } else { fixture.ack(1, &message) };
        if is_bad {
            let rejection = rejection(&actions);
            assert_eq!((rejection.is_final, &*rejection.resources[0].0), (true, "bad"));
        }
    }
    assert_eq!(sent, ["a", "bad", "c", "-missing"], "each alone, once");
}

#[test]
fn says_how_far_each_name_has_come() {
    let mut fixture = Fixture::new();
    fixture.set(fixture.clusters, "good", 1);
    fixture.set(fixture.clusters, "bad", 2);
    let receipts = |fixture: &Fixture| {
        let told = fixture.server.told(StreamId(1));
        told.map(|(_, name, version, receipt)| (name.to_string(), version.is_some(), receipt)).collect::<Vec<_>>()
    };
    let one = |name: &str, has_version, receipt| (name.to_owned(), has_version, receipt);
    let first = message(&fixture.subscribe(1, fixture.clusters, &["good", "missing"])).clone();
    assert_eq!(receipts(&fixture), [one("good", true, Receipt::Sent), one("missing", false, Receipt::Sent)]);
    fixture.subscribe(1, fixture.clusters, &["bad"]);
    assert_eq!(receipts(&fixture)[2], one("bad", false, Receipt::NotSent), "one message at a time");
    let second = message(&fixture.ack(1, &first)).clone();
    assert_eq!(
        receipts(&fixture)[1..],
        [one("missing", false, Receipt::Acknowledged), one("bad", true, Receipt::Sent)]
    );
    fixture.nack(1, &second, "bad is bad");
    assert_eq!(receipts(&fixture)[2], one("bad", true, Receipt::Refused));
    fixture.set(fixture.clusters, "bad", 3);
    let third = message(&fixture.wait(1_000)).clone();
    fixture.ack(1, &third);
    assert_eq!(receipts(&fixture)[2], one("bad", true, Receipt::Acknowledged));
}

#[test]
fn a_client_that_does_not_acknowledge_is_closed() {
    let mut fixture = Fixture::new();
    message(&fixture.subscribe(1, fixture.clusters, &["a"]));
    assert_eq!(fixture.server.next_wake().map(|wake| wake.as_secs()), Some(60));
    assert_eq!(fixture.wait(59_999), []);
    assert!(matches!(closed(&fixture.wait(1)), CloseReason::NotAcknowledged { .. }));
    assert_eq!(fixture.server.size(), byname_xds::Size::default());
}
