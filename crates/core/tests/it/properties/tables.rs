//! The table against the naive search.

use proptest::prelude::*;

use super::{
    assert_balanced, cases,
    clusters::{AskedName, asked_name, cluster, cluster_with_fallbacks, table},
    samples, share,
};
use crate::{fixture::ask, naive::NaiveCluster};

#[test]
fn generators_draw_known_and_unknown_names() {
    let is_passed =
        |(cluster, asked): &(NaiveCluster, AskedName)| cluster.answer(&asked.of(cluster)).starts_with("pass");
    assert_balanced("names that pass a cluster", share(&samples((cluster(), asked_name())), is_passed));
    let with_fallbacks = samples((cluster_with_fallbacks(), asked_name()));
    assert_balanced("names that pass a cluster with fallbacks", share(&with_fallbacks, is_passed));
    let falls_back = |(cluster, asked): &(NaiveCluster, AskedName)| {
        ["fallback", "baseline"].iter().any(|reason| cluster.answer(&asked.of(cluster)).starts_with(reason))
    };
    let share = share(&with_fallbacks, falls_back);
    println!("names that a fallback or a baseline answers: {share:.3}");
    assert!(share > 0.05, "fallbacks and baselines answer {share:.3} of the names");
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn answers_as_the_naive_search(cluster in cluster(), asked in asked_name()) {
        let asked = asked.of(&cluster);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn reaches_pod_ports_as_the_naive_search(cluster in cluster(), asked in asked_name()) {
        let (asked, cluster) = (asked.of(&cluster), cluster.steered_by_endpoint());
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn follows_fallbacks_and_baselines_as_the_naive_search(
        cluster in cluster_with_fallbacks(), asked in asked_name(),
    ) {
        let asked = asked.of(&cluster);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn answers_alike_after_a_service_is_removed_and_put_back(
        services in table(), order in any::<prop::sample::Index>(), asked in asked_name(),
    ) {
        let cluster = NaiveCluster::new(services, 5, false, false);
        let asked = asked.of(&cluster);
        let (whole, mut changed) = (cluster.config(), cluster.config());
        if !cluster.services.is_empty() {
            let service = &cluster.services[order.index(cluster.services.len())];
            prop_assert!(changed.table.remove(&service.namespace, &service.name));
            let wire = serde_json::from_value(service.wire()).expect("the wire form");
            let key = format!("{}/{}", service.namespace, service.name);
            changed.table.put(byname_core::ServiceSpec::compile(&key, &wire).expect("a valid Service")).expect("there is room");
        }
        prop_assert_eq!(ask(&changed, &asked), ask(&whole, &asked));
        prop_assert_eq!(changed.table.endpoints(), whole.table.endpoints());
    }
}
