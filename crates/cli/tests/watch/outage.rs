//! An API server in trouble.

use std::{
    fs,
    time::{Duration, Instant},
};

use byname_test_support::{
    TestUpstream,
    kubernetes::{KubernetesApi, kubeconfig},
};
use regex::Regex;
use serde_json::json;

use crate::{
    api::{SHOP, WHILE, follow, shop, shop_with},
    program::{WatchProcess, endpoints, eventually, service, slice},
};

/// Time in which the table is current again after an outage.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_etcd_is_noticed_and_listed_anew() {
    let mut api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    let backup = api.snapshot();
    for count in 4..9 {
        api.put(slice("shop/cart", &endpoints(count)));
    }
    api.put(service("shop/new"));
    program.wait_for(&shop_with(&[("shop/cart", Some(8)), ("shop/new", Some(0))])).await;
    api.stop();
    program.wait_for_metric("failing", 2.0).await;
    api.restore(backup);
    api.listen().await.unwrap();
    program.wait_for(&SHOP).await;
    program.wait_for_log("resourceVersion went back from ").await;
    // And it goes on from there, though these versions were seen before.
    api.put(slice("shop/cart", &endpoints(2)));
    program.wait_for(&shop_with(&[("shop/cart", Some(2))])).await;
    assert_eq!(program.count_in_log("went back from"), 1, "one line for all kinds:\n{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_all_kinds_are_current_within_seconds() {
    let mut api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.stop();
    tokio::time::sleep(Duration::from_secs(17)).await;
    api.put(service("shop/new"));
    api.put(slice("shop/new", &endpoints(2)));
    api.listen().await.unwrap();
    let ready = Instant::now();
    program.wait_for(&shop_with(&[("shop/new", Some(2))])).await;
    assert!(ready.elapsed() < BOUND, "{:?}; its log:\n{}", ready.elapsed(), program.log());
    program.wait_for_metric("failing", 0.0).await;
    program.wait_for_log("note: Services, EndpointSlices: watching again").await;
    assert_eq!(api.count(&["/services?", "limit=200"]), 6, "after 15 s of outage all is listed anew, once");
    // The events of one kind that were missed are older than the last of the other.
    assert_eq!(program.count_in_log("went back"), 0, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mix_of_old_and_new_is_written() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.fail("endpointslices", &[503; 3]);
    api.cut();
    program.wait_for_metric("failing", 1.0).await;
    // The Services are current at once, and the EndpointSlices are not.
    api.put(service("shop/new"));
    api.put(slice("shop/new", &endpoints(2)));
    let new = shop_with(&[("shop/new", Some(2))]).into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    eventually("both are there", || {
        let now = program.services().unwrap();
        assert!(now == new || !now.contains_key("shop/new"), "{now:?}");
        now == new
    })
    .await;
    assert!(api.has_failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_accepts_and_says_nothing_is_failing() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.fall_silent(true);
    api.cut();
    program.wait_for_metric("failing", 2.0).await;
    program.wait_for_log("Services, EndpointSlices: the API does not answer within 10 s").await;
    assert!(program.metric("errors_total{kind=\"Service\"}").await >= 1.0);
    api.fall_silent(false);
    program.wait_for_metric("failing", 0.0).await;
    api.put(slice("shop/cart", &endpoints(2)));
    program.wait_for(&shop_with(&[("shop/cart", Some(2))])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_version_is_listed_at_once() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.delete_unseen(&service("shop/db"));
    let begun = Instant::now();
    api.cut();
    program.wait_for(&shop_with(&[("shop/db", None)])).await;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    // An expiry that follows an expiry is no reason to ask all the time.
    api.fail("services", &[410; 4]);
    api.cut();
    eventually("all failures were met", || api.has_failed()).await;
    program.wait_for_metric("failing", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_compressed_and_watches_are_not() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    eventually("both are watched", || api.encodings("watch=true").len() == 2).await;
    assert_eq!(api.encodings("watch=true"), ["identity", "identity"]);
    let lists = api.encodings("limit=");
    assert!(lists.len() >= 4 && lists.iter().all(|encoding| encoding == "gzip"), "{lists:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_authority_is_read_anew_and_half_a_file_is_not() {
    let (upstream, certificate) = TestUpstream::start_tls("no API", "127.0.0.1").await.unwrap();
    let (_other, wrong) = TestUpstream::start_tls("another", "127.0.0.1").await.unwrap();
    let program = WatchProcess::start(|directory| {
        let authority = directory.join("ca.pem");
        fs::write(&authority, &wrong).unwrap();
        let server = format!("https://127.0.0.1:{}", upstream.port());
        let cluster = json!({"server": server, "certificate-authority": authority});
        vec!["--kubeconfig".into(), kubeconfig(directory, cluster).display().to_string()]
    })
    .await;
    program.wait_for_log("invalid peer certificate").await;
    let authority = program.directory().join("ca.pem");
    fs::write(&authority, &certificate.as_bytes()[..certificate.len() / 2]).unwrap();
    program.wait_for_log("the client goes on with what it read before").await;
    tokio::time::sleep(3 * WHILE).await;
    assert_eq!(program.count_in_log("the client goes on with what it read before"), 1, "{}", program.log());
    fs::write(&authority, &certificate).unwrap();
    program.wait_for_log("changed: connecting with the new ones").await;
    program.wait_for_log("the API's list cannot be read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_warning_names_all_kinds_and_the_missing_permissions() {
    let api = shop().await;
    api.fail("services", &[403; 3]);
    api.fail("endpointslices", &[403; 3]);
    let program = follow(&api, &["--visible", "shop"]).await;
    let here = |(name, _): &(&str, usize)| name.starts_with("shop");
    program.wait_for(&SHOP.into_iter().filter(here).collect::<Vec<_>>()).await;
    // They recover in one line, or in two if a second passes between them.
    for kind in ["Services of namespace shop", "EndpointSlices of namespace shop"] {
        eventually(&format!("{kind} are watched again"), || {
            let log = program.log();
            log.lines().any(|line| line.contains(" note: ") && line.contains(kind) && line.contains("watching again"))
        })
        .await;
    }
    let advice = "grant \"list\" and \"watch\" on endpointslices.discovery.k8s.io and services in namespace shop; \
        examples/kubernetes/rbac.yaml has the rules";
    assert_eq!((program.count_in_log("warning: "), program.count_in_log(advice)), (1, 1), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_does_not_exist_is_told_and_followed_when_it_appears() {
    let api = shop().await;
    let program = follow(&api, &["--visible", "shop", "--visible", "late"]).await;
    program.wait_for_log("warning: namespace late does not exist; correct --visible").await;
    api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}));
    api.put(service("late/web"));
    program.wait_for_log("note: namespace late: has Services now").await;
    eventually("its Service is in the table", || {
        program.services().is_some_and(|services| services.contains_key("late/web"))
    })
    .await;
    assert_eq!(program.count_in_log("namespace shop"), 0, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_may_not_be_read_is_told_when_it_is_empty() {
    let api = shop().await;
    api.fail("namespaces", &[403]);
    let program = follow(&api, &["--visible", "shop", "--visible", "late"]).await;
    program
        .wait_for_log("note: namespace late: byname found no Service there, and cannot tell whether it exists")
        .await;
    assert_eq!(program.count_in_log("warning: "), 0, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_log_has_its_time() {
    let api: KubernetesApi = shop().await;
    api.fail("services", &[500]);
    let mut program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    assert_eq!(program.end().await, Some(0));
    let line = Regex::new(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (note|warning): .").unwrap();
    let log = program.log();
    assert!(log.lines().count() > 3 && log.lines().all(|one| line.is_match(one)), "{log}");
}
