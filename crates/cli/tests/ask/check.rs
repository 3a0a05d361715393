//! `byname check` before byname is turned on.

use serde_json::{Value, json};

use crate::program::{ShopApi, byname};

/// A running pod in namespace `shop`.
fn pod(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name}, "spec": spec,
        "status": {"phase": "Running"}})
}

fn environment(variables: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"containers": [{"name": "main", "image": "main", "env": list}]})
}

#[test]
fn a_cluster_without_trouble_has_a_line_for_each_question() {
    let shop = ShopApi::start();
    let run = shop.byname(&["check", "-n", "data"]).expect(0);
    let address = shop.api.address();
    let expected = format!(
        "ok    api          Kubernetes v1.35.0 at http://{address}\n\
         ok    permissions  you may list every kind that byname reads\n\
         ok    mesh         no mesh; give workloads a sidecar as examples/kubernetes does, or byname serve as examples/fleet does\n\
         ok    http_proxy   no pod sends its requests to a proxy by http_proxy\n\
         ok    resolver     6 pods have Kubernetes' default DNS settings\n\
         ok    memory       16 names × 1 outbound listener: less than 1 MB in each sidecar for the packed table\n\
         ok    sidecars     no pod has a sidecar yet; run check again once byname is turned on\n"
    );
    assert_eq!(run.stdout, expected);
    assert_eq!(run.stderr, "");
}

#[test]
fn each_pitfall_is_named_with_its_pods_and_the_way_out() {
    let shop = ShopApi::start();
    shop.api.put(pod("a", environment(&[("http_proxy", "http://proxy.example.com:3128")])));
    shop.api.put(pod("b", environment(&[("HTTP_PROXY", "http://127.0.0.1:15001"), ("NO_PROXY", "localhost")])));
    shop.api.put(pod("c", environment(&[("http_proxy", "http://127.0.0.1:15001"), ("no_proxy", "127.0.0.1,.svc")])));
    shop.api.put(pod("d", environment(&[("http_proxy", "http://user:pass@localhost:15001")])));
    shop.api.put(pod("e", json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}})));
    shop.api.put(pod("h", environment(&[("http_proxy", "http://127.0.0.1:15001"), ("no_proxy", "*")])));
    shop.api
        .put(pod("i", environment(&[("http_proxy", "http://127.0.0.1:15001"), ("no_proxy", "localhost,checkout")])));
    shop.api
        .put(pod("j", environment(&[("http_proxy", "http://127.0.0.1:15001"), ("no_proxy", "localhost,.example")])));
    let ndots =
        json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}], "searches": ["corp"]}});
    shop.api.put(pod("f", ndots));
    shop.api.put(pod("g", json!({"containers": [{"name": "istio-proxy", "image": "istio/proxyv2:1.30.0"}]})));
    shop.api.put(json!({"apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"namespace": "shop", "name": "narrow"}, "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}]}}));
    shop.api.put(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "byname-system", "name": "byname"},
        "spec": {"clusterIP": "10.96.0.200", "ports": [{"name": "grpc", "port": 18000}]}}),
    );
    shop.api.fail("nodes", &[403]);
    let run = shop.byname(&["check", "-n", "shop"]).expect(1);
    for line in [
        "warn  permissions  may not list nodes (403), so the zones of callers are unknown; grant \"list\" on nodes to this user",
        "fail  server       Service byname-system/byname has no ready pod; see the log of byname serve",
        "fail  server       Sidecar shop/narrow hides the server byname-system/byname from its pods; add \
         \"byname-system/byname.byname-system.svc.cluster.local\" to egress.hosts",
        "warn  mesh         Sidecar shop/narrow shows its pods ./*, istio-system/* alone: names of other Services resolve and then \
         get 503; compile with --visible for these namespaces",
        "warn  http_proxy   shop/a: names go to the proxy http://proxy.example.com:3128 and not to the sidecar; set http_proxy to \
         the sidecar's listener, such as http://127.0.0.1:15001",
        "warn  http_proxy   shop/b: only HTTP_PROXY is set, which curl and others ignore; set http_proxy too",
        "warn  http_proxy   shop/c: no_proxy has .svc, so requests for such names go around byname; remove it from no_proxy",
        "warn  http_proxy   shop/h: no_proxy has *, so requests for such names go around byname; remove it from no_proxy",
        "warn  http_proxy   shop/i: no_proxy has checkout, so requests for such names go around byname; remove it from no_proxy",
        "warn  http_proxy   shop/d: no_proxy lacks localhost and 127.0.0.1, so calls within the pod go to the sidecar; add them",
        "warn  resolver     shop/e: own DNS servers (dnsPolicy: None); compile with --pod, or set dns in --config, so that names \
         resolve as these pods expect",
        "warn  resolver     shop/f: ndots 2, searches corp; compile with --pod, or set dns in --config, so that names resolve as \
         these pods expect",
    ] {
        assert!(run.stdout.lines().any(|other| other == line), "{line}\n---\n{}", run.stdout);
    }
    assert!(!run.stdout.contains("shop/j"), "{}", run.stdout);
    assert!(run.stdout.contains("ok    mesh         Istio in 1 of "), "{}", run.stdout);
    assert!(run.stdout.contains("warn  sidecars     shop/g: cannot be asked: "), "{}", run.stdout);
    // Other namespaces have none of it.
    shop.byname(&["check", "-n", "data"]).expect(1);
    let json = shop.byname(&["check", "-n", "shop", "-o", "json"]).expect(1).json();
    assert_eq!(json[0]["level"], "ok");
    // Nothing is checked of a cluster that does not answer.
    shop.api.fail("services", &[401]);
    shop.byname(&["check"]).expect(2);
}

#[test]
fn a_user_of_two_namespaces_gets_the_answers_for_both() {
    let shop = ShopApi::start();
    shop.api.fail("services", &[403]);
    let run = shop.byname(&["check", "-n", "shop", "-n", "billing"]).expect(1);
    let services = "fail  permissions  may not list services in all namespaces (403), so byname reads those of namespace billing, \
                    namespace shop alone; grant \"list\" on services in all namespaces to this user";
    assert!(run.stdout.lines().any(|line| line == services), "{}", run.stdout);
    for namespace in ["billing", "shop"] {
        let list = format!("/api/v1/namespaces/{namespace}/services");
        assert!(shop.lists().contains(&list), "{list}: {:?}", shop.api.requests());
    }
}

#[test]
fn check_offers_no_way_that_it_does_not_have() {
    let address = byname(&["check", "--admin", "127.0.0.1:9901"]).expect(2);
    assert!(address.stderr.contains("unexpected argument '--admin'"), "{}", address.stderr);
    let none = byname(&["check", "--kubeconfig", "/dev/null"]).expect(2);
    assert!(!none.stderr.contains("-f"), "{}", none.stderr);
}

#[test]
fn what_byname_cannot_run_with_is_told() {
    let shop = ShopApi::start();
    let in_data = |name: &str, container: &str, image: &str| {
        let mut pod = pod(name, json!({"containers": [{"name": container, "image": image}]}));
        pod["metadata"]["namespace"] = "data".into();
        pod
    };
    shop.api.put(in_data("linkerd", "linkerd-proxy", "linkerd/proxy:1"));
    shop.api.put(in_data("istiod", "discovery", "istio/pilot:1.21.4"));
    for number in 0..40 {
        let ports: Vec<Value> =
            (0..700).map(|port| json!({"name": format!("p{port}"), "port": 1 + number * 700 + port})).collect();
        shop.api.put(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "other", "name": format!("many-{number}")}, "spec": {"ports": ports}}));
    }
    let run = shop.byname(&["check", "-n", "data"]).expect(1);
    for line in [
        "warn  mesh         Linkerd in 1 of 8 pods: its proxy is not Envoy, so byname needs a sidecar of its own in front of it",
        "fail  mesh         istiod is 1.21: the examples need Istio 1.22 or newer; upgrade, or write v1beta1 objects",
    ] {
        assert!(run.stdout.lines().any(|other| other == line), "{line}\n---\n{}", run.stdout);
    }
    assert!(run.stdout.contains("ok    memory       56 names × 1 outbound listener"), "{}", run.stdout);
    // In Istio each number of a port is a listener.
    shop.api.put(in_data("mesh", "istio-proxy", "istio/proxyv2:1.21.4"));
    let run = shop.byname(&["check", "-n", "data"]).expect(1);
    let memory = "warn  memory       56 names × 28";
    let way = "MB in each sidecar for the packed table; limit the namespaces with --visible, or listeners with a Sidecar object";
    assert!(run.stdout.lines().any(|line| line.starts_with(memory) && line.ends_with(way)), "{}", run.stdout);
}
