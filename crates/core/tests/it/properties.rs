//! What holds for every input: against a search that reads the Services one by one and knows no index.

use byname_core::{Authority, Config, Host, Name, Plan, Request, Scheme};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{ask, config, read};

/// A Service as the naive search sees it.
#[derive(Clone, Debug)]
struct Plain {
    namespace: String,
    name: String,
    headless: bool,
    /// Hostname and address of each endpoint.
    endpoints: Vec<(Option<String>, [u8; 4])>,
}

impl Plain {
    fn wire(&self) -> Value {
        let group = |(hostname, [a, b, c, d]): &(Option<String>, [u8; 4])| {
            let hostnames: Vec<&String> = hostname.iter().collect();
            json!({"addresses": [format!("{a}.{b}.{c}.{d}")], "hostnames": hostnames})
        };
        let endpoints: Vec<Value> = self.endpoints.iter().map(group).collect();
        let cluster_ips = if self.headless { "None" } else { "" };
        json!({"clusterIPs": cluster_ips, "ports": [{"name": "http", "port": 80}], "endpoints": endpoints})
    }
}

/// Short words of few letters, so that names of Services, namespaces, endpoints and suffixes meet often.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "b", "prod", "svc", "pod", "cluster", "local", "http", "tcp", "10-0-0-1", "10-0-0-2",
    ])
    .prop_map(str::to_owned)
}

fn plain() -> impl Strategy<Value = Plain> {
    let endpoint = (prop::option::of(word()), (0u8..3).prop_map(|last| [10, 0, 0, last]));
    (word(), word(), any::<bool>(), prop::collection::vec(endpoint, 0..3))
        .prop_map(|(namespace, name, headless, endpoints)| Plain { namespace, name, headless, endpoints })
}

fn table() -> impl Strategy<Value = Vec<Plain>> {
    prop::collection::vec(plain(), 0..12).prop_map(|mut services| {
        services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        services.dedup_by(|a, b| (&a.namespace, &a.name) == (&b.namespace, &b.name));
        services
    })
}

fn asked() -> impl Strategy<Value = String> {
    let labels = prop::collection::vec(word(), 1..7);
    let ends =
        prop::sample::select(vec!["", ".", ".svc", ".svc.cluster.local", ".svc.cluster.local.", ".pod.cluster.local"]);
    (labels, ends).prop_map(|(labels, end)| labels.join(".") + end)
}

fn compiled(services: &[Plain], ndots: u8) -> Config {
    let services: serde_json::Map<String, Value> =
        services.iter().map(|service| (format!("{}/{}", service.namespace, service.name), service.wire())).collect();
    config(json!({"caller": {"namespace": "a"}, "dns": {"ndots": ndots}, "table": {"services": services}}))
}

/// The same answer, told by going through every Service and writing out each name it has.
fn naive(services: &[Plain], ndots: usize, asked: &str) -> String {
    let bare = asked.trim_end_matches('.');
    let dots = bare.matches('.').count();
    let searched =
        ["a.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(|suffix| format!("{bare}.{suffix}"));
    let mut candidates = if asked.ends_with('.') { vec![] } else { searched.to_vec() };
    let itself_first = asked.ends_with('.') || dots >= ndots;
    candidates.insert(if itself_first { 0 } else { candidates.len() }, bare.to_owned());
    for candidate in candidates {
        if !candidate.ends_with(".cluster.local") && candidate != "cluster.local" {
            if itself_first && candidate == bare {
                return "pass public_name".into();
            }
            continue;
        }
        for service in services {
            let own = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
            if !candidate.ends_with(&own) || (service.headless && service.endpoints.is_empty()) {
                continue;
            }
            let answer = if service.endpoints.is_empty() { Some("refuse no_endpoints".to_owned()) } else { None };
            let short = own.replace(".svc.cluster.local", "");
            let with_port = ["", "_"].iter().flat_map(|a| ["", "_"].map(|b| format!("{a}http.{b}tcp.{own}")));
            if candidate == own || with_port.into_iter().any(|name| name == candidate) {
                return answer.unwrap_or_else(|| format!("service {short}:80"));
            }
            for (hostname, [a, b, c, d]) in &service.endpoints {
                let label = hostname.clone().unwrap_or_else(|| format!("{a}-{b}-{c}-{d}"));
                if candidate == format!("{label}.{own}") {
                    return format!("endpoint {label}.{short}:80");
                }
            }
        }
        for (_, [a, b, c, d]) in services.iter().flat_map(|service| &service.endpoints) {
            let labels: Vec<&str> = candidate.split('.').collect();
            if labels.len() == 5 && labels[2] == "pod" && labels[0] == format!("{a}-{b}-{c}-{d}") {
                return format!("pod {candidate}:80");
            }
        }
    }
    "pass name_not_found".into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_a_search_through_all_services(services in table(), asked in asked(), ndots in 0u8..7) {
        let config = compiled(&services, ndots);
        prop_assert_eq!(ask(&config, &asked), naive(&services, ndots.into(), &asked));
    }

    #[test]
    fn a_table_changed_one_by_one_answers_as_one_made_at_once(
        services in table(), order in any::<prop::sample::Index>(), asked in asked(),
    ) {
        let whole = compiled(&services, 5);
        let mut changed = compiled(&services, 5);
        if !services.is_empty() {
            let service = &services[order.index(services.len())];
            prop_assert!(changed.table.remove(&service.namespace, &service.name));
            let wire = serde_json::from_value(service.wire()).expect("the wire form");
            let key = format!("{}/{}", service.namespace, service.name);
            changed.table.put(byname_core::Service::compile(&key, &wire).expect("it is good")).expect("there is room");
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
        let plain = config.decide(request, &mut plan).reason();
        let (resolution, trace) = config.decide_traced(request, &mut traced);
        prop_assert_eq!(plain, resolution.reason());
        prop_assert_eq!(plan.cluster(), traced.cluster());
        prop_assert!(trace.to_string().is_ascii());
        if let Some(answer) = config.answer(request) {
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
            let joined = name.join(&right).map(|name| name.to_string());
            let written = format!("{left}.{right}");
            prop_assert_eq!(joined, (written.len() <= 253).then_some(written));
        }
    }
}
