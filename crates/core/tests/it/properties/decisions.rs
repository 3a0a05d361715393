//! Decisions, their traces and their local replies.

use byname_core::{Authority, Config, Destination, Plan, Request, Resolution, Scheme, trace::Difference};
use proptest::prelude::*;
use serde_json::json;

use super::{
    assert_balanced,
    authorities::authority,
    cases,
    clusters::{asked_name, cluster, cluster_with_fallbacks},
    samples, share,
};
use crate::{
    fixture::{config, decide, decide_traced, with_fields},
    naive::NaiveCluster,
};

/// A request, and what the configuration says besides its table.
#[derive(Debug)]
struct NaiveRequest {
    cluster: NaiveCluster,
    refuses_unknown: bool,
    by: &'static str,
    pass_cluster: Option<&'static str>,
    authority: Vec<u8>,
    scheme: Scheme,
}

impl NaiveRequest {
    fn config(&self) -> Config {
        let fields = json!({
            "unknownNames": if self.refuses_unknown { "refuse" } else { "pass" },
            "steering": {"by": self.by, "passCluster": self.pass_cluster},
        });
        config(with_fields(self.cluster.fields(), fields))
    }

    fn request(&self) -> Request<'_> {
        Request::new(&self.authority, self.scheme)
    }
}

fn decision() -> impl Strategy<Value = NaiveRequest> {
    let cluster = prop_oneof![1 => cluster(), 2 => cluster_with_fallbacks()];
    let asked = (prop::bool::weighted(0.2), asked_name(), authority());
    let by = prop::sample::select(vec!["cluster", "authority", "endpoint"]);
    let pass_cluster = prop::option::of(Just("pass"));
    let scheme = prop::sample::select(
        vec![Scheme::Http; 6].into_iter().chain([Scheme::Https, Scheme::Connect]).collect::<Vec<_>>(),
    );
    (cluster, asked, any::<bool>(), by, pass_cluster, scheme).prop_map(
        |(cluster, (is_any, asked, authority), refuses_unknown, by, pass_cluster, scheme)| {
            let authority = if is_any { authority } else { asked.of(&cluster).into_bytes() };
            NaiveRequest { cluster, refuses_unknown, by, pass_cluster, authority, scheme }
        },
    )
}

#[test]
fn generator_draws_requests_that_are_routed_passed_and_refused() {
    let decisions = samples(decision());
    let resolved = |is_counted: fn(&Resolution<'_>) -> bool| {
        share(&decisions, |decision| is_counted(&decision.config().resolve(decision.request(), None)))
    };
    let refused = resolved(|resolution| matches!(resolution, Resolution::Refuse(_)));
    assert_balanced("refused requests", refused);
    let routed = resolved(|resolution| matches!(resolution, Resolution::Route(_)));
    println!("routed: {routed:.3}, passed: {:.3}", 1.0 - refused - routed);
    assert!(routed > 0.1 && 1.0 - refused - routed > 0.1, "{routed:.3} routed, {refused:.3} refused");
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn changes_nothing_for_a_trace(decision in decision()) {
        let (config, request) = (decision.config(), decision.request());
        let (mut plain, mut traced) = (Plan::default(), Plan::default());
        let resolution = decide(&config, request, &mut plain);
        let (again, trace) = decide_traced(&config, request, &mut traced);
        // `Debug` shows every field of a plan.
        prop_assert_eq!(format!("{plain:?}"), format!("{traced:?}"));
        prop_assert_eq!(resolution.reason(), again.reason());
        prop_assert!(trace.to_string().is_ascii() && trace.to_string().lines().count() == 1, "{}", trace);
    }

    #[test]
    fn a_mode_changes_no_decision_and_names_every_difference(decision in decision(), has_route in any::<bool>()) {
        let mut fields = decision.cluster.fields();
        fields["mode"] = json!("observe");
        fields["unknownNames"] = json!(if decision.refuses_unknown { "refuse" } else { "pass" });
        fields["steering"] = json!({"by": decision.by, "passCluster": decision.pass_cluster});
        let (enforcing, observing, request) = (decision.config(), config(fields), decision.request());
        let (mut enforced, mut observed) = (Plan::default(), Plan::default());
        let resolution = decide(&enforcing, request, &mut enforced);
        let again = decide(&observing, request, &mut observed);
        prop_assert_eq!(format!("{enforced:?}"), format!("{observed:?}"));
        prop_assert_eq!(resolution.reason(), again.reason());
        prop_assert_eq!(enforcing.observed_percent(&resolution, request), 0);
        prop_assert_eq!(observing.observed_percent(&again, request), 100);
        // Envoy's route has the planned cluster, or none.
        let route = observed.cluster().filter(|_| has_route).map(str::to_owned);
        let difference = observed.difference(&again, || route);
        let is_refused = matches!(again, Resolution::Refuse(_));
        prop_assert_eq!(difference == Difference::Refused, is_refused);
        let changes = is_refused || observed.authority().is_some() || observed.cluster().is_some() && !has_route;
        prop_assert_eq!(difference != Difference::None, changes, "{:?}", difference);
    }

    #[test]
    fn answers_a_refusal_by_one_line(decision in decision()) {
        let (config, request) = (decision.config(), decision.request());
        if let Resolution::Refuse(refusal) = config.resolve(request, None) {
            let reply = config.local_reply(request, refusal);
            prop_assert_eq!(reply.reason, refusal.reason());
            prop_assert!((400..600).contains(&reply.status) && (1..=16).contains(&reply.grpc_status), "{:?}", reply);
            let line = reply.body.strip_suffix('\n').expect("the line ends");
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", line);
            prop_assert!(line.starts_with(&format!("byname: {}: ", reply.reason)), "{}", line);
        }
    }

    #[test]
    fn changes_only_routed_requests(decision in decision()) {
        let mut plan = Plan::default();
        let config = decision.config();
        match decide(&config, decision.request(), &mut plan) {
            Resolution::Route(route) => {
                // A pod has no cluster of its own.
                let has_cluster = decision.pass_cluster.is_some() || !matches!(route.destination, Destination::Pod(_));
                prop_assert_eq!(plan.cluster().is_some(), has_cluster && decision.by != "authority", "{:?}", plan);
                if let Some(authority) = plan.authority() {
                    let canonical = Authority::try_from(authority.as_bytes()).map(|authority| authority.to_string());
                    prop_assert_eq!(canonical.as_deref(), Ok(authority));
                }
            }
            Resolution::Pass(pass) => {
                let planned = (plan.cluster(), plan.endpoint(), plan.dynamic_host());
                // By authority no request gets a cluster.
                let pass_cluster = decision.pass_cluster.filter(|_| decision.by != "authority");
                prop_assert_eq!(planned, (pass_cluster, None, None));
                // Only the target of an alias is passed on under another name.
                prop_assert!(plan.authority().is_none() || pass.target.is_some(), "{:?}", plan);
            }
            Resolution::Refuse(_) => {
                let planned = (plan.cluster(), plan.authority(), plan.endpoint(), plan.dynamic_host());
                prop_assert_eq!(planned, (None, None, None, None));
            }
        }
    }
}
