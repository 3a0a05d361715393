//! Which names go elsewhere with byname than by DNS and kube-proxy.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{DUMP, Run, ShopApi, byname};

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn slice(namespace: &str, name: &str, port: u16, addresses: &[&str]) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": port}],
        "endpoints": addresses.iter().map(|address| json!({"addresses": [address]})).collect::<Vec<_>>()})
}

/// Compares with a configuration.
fn compare(directory: &TempDir, config: &Value, more: &[&str]) -> Run {
    let port = |number: u16| json!([{"name": "http", "port": number}]);
    let objects = [
        service("shop", "payments", json!({"clusterIP": "10.96.0.10", "ports": port(80)})),
        slice("shop", "payments", 8080, &["10.244.0.1", "10.244.0.2"]),
        // kube-proxy translates no port of a headless Service.
        service("shop", "db", json!({"clusterIP": "None", "ports": port(80)})),
        slice("shop", "db", 8080, &["10.244.0.3"]),
        service("shop", "empty", json!({"clusterIP": "10.96.0.11", "ports": port(80)})),
        slice("shop", "empty", 8080, &[]),
        service("shop", "pay", json!({"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local"})),
        service("shop", "local", json!({"type": "ExternalName", "externalName": "localhost"})),
        service("shop", "partner", json!({"type": "ExternalName", "externalName": "api.example.com"})),
    ];
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("dump.json"), json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
    fs::write(path("config.json"), config.to_string()).unwrap();
    byname(
        &[&["diff", "--against-dns", &path("dump.json"), "--config", &path("config.json")] as &[&str], more].concat(),
    )
}

#[test]
fn each_kind_of_difference_is_named_with_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({"version": 1, "fallback": {"services": {"shop/empty": {"service": "shop/payments"}}}});
    let run = compare(&directory, &config, &[]).expect(1);
    for part in [
        "is refused\n  without byname: localhost:443 outside the cluster\n  with byname:    refused (alias_denied)\n  \
         local:443 local.shop:443 local.shop.svc:443 local.shop.svc.cluster.local:443  from shop\n",
        "gets the Host of another name\n  without byname: api.example.com:80 outside the cluster\n  with byname:    passed on (external), \
         Host api.example.com\n  partner:80 ",
        "goes elsewhere\n  without byname: db.shop.svc.cluster.local at port 80 of its endpoints\n  with byname:    \
         db.shop.svc.cluster.local:80 (service)\n  db:80 ",
        "is reached\n  without byname: connection refused: no endpoint can serve\n  with byname:    \
         payments.shop.svc.cluster.local:80 (fallback_no_endpoints)\n  empty:80 ",
        "gets the Host of another name\n  without byname: payments.shop.svc.cluster.local:80\n  with byname:    \
         payments.shop.svc.cluster.local:80 (alias), Host payments.shop.svc.cluster.local\n  pay:80 ",
        "gets the full name of its Service as Host\n  payments:80 payments.shop:80 payments.shop.svc:80  from shop\n",
    ] {
        assert!(run.stdout.contains(part), "{part}\n---\n{}", run.stdout);
    }
    let last = "8 refused, 4 elsewhere, 4 reachable only with byname, 12 with another Host, 3 with their full name, of 36 names compared \
                from 1 namespace\n";
    assert!(run.stdout.ends_with(last), "{}", run.stdout);
    let json = compare(&directory, &config, &["-o", "json"]).expect(1).json();
    let kinds: Vec<&Value> = json["changes"].as_array().unwrap().iter().map(|change| &change["kind"]).collect();
    assert_eq!(kinds, ["refused", "refused", "elsewhere", "reached", "host", "host", "host", "fullHost"]);
}

#[test]
fn a_configuration_that_changes_nothing_has_no_differences() {
    let shop = ShopApi::start();
    let config = shop.directory.path().join("config.json").display().to_string();
    fs::write(&config, json!({"version": 1, "steering": {"rewriteAuthority": "never"}}).to_string()).unwrap();
    // An alias for a host outside always gets that host's name.
    let dump = byname(&["diff", "--against-dns", DUMP, "--config", &config]).expect(1);
    let last = "0 refused, 0 elsewhere, 0 reachable only with byname, 8 with another Host, 0 with their full name, of ";
    assert!(dump.stdout.contains(last) && dump.stdout.contains("  weather:80  from shop\n"), "{}", dump.stdout);
    let weather = json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "weather"}});
    shop.api.delete(&weather);
    let same = shop.byname(&["diff", "--against-dns", "--config", &config]).expect(0);
    assert_eq!(same.stdout, "no differences from DNS and kube-proxy in 96 names compared from 5 namespaces\n");
    // Without it every short name gets the full one.
    byname(&["diff", "--against-dns", DUMP]).expect(1);
    let names = byname(&["diff", "--against-dns", DUMP, "--ignore-full-names"]).expect(1);
    assert!(!names.stdout.contains("gets the full name"), "{}", names.stdout);
    let table = byname(&["compile", "-f", DUMP, "-n", "shop"]).expect(0).stdout;
    let file = shop.directory.path().join("table.json").display().to_string();
    fs::write(&file, table).unwrap();
    let run = byname(&["diff", "--against-dns", &file]).expect(2);
    assert!(run.stderr.contains("is a table; --against-dns needs Kubernetes objects"), "{}", run.stderr);
}
