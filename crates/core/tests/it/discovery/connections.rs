//! When the stream is opened, ended and opened again.

use byname_core::limits::MAX_MESSAGE_BYTES;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::web;
use crate::stream::{Answer, Sidecar};

/// The milliseconds until the stream is opened again.
fn pause(sidecar: &mut Sidecar) -> u64 {
    let (from, opens) = (sidecar.now, sidecar.opens);
    while sidecar.opens == opens {
        let now = sidecar.now;
        let next = sidecar.next_tick(now).expect("it is opened again");
        sidecar.tick_after(next);
    }
    sidecar.now - from
}

#[test]
fn is_opened_by_the_first_request_that_needs_it() {
    let mut sidecar = Sidecar::new(json!({}));
    let now = sidecar.now;
    assert_eq!(sidecar.next_tick(now), None, "there is nothing to do");
    sidecar.tick_after(1_000_000);
    assert_eq!(sidecar.opens, 0);
    assert_eq!(sidecar.ask("127.0.0.1"), "pass ip_literal");
    assert_eq!(sidecar.ask("a,b"), "refuse bad_authority");
    assert_eq!(sidecar.opens, 0);
    for _ in 0..3 {
        assert_eq!(sidecar.ask("web"), "waits");
    }
    assert_eq!(sidecar.opens, 1, "once");
    assert!(!sidecar.discovery().0.is_open());
    sidecar.opened();
    assert!(sidecar.discovery().0.is_open());
    assert_eq!(sidecar.discovery().0.counts().streams, 1);
}

#[test]
fn the_pauses_between_failed_attempts_double_up_to_a_bound_and_are_spread() {
    for random in [0, 1, 12_345_678_901, u64::MAX] {
        let mut sidecar = Sidecar::new(json!({}));
        sidecar.random = random;
        assert_eq!(sidecar.ask("web"), "waits");
        for most in [500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000] {
            sidecar.closed();
            let pause = pause(&mut sidecar);
            assert!((most / 2..=most).contains(&pause), "{pause} of {most}");
        }
    }
    let mut pauses: Vec<u64> = (0..100)
        .map(|random| {
            let mut sidecar = Sidecar::new(json!({}));
            sidecar.random = random * 0x9e37_79b9;
            sidecar.request("web");
            sidecar.closed();
            pause(&mut sidecar)
        })
        .collect();
    pauses.sort_unstable();
    pauses.dedup();
    assert!(pauses.len() > 50, "{pauses:?}");
}

#[test]
fn a_stream_that_was_of_use_is_replaced_at_once() {
    let mut sidecar = Sidecar::connected(json!({}));
    sidecar.wait(1_800_000);
    let id = sidecar.request("web");
    sidecar.random = u64::MAX;
    sidecar.closed();
    assert_eq!(sidecar.outcome(id), "waits", "another server will answer");
    assert!(pause(&mut sidecar) <= 50);
    sidecar.opened();
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "service web.shop:80");
}

#[test]
fn a_server_that_ends_each_stream_is_not_asked_over_and_over() {
    let mut sidecar = Sidecar::connected(json!({}));
    let from = sidecar.now;
    for _ in 0..20 {
        sidecar.closed();
        pause(&mut sidecar);
        sidecar.opened();
        sidecar.answer(&Answer::new("Namespaces").with("*", "shop"));
    }
    let seconds = (sidecar.now - from) / 1_000;
    assert!(seconds > 60, "20 streams in {seconds} s");
    // One that lives is as good as the first.
    sidecar.answer(&Answer::new("Service").without("shop/start"));
    sidecar.wait(600_000);
    sidecar.closed();
    assert!(pause(&mut sidecar) <= 50);
}

#[test]
fn a_silent_server_is_given_up() {
    let mut sidecar = Sidecar::new(json!({}));
    let id = sidecar.request("web");
    sidecar.opened();
    sidecar.wait(4_999);
    assert_eq!((sidecar.resets, sidecar.outcome(id).as_str()), (0, "pass unanswered"));
    sidecar.wait(1);
    assert_eq!((sidecar.resets, sidecar.opens), (1, 1));
    assert!(!sidecar.discovery().0.is_open());
    assert!((250..=500).contains(&pause(&mut sidecar)));
    sidecar.opened();
    sidecar.answer(&Answer::new("Namespaces").with("*", "shop"));
    sidecar.answer(&Answer::new("Service").without("shop/web"));
    sidecar.wait(1_000_000);
    assert_eq!(sidecar.resets, 1, "a server that has no question may be silent");
    assert_eq!(sidecar.ask("late"), "waits");
    sidecar.wait(5_000);
    assert_eq!(sidecar.resets, 2);
}

#[test]
fn a_message_that_is_torn_ends_the_stream() {
    let good = Answer::new("Service").with("shop/web", web("10.0.0.1")).write();
    let mut unknown_type = Answer::new("Service").with("shop/web", web("10.0.0.1"));
    unknown_type.resource_type = "Secret".to_owned();
    let mut long = Answer::new("Service").with("shop/web", web("10.0.0.1")).write();
    long.resize(MAX_MESSAGE_BYTES + 1, 0);
    let bad: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"hello",
        &good[..good.len() - 1],
        &good[..10],
        &unknown_type.write(),
        &long,
    ];
    for message in bad {
        let mut sidecar = Sidecar::connected(json!({}));
        let id = sidecar.request("web");
        sidecar.receive(message);
        assert_eq!((sidecar.resets, sidecar.outcome(id).as_str()), (1, "pass unanswered"), "{message:?}");
        assert_eq!(sidecar.discovery().0.counts().rejections, 1);
        // What comes of the earlier stream is not read.
        sidecar.receive(&good);
        assert_eq!(sidecar.ask("web"), "pass unanswered");
        assert!((250..=500).contains(&pause(&mut sidecar)));
    }
}

#[test]
fn a_stream_that_is_closed_twice_counts_once() {
    let mut sidecar = Sidecar::connected(json!({}));
    sidecar.receive(b"torn");
    sidecar.closed();
    sidecar.closed();
    assert!((250..=500).contains(&pause(&mut sidecar)));
}

#[test]
fn nothing_is_done_when_nothing_is_needed() {
    let mut sidecar = Sidecar::connected(json!({}));
    sidecar.wait(3_600_000);
    assert_eq!(sidecar.keys(), 0, "nobody has used a key");
    sidecar.closed();
    let opens = sidecar.opens;
    let ticks = sidecar.wait(3_600_000);
    assert!(ticks < 10, "{ticks} ticks in an hour");
    assert_eq!(sidecar.opens, opens);
    assert_eq!(sidecar.ask("web"), "waits");
    assert_eq!(sidecar.opens, opens + 1);
}

#[test]
fn ticks_are_few() {
    let mut sidecar = Sidecar::connected(json!({"server": {"cluster": "byname", "preload": ["prod/*"]}}));
    assert_eq!(sidecar.ask("web"), "waits");
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
    for _ in 0..10 {
        let ticks = sidecar.wait(600_000);
        assert!(ticks <= 2, "{ticks} ticks in ten minutes");
        assert_eq!(sidecar.ask("web"), "service web.shop:80");
    }
    sidecar.closed();
    let ticks = sidecar.wait(3_600_000);
    assert!(ticks < 20, "{ticks} ticks in an hour in which the stream is being opened");
}
