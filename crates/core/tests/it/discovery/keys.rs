//! Which keys are subscribed, and for how long.

use byname_core::limits::{MAX_KEYS, MAX_UNUSED_SWEEPS, SWEEP_MILLISECONDS};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{web, with_ip};
use crate::stream::{Answer, Sidecar};

/// After which a key that nobody used is unsubscribed.
const IDLE: u64 = SWEEP_MILLISECONDS * (MAX_UNUSED_SWEEPS as u64 + 1);

/// Asks for a Service of `shop` in the name of no request that waits.
fn know(sidecar: &mut Sidecar, name: &str, is_there: bool) {
    let id = sidecar.request(name);
    let key = format!("shop/{name}");
    sidecar.answer(&match is_there {
        true => Answer::new("Service").with(&key, web("10.0.0.1")),
        false => Answer::new("Service").without(&key),
    });
    assert_ne!(sidecar.outcome(id), "waits", "{name}");
}

#[test]
fn a_preloaded_namespace_is_asked_for_at_the_start() {
    let mut sidecar = Sidecar::new(json!({"server": {"cluster": "byname", "preload": ["shop/*", "prod/*"]}}));
    sidecar.tick_after(1);
    assert_eq!(sidecar.opens, 1, "without a request");
    sidecar.opened();
    assert_eq!(sidecar.take_sent(), ["Namespaces: +* +shop +prod"]);
    sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop").with("shop", "orders web").without("prod"));
    assert_eq!(sidecar.take_sent(), ["Service: +shop/orders +shop/web"]);
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")).without("shop/orders"));
    assert_eq!(sidecar.ask("web"), "service web.shop:80");
    sidecar.wait(10 * IDLE);
    assert_eq!((sidecar.keys(), sidecar.take_sent()), (2, vec![]), "they stay subscribed");
    // One is gone, and one came.
    sidecar.answer(&Answer::new("Namespaces").with("shop", "late web"));
    assert_eq!(sidecar.take_sent(), ["Service: +shop/late"]);
    sidecar.answer(&Answer::new("Service").with("shop/late", web("10.0.0.1")));
    sidecar.wait(10 * IDLE);
    assert_eq!(sidecar.take_sent(), ["Service: -shop/orders"]);
    sidecar.answer(&Answer::new("Namespaces").without("shop"));
    sidecar.wait(10 * IDLE);
    assert_eq!(sidecar.keys(), 0);
    sidecar.answer(&Answer::new("Namespaces").with("other", "a b c"));
    assert_eq!(sidecar.keys(), 0, "nobody asked for this namespace");
}

/// The cost of a message does not grow with its length times the number of keys: this message would take minutes.
#[test]
fn a_message_that_repeats_itself_is_cheap() {
    const REPEATED: usize = 50_000;
    let mut sidecar = Sidecar::new(json!({"server": {"cluster": "byname", "preload": ["shop/*"]}}));
    sidecar.tick_after(1);
    sidecar.opened();
    let names: Vec<String> = (0..MAX_KEYS).map(|number| format!("n{number}")).collect();
    sidecar.answer(&Answer::new("Namespaces").with("shop", names.join(" ")));
    assert_eq!(sidecar.keys(), MAX_KEYS);
    let mut answer = Answer::new("Namespaces").with("shop", "n0 n1").without("other").without("shop");
    answer.resources = vec![answer.resources[0].clone(); REPEATED];
    answer.removed = (0..REPEATED).map(|place| answer.removed[place % 2].clone()).collect();
    sidecar.answer(&answer);
    let claim = |name: &str| (name.to_owned(), with_ip("10.96.0.1"));
    let claims = (0..2_000).map(|number| claim(&format!("shop/n{number}")));
    let claims = claims.fold(Answer::new("Service"), |answer, (name, service)| answer.with(&name, service));
    sidecar.answer(&claims);
    assert_eq!(sidecar.ask("10.96.0.1"), "cluster_ip n1999.shop:80");
    assert_eq!(["n0", "n1999"].map(|name| sidecar.ask(name)), ["service n0.shop:80", "service n1999.shop:80"]);
    sidecar.wait(10 * IDLE);
    assert_eq!(sidecar.keys(), 0, "the first word of the message counts: the namespace is gone");
}

#[test]
fn a_bad_preload_is_refused() {
    for (preload, is_good) in
        [("shop/*", true), ("shop", false), ("*", false), ("*/*", false), ("shop/web", false), ("Shop/*", false)]
    {
        let fields = crate::stream::on_demand(json!({"server": {"cluster": "byname", "preload": [preload]}}));
        let read = crate::fixture::try_config(fields);
        assert_eq!(read.is_ok(), is_good, "{preload}: {:?}", read.err());
    }
}

#[test]
fn a_key_that_nobody_uses_is_unsubscribed() {
    let mut sidecar = Sidecar::connected(json!({}));
    let names = [("idle", true), ("used", true), ("missing", false), ("unused", false)];
    names.into_iter().for_each(|(name, is_there)| know(&mut sidecar, name, is_there));
    for address in ["10.244.0.7", "10.244.0.8", "192.0.2.1", "10.96.0.7"] {
        sidecar.request(address);
    }
    let pods = Answer::new("Address").with("10.244.0.7", "").with("10.244.0.8", "");
    sidecar.answer(&Answer::new("Service").with("shop/ip", with_ip("10.96.0.7")));
    sidecar.answer(&pods.without("192.0.2.1").with("10.96.0.7", "shop/ip"));
    sidecar.take_sent();
    for _ in 0..=MAX_UNUSED_SWEEPS {
        let asked = ["used", "missing", "10-244-0-7.shop.pod", "192.0.2.1", "10.96.0.7"];
        let known = asked.map(|name| sidecar.ask(name));
        let pod = "pod 10-244-0-7.shop.pod.cluster.local:80";
        assert_eq!(
            known,
            ["service used.shop:80", "pass name_not_found", pod, "pass ip_literal", "cluster_ip ip.shop:80"]
        );
        sidecar.wait(SWEEP_MILLISECONDS);
    }
    let mut sent: Vec<String> = sidecar.take_sent();
    sent.sort_unstable();
    let unsubscribed: Vec<&str> =
        sent.iter().flat_map(|sent| sent.split(' ')).filter(|word| word.starts_with('-')).collect();
    let mut unsubscribed = unsubscribed.clone();
    unsubscribed.sort_unstable();
    // The Service of 10.96.0.7 is found without its address.
    assert_eq!(unsubscribed, ["-10.244.0.8", "-10.96.0.7", "-shop/idle", "-shop/start", "-shop/unused"]);
    assert_eq!(sidecar.ask("idle"), "waits", "it is forgotten");
    assert_eq!(sidecar.take_sent(), ["Service: +shop/idle"]);
}

#[test]
fn a_change_of_a_service_is_no_use_of_it() {
    let mut sidecar = Sidecar::connected(json!({}));
    assert_eq!(sidecar.ask("idle"), "waits");
    let idle = |port: u16| json!({"clusterIPs": "10.96.0.9", "ports": [{"port": port}]});
    for minute in 0..IDLE / 60_000 {
        sidecar.answer(&Answer::new("Service").with("shop/idle", idle(80 + minute as u16)));
        sidecar.wait(60_000);
    }
    assert!(sidecar.take_sent().concat().contains("-shop/idle"));
}

#[test]
fn what_does_not_exist_goes_first_where_there_is_no_room() {
    let mut sidecar = Sidecar::connected(json!({}));
    know(&mut sidecar, "known", true);
    for number in 0..MAX_KEYS + 500 {
        let name = format!("n{number}");
        sidecar.answer(&Answer::new("Service").without(&format!("shop/{name}")));
        assert!(sidecar.keys() <= MAX_KEYS);
        if number > MAX_KEYS - 10 {
            // Beyond the bound the server is not believed, and has to be asked.
            know(&mut sidecar, &name, false);
        }
        sidecar.sent.clear();
    }
    assert!(sidecar.keys() > MAX_KEYS * 9 / 10);
    assert_eq!(sidecar.ask("known"), "service known.shop:80");
    let forgotten = (0..MAX_KEYS).filter(|number| sidecar.ask(&format!("n{number}")) == "waits").count();
    assert!((1..MAX_KEYS / 10).contains(&forgotten), "{forgotten} that were known to be missing");
    know(&mut sidecar, "late", true);
    assert_eq!(sidecar.ask("late"), "service late.shop:80");
}

/// Where all exist, those go that no request has used since a sweep.
#[test]
fn what_was_not_used_for_long_goes_next_where_there_is_no_room() {
    const OLD: usize = 2_000;
    let mut sidecar = Sidecar::connected(json!({}));
    (0..OLD).for_each(|number| know(&mut sidecar, &format!("old{number}"), true));
    // The first sweep finds them used.
    sidecar.wait(SWEEP_MILLISECONDS);
    sidecar.wait(SWEEP_MILLISECONDS);
    assert_eq!(sidecar.ask("old7"), "service old7.shop:80");
    let new = MAX_KEYS - sidecar.keys();
    (0..new).for_each(|number| know(&mut sidecar, &format!("new{number}"), true));
    assert_eq!(sidecar.keys(), MAX_KEYS);
    sidecar.sent.clear();
    know(&mut sidecar, "last", true);
    let gone = MAX_KEYS + 1 - sidecar.keys();
    assert!((1..OLD).contains(&gone), "{gone} of {MAX_KEYS}");
    for name in (0..new).map(|number| format!("new{number}")).chain(["old7", "last"].map(str::to_owned)) {
        assert_eq!(sidecar.ask(&name), format!("service {name}.shop:80"));
    }
    // The name that does not exist is one of those that are gone.
    assert_eq!((0..OLD).filter(|number| sidecar.ask(&format!("old{number}")) == "waits").count(), gone - 1);
}

#[test]
fn a_key_that_gives_way_and_is_asked_for_again_stays_subscribed() {
    let searches = ["shop.svc.cluster.local", "prod.svc.cluster.local"];
    let mut sidecar = Sidecar::connected(json!({"dns": {"searches": searches}}));
    // The oldest key is one that the request needs again, after one that is new.
    sidecar.answer(&Answer::new("Service").without("prod/web"));
    for number in 0.. {
        if sidecar.keys() == MAX_KEYS {
            break;
        }
        sidecar.answer(&Answer::new("Service").without(&format!("prod/n{number}")));
    }
    sidecar.wait(1);
    sidecar.answer(&Answer::new("Service").without("shop/start"));
    sidecar.closed();
    sidecar.wait(1_000);
    sidecar.opened();
    sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop"));
    sidecar.sent.clear();
    let id = sidecar.request("web");
    assert_eq!(sidecar.outcome(id), "waits");
    let request = sidecar.sent.iter().find(|request| request.resource_type == "Service").expect("it asks");
    assert!(request.subscribe.contains(&"shop/web".to_owned()));
    let contrary: Vec<&String> = request.subscribe.iter().filter(|name| request.unsubscribe.contains(name)).collect();
    assert_eq!(contrary, Vec::<&String>::new(), "a server would take them for unsubscribed");
}
