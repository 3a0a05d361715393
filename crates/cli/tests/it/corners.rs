//! Regression tests for output that was once wrong.

use std::{fs, io::Read};

use tempfile::TempDir;

use crate::run::{Run, SHOP, byname, byname_with_input};

/// Services that select pods. Only `shop/web` has its EndpointSlice in the input.
const PART: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: pay, namespace: bill}, spec: {clusterIP: 10.0.0.2, selector: {a: b}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: hl, namespace: bill}, spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  ports: [{port: 8080}]
  endpoints: [{addresses: [10.1.0.1], nodeName: n1, zone: z1}, {addresses: [10.1.0.2], nodeName: n2, zone: z2}]
"#;

fn explain(cluster: &str, args: &[&str]) -> Run {
    let mut all = vec!["explain"];
    all.extend(args);
    byname_with_input(&all, cluster.as_bytes())
}

#[track_caller]
fn says(run: &Run, parts: &[&str]) {
    for part in parts {
        assert!(run.stdout.contains(part), "lacks {part:?}:\n{}", run.shown());
    }
}

#[test]
fn unread_endpoints_are_unknown_instead_of_absent() {
    let run = explain(PART, &["pay.bill", "-n", "shop"]);
    assert_eq!(run.status, 0);
    says(&run, &["endpoints are not in the table", "the input has no EndpointSlice of Service bill/pay"]);
    let run = explain(PART, &["hl.bill", "-n", "shop"]);
    says(&run, &["hl.bill.svc.cluster.local → unknown: its endpoints are not in the input"]);
    let compiled = byname_with_input(&["compile"], PART.as_bytes());
    says(&compiled, &[r#""bill/pay": {"clusterIPs":"10.0.0.2","ports":[{"port":80}]}"#]);
    // Without a selector, `web` has no generated slices, and the namespace's slices are in the input.
    let made_by_hand =
        PART.replace("10.0.0.1, selector: {a: b}", "10.0.0.1").replace("service-name: web", "service-name: x");
    assert_eq!(explain(&made_by_hand, &["web", "-n", "shop"]).status, 1);
}

/// The bootstrap has no cluster for it, so Envoy answers 503.
#[test]
fn an_endpoint_without_a_hostname_lacks_a_cluster() {
    let headless = PART.replace("clusterIP: 10.0.0.1", "clusterIP: None");
    let note = "no clusters for endpoints without a hostname, so Envoy answers 503";
    let run = explain(&headless, &["10-1-0-1.web", "-n", "shop"]);
    assert_eq!(run.status, 0);
    says(&run, &[note, "outbound|80||10-1-0-1.web.shop.svc.cluster.local", "call Service shop/web"]);
    let bootstrap = byname_with_input(&["compile", "-n", "shop", "--format", "envoy-bootstrap"], headless.as_bytes());
    assert!(!bootstrap.stdout.contains("10-1-0-1"), "{}", bootstrap.shown());

    let with_hostname = headless.replace("nodeName: n1", "nodeName: n1, hostname: web-0");
    let run = explain(&with_hostname, &["web-0.web", "-n", "shop"]);
    assert_eq!((run.status, run.stdout.contains("without a hostname")), (0, false), "{}", run.shown());
    let directory = TempDir::new().expect("a directory");
    let by_endpoint = directory.path().join("by-endpoint.json");
    fs::write(&by_endpoint, r#"{"version": 1, "steering": {"by": "endpoint"}}"#).expect("a file");
    let config = by_endpoint.to_str().expect("UTF-8");
    let run = explain(&headless, &["10-1-0-1.web", "-n", "shop", "--config", config]);
    assert_eq!((run.status, run.stdout.contains("without a hostname")), (0, false), "{}", run.shown());
}

/// A Service that selects nothing hides the one of the same name that is meant.
#[test]
fn a_service_without_endpoints_names_the_one_that_has_some() {
    let hidden = "
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: bill}, spec: {clusterIP: 10.0.0.3, selector: {a: c}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: bill, labels: {a: b}}, status: {phase: Running}}
- {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: bill, labels: {kubernetes.io/service-name: web}},
   addressType: IPv4, ports: [], endpoints: []}
";
    let cluster = format!("{}{}", PART.trim_end(), hidden);
    let run = explain(&cluster, &["web", "-n", "bill"]);
    assert_eq!(run.status, 1, "{}", run.shown());
    let meant = "web.shop in another namespace has endpoints that can serve; request it by this name to reach it";
    says(&run, &["the selector a=c of Service bill/web matches no pod in namespace bill", meant]);
    for asked in ["web.bill", "web.bill.svc.cluster.local"] {
        let run = explain(&cluster, &[asked, "-n", "bill"]);
        assert!(run.status == 1 && !run.stdout.contains(meant), "{}", run.shown());
    }
}

#[test]
fn single_stack_services_ignore_slices_of_the_other_family() {
    let cluster = PART
        .replace("{clusterIP: 10.0.0.1, selector", "{clusterIP: 10.0.0.1, ipFamilies: [IPv4], selector")
        .replace("addressType: IPv4", "addressType: IPv6")
        .replace("10.1.0.", "fd00::");
    let run = explain(&cluster, &["web", "-n", "shop"]);
    assert_eq!(run.status, 1, "{}", run.shown());
    says(&run, &["none has an IPv4 address, the Service's only family", "so kube-proxy ignores its EndpointSlice"]);
    let dual = cluster.replace("ipFamilies: [IPv4]", "ipFamilies: [IPv4, IPv6]");
    says(&explain(&dual, &["web", "-n", "shop"]), &["2 of 2 endpoints can serve by IPv6"]);
    // Without the field, the only cluster IP has the only family.
    let by_address = cluster.replace("ipFamilies: [IPv4], ", "");
    assert_eq!(explain(&by_address, &["web", "-n", "shop"]).status, 1);
    says(&byname_with_input(&["compile"], by_address.as_bytes()), &[r#""ipFamilies":["IPv4"]"#]);
    // An API server adds the other family to such a manifest.
    let manifest = cluster.replace("ipFamilies: [IPv4]", "ipFamilies: [IPv4], ipFamilyPolicy: PreferDualStack");
    assert_eq!(explain(&manifest, &["web", "-n", "shop"]).status, 0);
    let of_api = manifest.replace("metadata: {name: web, ", "metadata: {name: web, uid: u1, ");
    assert_eq!(explain(&of_api, &["web", "-n", "shop"]).status, 1);
    // It adds the other family whichever is listed, and writes the cluster IPs of both.
    for (listed, other) in [("IPv4", "IPv6"), ("IPv6", "IPv4")] {
        let alone = format!("{{ipFamilies: [{listed}], ipFamilyPolicy: POLICY, selector");
        let manifest = PART.replace("{clusterIP: 10.0.0.1, selector", &alone);
        let manifest = manifest.replace("addressType: IPv4", &format!("addressType: {other}"));
        let manifest = if other == "IPv6" { manifest.replace("10.1.0.", "fd00::") } else { manifest };
        for policy in ["RequireDualStack", "PreferDualStack"] {
            let dual = manifest.replace("POLICY", policy);
            says(&explain(&dual, &["web", "-n", "shop"]), &[&format!("2 of 2 endpoints can serve by {other}")]);
            let written = dual.replace("{ipFamilies", "{clusterIPs: [10.0.0.1], ipFamilies");
            assert_eq!(explain(&written, &["web", "-n", "shop"]).status, 1);
        }
        let run = explain(&manifest.replace("POLICY", "SingleStack"), &["web", "-n", "shop"]);
        let family = format!("none has an {listed} address, the Service's only family");
        says(&run, &[&family, "the Service has only the other IP family, so kube-proxy ignores its EndpointSlice"]);
    }
    // The Service says its family only if that matters: tables stay small.
    says(&byname_with_input(&["compile"], cluster.as_bytes()), &[r#""ipFamilies":["IPv4"]"#]);
    assert!(!byname_with_input(&["compile"], PART.as_bytes()).stdout.contains("ipFamilies"));
}

/// A headless Service of a Deployment whose template sets `hostname` and `subdomain`, and a pod of another one.
const WORKERS: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: grp, namespace: shop}, spec: {clusterIP: None, selector: {app: grp}, ports: [{port: 8080}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: grp-1, namespace: shop, labels: {kubernetes.io/service-name: grp}}
  addressType: IPv4
  ports: [{port: 8080}]
  endpoints:
  - {addresses: [10.1.0.1], hostname: worker, conditions: {ready: true}}
  - {addresses: [10.1.0.2], hostname: worker, conditions: {ready: true}}
  - {addresses: [10.1.0.3], hostname: worker, conditions: {ready: false}}
  - {addresses: [10.1.0.4], conditions: {ready: true}}
"#;

#[test]
fn pods_that_share_a_hostname_are_all_endpoints_of_its_name() {
    let serving = |run: &Run| {
        let explanation: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        let endpoints = explanation["endpoints"].as_array().expect("endpoints").clone();
        let rows = endpoints.iter().map(|one| format!("{} {} {}", one["address"], one["serves"], one["because"]));
        rows.collect::<Vec<_>>().join("\n").replace('"', "")
    };
    let asked = ["worker.grp:8080", "--from", "shop"];
    says(
        &explain(WORKERS, &asked),
        &["2 of 2 endpoints can serve", "worker.grp.shop.svc.cluster.local → 10.1.0.1 10.1.0.2\n"],
    );
    assert_eq!(
        serving(&explain(WORKERS, &[&asked[..], &["--output", "json"]].concat())),
        "10.1.0.1 true one of the endpoints that the name resolves to\n\
         10.1.0.2 true one of the endpoints that the name resolves to\n\
         10.1.0.3 false not ready\n\
         10.1.0.4 false not the endpoint that the name resolves to"
    );
    let bootstrap = byname_with_input(&["compile", "--format", "envoy-bootstrap", "-n", "shop"], WORKERS.as_bytes());
    let (_, of_name) = bootstrap.stdout.split_once("cluster_name: \"outbound|8080||worker.grp").expect("a cluster");
    let of_name = of_name.split("- name:").next().expect("its endpoints");
    for (address, is_there) in [("10.1.0.1", true), ("10.1.0.2", true), ("10.1.0.3", false), ("10.1.0.4", false)] {
        assert_eq!(of_name.contains(&format!("\"{address}\"")), is_there, "{address}: {of_name}");
    }
    let unready = explain(&WORKERS.replace("ready: true", "ready: false"), &asked);
    says(&unready, &["not reachable: no_endpoints; the filter sends a local reply with status 503"]);
}

/// A headless Service whose port is another one at its pods, and one without ports.
const HEADLESS: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: hl, namespace: shop}, spec: {clusterIP: None, selector: {app: hl}, ports: [{name: http, port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {clusterIP: None, selector: {app: db}}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: hl-1, namespace: shop, labels: {kubernetes.io/service-name: hl}}
  addressType: IPv4
  ports: [{name: http, port: 8080}]
  endpoints: [{addresses: [10.1.1.1], hostname: hl-0}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
  addressType: IPv4
  ports: null
  endpoints: [{addresses: [10.1.1.2], hostname: db-0}, {addresses: [10.1.1.3], hostname: db-1, conditions: {ready: false}}]
"#;

#[test]
fn a_headless_name_reaches_any_port_of_its_pods_by_endpoint_alone() {
    let directory = TempDir::new().expect("a directory");
    let by_endpoint = directory.path().join("by-endpoint.json");
    fs::write(&by_endpoint, r#"{"version": 1, "steering": {"by": "endpoint"}}"#).expect("a file");
    let by_endpoint = by_endpoint.to_str().expect("UTF-8");
    for (name, upstream) in [
        ("hl-0.hl:8080", "endpoint  10.1.1.1:8080"),
        ("hl-0.hl", "endpoint  10.1.1.1:8080"),
        ("hl:9187", "endpoint  10.1.1.1:9187"),
        ("db-0.db:8080", "endpoint  10.1.1.2:8080"),
        ("db", "endpoint  10.1.1.2:80"),
    ] {
        let run = explain(HEADLESS, &[name, "--from", "shop", "--config", by_endpoint]);
        assert_eq!(run.status, 0, "{}", run.shown());
        says(&run, &[upstream]);
    }
    let run = explain(HEADLESS, &["hl-0.hl:8080", "--from", "shop"]);
    assert_eq!(run.status, 0, "{}", run.shown());
    says(
        &run,
        &["only steering by endpoint reaches those; the Service has only port 80", "port 8080 of the pods answers"],
    );
    assert!(!run.stdout.contains("use 80"), "port 80 of a pod does not answer:\n{}", run.shown());
    let run = explain(HEADLESS, &["db-0.db:8080", "--from", "shop"]);
    says(&run, &["only steering by endpoint reaches those; the Service has no TCP port"]);
}

/// A Service whose port is UDP, and a name by which the search would go on. The headless Services have UDP ports in their
/// EndpointSlices: the Service's, another one, and none.
const UDP: &str = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: dns, namespace: shop}, spec: {clusterIP: 10.96.0.1, ports: [{name: dns, port: 53, protocol: UDP}]}}
- {apiVersion: v1, kind: Service, metadata: {name: udp, namespace: dns}, spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}}
- {apiVersion: v1, kind: Service, metadata: {name: same, namespace: shop}, spec: {clusterIP: None, ports: [{name: dns, port: 53, protocol: UDP}]}}
- {apiVersion: v1, kind: Service, metadata: {name: own, namespace: shop}, spec: {clusterIP: None}}
- {apiVersion: v1, kind: Service, metadata: {name: none, namespace: shop}, spec: {clusterIP: None, ports: [{name: dns, port: 53, protocol: UDP}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: dns-1, namespace: shop, labels: {kubernetes.io/service-name: dns}}
  addressType: IPv4
  ports: [{name: dns, port: 53, protocol: UDP}]
  endpoints: [{addresses: [10.1.1.1]}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: udp-1, namespace: dns, labels: {kubernetes.io/service-name: udp}}
  addressType: IPv4
  ports: [{name: http, port: 8080}]
  endpoints: [{addresses: [10.1.9.9], hostname: dns}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: same-1, namespace: shop, labels: {kubernetes.io/service-name: same}}
  addressType: IPv4
  ports: [{name: dns, port: 5353, protocol: UDP}]
  endpoints: [{addresses: [10.1.1.2]}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: own-1, namespace: shop, labels: {kubernetes.io/service-name: own}}
  addressType: IPv4
  ports: [{name: sig, port: 2905, protocol: SCTP}, {name: web}, {name: http, port: 80}]
  endpoints: [{addresses: [10.1.1.3]}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: none-1, namespace: shop, labels: {kubernetes.io/service-name: none}}
  addressType: IPv4
  ports: []
  endpoints: [{addresses: [10.1.1.4]}]
"#;

#[test]
fn names_of_udp_ports_exist_as_in_dns() {
    for (name, reason, in_dns) in [
        ("dns.udp.dns", "port_not_found", "dns.udp.dns.shop.svc.cluster.local → 10.96.0.1\n"),
        ("_dns._udp.same", "port_not_found", "_dns._udp.same.shop.svc.cluster.local → 10.1.1.2\n"),
        ("_sig._sctp.own", "port_not_found", "_sig._sctp.own.shop.svc.cluster.local → 10.1.1.3\n"),
        ("_web._tcp.own", "port_not_found", "_web._tcp.own.shop.svc.cluster.local → 10.1.1.3\n"),
        ("_dns._udp.none", "name_not_found", "_dns._udp.none.shop.svc.cluster.local → no such name\n"),
    ] {
        let run = explain(UDP, &[name, "--from", "shop"]);
        says(&run, &["passed on as it came: ", &format!("({reason})\n"), in_dns]);
    }
    // A Service may have the port, and DNS lacks it.
    let down = UDP.replace("{addresses: [10.1.1.2]}", "{addresses: [10.1.1.2], conditions: {ready: false}}");
    for (cluster, name) in [(&*down, "_dns._udp.same"), (UDP, "_dns._udp.none")] {
        let lacking = "does not exist: the Service has no port with that name and protocol in DNS";
        says(&explain(cluster, &[name, "--from", "shop"]), &[lacking]);
    }
    says(
        &explain(UDP, &["dns:53", "--from", "shop"]),
        &["port 53 of the Service is a UDP port, and requests need a TCP port"],
    );
    // Tables name such ports only where the Service does not.
    let table = byname_with_input(&["compile"], UDP.as_bytes());
    says(&table, &[r#""addresses":"10.1.1.3","ports":{"http":80},"otherPorts":"sig/SCTP web/TCP"}"#]);
    says(&table, &[r#""addresses":"10.1.1.4","otherPorts":""}"#]);
    assert_eq!(table.stdout.matches("otherPorts").count(), 2, "{}", table.shown());
}

#[test]
fn a_local_service_has_no_endpoints_without_a_node() {
    let local = PART.replace("clusterIP: 10.0.0.1,", "clusterIP: 10.0.0.1, internalTrafficPolicy: Local,");
    let run = explain(&local, &["web", "--from", "shop"]);
    assert_eq!(run.status, 1, "{}", run.shown());
    says(
        &run,
        &[
            "not reachable: no_endpoints; the filter sends a local reply with status 503",
            "0 of 2 endpoints can serve: internalTrafficPolicy is Local, and the caller's node is unknown",
            "pass --pod, or set caller.node in the --config file",
        ],
    );
    let pending = format!(
        "{local}- {{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: shop}}, spec: {{containers: []}}}}\n"
    );
    let run = explain(&pending, &["web", "--pod", "shop/p"]);
    says(&run, &["(internalTrafficPolicy: Local); Pod shop/p is not scheduled yet\n"]);
    let warning = "the caller's node is unknown, so the filter answers 503 for Services with internalTrafficPolicy: Local (shop/web)";
    let compile = |cluster: &str, args: &[&str]| byname_with_input(&[&["compile"], args].concat(), cluster.as_bytes());
    let run = compile(&local, &["-n", "shop"]);
    assert!(run.status == 0 && run.stderr.contains(warning), "{}", run.shown());
    // With a node there is nothing to warn of, and nothing is refused where endpoints are not in the table.
    let directory = TempDir::new().expect("a directory");
    let with_node = directory.path().join("node.json");
    fs::write(&with_node, r#"{"version": 1, "caller": {"node": "n1"}}"#).expect("a file");
    let with_node = with_node.to_str().expect("UTF-8");
    says(
        &explain(&local, &["web", "--from", "shop", "--config", with_node]),
        &["1 of 2 endpoints can serve by IPv4: those on the caller's node"],
    );
    let istio = ["-n", "shop", "--format", "istio-wasmplugin", "--image", "oci://registry.example.com/byname:1"];
    for (cluster, args) in [(&*local, &["--config", with_node] as &[&str]), (&*local, &istio), (PART, &["-n", "shop"])]
    {
        let run = compile(cluster, args);
        assert!(run.status == 0 && !run.stderr.contains("node is unknown"), "{}", run.shown());
    }
    // diff asks for some node.
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let run = byname(&["diff", &file("old.yaml", PART), &file("new.yaml", &local)]);
    says(&run, &["no differences"]);
}

#[test]
fn dns_answers_with_every_address_of_an_endpoint() {
    let cluster = PART
        .replace("{clusterIP: 10.0.0.1, selector", "{clusterIP: None, selector")
        .replace("addresses: [10.1.0.1]", "addresses: [10.1.0.1, 10.1.0.9]");
    let run = explain(&cluster, &["web", "-n", "shop"]);
    says(
        &run,
        &[
            "web.shop.svc.cluster.local → 10.1.0.1 10.1.0.2 10.1.0.9",
            "2 of 2 endpoints can serve",
            "only the first one serves",
        ],
    );
}

/// The name of the second address is in DNS alone.
#[test]
fn a_name_of_a_second_address_is_explained() {
    let cluster = PART.replace("addresses: [10.1.0.1]", "addresses: [10.1.0.1, 10.1.0.9]");
    let note = "endpoint 10.1.0.1 has several addresses: DNS answers with each of them, and only the first one serves";
    let run = explain(&cluster, &["10-1-0-9.web", "-n", "shop"]);
    says(&run, &["the Service has no endpoint with that name", "10-1-0-9.web.shop.svc.cluster.local → 10.1.0.9", note]);
    assert!(!explain(&cluster, &["10-1-0-8.web", "-n", "shop"]).stdout.contains(note));
}

#[test]
fn a_name_for_one_port_and_an_authority_with_another_are_told_apart() {
    let cluster = PART
        .replacen("ports: [{port: 80}]}}", "ports: [{name: http, port: 80}, {name: admin, port: 443}]}}", 1)
        .replace("ports: [{port: 8080}]", "ports: [{name: http, port: 8080}, {name: admin, port: 8443}]");
    let run = explain(&cluster, &["_admin._tcp.web:80", "-n", "shop"]);
    says(
        &run,
        &[
            "port 80 from the authority is not port admin of the name, which is 443",
            "the name is for port 443 of Service shop/web; leave the port out, or use 443",
        ],
    );
    assert!(!run.stdout.contains("is not a port of the Service"), "{}", run.stdout);
    for authority in ["_admin._tcp.web", "_admin._tcp.web:443"] {
        says(&explain(&cluster, &[authority, "-n", "shop"]), &["reachable: Service shop/web, port 443 (admin)"]);
    }
}

#[test]
fn a_name_that_reads_as_an_address_gets_the_form_that_works() {
    for (service, namespace, asked, form) in [
        ("'123'", "shop", "123", "use 123.shop\n"),
        ("'123'", "shop", "123:80", "use 123.shop\n"),
        ("'0x7f'", "'10'", "0x7f.10", "use 0x7f.10.svc\n"),
    ] {
        let cluster = PART
            .replace("name: web, namespace: shop}, spec", &format!("name: {service}, namespace: {namespace}}}, spec"));
        let run = explain(&cluster, &[asked, "-n", "shop"]);
        says(&run, &["bad_authority", "as an IPv4 address, so it never reaches Service ", form]);
        let form = form.trim_start_matches("use ").trim_end();
        says(&explain(&cluster, &[form, "-n", "shop"]), &["reachable"]);
    }
    // Without such a Service, and where the port is wrong.
    for asked in ["123", "web:0"] {
        says(&explain(PART, &[asked, "-n", "shop"]), &["pass only the host and port"]);
    }
}

#[test]
fn a_name_of_an_unread_endpoint_may_exist() {
    let run = explain(PART, &["hl-0.hl", "-n", "bill"]);
    says(
        &run,
        &[
            "passed on as it came: the name may exist: the table lacks the endpoints of its Service (name_not_found)",
            "the input has no EndpointSlice of Service bill/hl, so its endpoints are unknown; add endpointslices of namespace bill",
        ],
    );
}

#[test]
fn a_missing_port_is_not_called_missing_readiness() {
    let cluster = PART.replace(
        "ports: [{port: 80}]}}\n- {apiVersion: v1, kind: Service, metadata: {name: pay",
        "ports: [{port: 80, name: adm}]}}\n- {apiVersion: v1, kind: Service, metadata: {name: pay",
    );
    let run = explain(&cluster, &["web", "-n", "shop"]);
    says(&run, &["0 of 2 endpoints can serve: no ready endpoint has a TCP port named adm"]);
    for (port, why) in [
        ("{name: adm, port: 8080, protocol: UDP}", "no ready endpoint has a TCP port named adm"),
        ("{name: adm}", "every ready endpoint has the port without a number"),
        ("{name: adm, port: 0}", "every ready endpoint has the port without a number"),
    ] {
        let run = explain(&cluster.replace("{port: 8080}", port), &["web", "-n", "shop"]);
        says(&run, &[&format!("0 of 2 endpoints can serve: {why}")]);
    }
}

#[test]
fn ready_endpoints_that_are_unfit_are_named() {
    let slice = |name: &str, ports: &str, address: &str, ready: bool| {
        format!(
            "- {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: pay-{name}, namespace: bill, labels: \
             {{kubernetes.io/service-name: pay}}}}, addressType: IPv4, ports: {ports}, endpoints: [{{addresses: ['{address}'], \
             conditions: {{ready: {ready}}}}}]}}\n"
        )
    };
    let named = PART.replace("ports: [{port: 80}]", "ports: [{name: http, port: 80}]");
    const HTTP: &str = "[{name: http, port: 8080}]";
    let rows = [
        (
            "a rollout that renames the port",
            format!("{}{}", slice("old", HTTP, "10.1.1.1", false), slice("new", "[]", "10.1.1.2", true)),
            "0 of 2 endpoints can serve: no ready endpoint has a TCP port named http; the others are not ready",
        ),
        (
            "the client's own address alone",
            slice("old", HTTP, "127.0.0.1", true),
            "0 of 1 endpoints can serve: every ready endpoint has a loopback, link-local or special address, which no pod has",
        ),
        (
            "both",
            format!("{}{}", slice("old", HTTP, "127.0.0.1", true), slice("new", "[]", "10.1.1.2", true)),
            "0 of 2 endpoints can serve: no ready endpoint has the port and an address that can serve",
        ),
        (
            "no endpoint is ready",
            slice("old", HTTP, "10.1.1.1", false),
            "0 of 1 endpoints can serve: none is ready, and none serves while terminating",
        ),
    ];
    for (claim, slices, sentence) in rows {
        let run = explain(&format!("{}\n{slices}", named.trim_end()), &["pay", "-n", "bill"]);
        assert!(run.status == 1 && run.stdout.contains(sentence), "{claim}: {}", run.shown());
    }
}

#[test]
fn a_port_that_is_not_tcp_is_no_other_port() {
    let ports = "ports: [{name: http, port: 80}, {name: sig, port: 5060, protocol: SCTP}, {name: dns, port: 53, targetPort: 5353, \
                 nodePort: 30053, protocol: UDP}]";
    let cluster = PART.replacen("ports: [{port: 80}]", ports, 1);
    for port in ["5060", "5353", "30053"] {
        let run = explain(&cluster, &[&format!("web:{port}"), "-n", "shop"]);
        assert!(!run.stdout.contains("; use "), "{}", run.shown());
        says(&run, &["Service shop/web has one TCP port: 80 (http)"]);
    }
}

#[test]
fn a_denied_alias_names_the_setting_that_allows_it() {
    let alias = |target: &str| {
        format!(
            "{}\n- {{apiVersion: v1, kind: Service, metadata: {{name: a, namespace: shop}}, spec: {{type: ExternalName, externalName: \
             {target}}}}}\n",
            PART.trim_end()
        )
    };
    let directory = TempDir::new().expect("a directory");
    let listed = directory.path().join("listed.json");
    fs::write(&listed, r#"{"version": 1, "unknownNames": "refuse", "externalNames": {"mode": "listed"}}"#)
        .expect("a file");
    let listed = listed.to_str().expect("UTF-8");
    let (allow, grants) = ("externalNames.allow of the --config file", "externalNames.grants of the --config file");
    for (target, setting) in [
        ("metadata.google.internal", None),
        ("localhost", None),
        ("10-1-0-1.shop.pod.cluster.local", None),
        ("api.example.com", Some(allow)),
        ("pay.bill.svc.cluster.local", Some(grants)),
    ] {
        let run = explain(&alias(target), &["a", "-n", "shop", "--config", listed]);
        says(&run, &["alias_denied"]);
        for note in [allow, grants] {
            assert_eq!(run.stdout.contains(note), setting == Some(note), "{}", run.shown());
        }
    }
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    let twice = PART.to_owned()
        + r#"
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: web-0, namespace: shop, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  ports: [{port: 8080}]
  endpoints: [{addresses: [10.1.0.1], conditions: {ready: false}}]
"#;
    let run = explain(&twice, &["web", "-n", "shop"]);
    says(
        &run,
        &["2 of 2 endpoints can serve", "Endpoints  2 of 3 can serve", "duplicate: counted in another EndpointSlice"],
    );
    assert!(!run.stdout.contains("publishNotReady"), "{}", run.stdout);
}

#[test]
fn derived_preferences_name_traffic_distribution() {
    let distributed = PART.replace("clusterIP: 10.0.0.1,", "clusterIP: 10.0.0.1, trafficDistribution: PreferClose,")
        + r#"
- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {nodeName: n1, containers: []}}
- {apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}}
"#;
    let run = explain(&distributed, &["web", "--pod", "shop/p"]);
    says(
        &run,
        &[
            "ready, and preferred by trafficDistribution for the caller's zone z1",
            "ready, but not preferred by trafficDistribution for the caller's zone z1",
        ],
    );
}

#[test]
fn endpoints_on_the_callers_node_are_not_reported_elsewhere() {
    let local = PART.replace("clusterIP: 10.0.0.1,", "clusterIP: 10.0.0.1, internalTrafficPolicy: Local,").replace(
        "zone: z2}",
        "zone: z2}, {addresses: [10.1.0.3], nodeName: n1, conditions: {ready: false, terminating: true}}",
    ) + "\n- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {nodeName: n1, containers: []}}\n";
    let run = explain(&local, &["web", "--pod", "shop/p"]);
    says(
        &run,
        &["terminating: ready endpoints are preferred", "not on the caller's node n1: internalTrafficPolicy is Local"],
    );
}

#[test]
fn search_path_and_ndots_follow_the_kubelet() {
    let pod = |spec: &str| {
        let spec = format!("{{containers: [], {spec}}}");
        PART.to_owned()
            + &format!("\n- {{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: shop}}, spec: {spec}}}\n")
    };
    for (spec, parts) in [
        ("dnsConfig: {options: [{name: ndots, value: '3'}, {name: ndots, value: '20'}]}", &["ndots 15,"] as &[&str]),
        (
            "dnsConfig: {searches: [svc.cluster.local, corp.example]}",
            &["search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n"],
        ),
        (
            "hostNetwork: true",
            &["its node's DNS servers (hostNetwork", "only full names resolve; use web.shop.svc.cluster.local"],
        ),
        ("dnsPolicy: Default", &["its node's DNS servers (dnsPolicy: Default)"]),
        (
            "dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.53], searches: [shop.svc.cluster.local]}",
            &["reachable", "ndots 1, search shop.svc.cluster.local\n", "uses only the DNS servers 192.0.2.53"],
        ),
        // The kubelet writes `ndots` without a number in place of `ndots:5`.
        (
            "dnsConfig: {options: [{name: ndots}]}",
            &["ndots 1,", "Pod shop/p sets the option ndots without a value, so its resolver reads 1;"],
        ),
        (
            "dnsConfig: {options: [{name: ndots, value: ''}]}",
            &["ndots 1,", "without a value, so its resolver reads 1;"],
        ),
        ("dnsConfig: {options: [{name: ndots, value: '3'}, {name: ndots}]}", &["ndots 1,"]),
        (
            "dnsConfig: {options: [{name: ndots, value: x}]}",
            &[
                "ndots 0,",
                "Pod shop/p has ndots \"x\", which is not a number, so its resolver reads 0 with glibc, and 1 with musl;",
            ],
        ),
        ("dnsConfig: {options: [{name: ndots, value: '0x2'}]}", &["ndots 0,", "so its resolver reads 0; write"]),
        ("dnsConfig: {options: [{name: ndots, value: '2.5'}]}", &["ndots 2,", "so its resolver reads 2; write"]),
        ("dnsConfig: {options: [{name: ndots, value: '-1'}]}", &["ndots 15,", "reads 15 with glibc, and 1 with musl;"]),
        (
            "dnsConfig: {options: [{name: 'ndots:2'}]}",
            &[
                "ndots 5,",
                "resolv.conf of Pod shop/p gets ndots:5 and ndots:2 in random order, so its ndots is one of them",
            ],
        ),
        (
            "dnsConfig: {options: [{name: 'ndots:2'}, {name: ndots, value: '3'}]}",
            &["ndots 3,", "gets ndots:3 and ndots:2 in random order"],
        ),
        (
            "dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.53], searches: [shop.svc.cluster.local], options: [{name: 'ndots:2'}]}",
            &["ndots 2,"],
        ),
        (
            "dnsPolicy: default",
            &[
                "ndots 5,",
                "Kubernetes has no dnsPolicy \"default\", so an API server refuses Pod shop/p; byname resolves as with",
            ],
        ),
    ] {
        says(&explain(&pod(spec), &["web", "--pod", "shop/p"]), parts);
    }
    let plain = "dnsConfig: {options: [{name: ndots, value: '2'}, {name: edns0}]}";
    let quiet = explain(&pod(plain), &["web", "--pod", "shop/p"]);
    assert!(quiet.stdout.contains("ndots 2,") && !quiet.stdout.contains("Pod shop/p"), "{}", quiet.shown());
    let compiled =
        byname_with_input(&["compile", "--pod", "shop/p"], pod("dnsConfig: {options: [{name: ndots}]}").as_bytes());
    assert_eq!(compiled.status, 0, "{}", compiled.shown());
    assert!(compiled.stderr.contains("without a value, so its resolver reads 1;"), "{}", compiled.shown());
    // The API server lets a pod list 32, and 2,048 characters.
    let list =
        |count: usize, tail: &str| (1..=count).map(|index| format!("d{index}{tail}")).collect::<Vec<_>>().join(", ");
    let (many, long) = (list(30, ".example"), list(10, &format!(".{}", ["x"; 100].join("."))));
    for (searches, policy, last, first_left_out) in [
        (&many, "ClusterFirst", "d29.example", Some("d30.example")),
        (&many, "None", "d30.example", None),
        (&long, "ClusterFirst", "d9.x.", Some("d10.x.")),
        (&long, "None", "d10.x.", None),
    ] {
        let spec = format!("dnsPolicy: {policy}, dnsConfig: {{nameservers: [192.0.2.53], searches: [{searches}]}}");
        let run = explain(&pod(&spec), &["web", "--pod", "shop/p"]);
        let search = run.stdout.lines().find(|line| line.starts_with("Steps")).unwrap_or_default();
        assert!(search.contains(last), "{}", run.shown());
        match first_left_out {
            Some(first) => {
                assert!(!search.contains(first), "{}", run.shown());
                says(&run, &[&format!("the kubelet leaves out the search domains of Pod shop/p from {first}")]);
            }
            None => assert!(!run.stdout.contains("leaves out"), "{}", run.shown()),
        }
    }
}

#[test]
fn a_search_domain_that_is_no_name_is_named_in_its_pod() {
    let pod = "- apiVersion: v1\n  kind: Pod\n  metadata: {name: a, namespace: shop}\n  spec:\n    dnsPolicy: POLICY\n    \
               dnsConfig:\n      searches: [., corp.example., x..y]\n";
    for policy in ["ClusterFirst", "Default", "None"] {
        let cluster = format!("{PART}{}", pod.replace("POLICY", policy));
        for args in [&["explain", "web"] as &[&str], &["compile"]] {
            let run = byname_with_input(&[args, &["--pod", "shop/a"]].concat(), cluster.as_bytes());
            let error =
                "error: standard input:20: document 1, items[4], Pod shop/a, spec.dnsConfig.searches[2]: \"x..y\" ";
            assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{args:?}");
            assert!(run.stderr.starts_with(error), "{}", run.stderr);
        }
    }
}

#[test]
fn dns_results_match_coredns() {
    let ns = "\n- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n";
    let named = PART
        .replace("ports: [{port: 80}]", "ports: [{port: 80, name: http}, {port: 53, name: dns, protocol: UDP}]")
        + ns
        + "- {apiVersion: v1, kind: Service, metadata: {name: ip, namespace: shop}, spec: {type: ExternalName, externalName: Api.Example.com.}}\n";
    for (name, part) in [
        ("_http._tcp.web.shop.svc.cluster.local.", "→ 10.0.0.1"),
        ("_dns._udp.web.shop.svc.cluster.local.", "→ 10.0.0.1"),
        ("_http._udp.web.shop.svc.cluster.local.", "→ no such name"),
        ("10-1-0-1.web.shop.svc.cluster.local.", "→ 10.1.0.1"),
        ("shop.svc.cluster.local.", "→ no address"),
        ("10-1-0-9.shop.pod.cluster.local.", "→ 10.1.0.9"),
        ("10-1-0-9.nowhere.pod.cluster.local.", "→ no such name"),
        ("ip.shop.svc.cluster.local.", "→ api.example.com. → outside the cluster domain"),
    ] {
        says(&explain(&named, &[name, "-n", "shop"]), &[part]);
    }
    let directory = TempDir::new().expect("a directory");
    let config = directory.path().join("base.yaml");
    fs::write(&config, "version: 1\ndns: {clusterDomain: Corp.Example.}\n").expect("written");
    let run = explain(PART, &["web", "-n", "shop", "--config", config.to_str().expect("text")]);
    says(&run, &["web.shop.svc.corp.example → 10.0.0.1"]);
}

#[test]
fn node_ports_are_closed_without_a_serving_endpoint() {
    let node = "\n- {apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}], \
                conditions: [{type: Ready, status: 'True', lastTransitionTime: null, lastHeartbeatTime: null}]}}\n";
    let open = PART.replace(
        "clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]",
        "type: NodePort, clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80, nodePort: 30080}]",
    ) + node;
    says(&explain(&open, &["web", "-n", "shop"]), &["+ NodePort      192.0.2.1:30080"]);
    let unready =
        open.replace("zone: z1}", "conditions: {ready: false}}").replace("zone: z2}", "conditions: {ready: false}}");
    says(&explain(&unready, &["web", "-n", "shop"]), &["- NodePort", "but no endpoint serves it"]);
    let local = open.replace("type: NodePort,", "type: NodePort, externalTrafficPolicy: Local,");
    says(
        &explain(&local, &["web", "-n", "shop"]),
        &["+ NodePort      192.0.2.1:30080", "with a serving endpoint, 1 of 1 ready nodes"],
    );
    let draining = local.replace("zone: z1}", "conditions: {ready: false, terminating: true}}");
    says(&explain(&draining, &["web", "-n", "shop"]), &["+ NodePort      192.0.2.1:30080"]);
}

#[test]
fn a_url_is_reduced_to_its_authority() {
    for url in ["http://user:secret@web.shop/path?q#f", "HTTP://web.shop", "web.shop:80"] {
        assert_eq!(explain(PART, &[url, "-n", "shop"]).status, 0, "{url}");
    }
    says(&explain(PART, &["https://web.shop", "-n", "shop"]), &["the Service has no such port (port_not_found)"]);
}

#[test]
fn diff_follows_aliases() {
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, target: &str, further: &str| {
        let text = format!(
            "{PART}\n- {{apiVersion: v1, kind: Service, metadata: {{name: front, namespace: shop}}, spec: {{type: ExternalName, \
             externalName: {target}}}}}\n- {{apiVersion: v1, kind: Service, metadata: {{name: mid, namespace: shop}}, spec: {{type: \
             ExternalName, externalName: {further}}}}}\n"
        )
        .replace("ports: [{port: 80}]", "ports: [{port: 8080}]");
        let file = directory.path().join(name);
        fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    let old = write("old.yaml", "MID.shop.svc.cluster.local.", "web.shop.svc.cluster.local");
    let new = write("new.yaml", "MID.shop.svc.cluster.local.", "gone.shop.svc.cluster.local");
    let run = byname(&["diff", &old, &new]);
    assert_eq!(run.status, 1);
    says(&run, &["front:8080", "mid:8080", "vanishes"]);
    // An external host that begins like the name of a Service.
    let config = directory.path().join("base.yaml");
    fs::write(&config, "version: 1\nexternalNames: {allow: [{host: '*.example.com', ports: [443]}]}\n")
        .expect("written");
    let old = write("old.yaml", "web.shop.example.com", "web.shop.svc.cluster.local");
    let new = write("new.yaml", "web.shop.example.org", "web.shop.svc.cluster.local");
    let run = byname(&["diff", &old, &new, "--config", config.to_str().expect("text")]);
    says(&run, &["front:443"]);
}

/// A pipe can be read only once.
#[test]
fn diff_reads_pipes() {
    let table = byname(&["compile", "-f", SHOP, "-n", "shop"]).stdout;
    let shop = fs::read(crate::run::root().join(SHOP)).expect("it is there");
    for input in [table.as_bytes(), &shop] {
        let run = byname_with_input(&["diff", "-", SHOP, "-n", "shop"], input);
        assert_eq!(run.status, 0, "{}", run.shown());
    }
}

/// Windows PowerShell writes UTF-16 to a file, and its Out-File a mark in front of UTF-8.
#[test]
fn diff_reads_tables_and_objects_in_every_encoding() {
    let directory = TempDir::new().expect("a directory");
    let table = byname(&["compile", "-f", SHOP, "-n", "shop"]).stdout;
    let shop = fs::read_to_string(crate::run::root().join(SHOP)).expect("it is there");
    let file = directory.path().join("state");
    let file_name = file.to_str().expect("text");
    for text in [table, shop] {
        let units = || format!("\u{feff}{text}").encode_utf16().collect::<Vec<u16>>();
        let encoded = [
            format!("\u{feff}{text}").into_bytes(),
            units().into_iter().flat_map(u16::to_le_bytes).collect(),
            units().into_iter().flat_map(u16::to_be_bytes).collect(),
        ];
        for bytes in encoded {
            fs::write(&file, &bytes).expect("written");
            let run = byname(&["diff", file_name, SHOP, "-n", "shop"]);
            assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{}", run.stdout);
            let run = byname_with_input(&["diff", SHOP, "-", "-n", "shop"], &bytes);
            assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        }
    }
    fs::write(&file, b"\xff\xfe{").expect("written");
    let run = byname(&["diff", file_name, SHOP]);
    assert!(
        run.status == 2 && run.stderr.contains(&format!("error: {file_name}: is not valid UTF-16")),
        "{}",
        run.stderr
    );
}

#[test]
fn diff_names_the_file_in_every_error_of_a_table() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("table.json");
    let table = r#"{"version": 1, "table": {"services": {"shop/web": {"ports": [{"port": 0}]}, "shop/pay": {"ports": [{"port": 0}]}}}}"#;
    fs::write(&file, table).expect("written");
    let file = file.to_str().expect("text");
    let run = byname(&["diff", file, file]);
    let error = |service| {
        format!(
            "error: {file}: table.services[\"shop/{service}\"].ports[0].port: \"0\" is not a port; use 1 to 65535\n"
        )
    };
    assert_eq!((run.status, run.stderr), (2, error("web") + &error("pay")));
    let run = byname(&["diff", SHOP, SHOP, "-n", "Shop"]);
    assert_eq!(run.status, 2);
    assert!(
        run.stderr.starts_with("error: invalid value 'Shop' for '--namespace <NAMESPACE>': use a lower-case DNS label"),
        "{}",
        run.stderr
    );
}

#[test]
fn output_is_written_through_links_and_pipes() {
    let directory = TempDir::new().expect("a directory");
    let (target, link) = (directory.path().join("target.json"), directory.path().join("link.json"));
    fs::write(&target, "old").expect("written");
    std::os::unix::fs::symlink(&target, &link).expect("linked");
    let compile = |to: &str| byname(&["compile", "-f", SHOP, "-n", "shop", "--output-file", to]);
    assert_eq!(compile(link.to_str().expect("text")).status, 0);
    assert!(link.is_symlink(), "the link is kept");
    let expected = byname(&["compile", "-f", SHOP, "-n", "shop"]).stdout;
    assert_eq!(fs::read_to_string(&target).expect("there"), expected);
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("it starts");
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut text = String::new();
            fs::File::open(pipe).expect("there").read_to_string(&mut text).expect("text");
            text
        }
    });
    assert_eq!(compile(pipe.to_str().expect("text")).status, 0);
    assert_eq!(reader.join().expect("it ends"), expected);
}

/// Text from objects reaches a terminal only escaped.
#[test]
fn control_characters_of_objects_are_escaped() {
    let evil = r#""\e[31m\x9b1m\u202e\x7f""#;
    let texts = [
        format!("kind: {evil}\napiVersion: v1\n"),
        PART.replace("name: pay", &format!("name: {evil}")),
        PART.replace("nodeName: n1, zone: z1", &format!("nodeName: {evil}, zone: {evil}, hostname: {evil}")),
        PART.replace("selector: {a: b}", &format!("selector: {{{evil}: {evil}}}")),
        PART.replace("[{port: 80}]", &format!("[{{port: 80, name: {evil}, appProtocol: {evil}}}]")),
        format!(
            "{PART}\n- {{apiVersion: v1, kind: Pod, metadata: {{name: {evil}, namespace: shop}}, spec: {{nodeName: {evil}, containers: []}}}}\n"
        ),
        format!("{evil}: 1\n{evil}: 2\n"),
    ];
    for text in &texts {
        for args in [
            &["compile", "-n", "shop"] as &[&str],
            &["compile", "-n", "shop", "--skip-invalid"],
            &["compile", "--pod", "shop/x"],
            &["explain", "web", "-n", "shop"],
            &["explain", "pay.bill", "-n", "shop"],
            &["explain", "web", "-n", "shop", "-o", "json"],
            &["lint"],
            &["lint", "-o", "json"],
            &["lint", "-o", "sarif"],
        ] {
            let run = byname_with_input(args, text.as_bytes());
            let raw = run.shown().chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{args:?}\n{text}\n{}", run.shown());
        }
    }
}

#[test]
fn reads_json_as_programs_write_it() {
    let service = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"NAME","namespace":"shop","annotations":{"a":"\ud83d\ude00 \\ud83d \"}{\" "}},"spec":{"clusterIP":"None"}}"#;
    let two = |between: &str| service.replace("NAME", "a") + between + &service.replace("NAME", "b");
    for text in [two(""), two("\n"), two("\n\n  "), two("\r\n")] {
        let run = byname_with_input(&["compile"], text.as_bytes());
        assert_eq!(run.status, 0, "{text:?}\n{}", run.stderr);
        assert!(run.stdout.contains("shop/a") && run.stdout.contains("shop/b"), "{text:?}\n{}", run.stdout);
    }
    // A line so long that it is read in pieces, which may end within an escape sequence.
    let padding = r"\ud83d\ude00".repeat(20_000);
    for shift in 0..12 {
        let text = service.replace("NAME", "a").replace(r"\ud83d\ude00", &("x".repeat(shift) + &padding));
        let run = byname_with_input(&["compile"], text.as_bytes());
        assert_eq!(run.status, 0, "shifted by {shift}: {}", run.stderr.chars().take(300).collect::<String>());
    }
}

#[test]
fn skips_objects_of_unknown_api_versions() {
    let run = explain(
        &(PART.to_owned()
            + "\n- {apiVersion: networking.k8s.io/v1beta1, kind: Ingress, metadata: {name: old}, spec: {rules: 7}}\n"),
        &["web", "-n", "shop"],
    );
    assert_eq!(run.status, 0, "{}", run.shown());
    assert!(run.stderr.contains("1 Ingress of networking.k8s.io/v1beta1"), "{}", run.stderr);
}

#[test]
fn a_local_service_on_thousands_of_nodes_needs_a_pod() {
    let endpoints: Vec<String> = (0..5_000)
        .map(|index| format!("{{addresses: [10.9.{}.{}], nodeName: n{index}}}", index / 250, index % 250 + 1))
        .collect();
    let daemon = PART.replace("clusterIP: 10.0.0.1,", "clusterIP: 10.0.0.1, internalTrafficPolicy: Local,").replace(
        "endpoints: [{addresses: [10.1.0.1], nodeName: n1, zone: z1}, {addresses: [10.1.0.2], nodeName: n2, zone: z2}]",
        &format!("endpoints: [{}]", endpoints.join(", ")),
    ) + "\n- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {nodeName: n7, containers: []}}\n";
    let run = explain(&daemon, &["web", "--pod", "shop/p"]);
    says(&run, &["1 of 5000 endpoints can serve", "those on the caller's node"]);
    let run = byname_with_input(&["compile", "-n", "shop"], daemon.as_bytes());
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("5000 groups of endpoints") && run.stderr.contains("--pod"), "{}", run.stderr);
}

/// 10,000 Services with 100,000 endpoints, 46 MB of YAML, compile within a few hundred MB. docs/compile.md has the
/// time.
#[test]
fn compiles_ten_thousand_services_in_bounded_memory() {
    let mut text = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for index in 0..10_000 {
        let (namespace, name) = (format!("ns{}", index % 100), format!("svc-{index}"));
        let endpoints: String = (0..10)
            .map(|other| {
                let number = index * 10 + other;
                format!(
                    "  - addresses:\n    - 10.{}.{}.{}\n    conditions:\n      ready: true\n      serving: true\n      terminating: \
                     false\n    nodeName: node-{}\n    targetRef:\n      kind: Pod\n      name: {name}-{other}\n      namespace: \
                     {namespace}\n      uid: 00000000-0000-4000-8000-{number:012}\n    zone: eu-{}\n",
                    number / 65_536 + 1,
                    number / 256 % 256,
                    number % 256,
                    number % 300,
                    number % 3,
                )
            })
            .collect();
        text.push_str(&format!(
            "- apiVersion: v1\n  kind: Service\n  metadata:\n    name: {name}\n    namespace: {namespace}\n  spec:\n    clusterIP: \
             10.96.{}.{}\n    ports:\n    - name: http\n      port: 80\n    selector:\n      app: {name}\n- addressType: IPv4\n  \
             apiVersion: discovery.k8s.io/v1\n  endpoints:\n{endpoints}  kind: EndpointSlice\n  metadata:\n    labels:\n      \
             kubernetes.io/service-name: {name}\n    name: {name}-x\n    namespace: {namespace}\n  ports:\n  - name: http\n    port: \
             8080\n",
            index / 256,
            index % 256,
        ));
    }
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("cluster.yaml");
    fs::write(&file, text).expect("written");
    let command = format!("ulimit -v 900000 && exec '{}' compile -f {}", env!("CARGO_BIN_EXE_byname"), file.display());
    let output = std::process::Command::new("sh").args(["-c", &command]).output().expect("it starts");
    let run = crate::run::of(output);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_eq!(run.stdout.lines().filter(|line| line.contains("\"addresses\"")).count(), 10_000);
}

/// The table separates entries of a list by white space, so a name with white space would be several.
#[test]
fn names_of_endpoints_with_white_space_are_refused_in_their_slice() {
    let slice = PART.split_once("endpoints: ").expect("a slice").0;
    for (endpoint, expected) in [
        ("hostname: 'a b'", "endpoints[0].hostname: \"a b\" is not a lower-case DNS label"),
        ("hostname: A_b", "endpoints[0].hostname: \"A_b\" is not a lower-case DNS label"),
        (
            "hints: {forZones: [{name: z1}, {name: 'z 2'}]}",
            "endpoints[0].hints: \"z 2\" is not the name of a zone or node",
        ),
        ("hints: {forNodes: [{name: \"n\\t1\"}]}", "endpoints[0].hints: \"n\\t1\" is not the name of a zone or node"),
    ] {
        let cluster = format!("{slice}endpoints: [{{addresses: [10.1.0.1], {endpoint}}}]\n");
        let run = byname_with_input(&["compile"], cluster.as_bytes());
        let error = format!("EndpointSlice shop/web-1, {expected}");
        assert!(run.status == 2 && run.stderr.contains(&error), "{endpoint}: {}", run.shown());
        let lint = byname_with_input(&["lint"], cluster.as_bytes());
        assert!(lint.status == 1 && lint.stdout.contains(&error), "{endpoint}: {}", lint.shown());
    }
    for list in ["[\"10.0.0.1 10.0.0.2\"]", "['']", "[\" 10.0.0.1\"]"] {
        let service = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: w, namespace: shop}}, spec: {{clusterIPs: {list}, ports: [{{port: 80}}]}}}}"
        );
        let run = byname_with_input(&["compile"], service.as_bytes());
        assert!(run.status == if list == "['']" { 0 } else { 2 }, "{list}: {}", run.shown());
    }
    // The endpoints of an Endpoints object too.
    let endpoints = "apiVersion: v1\nkind: Service\nmetadata: {name: w, namespace: shop}\nspec: {clusterIP: 10.0.0.1}\n---\n\
                     apiVersion: v1\nkind: Endpoints\nmetadata: {name: w, namespace: shop}\n\
                     subsets: [{addresses: [{ip: 10.1.0.1, hostname: 'a b'}], ports: [{port: 80}]}]\n";
    let run = byname_with_input(&["compile"], endpoints.as_bytes());
    let error = "Endpoints shop/w, subsets[0].addresses[0].hostname: \"a b\" is not";
    assert!(run.status == 2 && run.stderr.contains(error), "{}", run.shown());
}
