//! What a resource leads to comes with it.

use byname_xds::{DeltaRequest, Limits, ServerAction};

use crate::fixture::{Body, Fixture, message, strings, told};

/// What the messages say, in their order.
fn all_told(actions: &[ServerAction<Body>]) -> Vec<String> {
    let message = |action: &ServerAction<Body>| match action {
        ServerAction::Send { message, .. } => told(message),
        other => panic!("only messages are expected: {other:?}"),
    };
    actions.iter().map(message).collect()
}

/// Acknowledges all messages, and returns what comes then.
fn ack_all(fixture: &mut Fixture, actions: &[ServerAction<Body>]) -> Vec<ServerAction<Body>> {
    let mut next = Vec::new();
    for action in actions {
        if let ServerAction::Send { stream, message } = action {
            next.extend(fixture.ack(stream.0, message));
        }
    }
    next
}

#[test]
fn an_alias_and_its_target_come_in_one_message() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.lead(services, "alias", "target");
    fixture.set(services, "target", 1);
    let answer = fixture.subscribe(1, services, &["alias"]);
    assert_eq!(told(message(&answer)), "alias target");
    ack_all(&mut fixture, &answer);
    // The target is subscribed to like any other name.
    fixture.set(services, "target", 2);
    assert_eq!(told(message(&fixture.wait(50))), "target");
}

#[test]
fn a_chain_of_aliases_comes_whole_and_a_circle_ends() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.lead(services, "a", "b");
    fixture.lead(services, "b", "c");
    fixture.lead(services, "c", "a");
    assert_eq!(told(message(&fixture.subscribe(1, services, &["a"]))), "a b c");
}

#[test]
fn a_target_that_is_missing_is_answered_and_appears() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.lead(services, "alias", "target");
    let answer = fixture.subscribe(1, services, &["alias"]);
    assert_eq!(told(message(&answer)), "alias -target");
    ack_all(&mut fixture, &answer);
    fixture.set(services, "target", 1);
    assert_eq!(told(message(&fixture.wait(50))), "target");
}

#[test]
fn an_alias_that_changes_brings_its_new_target() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.set(services, "one", 1);
    fixture.set(services, "two", 1);
    fixture.lead(services, "alias", "one");
    let answer = fixture.subscribe(1, services, &["alias"]);
    ack_all(&mut fixture, &answer);
    fixture.lead(services, "alias", "two");
    assert_eq!(told(message(&fixture.wait(50))), "two alias");
}

#[test]
fn a_target_comes_when_its_alias_changed_while_a_message_was_under_way() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.set(services, "one", 1);
    fixture.set(services, "two", 1);
    fixture.lead(services, "alias", "one");
    let first = fixture.subscribe(1, services, &["one"]);
    assert_eq!(fixture.subscribe(1, services, &["alias"]), [], "a message is under way");
    // The window of this change is open when the alias is sent.
    fixture.lead(services, "alias", "two");
    let second = ack_all(&mut fixture, &first);
    assert_eq!(told(message(&second)), "alias");
    assert_eq!(told(message(&ack_all(&mut fixture, &second))), "two");
}

#[test]
fn a_service_comes_before_the_address_that_leads_to_it() {
    let mut fixture = Fixture::new();
    let (services, addresses) = (fixture.services, fixture.addresses);
    fixture.set(services, "web", 1);
    fixture.lead(addresses, "10.0.0.1", "web");
    fixture.set(addresses, "10.0.0.2", 1);
    let answer = fixture.subscribe(1, addresses, &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(all_told(&answer), ["web", "10.0.0.1 10.0.0.2"]);
}

#[test]
fn an_address_waits_for_its_service() {
    let mut fixture = Fixture::new();
    let (services, addresses) = (fixture.services, fixture.addresses);
    fixture.set(services, "other", 1);
    fixture.set(services, "web", 1);
    fixture.lead(addresses, "10.0.0.1", "web");
    fixture.set(addresses, "10.0.0.2", 1);
    let first = fixture.subscribe(1, services, &["other"]);
    let other = fixture.subscribe(1, addresses, &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(all_told(&other), ["10.0.0.2"]);
    assert_eq!(ack_all(&mut fixture, &other), []);
    assert_eq!(all_told(&ack_all(&mut fixture, &first)), ["web", "10.0.0.1"]);
}

#[test]
fn a_service_and_its_address_change_together() {
    let mut fixture = Fixture::new();
    let (services, addresses) = (fixture.services, fixture.addresses);
    fixture.set(services, "web", 1);
    fixture.lead(addresses, "10.0.0.1", "web");
    fixture.set(addresses, "10.0.0.9", 1);
    let answer = fixture.subscribe(1, addresses, &["10.0.0.1", "10.0.0.9"]);
    assert_eq!(ack_all(&mut fixture, &answer), []);
    fixture.set(addresses, "10.0.0.9", 2);
    fixture.wait(30);
    // The removal is in the window of the Service, and comes after the Service.
    fixture.set(services, "web", 2);
    fixture.remove(addresses, "10.0.0.1");
    assert_eq!(all_told(&fixture.wait(20)), ["web", "10.0.0.9 -10.0.0.1"]);
}

#[test]
fn only_the_client_unsubscribes() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.lead(services, "alias", "target");
    fixture.set(services, "target", 1);
    let answer = fixture.subscribe(1, services, &["alias"]);
    ack_all(&mut fixture, &answer);
    assert_eq!(fixture.unsubscribe(1, services, &["alias"]), []);
    fixture.set(services, "target", 2);
    let change = fixture.wait(50);
    assert_eq!(told(message(&change)), "target");
    ack_all(&mut fixture, &change);
    assert_eq!(fixture.unsubscribe(1, services, &["target"]), []);
    assert_eq!(fixture.server.size().names, 0);
}

#[test]
fn a_name_that_is_under_way_stays_subscribed() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.set(services, "web", 1);
    let answer = fixture.subscribe(1, services, &["web"]);
    // The client has not read the message yet, and will count the name in it as subscribed.
    fixture.unsubscribe(1, services, &["web"]);
    ack_all(&mut fixture, &answer);
    fixture.set(services, "web", 2);
    let change = fixture.wait(50);
    assert_eq!(told(message(&change)), "web");
    // An ACK in the same request says that the client has read it.
    let response_nonce = message(&change).nonce.to_string();
    let unsubscribe = strings(&["web"]);
    fixture.request(1, services, DeltaRequest { response_nonce, unsubscribe, ..DeltaRequest::default() });
    assert_eq!(fixture.server.size().names, 0);
}

#[test]
fn nothing_is_added_beyond_the_limit_and_the_stream_stays() {
    let mut fixture = Fixture::with(Limits { names_per_stream: 2, ..Limits::default() });
    let (services, addresses) = (fixture.services, fixture.addresses);
    fixture.lead(services, "a", "b");
    fixture.lead(services, "b", "c");
    fixture.lead(addresses, "10.0.0.1", "c");
    let answer = fixture.subscribe(1, services, &["a"]);
    assert_eq!(told(message(&answer)), "a b");
    assert_eq!(ack_all(&mut fixture, &answer), []);
    fixture.unsubscribe(1, services, &["b"]);
    let answer = fixture.subscribe(1, addresses, &["10.0.0.1"]);
    assert_eq!(all_told(&answer), ["10.0.0.1"], "the address does not wait for what it has no room for");
}

#[test]
fn what_a_client_has_brings_nothing() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.lead(services, "alias", "target");
    fixture.set(services, "target", 1);
    let answer = fixture.subscribe(1, services, &["alias"]);
    let versions = message(&answer).resources.iter().map(|resource| resource.version.to_string());
    let versions: Vec<String> = versions.collect();
    fixture.open(2, "shop", "a");
    let known = [("alias", versions[0].clone()), ("target", versions[1].clone())];
    assert_eq!(fixture.resume(2, services, &["alias", "target"], &known), []);
}

#[test]
fn a_star_is_a_name_of_a_linked_type() {
    let mut fixture = Fixture::new();
    let services = fixture.services;
    fixture.set(services, "*", 1);
    fixture.set(services, "web", 1);
    // A first request without names is no wildcard.
    assert_eq!(fixture.request(1, services, DeltaRequest::default()), []);
    let answer = fixture.subscribe(1, services, &["*", "web"]);
    assert_eq!(told(message(&answer)), "* web");
    ack_all(&mut fixture, &answer);
    assert_eq!(fixture.unsubscribe(1, services, &["*", "web"]), []);
    assert_eq!(fixture.server.size().names, 0);
}
