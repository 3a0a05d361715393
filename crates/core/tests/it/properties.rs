//! What holds for every input. The table is checked against the search of `naive.rs`.

use byname_core::{Authority, Balance, Chooser, Config, FakeEnv, Host, Name, Plan, Request, Scheme};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    naive::{Cluster, ENDS, Endpoint, Fallback, Instead, Kind, OUTSIDE, Plain, WORDS},
    world::{self, ask, read},
};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&WORDS[..]).prop_map(str::to_owned)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (prop::option::of(word()), 0u8..3, prop::bool::weighted(0.8)).prop_map(|(hostname, last, ready)| Endpoint {
        hostname,
        address: [10, 0, 0, last],
        ready,
    })
}

fn alias() -> impl Strategy<Value = Kind> {
    let inside = (prop::collection::vec(word(), 1..6), prop::sample::select(vec!["svc", "svc", "svc", "pod"]))
        .prop_map(|(labels, kind)| format!("{}.{kind}.cluster.local", labels.join(".")));
    let outside = prop::sample::select(&OUTSIDE[..]).prop_map(str::to_owned);
    (prop_oneof![3 => inside, 1 => outside], prop::option::of(79u16..82))
        .prop_map(|(target, port)| Kind::Alias { target, port })
}

fn plain() -> impl Strategy<Value = Plain> {
    let with_endpoints = prop_oneof![Just(Kind::Virtual), Just(Kind::Headless)];
    let kind = prop_oneof![
        2 => (with_endpoints, prop::collection::vec(endpoint(), 0..3)),
        1 => (alias(), Just(vec![])),
    ];
    (word(), word(), kind).prop_map(|(namespace, name, (kind, endpoints))| Plain { namespace, name, kind, endpoints })
}

fn table() -> impl Strategy<Value = Vec<Plain>> {
    prop::collection::vec(plain(), 0..12)
}

/// Of few namespaces and names, which are granted one another, so that fallbacks and Services meet: in chains and circles.
fn key() -> impl Strategy<Value = (String, String)> {
    let namespace = prop::sample::select(&["a", "a", "prod", "b"][..]);
    let name = prop::sample::select(&["a", "b", "prod", "svc"][..]);
    (namespace, name).prop_map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
}

fn fallback() -> impl Strategy<Value = Fallback> {
    let outside = prop::sample::select(&OUTSIDE[..]).prop_map(|host| Instead::Host(host.to_owned()));
    let to = prop_oneof![5 => key().prop_map(|(namespace, name)| Instead::Service(namespace, name)), 1 => outside];
    let port = prop_oneof![3 => Just(None), 1 => (80u16..82).prop_map(Some)];
    let when = prop::sample::select(vec![(true, true), (true, true), (true, false), (false, true)]);
    (key(), to, port, when).prop_map(|(of, to, port, (when_missing, when_no_endpoints))| Fallback {
        of,
        to,
        port,
        when_missing,
        when_no_endpoints,
    })
}

/// A Service that may well be empty, or an alias of one that may well be missing.
fn hollow() -> impl Strategy<Value = Plain> {
    let inside = key().prop_map(|(namespace, name)| format!("{name}.{namespace}.svc.cluster.local"));
    let alias = (inside, prop::option::of(79u16..82)).prop_map(|(target, port)| Kind::Alias { target, port });
    let endpoints = prop::collection::vec(endpoint(), 0..2);
    let kind = prop_oneof![
        2 => (prop_oneof![Just(Kind::Virtual), Just(Kind::Headless)], endpoints),
        1 => (alias, Just(vec![])),
    ];
    (key(), kind).prop_map(|((namespace, name), (kind, endpoints))| Plain { namespace, name, kind, endpoints })
}

fn asked_of_few() -> impl Strategy<Value = String> {
    let short = key().prop_map(|(_, name)| name);
    let with_namespace = key().prop_map(|(namespace, name)| format!("{name}.{namespace}"));
    let named = key().prop_map(|(_, name)| format!("_http._tcp.{name}"));
    let end = prop::sample::select(&["", "", "", ":80", ":81"][..]);
    let name = prop_oneof![3 => short, 2 => with_namespace, 1 => named, 1 => asked().prop_filter("no port", |asked| !asked.contains(':'))];
    (name, end).prop_map(|(name, end)| name + end)
}

fn asked() -> impl Strategy<Value = String> {
    (prop::collection::vec(word(), 1..7), prop::sample::select(&ENDS[..]))
        .prop_map(|(labels, end)| labels.join(".") + end)
}

fn compiled(services: &[Plain], ndots: u8) -> Config {
    Cluster::new(services.to_vec(), ndots, false).config()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_a_search_through_all_services(
        services in table(), asked in asked(), ndots in 0u8..7, musl in any::<bool>(),
    ) {
        let cluster = Cluster::new(services, ndots, musl);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn fallbacks_and_the_baseline_are_followed_as_by_a_search_through_all_services(
        services in prop::collection::vec(hollow(), 0..12), fallbacks in prop::collection::vec(fallback(), 0..16),
        baseline in prop::option::of(prop::sample::select(&["prod", "b"][..]).prop_map(str::to_owned)),
        asked in asked_of_few(), ndots in 0u8..7, musl in any::<bool>(),
    ) {
        let cluster = Cluster::new(services, ndots, musl).with_fallbacks(fallbacks, baseline);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn a_table_changed_one_by_one_answers_as_one_made_at_once(
        services in table(), order in any::<prop::sample::Index>(), asked in asked(),
    ) {
        let whole = compiled(&services, 5);
        let mut changed = compiled(&services, 5);
        let services = Cluster::new(services, 5, false).services;
        if !services.is_empty() {
            let service = &services[order.index(services.len())];
            prop_assert!(changed.table.remove(&service.namespace, &service.name));
            let wire = serde_json::from_value(service.wire()).expect("the wire form");
            let key = format!("{}/{}", service.namespace, service.name);
            changed.table.put(byname_core::ServiceSpec::compile(&key, &wire).expect("it is good")).expect("there is room");
        }
        prop_assert_eq!(ask(&changed, &asked), ask(&whole, &asked));
        prop_assert_eq!(changed.table.endpoints(), whole.table.endpoints());
    }

    #[test]
    fn any_bytes_are_an_authority_or_not_and_its_canonical_form_is_a_fixed_point(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(authority) = Authority::try_from(&*bytes) {
            let canonical = authority.to_string();
            prop_assert_eq!(Authority::try_from(canonical.as_bytes()), Ok(authority));
            prop_assert!(!canonical.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn text_like_an_authority_keeps_to_one_canonical_form(text in "[a-zA-Z0-9._:\\[\\]-]{0,40}") {
        if let Ok(authority) = Authority::try_from(text.as_bytes()) {
            let canonical = authority.to_string();
            prop_assert_eq!(Authority::try_from(canonical.as_bytes()), Ok(authority));
            if let Host::Name { .. } = authority.host() {
                prop_assert_eq!(canonical, text.to_ascii_lowercase(), "a name only loses its case");
            }
        }
    }

    #[test]
    fn any_bytes_are_decided_traced_and_answered_alike(bytes in prop::collection::vec(any::<u8>(), 0..300), services in table()) {
        let config = compiled(&services, 5);
        let request = Request { authority: &bytes, scheme: Scheme::Http };
        let (mut plan, mut traced) = (Plan::default(), Plan::default());
        let plain = world::decide(&config, request, &mut Chooser { balance: &mut Balance::default(), env: &mut FakeEnv::default() }, &mut plan).reason();
        let (resolution, trace) = world::decide_traced(&config, request, &mut Chooser { balance: &mut Balance::default(), env: &mut FakeEnv::default() }, &mut traced);
        prop_assert_eq!(plain, resolution.reason());
        prop_assert_eq!(plan.cluster(), traced.cluster());
        prop_assert!(trace.to_string().is_ascii());
        if let Some(answer) = world::local_reply(&config, request) {
            prop_assert_eq!(answer.reason, plain);
            prop_assert!(answer.body.is_ascii() && answer.body.lines().count() == 1);
        }
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,200}") {
        let _ = read(&text);
        let _ = read(&format!(r#"{{"version": 1, "caller": {{"namespace": {}}}}}"#, json!(text)));
        let _ = read(&format!(r#"{{"version": 1, "table": {{"services": {{"shop/a": {{"endpoints": [{{"addresses": {0}, "hostnames": {0}}}]}}}}}}}}"#, json!(text)));
    }

    #[test]
    fn a_name_joined_is_the_name_written_out(left in "[a-z]{1,63}(\\.[a-z]{1,63}){0,3}", right in "[a-z]{1,63}(\\.[a-z]{1,63}){0,3}") {
        if let Ok(name) = Name::parse(left.as_bytes()) {
            let mut joined = name;
            // Whatever stood there before.
            let _ = joined.join(name.len(), "something.longer.that.was.tried.before");
            let fits = joined.join(name.len(), &right);
            let written = format!("{left}.{right}");
            prop_assert_eq!(fits.then(|| joined.to_string()), (written.len() <= 253).then_some(written));
        }
    }
}
