//! The table against the naive search.

use proptest::prelude::*;

use super::{
    assert_balanced, cases,
    clusters::{AskedName, asked_name, cluster, cluster_with_fallbacks, table},
    samples, share,
};
use crate::{fixture::ask, naive::NaiveCluster};

#[test]
fn the_generators_draw_names_that_the_cluster_has_and_others() {
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
    fn the_table_answers_as_a_search_through_all_services(cluster in cluster(), asked in asked_name()) {
        let asked = asked.of(&cluster);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn fallbacks_and_baselines_are_followed_as_by_a_search_through_all_services(
        cluster in cluster_with_fallbacks(), asked in asked_name(),
    ) {
        let asked = asked.of(&cluster);
        prop_assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked));
    }

    #[test]
    fn a_table_changed_one_by_one_answers_as_one_made_at_once(
        services in table(), order in any::<prop::sample::Index>(), asked in asked_name(),
    ) {
        let cluster = NaiveCluster::new(services, 5, false);
        let asked = asked.of(&cluster);
        let (whole, mut changed) = (cluster.config(), cluster.config());
        if !cluster.services.is_empty() {
            let service = &cluster.services[order.index(cluster.services.len())];
            prop_assert!(changed.table.remove(&service.namespace, &service.name));
            let wire = serde_json::from_value(service.wire()).expect("the wire form");
            let key = format!("{}/{}", service.namespace, service.name);
            changed.table.put(byname_core::ServiceSpec::compile(&key, &wire).expect("it is good")).expect("there is room");
        }
        prop_assert_eq!(ask(&changed, &asked), ask(&whole, &asked));
        prop_assert_eq!(changed.table.endpoints(), whole.table.endpoints());
    }
}
