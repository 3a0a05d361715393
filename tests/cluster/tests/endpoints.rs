//! `byname watch` has the table that `byname compile` makes of a dump, after everything that changes endpoints.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use anyhow::Result;
use byname_cluster::{Cluster, ClusterOptions, Watch, eventually};
use serde_json::{Value, json};

fn deployment(name: &str, replicas: usize, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    })
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// A change of the cluster, and what the table must show of `shop/web` afterwards.
struct Change {
    what: &'static str,
    make: fn(&Cluster) -> Result<()>,
    shows: fn(&Value) -> bool,
}

/// The ready IPv4 addresses; each pod has an IPv6 address too.
fn addresses(service: &Value) -> usize {
    let groups = service["endpoints"].as_array().into_iter().flatten();
    let ready = groups.filter(|group| group["ready"] != false);
    let all = ready.flat_map(|group| group["addresses"].as_str().unwrap_or_default().split_whitespace());
    all.filter(|address| !address.contains(':')).count()
}

const CHANGES: [Change; 9] = [
    Change {
        what: "scaled up",
        make: |cluster| cluster.kubectl(&["scale", "deployment/web", "--replicas=5", "-n", "shop"]).map(drop),
        shows: |web| addresses(web) == 5,
    },
    Change {
        what: "a rolling update",
        make: |cluster| {
            cluster.apply(&[deployment("web", 5, "example.com/web:2")])?;
            cluster.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"]).map(drop)
        },
        shows: |web| addresses(web) == 5,
    },
    Change {
        what: "scaled down to nothing",
        make: |cluster| cluster.kubectl(&["scale", "deployment/web", "--replicas=0", "-n", "shop"]).map(drop),
        shows: |web| addresses(web) == 0,
    },
    Change {
        what: "scaled up again, with one pod that is not ready",
        make: |cluster| {
            cluster.kubectl(&["scale", "deployment/web", "--replicas=3", "-n", "shop"])?;
            cluster.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"])?;
            let pod = cluster.kubectl(&[
                "get",
                "pods",
                "-n",
                "shop",
                "-l",
                "app=web",
                "-o",
                "jsonpath={.items[0].metadata.name}",
            ])?;
            cluster.kubectl(&["annotate", "pod", &pod, "-n", "shop", "test.byname.dev/ready=false"]).map(drop)
        },
        shows: |web| addresses(web) == 2,
    },
    Change {
        what: "another selector",
        make: |cluster| {
            let patch = r#"{"spec": {"selector": {"app": "api"}}}"#;
            cluster.kubectl(&["patch", "service", "web", "-n", "shop", "-p", patch]).map(drop)
        },
        shows: |web| addresses(web) == 2,
    },
    Change {
        what: "another type",
        make: |cluster| {
            let patch = r#"{"spec": {"type": "ExternalName", "externalName": "api.shop.svc.cluster.local", "clusterIP": null,
                "clusterIPs": null, "selector": null, "ipFamilies": null, "ipFamilyPolicy": null, "internalTrafficPolicy": null}}"#;
            cluster.kubectl(&["patch", "service", "web", "-n", "shop", "-p", patch]).map(drop)
        },
        shows: |web| web["type"] == "ExternalName",
    },
    Change {
        what: "a slice made by hand for a Service without selector",
        make: |cluster| {
            cluster.kubectl(&["delete", "service", "web", "-n", "shop"])?;
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"namespace": "shop", "name": "web-by-hand", "labels": {"kubernetes.io/service-name": "web"}},
                "endpoints": [{"addresses": ["10.244.9.1"]}, {"addresses": ["10.244.9.2"], "conditions": {"ready": false}}],
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            });
            cluster.apply(&[service("web", json!({"ports": [{"port": 80, "targetPort": 8080}]})), slice]).map(drop)
        },
        shows: |web| addresses(web) == 1,
    },
    Change {
        what: "Endpoints made by hand, which a controller mirrors into a slice",
        make: |cluster| {
            cluster.kubectl(&["delete", "endpointslice", "web-by-hand", "-n", "shop"])?;
            let endpoints = json!({
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "shop", "name": "web"},
                "subsets": [{
                    "addresses": [{"ip": "10.244.9.5"}, {"ip": "10.244.9.6"}, {"ip": "10.244.9.7"}],
                    "ports": [{"port": 8080, "protocol": "TCP"}],
                }],
            });
            cluster.apply(&[endpoints]).map(drop)
        },
        shows: |web| addresses(web) == 3,
    },
    Change {
        what: "another port",
        make: |cluster| {
            let patch = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 8081}]"#;
            cluster.kubectl(&["patch", "service", "web", "-n", "shop", "--type=json", "-p", patch]).map(drop)
        },
        shows: |web| web["ports"].to_string().contains("8081"),
    },
];

#[test]
fn watch_has_the_table_of_compile_after_every_change() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let ports = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
    cluster.kubectl(&["create", "namespace", "shop"])?;
    cluster.apply(&[
        deployment("web", 2, "example.com/web:1"),
        deployment("api", 2, "example.com/api:1"),
        service("web", json!({"ports": ports, "selector": {"app": "web"}, "ipFamilyPolicy": "PreferDualStack"})),
        service("api", json!({"ports": ports, "selector": {"app": "api"}})),
    ])?;
    let watch = Watch::start(&cluster.admin(), &["--namespace", "shop"])?;
    for Change { what, make, shows } in
        [Change { what: "nothing yet", make: |_| Ok(()), shows: |web| addresses(web) == 2 }].into_iter().chain(CHANGES)
    {
        make(&cluster)?;
        let is_shown = || Ok(watch.service("shop/web").is_some_and(|web| shows(&web)) && watch.agrees_with(&cluster)?);
        match eventually(what, is_shown) {
            Ok(after) => println!("{what}: equal after {} ms", after.as_millis()),
            Err(error) => panic!(
                "{error:#}\nwatch: {:#}\ncompile: {:#}\n{}\n{}",
                watch.table().unwrap_or_default(),
                watch.compiled(&cluster)?,
                watch.part.tail(),
                cluster.tails()
            ),
        }
    }
    Ok(())
}
