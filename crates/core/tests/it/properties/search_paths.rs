//! The order of candidates, against the list written out.

use core::ops::ControlFlow;

use byname_core::{Name, SearchedName, limits::MAX_NAME_BYTES};
use proptest::prelude::*;
use serde_json::json;

use super::{assert_balanced, authorities::text, cases, samples, share};
use crate::fixture::config;

/// A resolv.conf and a name to resolve with it.
#[derive(Debug)]
struct NaiveSearch {
    name: String,
    is_absolute: bool,
    /// `None`: the three domains that a pod of `shop` has by default.
    searches: Option<Vec<String>>,
    extra_searches: Vec<String>,
    ndots: u8,
    is_musl: bool,
}

impl NaiveSearch {
    /// The domains as the search appends them; `""` is the root.
    fn domains(&self) -> Vec<String> {
        let defaults = || ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned).into();
        let domains = self.searches.clone().unwrap_or_else(defaults).into_iter().chain(self.extra_searches.clone());
        domains.map(|domain| domain.trim_end_matches('.').to_ascii_lowercase()).collect()
    }

    /// The list of domains applied to the name, whatever its length.
    fn written_out(&self) -> Vec<(String, bool)> {
        let append = |domain: String| match domain.as_str() {
            "" => (self.name.clone(), true),
            domain => (format!("{}.{domain}", self.name), false),
        };
        self.domains().into_iter().map(append).collect()
    }

    fn is_asked_first(&self) -> bool {
        self.is_absolute || self.name.matches('.').count() >= usize::from(self.ndots)
    }

    fn has_list(&self) -> bool {
        !self.is_absolute && (!self.is_musl || !self.is_asked_first())
    }

    fn leaves_some_out(&self) -> bool {
        self.has_list() && self.written_out().iter().any(|(candidate, _)| candidate.len() > MAX_NAME_BYTES)
    }

    /// The candidates in the order of the table in `names/search_path.rs`, each with whether it is the name as written,
    /// tried first.
    fn candidates(&self) -> Vec<(String, bool)> {
        let mut candidates = if self.has_list() { self.written_out() } else { vec![] };
        candidates.retain(|(candidate, _)| candidate.len() <= MAX_NAME_BYTES);
        if self.is_asked_first() {
            candidates.insert(0, (self.name.clone(), true));
        } else {
            candidates.push((self.name.clone(), false));
        }
        candidates
    }
}

fn search() -> impl Strategy<Value = NaiveSearch> {
    let short = text("[a-z_]{1,8}(\\.[a-z0-9-]{1,8}){0,6}[a-z]");
    let few_labels = text("[a-z]{56,62}(\\.[a-z]{60,62}){3}");
    let many_labels = text("([a-z]{3}\\.){10,12}[a-z]{60}(\\.[a-z]{60}){2}\\.[a-z]{5,20}");
    let domain = || {
        prop_oneof![
            3 => prop::sample::select(vec![
                "prod.svc.cluster.local", "cluster.local", "local", "Corp.Example.", "ec2.internal", "_x.example", ".",
            ]).prop_map(str::to_owned),
            1 => text("[a-z]{1,63}(\\.[a-z]{1,63}){1,3}"),
        ]
    };
    let searches = prop::option::of(prop::collection::vec(domain(), 0..5));
    let extra_searches = prop::collection::vec(domain(), 0..3);
    let name = prop_oneof![2 => short, 1 => few_labels, 2 => many_labels];
    (name, prop::bool::weighted(0.1), searches, extra_searches, 0u8..=15, any::<bool>()).prop_map(
        |(name, is_absolute, searches, extra_searches, ndots, is_musl)| NaiveSearch {
            name,
            is_absolute,
            searches,
            extra_searches,
            ndots,
            is_musl,
        },
    )
}

#[test]
fn generator_draws_searches_of_every_order_and_too_long_candidates() {
    let searches = samples(search());
    assert_balanced("searches that leave candidates out", share(&searches, NaiveSearch::leaves_some_out));
    assert_balanced("searches that try the list", share(&searches, NaiveSearch::has_list));
    assert_balanced("searches that ask the name first", share(&searches, NaiveSearch::is_asked_first));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn tries_candidates_in_the_order_of_the_resolver(search in search()) {
        let mut dns = json!({"ndots": search.ndots, "resolver": if search.is_musl { "musl" } else { "glibc" },
                             "extraSearches": search.extra_searches});
        if let Some(searches) = &search.searches {
            dns["searches"] = json!(searches);
        }
        let config = config(json!({"dns": dns}));
        let name = Name::parse(search.name.as_bytes()).expect("a name");
        let mut candidates = Vec::new();
        let flow = config.caller.search().try_each(&SearchedName::new(&name, search.is_absolute), |candidate| {
            candidates.push((candidate.to_string(), candidate.asked_first));
            ControlFlow::<()>::Continue(())
        });
        prop_assert!(flow.is_continue());
        prop_assert_eq!(candidates, search.candidates());
    }

    #[test]
    fn stops_at_the_candidate_that_breaks(search in search(), at in any::<prop::sample::Index>()) {
        let dns = json!({"ndots": search.ndots, "resolver": if search.is_musl { "musl" } else { "glibc" }});
        let config = config(json!({"dns": dns}));
        let search = NaiveSearch { searches: None, extra_searches: vec![], ..search };
        let name = Name::parse(search.name.as_bytes()).expect("a name");
        let expected = search.candidates();
        let last = at.index(expected.len());
        let mut count = 0;
        let flow = config.caller.search().try_each(&SearchedName::new(&name, search.is_absolute), |candidate| {
            count += 1;
            if count > last { ControlFlow::Break(candidate.to_string()) } else { ControlFlow::Continue(()) }
        });
        prop_assert_eq!(flow, ControlFlow::Break(expected[last].0.clone()));
    }
}
