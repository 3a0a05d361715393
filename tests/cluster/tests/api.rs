//! The API server takes every object of the examples, and `byname watch` needs no more than the permissions that they grant.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeSet;

use anyhow::Result;
use byname_cluster::{Cluster, ClusterOptions, Watch, byname_program, eventually, run};
use byname_test_support::repository;
use serde_json::{Value, json};

fn example(path: &str) -> String {
    repository().join("examples").join(path).display().to_string()
}

/// Applies a dump of another cluster, as strictly as the API can. No controller runs that would change its objects.
fn apply_dump(cluster: &Cluster, path: &str) -> Result<usize> {
    let file = example(path);
    let text = cluster.kubectl(&["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", &file])?;
    let read = serde_json::Deserializer::from_str(&text).into_iter::<Value>().collect::<Result<Vec<_>, _>>()?;
    let mut objects: Vec<Value> = Vec::new();
    for object in read {
        match object["items"].as_array() {
            Some(items) => objects.extend(items.iter().cloned()),
            None => objects.push(object),
        }
    }
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        // What only the API sets.
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences"] {
            metadata.remove(field);
        }
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let accounts: BTreeSet<(String, String)> = objects
        .iter()
        .filter_map(|object| {
            let account = text(&object["spec"]["serviceAccountName"]).unwrap_or_else(|| "default".to_owned());
            Some((text(&object["metadata"]["namespace"])?, account))
        })
        .collect();
    let namespaces: BTreeSet<&String> = accounts.iter().map(|(namespace, _)| namespace).collect();
    let mut around: Vec<Value> = namespaces
        .into_iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    around.extend(accounts.iter().map(|(namespace, name)| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}})
    }));
    cluster.apply(&around)?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    cluster.kubectl_with_input(&["apply", "--validate=strict", "-f", "-"], Some(&list))?;
    Ok(objects.len())
}

#[test]
fn the_api_admits_the_examples_and_watch_follows_them() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default())?;
    // The namespace enforces the Pod Security Standard "restricted".
    cluster.kubectl(&["apply", "--validate=strict", "-k", &example("kubernetes")])?;
    for deployment in ["checkout", "payments"] {
        let name = format!("deployment/{deployment}");
        cluster.kubectl(&["rollout", "status", &name, "-n", "shop", "--timeout=60s"])?;
    }
    let labels = cluster.kubectl(&["get", "namespace", "shop", "-o", "json"])?;
    let labels: Value = serde_json::from_str(&labels)?;
    assert_eq!(labels["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");

    // The ServiceAccount of the example has nothing but its Roles.
    let pods = cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        "shop",
        "-l",
        "app=checkout",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    let pod = format!("shop/{pods}");
    let account = cluster.service_account("shop", "byname")?;
    let config = example("kubernetes/byname.json");
    let watch = Watch::start(&account, &["--pod", &pod, "--config", &config])?;
    eventually("watch has the table of the example", || watch.agrees_with(&cluster))?;
    assert!(watch.service("shop/payments").is_some(), "{}", watch.part.log());
    // It may do nothing else.
    let may = |verb: &str, what: &str| {
        let user = "--as=system:serviceaccount:shop:byname";
        cluster.kubectl(&["auth", "can-i", verb, what, "-n", "shop", user]).is_ok()
    };
    assert!(may("watch", "endpointslices.discovery.k8s.io") && may("list", "services"));
    for (verb, what) in [("get", "secrets"), ("list", "configmaps"), ("update", "services"), ("delete", "pods")] {
        assert!(!may(verb, what), "{verb} {what}");
    }

    // The same Deployment with its table in a ConfigMap, which `compile` writes. The API admits it and stores nothing, so that
    // the pod stays.
    let copy = tempfile::tempdir()?;
    for folder in ["kubernetes", "kubernetes-table"] {
        run("cp", &["-r", &example(folder), &copy.path().display().to_string()], None)?;
    }
    let dump = cluster.dump("services,endpointslices")?;
    let table = copy.path().join("kubernetes-table/byname.yaml").display().to_string();
    let program = byname_program()?.display().to_string();
    let compile = ["compile", "-n", "shop", "--config", &config, "--format", "envoy-ecds", "--output-file", &table];
    run(&program, &compile, Some(&dump))?;
    let folder = copy.path().join("kubernetes-table").display().to_string();
    cluster.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--validate=strict",
        "--dry-run=server",
        "-k",
        &folder,
    ])?;

    // The other objects of the examples that are Kubernetes' own.
    cluster.stop_clients();
    let taken = apply_dump(&cluster, "cluster/shop.yaml")?;
    println!("examples/cluster/shop.yaml: {taken} objects taken");
    // The other dump has other cluster IPs for the same Services.
    cluster.kubectl(&["delete", "services,endpointslices", "--all", "-n", "shop"])?;
    let taken = apply_dump(&cluster, "docker-compose/cluster.yaml")?;
    println!("examples/docker-compose/cluster.yaml: {taken} objects taken");
    eventually("watch agrees with compile afterwards", || watch.agrees_with(&cluster))?;
    Ok(())
}
