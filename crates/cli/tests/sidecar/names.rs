//! Names in compiled sidecars, with fixed tables and with tables and clusters that are replaced.

use std::fs;

use byname_test_support::{Envoy, TestResult, TestUpstream};
use serde_json::json;

use crate::{
    sidecar::loopback::{
        IN_SHOP, Loopback, MODES, OUTSIDE, alias_to, get, on_this_machine, service_with, wait_for, with_dns,
    },
    workdir::{module, with},
};

/// The authority that a caller in `shop` sends, the upstream that answers, and the host header that the upstream
/// receives.
const ROWS: [(&str, &str, &str); 8] = [
    ("payments", "payments.shop", IN_SHOP),
    ("payments.shop:80", "payments.shop", IN_SHOP),
    ("PAYMENTS.shop.svc.cluster.local.", "payments.shop", IN_SHOP),
    ("payments.prod:8080", "payments.prod", "payments.prod.svc.cluster.local:8080"),
    ("pay", "payments.shop", IN_SHOP),
    ("db-0.db", "db-0", "db-0.db.shop.svc.cluster.local"),
    ("db-1.db.shop.svc.cluster.local", "db-1", "db-1.db.shop.svc.cluster.local"),
    ("10.96.0.10", "payments.shop", IN_SHOP),
];

async fn every_row(envoy: &Envoy, what: &str) -> TestResult {
    for (authority, upstream, host) in ROWS {
        let reply = get(envoy, authority, &[]).await?;
        let answered = (reply.said("upstream"), reply.said("authority"));
        assert_eq!(
            answered,
            (upstream.to_owned(), host.to_owned()),
            "{what}: {authority}: {} {}",
            reply.status,
            reply.body
        );
        assert_eq!(reply.sent_on("x-byname-cluster"), Vec::<String>::new(), "{what}: {authority}");
        let spoken = if upstream == "payments.prod" { "HTTP/2.0" } else { "HTTP/1.1" };
        assert_eq!(reply.said("version"), spoken, "{what}: {authority}");
    }
    let steered = [("x-byname-cluster", "outbound|8080||payments.prod.svc.cluster.local")];
    for (authority, headers) in [("nobody", &[][..]), ("payments.nowhere", &[]), ("nobody", &steered)] {
        let reply = get(envoy, authority, headers).await?;
        assert_eq!((reply.status, reply.said("upstream")), (404, String::new()), "{what}: {authority}: {}", reply.body);
    }
    Ok(())
}

#[tokio::test]
async fn a_compiled_sidecar_reaches_every_name() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    for by in MODES {
        every_row(&loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?, by).await?;
    }
    let endpoints = loopback.workdir.path("endpoints");
    fs::create_dir(&endpoints)?;
    let endpoints = endpoints.display().to_string();
    let args = ["--clusters", "eds", "--eds-directory", &endpoints, "--eds-output", &endpoints];
    let envoy = loopback.sidecar(&on_this_machine("cluster"), &args, str::to_owned).await?;
    every_row(&envoy, "eds").await
}

/// Both the filter and the clusters come from files, and both files are replaced.
#[tokio::test]
async fn a_running_sidecar_takes_new_filter_and_cluster_files() -> TestResult {
    let loopback = Loopback::start().await?;
    let workdir = &loopback.workdir;
    let config =
        with(on_this_machine("cluster"), &[("externalNames", json!({"grants": [{"from": "shop", "to": "prod"}]}))]);
    let dump = loopback.dump(IN_SHOP, &[])?;
    fs::create_dir(workdir.path("watched"))?;
    let (ecds, cds) = (workdir.path("watched/byname.yaml"), workdir.path("watched/clusters.yaml"));
    let (ecds, cds) = (ecds.display().to_string(), cds.display().to_string());
    let module = module();
    let files = ["--format", "envoy-ecds", "--module", &module, "--clusters-output", &cds, "--output-file", &ecds];
    workdir.compile(&dump, &config, &files)?;
    let envoy = loopback.sidecar(&config, &["--ecds-file", &ecds, "--cds-file", &cds], str::to_owned).await?;
    wait_for(&envoy, "payments", "payments.shop").await?;
    every_row(&envoy, "ecds").await?;

    let late = TestUpstream::start("late").await?;
    let more = service_with("late", &[(json!({"port": 80}), late.port())]);
    let dump = loopback.dump("payments.prod.svc.cluster.local", &more)?;
    workdir.compile(&dump, &config, &files)?;
    wait_for(&envoy, "late", "late").await?;
    wait_for(&envoy, "pay:8080", "payments.prod").await?;
    assert_eq!(get(&envoy, "payments", &[]).await?.said("upstream"), "payments.shop");
    Ok(())
}

/// A DNS server in the same Envoy knows the external host.
#[tokio::test]
async fn an_alias_reaches_an_external_host_over_tls() -> TestResult {
    let mut loopback = Loopback::start().await?;
    let (outside, certificate) = TestUpstream::start_tls("outside", OUTSIDE).await?;
    let (clear, other) =
        (TestUpstream::start("clear").await?, TestUpstream::start_tls("other", "other.example.com").await?.0);
    let ca_file = loopback.workdir.put("ca.pem", &certificate)?;
    let ports = [outside.port(), clear.port(), other.port()];
    loopback.dump(IN_SHOP, &["weather", "plain", "impostor"].map(|name| alias_to(name, OUTSIDE)))?;
    loopback.upstreams.extend([outside, clear, other]);
    for dynamic in [false, true] {
        let config = with(
            on_this_machine("cluster"),
            &[
                ("externalNames.allow", json!([{"host": OUTSIDE, "ports": ports}])),
                (
                    "steering.external",
                    json!({"cluster": "out|{host}|{port}", "tlsCluster": "tls|{host}|{port}", "dynamicForwardProxy": dynamic}),
                ),
                ("table.services.shop/weather.alias", json!({"port": ports[0], "tls": true})),
                ("table.services.shop/plain.alias", json!({"port": ports[1], "tls": false})),
                ("table.services.shop/impostor.alias", json!({"port": ports[2], "tls": true})),
            ],
        );
        let envoy = loopback.sidecar(&config, &["--ca-file", &ca_file], with_dns).await?;
        for (name, upstream, port) in [("weather", "outside", ports[0]), ("plain", "clear", ports[1])] {
            wait_for(&envoy, name, upstream).await?;
            assert_eq!(get(&envoy, name, &[]).await?.said("authority"), format!("{OUTSIDE}:{port}"));
        }
        let reply = get(&envoy, "impostor", &[]).await?;
        assert_eq!(reply.status, 503, "the certificate is for another host: {}", reply.body);
    }
    Ok(())
}
