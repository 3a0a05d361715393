//! The order in which the caller's resolver tries candidates.

use core::ops::ControlFlow;

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use byname_core::{Authority, Host, SearchedName};

use crate::fixture::{ask, check, config};

/// The candidates for `authority` with these `dns` fields.
fn candidates(dns: serde_json::Value, authority: &str) -> Vec<String> {
    let config = config(json!({"dns": dns}));
    let authority = Authority::try_from(authority.as_bytes()).expect("an authority");
    let Host::Name { name, absolute } = authority.host() else { panic!("a name") };
    let mut candidates = Vec::new();
    let _ = config.caller.search().try_each(&SearchedName::new(name, *absolute), |candidate| {
        candidates.push(candidate.to_string());
        ControlFlow::<()>::Continue(())
    });
    candidates
}

#[test]
fn tries_the_list_first_below_ndots_and_last_above_it() {
    let searched = |name: &str| -> Vec<String> {
        ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(|suffix| format!("{name}.{suffix}")).into()
    };
    let list_first = |name: &str| [searched(name), vec![name.to_owned()]].concat();
    let itself_first = |name: &str| [vec![name.to_owned()], searched(name)].concat();
    let glibc = |ndots: u8| json!({"ndots": ndots});
    let musl = |ndots: u8| json!({"ndots": ndots, "resolver": "musl"});

    assert_eq!(candidates(glibc(5), "payments"), list_first("payments"));
    assert_eq!(candidates(glibc(5), "a.b.c.d.e"), list_first("a.b.c.d.e"), "4 dots are fewer than 5");
    assert_eq!(candidates(glibc(5), "a.b.c.d.e.f"), itself_first("a.b.c.d.e.f"), "5 are not");
    assert_eq!(candidates(glibc(1), "payments"), list_first("payments"));
    assert_eq!(candidates(glibc(1), "payments.prod"), itself_first("payments.prod"));
    assert_eq!(candidates(glibc(0), "payments"), itself_first("payments"));
    assert_eq!(candidates(glibc(5), "payments."), ["payments"], "a trailing dot ends it");
    assert_eq!(candidates(musl(5), "payments"), list_first("payments"));
    assert_eq!(candidates(musl(1), "payments.prod"), ["payments.prod"], "musl then leaves the list");
    assert_eq!(candidates(musl(5), "payments."), ["payments"]);
}

#[test]
fn replaces_or_extends_the_list_which_may_hold_the_root() {
    assert_eq!(candidates(json!({"searches": ["Corp.Example."]}), "a"), ["a.corp.example", "a"]);
    assert_eq!(candidates(json!({"searches": []}), "a"), ["a"]);
    assert_eq!(candidates(json!({"searches": ["."]}), "a"), ["a", "a"], "the root appends nothing");
    assert_eq!(candidates(json!({"searches": ["_x.example"]}), "a"), ["a._x.example", "a"], "underscores are legal");
    assert_eq!(
        candidates(json!({"extraSearches": ["ec2.internal"]}), "a").get(3..),
        Some(&["a.ec2.internal".to_owned(), "a".into()][..])
    );
    assert_eq!(
        candidates(json!({"clusterDomain": "k8s.corp"}), "a").first().map(String::as_str),
        Some("a.shop.svc.k8s.corp")
    );
}

#[test]
fn leaves_out_candidates_that_are_too_long() {
    let long = ["a"; 120].join(".");
    assert_eq!(candidates(json!({"ndots": 5}), &long), [long.clone(), format!("{long}.cluster.local")]);
}

#[test]
fn takes_the_first_candidate_that_exists_even_if_it_shadows_another() {
    let services = json!({
        "shop/prod": {"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1", "hostnames": "payments"}]},
        "prod/payments": {"ports": [{"port": 80}]},
        "com/yahoo": {"ports": [{"port": 80}]},
        "prod/orders": {"ports": [{"port": 80}]},
    });
    check(
        &config(json!({"table": {"services": services}})),
        &[
            (
                "payments.prod",
                "endpoint payments.prod.shop:80",
                "endpoint `payments` of Service `prod` in shop shadows payments of prod",
            ),
            ("payments.prod.svc", "service payments.prod:80", "with one more label it resolves to the Service"),
            ("orders.prod", "service orders.prod:80", "nothing shadows this one"),
            ("yahoo.com", "service yahoo.com:80", "Service `yahoo` of a namespace `com` hides the public name"),
            ("yahoo.com.", "pass public_name", "a trailing dot reaches it"),
        ],
    );
}

#[test]
fn passes_names_that_only_public_dns_knows() {
    let table = json!({"services": {"prod/payments": {"ports": [{"port": 80}]}}});
    let ndots1 = config(json!({"dns": {"ndots": 1}, "table": table}));
    let musl = config(json!({"dns": {"ndots": 1, "resolver": "musl"}, "table": table}));
    let node_domain = config(json!({"dns": {"extraSearches": ["ec2.internal"]}, "table": table}));
    assert_eq!(
        ask(&ndots1, "payments.prod"),
        "pass public_name",
        "payments.prod may be a public name, and DNS is asked first"
    );
    assert_eq!(ask(&musl, "payments.prod"), "pass public_name");
    assert_eq!(
        ask(&ndots1, "payments.prod.svc.cluster.local"),
        "service payments.prod:80",
        "in the zone, the table knows"
    );
    assert_eq!(
        ask(&node_domain, "payments.prod.svc.cluster.local"),
        "service payments.prod:80",
        "a search domain of the node must not hide the full names of Services"
    );
    let root_first = config(json!({"dns": {"searches": [".", "svc.cluster.local"]}, "table": table}));
    assert_eq!(ask(&root_first, "payments.prod"), "pass public_name", "the root before the cluster's domains");
    let root_last = config(json!({"dns": {"searches": ["svc.cluster.local", "."]}, "table": table}));
    assert_eq!(ask(&root_last, "payments.prod"), "service payments.prod:80", "and after them");
}

#[test]
fn accepts_search_domains_above_and_deep_inside_the_cluster_domain() {
    let table = json!({"services": {"prod/payments": {"ports": [{"port": 80}]}}});
    let with = |searches: serde_json::Value| config(json!({"dns": {"searches": searches}, "table": table}));
    let above = with(json!(["local"]));
    assert_eq!(
        ask(&above, "payments.prod.svc.cluster"),
        "service payments.prod:80",
        "the name ends in the rest of the cluster domain"
    );
    assert_eq!(ask(&above, "payments.prod.svc"), "pass name_not_found", "which is not `cluster.local`");
    assert_eq!(ask(&above, "cluster"), "pass name_not_found", "the zone itself is no Service");
    let beside = with(json!(["scluster.local", "corp.example"]));
    assert_eq!(ask(&beside, "payments.prod.svc"), "pass name_not_found", "a domain that only ends alike");
    let deep = with(json!(["payments.prod.svc.cluster.local", "prod.svc.cluster.local"]));
    assert_eq!(ask(&deep, "payments"), "service payments.prod:80");
    assert_eq!(ask(&deep, "PAYMENTS"), "service payments.prod:80", "whatever the case");
    let zone = config(json!({
        "dns": {"clusterDomain": "k8s.corp.example", "searches": ["corp.example", "example"]}, "table": table,
    }));
    assert_eq!(ask(&zone, "payments.prod.svc.k8s"), "service payments.prod:80");
    assert_eq!(ask(&zone, "payments.prod.svc.k8s.corp"), "service payments.prod:80");
}
