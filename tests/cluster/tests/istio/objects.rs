//! Istio's own objects beside byname: VirtualService, DestinationRule, ServiceEntry and Sidecar.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use byname_cluster::{HOST_OUTSIDE, eventually};
use byname_test_support::{CHECKOUT, RECOMMEND};
use serde_json::{Value, json};

use crate::istio::mesh::{Mesh, example, expect, networking, steadily};

/// Faults for `recommend`, and another route, a retry and a timeout by path.
fn virtual_service() -> Value {
    let to = |host: &str| json!([{"destination": {"host": host, "port": {"number": 80}}}]);
    let chat = "chat.shop.svc.cluster.local";
    networking(
        "VirtualService",
        "recommend",
        json!({"hosts": [RECOMMEND], "http": [
            {"match": [{"uri": {"prefix": "/faulty"}}], "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}, "route": to(RECOMMEND)},
            {"match": [{"uri": {"prefix": "/elsewhere"}}], "route": to(CHECKOUT)},
            {"match": [{"uri": {"prefix": "/slow"}}], "timeout": "0.5s", "route": to(chat)},
            {"match": [{"uri": {"prefix": "/fails-once/"}}], "retries": {"attempts": 2, "retryOn": "5xx"}, "route": to(chat)},
            {"route": to(RECOMMEND)},
        ]}),
    )
}

pub(crate) fn virtual_services_apply_to_short_names_and_aliases(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[virtual_service()])?;
    mesh.wait_for_virtual_service("recommend")?;
    for name in ["recommend", "suggest", "recommend.shop.svc.cluster.local."] {
        let get = |path: &str| mesh.client.curl(&["-H", &format!("host: {name}"), &format!("http://recommend{path}")]);
        assert_eq!(get("/faulty")?.status, 418, "{name}");
        let answer = get("/elsewhere")?;
        assert!(answer.said("pod").starts_with("shop/checkout-"), "{name}: {answer:?}");
        assert_eq!(get("/slow")?.status, 504, "{name}");
        let answer = get(&format!("/fails-once/{name}"))?;
        assert_eq!((answer.status, answer.said("pod")), (200, "chat"), "{name}: {answer:?}");
        let answer = get("/")?;
        assert!(answer.said("pod").starts_with("shop/recommend-"), "{name}: {answer:?}");
    }
    Ok(())
}

pub(crate) fn virtual_services_are_passed_by_with_clusters(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_clusters(&[virtual_service()])?;
    mesh.wait_for_virtual_service("recommend")?;
    for name in ["recommend", "suggest"] {
        for path in ["/faulty", "/elsewhere", "/slow", "/fails-once/never"] {
            let answer = mesh.client.get(&format!("{name}{path}"))?;
            let is_there = answer.said("pod").starts_with("shop/recommend-");
            assert!(answer.status == 200 && is_there, "{name}{path}: {answer:?}");
        }
    }
    Ok(())
}

/// The policy of a DestinationRule for `checkout`.
fn rule(policy: Value) -> Value {
    networking("DestinationRule", "checkout", json!({"host": CHECKOUT, "trafficPolicy": policy}))
}

/// As it is today: Istio writes the header to hash into its own routes, which steering by cluster passes by.
pub(crate) fn consistent_hashing_applies_with_authority_alone(mesh: &Mesh<'_>) -> Result<()> {
    let by_user = rule(json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}));
    let endpoints = || -> Result<Vec<BTreeSet<String>>> {
        let of_user = |user: &str| {
            let header = format!("x-user: {user}");
            let ask = |_| Ok(mesh.client.curl(&["-H", &header, "http://checkout/"])?.said("pod").to_owned());
            (0..8).map(ask).collect()
        };
        ["a", "b", "c", "d", "e", "f"].into_iter().map(of_user).collect()
    };
    mesh.apply_with_authority(std::slice::from_ref(&by_user))?;
    eventually("each user has one endpoint", || {
        let of_users = endpoints()?;
        let all: BTreeSet<_> = of_users.iter().flatten().collect();
        let is_so = of_users.iter().all(|endpoints| endpoints.len() == 1) && all.len() == 2;
        is_so.then_some(true).with_context(|| format!("{of_users:?}"))
    })?;
    mesh.apply_with_clusters(&[by_user])?;
    eventually("each user has both endpoints", || {
        let of_users = endpoints()?;
        of_users.iter().all(|endpoints| endpoints.len() == 2).then_some(true).with_context(|| format!("{of_users:?}"))
    })?;
    Ok(())
}

pub(crate) fn tls_of_a_destination_rule_applies(mesh: &Mesh<'_>) -> Result<()> {
    // The servers have no TLS, so what the rule asks for fails.
    let tls = rule(json!({"tls": {"mode": "SIMPLE"}}));
    let fails = || {
        let answer = mesh.client.get("checkout")?;
        expect(answer.status == 503 && answer.text.contains("remote connection failure"), &answer)
    };
    mesh.apply_with_authority(&[])?;
    steadily("checkout is reached without the rule", || Ok(mesh.client.get("checkout")?.status == 200))?;
    mesh.cluster.apply(std::slice::from_ref(&tls))?;
    steadily("the rule applies with authority", fails)?;
    mesh.apply_with_clusters(&[])?;
    steadily("checkout is reached without the rule", || Ok(mesh.client.get("checkout")?.status == 200))?;
    mesh.cluster.apply(&[tls])?;
    steadily("the rule applies with clusters", fails)
}

pub(crate) fn an_alias_leads_out_over_tls(mesh: &Mesh<'_>) -> Result<()> {
    // No DNS server of the test knows the host outside.
    let weather = ["--resolve", "weather:80:10.244.255.254", "http://weather/"];
    let reached = || {
        let answer = mesh.client.curl(&weather)?;
        let said = (answer.said("pod"), answer.said("authority"), answer.said("serverName"));
        expect(said == ("outside", HOST_OUTSIDE, HOST_OUTSIDE), &answer)
    };
    mesh.apply_with_authority(&example("authority/external.yaml")?)?;
    eventually("the host outside is reached by authority", reached)?;
    mesh.apply_with_clusters(&[])?;
    eventually("the host outside is reached by cluster", reached)?;
    // A certificate for another name is not accepted.
    let mut objects = example("authority/external.yaml")?;
    objects[1]["spec"]["trafficPolicy"]["portLevelSettings"][0]["tls"]["subjectAltNames"] =
        json!(["other.example.com"]);
    mesh.apply_with_authority(&objects)?;
    steadily("another certificate is refused", || {
        let answer = mesh.client.curl(&weather)?;
        expect(answer.status == 503 && answer.text.contains("remote connection failure"), &answer)
    })?;
    Ok(())
}

pub(crate) fn unknown_names_go_where_the_sidecar_object_says(mesh: &Mesh<'_>) -> Result<()> {
    let unknown = ["--resolve", "www.example.org:80:10.244.255.254", "http://www.example.org/"];
    let registry_only = example("authority/sidecar.yaml")?;
    let mut allow_any = registry_only.clone();
    allow_any[0]["spec"]["outboundTrafficPolicy"]["mode"] = "ALLOW_ANY".into();
    for with_clusters in [false, true] {
        for (sidecar, is_allowed) in [(&registry_only, false), (&allow_any, true)] {
            if with_clusters {
                mesh.apply_with_clusters(sidecar)?
            } else {
                mesh.apply_with_authority(sidecar)?
            }
            steadily("unknown names go where the Sidecar object says", || {
                let answer = mesh.client.curl(&unknown)?;
                let said = (answer.status, answer.said("pod"), answer.said("authority"));
                expect(said == if is_allowed { (200, "outside", "www.example.org") } else { (502, "", "") }, &answer)
            })?;
            let answer = mesh.client.get("ledger.billing")?;
            assert!(answer.said("pod").starts_with("billing/ledger-"), "{answer:?}");
        }
    }
    Ok(())
}

pub(crate) fn names_of_hidden_namespaces_have_no_cluster(mesh: &Mesh<'_>) -> Result<()> {
    let mut sidecar = example("authority/sidecar.yaml")?;
    sidecar[0]["spec"]["egress"][0]["hosts"] = json!(["./*", "istio-system/*"]);
    mesh.apply_with_clusters(&sidecar)?;
    steadily("503 for a namespace that the Sidecar object leaves out", || {
        let answer = mesh.client.get("ledger.billing")?;
        expect(answer.status == 503, &answer)
    })?;
    // By authority no route knows the name, and it goes where unknown names go.
    mesh.apply_with_authority(&sidecar)?;
    steadily("502 for a namespace that the Sidecar object leaves out", || {
        let answer = mesh.client.get("ledger.billing")?;
        expect(answer.status == 502, &answer)
    })?;
    Ok(())
}
