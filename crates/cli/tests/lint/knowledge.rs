//! What lint takes for knowledge: workloads, Endpoints, lists of an API server; and what it does not.

use std::{fs, process::Output};

use byname_cli::lint::LintReport;

use crate::{byname, fixtures, ids, judge, parse, stdout};

/// Objects of namespace `shop` in flow style, as YAML documents.
fn documents(objects: &[&str]) -> String {
    objects.join("\n---\n")
}

fn service(name: &str, spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{{spec}}}}}")
}

/// A workload with one container.
fn workload(kind: &str, name: &str, labels: &str, ports: &str) -> String {
    let group = match kind {
        "Rollout" => "argoproj.io/v1alpha1",
        "Job" | "CronJob" => "batch/v1",
        "ReplicationController" => "v1",
        _ => "apps/v1",
    };
    let template = format!(
        "template: {{metadata: {{labels: {{{labels}}}}}, spec: {{containers: [{{name: main, ports: [{ports}]}}]}}}}"
    );
    let spec = if kind == "CronJob" { format!("jobTemplate: {{spec: {{{template}}}}}") } else { template };
    format!("{{apiVersion: {group}, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {{{spec}}}}}")
}

fn found(objects: &[&str]) -> Vec<&'static str> {
    ids(&judge(&parse(&documents(objects))))
}

/// An object as an API server returns it.
fn of_api(object: &str) -> String {
    object.replacen("metadata: {", "metadata: {uid: u1, resourceVersion: '7', ", 1)
}

const HTTP: &str = "{name: http, containerPort: 8080}";

#[test]
fn container_ports_of_every_kind_of_workload_are_checked() {
    let right = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]");
    let wrong = right.replace("targetPort: http", "targetPort: htpp");
    let kinds =
        ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "Rollout"];
    for kind in kinds {
        let workload = workload(kind, "web", "app: web", HTTP);
        assert_eq!(found(&[&wrong, &workload]), ["BN020"], "{kind}");
        assert_eq!(found(&[&right, &workload]), [""; 0], "{kind}");
    }
    let report = judge(&parse(&documents(&[&wrong, &workload("Deployment", "web", "app: web", HTTP)])));
    let finding = &report.findings[0];
    assert_eq!(finding.message, "no container of Deployment web has a TCP port named \"htpp\"");
    assert_eq!(finding.paste().unwrap(), "targetPort: \"http\"  # line 1");
}

#[test]
fn a_selector_of_manifests_is_wrong_only_if_a_workload_is_meant() {
    let web = |labels: &str| workload("Deployment", "web", labels, HTTP);
    let selecting =
        |name: &str, selector: &str| service(name, &format!("selector: {{{selector}}}, ports: [{{port: 8080}}]"));
    let rows: &[(&str, String, String, &[&str])] = &[
        ("the Service has the workload's name", selecting("web", "app: wbe"), web("app: web"), &["BN001"]),
        ("the keys differ", selecting("web", "app: web"), web("app.kubernetes.io/name: web"), &["BN001"]),
        ("a typo in one label", selecting("front", "app: fronted, tier: x"), web("app: frontend, tier: x"), &["BN001"]),
        ("another workload of a series", selecting("shard-2", "app: shard-2"), web("app: shard-1"), &[]),
        ("blue and green", selecting("web", "app: web, color: blue"), web("app: web"), &[]),
        ("the label of a leader", selecting("web", "app: web, role: primary"), web("app: web"), &[]),
        ("pods of an operator", selecting("metrics", "app: metrics, instance: main"), web("app: web"), &[]),
        ("the workload is elsewhere", selecting("mail", "app: mail"), web("app: web"), &[]),
    ];
    for (claim, service, workload, expected) in rows {
        assert_eq!(found(&[service, workload]), *expected, "{claim}");
    }
    // Another Service selects the workload.
    let direct = selecting("web-direct", "app: web");
    let rows: &[(&str, String, &[&str])] = &[
        ("a typo", selecting("web", "app: wbe"), &["BN001"]),
        ("a typo in a second Service", selecting("metrics", "app: wbe"), &["BN001"]),
        ("a Service that is called like its pods", selecting("webs", "app: webs"), &[]),
        ("the pods of Flagger", selecting("web", "app: web-primary"), &[]),
    ];
    for (claim, service, expected) in rows {
        assert_eq!(found(&[service, &direct, &web("app: web")]), *expected, "{claim}");
    }
    let ordinal = |pod: &str| {
        let selector = format!("app: db, statefulset.kubernetes.io/pod-name: {pod}");
        found(&[&selecting("one", &selector), &workload("StatefulSet", "ledger", "app: db", HTTP)])
    };
    assert_eq!(ordinal("ledger-0"), [""; 0]);
    assert_eq!(ordinal("ldeger-0"), ["BN001"]);
}

#[test]
fn labels_that_controllers_add_are_known() {
    let rows = [
        ("StatefulSet", "statefulset.kubernetes.io/pod-name: db-2", true),
        ("StatefulSet", "statefulset.kubernetes.io/pod-name: other-2", false),
        ("StatefulSet", "apps.kubernetes.io/pod-index: '0'", true),
        ("Deployment", "pod-template-hash: 5c8f7b6d9f", true),
        ("Deployment", "statefulset.kubernetes.io/pod-name: db-2", false),
        ("Job", "batch.kubernetes.io/job-name: db", true),
        ("CronJob", "job-name: db-29012345", true),
    ];
    for (kind, label, matches) in rows {
        let service =
            service("db-one", &format!("selector: {{app: db, {label}}}, ports: [{{port: 80, targetPort: htpp}}]"));
        let expected: &[&str] = if matches { &["BN020"] } else { &[] };
        let workload = workload(kind, "db", "app: db", HTTP);
        assert_eq!(found(&[&service, &workload]), expected, "{kind} {label}");
        // A generated name may be any that begins so.
        let generated = workload.replacen("{name: db,", "{generateName: d,", 1);
        assert_ne!(generated, workload);
        assert_eq!(found(&[&service, &generated]), expected, "{kind} {label}, generated");
    }
}

#[test]
fn pods_of_a_dump_count_instead_of_its_templates() {
    let service = of_api(&service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]"));
    let deployment = of_api(&workload("Deployment", "web", "app: web", "{name: old, containerPort: 1}"));
    let pod = "{apiVersion: v1, kind: Pod, metadata: {uid: u2, name: web-1, namespace: shop, labels: {app: web}}, \
               spec: {containers: [{name: main, ports: [{name: http, containerPort: 8080}]}]}, status: {phase: Running}}";
    assert_eq!(found(&[&service, &deployment, pod]), [""; 0]);
    assert_eq!(found(&[&service, &deployment]), ["BN020"]);
    // A manifest beside the dump is about to be applied.
    let next = workload("Deployment", "web-next", "app: web", "{name: http, containerPort: 8080}");
    assert_eq!(found(&[&service, &deployment, pod, &next]), ["BN002"]);
}

#[test]
fn a_workload_without_replicas_is_named() {
    let service = of_api(&service("web", "clusterIP: 10.96.0.9, selector: {app: web}, ports: [{port: 80}]"));
    let deployment = of_api(&workload("Deployment", "web", "app: web", HTTP))
        .replace("spec: {template", "spec: {replicas: 0, template");
    let other =
        "{apiVersion: v1, kind: Pod, metadata: {uid: u2, name: a, namespace: shop}, spec: {containers: [{name: c}]}}";
    let report = judge(&parse(&documents(&[&service, &deployment, other])));
    assert_eq!(ids(&report), ["BN001"]);
    assert_eq!(report.findings[0].message, "no pod in namespace shop has app=web; Deployment web has 0 replicas");
}

#[test]
fn ports_that_a_mesh_adds_are_not_missing() {
    let workload = workload("Deployment", "web", "app: web", HTTP);
    for port in ["http-envoy-prom", "linkerd-admin"] {
        let service = service("stats", &format!("selector: {{app: web}}, ports: [{{port: 80, targetPort: {port}}}]"));
        assert_eq!(found(&[&service, &workload]), [""; 0], "{port}");
    }
}

#[test]
fn dns_settings_of_templates_are_checked() {
    let with = |kind: &str, dns: &str| {
        workload(kind, "web", "app: web", HTTP).replace("spec: {containers", &format!("spec: {{{dns}, containers"))
    };
    for (kind, field) in
        [("Deployment", "spec.template.spec.dnsPolicy"), ("CronJob", "spec.jobTemplate.spec.template.spec.dnsPolicy")]
    {
        let report = judge(&parse(&with(kind, "dnsPolicy: None")));
        assert_eq!(ids(&report), ["BN064"], "{kind}");
        assert_eq!((&*report.findings[0].object.kind, &*report.findings[0].field), (kind, field));
    }
    assert_eq!(found(&[&with("Deployment", "dnsConfig: {searches: [a.example, b.example]}")]), ["BN063"]);
}

#[test]
fn an_ndots_that_resolvers_read_otherwise_is_found() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("", "{name: ndots, value: '2'}, {name: edns0}", &[]),
        ("", "{name: ndots, value: '16'}", &[]),
        ("", "{name: edns0}, {name: ndots}", &["options[1]: ndots has no value, so the pod's resolver reads 1"]),
        ("", "{name: ndots}, {name: ndots, value: '3'}", &[]),
        ("", "{name: ndots, value: x}", &["options[0]: ndots \"x\" is not a number, and glibc reads 0"]),
        (
            "",
            "{name: 'ndots:2'}",
            &["options[0]: the option is called \"ndots:2\", so resolv.conf gets ndots:2 and ndots:5 in random order"],
        ),
        (
            "",
            "{name: ndots, value: '3'}, {name: 'ndots:2'}",
            &["options[1]: the option is called \"ndots:2\", so resolv.conf gets ndots:2 and ndots:3 in random order"],
        ),
        ("dnsPolicy: None, ", "{name: 'ndots:2'}", &[]),
    ];
    for (policy, options, expected) in rows {
        let dns = format!("{policy}dnsConfig: {{nameservers: [192.0.2.53], options: [{options}]}}");
        let with = workload("Deployment", "web", "app: web", HTTP)
            .replace("spec: {containers", &format!("spec: {{{dns}, containers"));
        let report = judge(&parse(&with));
        let found = report.findings.iter().filter(|one| one.rule.id == "BN065");
        let found: Vec<String> = found.map(|one| format!("{}: {}", one.field, one.message)).collect();
        let expected: Vec<String> =
            expected.iter().map(|text| format!("spec.template.spec.dnsConfig.{text}")).collect();
        assert_eq!(found, expected, "{policy}{options}");
    }
    let pod = |number: u8| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{uid: u{number}, name: web-{number}, namespace: shop, ownerReferences: [{{apiVersion: \
             apps/v1, kind: ReplicaSet, name: web-1, uid: u, controller: true}}]}}, spec: {{containers: [{{name: c}}], dnsConfig: {{options: \
             [{{name: ndots}}]}}}}, status: {{phase: Running}}}}"
        )
    };
    let report = judge(&parse(&documents(&[&pod(1), &pod(2)])));
    let messages: Vec<&str> = report.findings.iter().map(|finding| &*finding.message).collect();
    assert_eq!(messages, ["ndots has no value, so the pod's resolver reads 1 in 2 pods"]);
}

#[test]
fn dns_settings_of_pods_that_an_api_server_refuses_are_found() {
    let list =
        |count: usize, tail: &str| (0..count).map(|index| format!("s{index}{tail}")).collect::<Vec<_>>().join(", ");
    let searches = |list: &str| format!("dnsConfig: {{options: [{{name: ndots, value: '1'}}], searches: [{list}]}}");
    let long = format!(".{}", ["x"; 100].join("."));
    let rows: &[(String, &[&str])] = &[
        ("dnsPolicy: ClusterFirstWithHostNet".into(), &[]),
        ("dnsPolicy: ''".into(), &[]),
        ("dnsPolicy: default".into(), &["dnsPolicy"]),
        ("dnsPolicy: Foo".into(), &["dnsPolicy"]),
        ("hostname: a.b".into(), &["hostname"]),
        ("hostname: A".into(), &["hostname"]),
        ("hostname: db-0, subdomain: ''".into(), &[]),
        ("subdomain: a_b".into(), &["subdomain"]),
        ("dnsConfig: {nameservers: [10.0.0.1, 'fd00::1', 010.0.0.1]}".into(), &[]),
        ("dnsConfig: {nameservers: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4]}".into(), &["dnsConfig.nameservers"]),
        ("dnsConfig: {nameservers: [dns.example.com]}".into(), &["dnsConfig.nameservers[0]"]),
        (searches("a.example, a.example., ., _tcp.a_b.example"), &[]),
        (searches("Example.com"), &["dnsConfig.searches[0]"]),
        (
            searches("a.example, a..b, '', -a.b"),
            &["dnsConfig.searches[1]", "dnsConfig.searches[2]", "dnsConfig.searches[3]"],
        ),
        (searches(&list(32, ".x")), &[]),
        (searches(&list(33, ".x")), &["dnsConfig.searches"]),
        (searches(&list(10, &long)), &[]),
        (searches(&list(11, &long)), &["dnsConfig.searches"]),
    ];
    for (dns, expected) in rows {
        let with = workload("Deployment", "web", "app: web", HTTP)
            .replace("spec: {containers", &format!("spec: {{{dns}, containers"));
        let pod = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: shop}}, spec: {{{dns}, containers: [{{name: c}}]}}}}"
        );
        for (object, before) in [(with, "spec.template.spec."), (pod, "spec.")] {
            let report = judge(&parse(&object));
            let found = report.findings.iter().filter(|one| one.rule.id == "BN079");
            let found: Vec<&str> = found.map(|one| one.field.strip_prefix(before).unwrap()).collect();
            assert_eq!(found, *expected, "{object}");
        }
    }
    let report = judge(&parse(
        "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {dnsPolicy: default, containers: [{name: c}]}}",
    ));
    assert_eq!(report.findings[0].paste().unwrap(), "dnsPolicy: \"Default\"  # line 1");
}

#[test]
fn workloads_that_share_a_selector_may_have_other_ports() {
    let number = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]");
    let name = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]");
    let web = workload("Deployment", "web", "app: web", HTTP);
    let rows: &[(&str, &str, String, &[&str])] = &[
        ("a canary", &number, workload("Deployment", "web-canary", "app: web", HTTP), &["BN002"]),
        ("other ports", &number, workload("Deployment", "worker", "app: web", "{containerPort: 9102}"), &["BN005"]),
        ("no ports", &number, workload("Deployment", "worker", "app: web", ""), &["BN002"]),
        ("a Job", &number, workload("Job", "migrate", "app: web", ""), &["BN005"]),
        // Only pods with the name become endpoints.
        ("a name", &name, workload("Deployment", "worker", "app: web", "{containerPort: 9102}"), &["BN002"]),
    ];
    for (claim, service, other, expected) in rows {
        let report = judge(&parse(&documents(&[service, &web, other])));
        // Pods without ports may listen on any, so BN021 does not judge them.
        assert_eq!(ids(&report), *expected, "{claim}");
    }
}

const ENDPOINTS: &str = "{apiVersion: v1, kind: Endpoints, metadata: {name: ledger, namespace: shop}, subsets: \
                         [{addresses: [{ip: 198.51.100.7}], ports: [{name: https, port: 9443}]}]}";
const NEIGHBOUR: &str = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {uid: u9, name: other-1, \
                         namespace: shop, labels: {kubernetes.io/service-name: other}}, ports: [{name: http, port: 1}], endpoints: \
                         [{addresses: [198.51.100.9]}]}";

#[test]
fn endpoints_objects_count_where_a_service_has_no_mirror() {
    let ledger = of_api(&service("ledger", "clusterIP: 10.96.1.1, ports: [{name: https, port: 443}]"));
    let other = service("other", "clusterIP: 10.96.1.2, ports: [{name: http, port: 80}]");
    let selecting = ledger.replace("clusterIP", "selector: {app: ledger}, clusterIP");
    let slice = NEIGHBOUR.replace("other", "ledger").replace("name: http, port: 1", "name: https, port: 1");
    let mirror = slice.replace(
        "labels: {",
        "labels: {endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io, ",
    );
    let of_names = slice.replace("IPv4", "FQDN").replace("198.51.100.9", "ledger.example.com");
    let special = ENDPOINTS.replace("198.51.100.7", "169.254.1.1");
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("without Endpoints", &[&ledger, &other, NEIGHBOUR], &["BN011"]),
        ("Endpoints of a person", &[&ledger, &other, NEIGHBOUR, ENDPOINTS], &[]),
        ("Endpoints first", &[ENDPOINTS, NEIGHBOUR, &other, &ledger], &[]),
        (
            "an empty Endpoints object",
            &[&ledger, &ENDPOINTS.replace("198.51.100.7", "''").replace("addresses: [{ip: ''}], ", "")],
            &["BN011"],
        ),
        ("another port name", &[&ledger, &ENDPOINTS.replace("name: https", "name: tls")], &["BN015"]),
        ("not ready", &[&ledger, &ENDPOINTS.replace("addresses", "notReadyAddresses")], &["BN010"]),
        ("a special address", &[&ledger, &special], &["BN012"]),
        ("the mirror counts instead", &[&ledger, &mirror, &special], &[]),
        ("a slice of a person is added to the mirror", &[&ledger, &slice, &special], &["BN012"]),
        ("a dump without a mirror has all slices", &[&ledger, &slice, &of_api(&special)], &[]),
        ("a slice of DNS names is no mirror", &[&ledger, &of_names, ENDPOINTS], &["BN019"]),
        (
            "not mirrored",
            &[
                &ledger,
                &other,
                NEIGHBOUR,
                &ENDPOINTS.replace(
                    "namespace: shop}",
                    "namespace: shop, labels: {endpointslice.kubernetes.io/skip-mirror: 'true'}}",
                ),
            ],
            &["BN011"],
        ),
        (
            "an election",
            &[
                &ledger,
                &other,
                NEIGHBOUR,
                &ENDPOINTS.replace(
                    "namespace: shop}",
                    "namespace: shop, annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}",
                ),
            ],
            &["BN011"],
        ),
        (
            "a manifest of Endpoints for a selector",
            &[&selecting, &ENDPOINTS.replace("addresses", "notReadyAddresses")],
            &[],
        ),
        (
            "a dump of Endpoints for a selector",
            &[&selecting, &of_api(&ENDPOINTS.replace("addresses", "notReadyAddresses"))],
            &["BN010"],
        ),
    ];
    for (claim, objects, expected) in rows {
        assert_eq!(found(objects), *expected, "{claim}");
    }
    let report = judge(&parse(&documents(&[&ledger, &ENDPOINTS.replace("198.51.100.7", "127.0.0.1")])));
    let finding = &report.findings[0];
    assert_eq!(finding.object.to_string(), "Endpoints shop/ledger");
    assert_eq!(finding.field, "subsets[0].addresses[0].ip");
}

#[test]
fn what_manifests_lack_is_not_missing() {
    let board = service("board", "selector: {app: board}, ports: [{port: 80}]");
    let ingress = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, namespace: shop}, spec: {defaultBackend: \
                   {service: {name: reports, port: {number: 80}}}}}";
    let alias = service("alias", "type: ExternalName, externalName: reports.shop.svc.cluster.local");
    let slice = NEIGHBOUR.replace("uid: u9, ", "").replace("other", "reports");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {subdomain: reports, containers: [{name: c}]}}";
    let lone = service("lone", "clusterIP: 10.96.1.9, ports: [{port: 80}]");
    for (claim, rule, object) in [
        ("the backend of an Ingress", "BN040", ingress),
        ("the target of an alias", "BN036", &*alias),
        ("the Service of a slice", "BN014", &*slice),
        ("the Service of a subdomain", "BN004", pod),
    ] {
        assert_eq!(found(&[&board, object]), [""; 0], "{claim}");
        assert_eq!(found(&[&of_api(&board), object]), [rule], "{claim}");
    }
    assert_eq!(
        found(&[&lone, &NEIGHBOUR.replace("uid: u9, ", ""), &service("other", "ports: [{name: http, port: 1}]")]),
        [""; 0]
    );
    // The Service and the slices of other namespaces come from one list.
    let elsewhere = NEIGHBOUR.replace("namespace: shop", "namespace: else");
    let other =
        of_api(&service("other", "ports: [{name: http, port: 1}]").replace("namespace: shop", "namespace: else"));
    assert_eq!(found(&[&of_api(&lone), &elsewhere, &other]), ["BN011"]);
    assert_eq!(found(&[&lone, &elsewhere, &other]), [""; 0]);
}

#[test]
fn a_typo_in_the_name_of_a_service_is_found_in_manifests() {
    let web = service("web", "ports: [{port: 80}]");
    let checkout = service("checkout", "ports: [{port: 80}]");
    let ingress = |name: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i, namespace: shop}}, spec: {{defaultBackend: \
             {{service: {{name: {name}, port: {{number: 80}}}}}}}}}}"
        )
    };
    let rows: &[(&str, &[&str])] = &[
        ("wbe", &["BN040"]),
        ("chekout", &["BN040"]),
        ("webs", &[]),
        ("checkouts", &[]),
        ("checkout-2", &[]),
        ("cart", &[]),
    ];
    for (name, expected) in rows {
        assert_eq!(found(&[&web, &checkout, &ingress(name)]), *expected, "{name}");
    }
    let report = judge(&parse(&documents(&[&web, &ingress("wbe")])));
    assert_eq!(report.findings[0].message, "the manifests have no Service shop/wbe, but shop/web");
    assert_eq!(report.findings[0].paste().unwrap(), "name: \"web\"  # line 3");
    let alias = service("wbe", "type: ExternalName, externalName: web.shop.svc.cluster.local");
    assert_eq!(found(&[&alias]), [""; 0], "an alias is not its own target");
    let alias = service("a", "type: ExternalName, externalName: chekcout.shop.svc.cluster.local");
    assert_eq!(found(&[&checkout, &alias]), ["BN036"]);
    let slice = NEIGHBOUR.replace("uid: u9, ", "").replace("other", "chekcout");
    assert_eq!(found(&[&checkout, &slice]), ["BN014"]);
}

#[test]
fn references_into_other_namespaces_need_a_grant() {
    let service = of_api(&service("web", "ports: [{name: http, port: 80}]"));
    let route = |kind: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, metadata: {{name: r, namespace: edge}}, spec: {{rules: \
             [{{backendRefs: [{{name: web, namespace: shop, port: 80}}]}}]}}}}"
        )
    };
    let grant = |to: &str| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {{uid: u5, name: g, namespace: shop}}, \
             spec: {{from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}}], to: [{{group: '', kind: Service{to}}}]}}}}"
        )
    };
    assert_eq!(found(&[&service, &route("HTTPRoute")]), [""; 0], "grants were not read");
    assert_eq!(found(&[&service, &route("HTTPRoute"), &grant("")]), [""; 0]);
    assert_eq!(found(&[&service, &route("HTTPRoute"), &grant(", name: web")]), [""; 0]);
    assert_eq!(found(&[&service, &route("HTTPRoute"), &grant(", name: cart")]), ["BN043"]);
    assert_eq!(found(&[&service, &route("TLSRoute"), &grant("")]), ["BN043"]);
    // A backend may have filters of its own.
    let mirror = "{name: web, namespace: shop, port: 80, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: wbe, \
                  namespace: shop, port: 80}}}]}";
    let mirroring = route("HTTPRoute").replace("{name: web, namespace: shop, port: 80}", mirror);
    assert_eq!(found(&[&service, &mirroring]), ["BN040"]);
    let report = judge(&parse(&documents(&[
        &service,
        &route("HTTPRoute").replace("{name: web, namespace: shop, port: 80}", "null"),
    ])));
    assert_eq!(report.findings[0].message, "the backend has no name");
}

#[test]
fn ports_of_an_external_name_matter_to_gateways_and_meshes() {
    let ext = service("ext", "type: ExternalName, externalName: api.partner.example, ports: [{name: web, port: 9000}]");
    let ingress = |port: &str| {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: i, namespace: shop}}, spec: {{defaultBackend: \
             {{service: {{name: ext, port: {{{port}}}}}}}}}}}"
        )
    };
    let entry = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: shop}, spec: {hosts: [a.example]}}";
    assert_eq!(found(&[&ext]), ["BN035"]);
    assert_eq!(found(&[&ext, entry]), [""; 0]);
    assert_eq!(found(&[&ext, &ingress("name: web")]), ["BN042"]);
    assert_eq!(found(&[&ext, &ingress("number: 443")]), ["BN042"]);
    assert_eq!(found(&[&ext, &ingress("name: wbe")]), ["BN041", "BN042"]);
}

#[test]
fn a_route_of_openshift_is_a_backend() {
    let service = of_api(&service("web", "ports: [{name: http, port: 80, targetPort: 8080}]"));
    let route = |name: &str, port: &str| {
        format!(
            "{{apiVersion: route.openshift.io/v1, kind: Route, metadata: {{name: r, namespace: shop}}, spec: {{host: a.example, to: \
                 {{kind: Service, name: {name}}}{port}}}}}"
        )
    };
    for port in ["", ", port: {targetPort: http}", ", port: {targetPort: 8080}", ", port: {targetPort: '8080'}"] {
        assert_eq!(found(&[&service, &route("web", port)]), [""; 0], "{port}");
    }
    let admin = service.replace("name: http", "name: admin");
    for (service, port, field, message, paste) in [
        (&service, ", port: {targetPort: admin}", "spec.port.targetPort", "has no TCP port named admin", Some("http")),
        (
            &service,
            ", port: {targetPort: 80}",
            "spec.port.targetPort",
            "has no TCP port with the targetPort 80",
            Some("http"),
        ),
        (&admin, ", port: {targetPort: http}", "spec.port.targetPort", "has no TCP port named http", Some("admin")),
        (&service.replace("port: 80,", "port: 80, protocol: UDP,"), "", "spec.to", "has no TCP port", None),
    ] {
        let report = judge(&parse(&documents(&[service, &route("web", port)])));
        let finding = report.findings.iter().find(|finding| finding.rule.id == "BN041").unwrap();
        assert_eq!(finding.field, field, "{port}");
        assert!(
            finding.message.contains(message) && finding.message.contains("to targetPort 8080"),
            "{}",
            finding.message
        );
        let fix = "use the name of a port of the Service, or the number of its targetPort";
        assert_eq!(finding.fix == fix, !port.is_empty(), "{}", finding.fix);
        assert_eq!(finding.paste(), paste.map(|name| format!("targetPort: \"{name}\"  # line 3")), "{port}");
    }
    // Only the pods know the number of a named port, or else the EndpointSlices.
    let named = service.replace("targetPort: 8080", "targetPort: main");
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: web-1, namespace: shop, \
                 labels: {kubernetes.io/service-name: web}}, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.9]}]}";
    for (port, expected) in [("8080", &[""; 0][..]), ("9090", &["BN041"])] {
        let route = route("web", &format!(", port: {{targetPort: {port}}}"));
        assert_eq!(found(&[&named, &route]), [""; 0], "{port}");
        assert_eq!(found(&[&named, &route, slice]), expected, "{port}");
    }
    assert_eq!(found(&[&service, &route("wbe", "")]), ["BN040"]);
}

#[test]
fn what_compile_refuses_is_found() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("ports: [{port: 65536}]", "", &["spec.ports[0].port"]),
        ("ports: [{name: a, port: 1}, {name: a, port: 2}]", "", &["spec.ports[1].name"]),
        ("ports: [{name: a, port: 1}, {name: b, port: 1}]", "", &["spec.ports[1].port"]),
        ("ports: [{port: 1, protocol: QUIC}]", "", &["spec.ports[0].protocol"]),
        ("clusterIP: 10.96.0.256, ports: [{port: 1}]", "", &["spec.clusterIP"]),
        ("type: Internal, ports: [{port: 0}]", "", &["spec.type", "spec.ports[0].port"]),
        (
            "sessionAffinity: Cookie, internalTrafficPolicy: Zone, ports: [{port: 1}]",
            "",
            &["spec.internalTrafficPolicy", "spec.sessionAffinity"],
        ),
        ("ports: [{port: 1}]", "..", &["metadata.namespace"]),
    ];
    for (spec, namespace, fields) in rows {
        let mut object = service("web", spec);
        if !namespace.is_empty() {
            object = object.replace("namespace: shop", &format!("namespace: {namespace}"));
        }
        let report = judge(&parse(&object));
        assert_eq!(ids(&report), ["BN080"], "{spec}");
        let mut found: Vec<&str> = report.findings.iter().map(|finding| finding.field.as_str()).collect();
        let mut fields = fields.to_vec();
        found.sort_unstable();
        fields.sort_unstable();
        assert_eq!(found, fields, "{spec}");
    }
    // Another rule says why.
    assert_eq!(found(&[&service("a", "type: ExternalName")]), ["BN037"]);
    assert_eq!(found(&[&service("a", "type: ExternalName, externalName: ''")]), ["BN037"]);
    assert_eq!(found(&[&service("a", "ports: [{port: 1}, {port: 2}]")]), ["BN024"]);
}

#[test]
fn what_an_api_server_refuses_is_found() {
    const PORT: &str = "selector: {app: web}, ports: [{port: 80}]";
    let rows: &[(&str, &[&str])] = &[
        (
            "type: NodePort, ports: [{name: a, port: 1, nodePort: 30080}, {name: b, port: 2, nodePort: 30080}]",
            &["spec.ports[1].nodePort"],
        ),
        (
            "type: NodePort, ports: [{name: a, port: 1, nodePort: 30080}, {name: b, port: 1, protocol: UDP, nodePort: 30080}]",
            &[],
        ),
        // Only ports of one number share a node port, and each has a protocol of its own.
        (
            "type: NodePort, ports: [{name: a, port: 1, nodePort: 30080}, {name: b, port: 2, protocol: UDP, nodePort: 30080}]",
            &["spec.ports[1].nodePort"],
        ),
        (
            "type: NodePort, ports: [{name: a, port: 1, nodePort: 30080}, {name: b, port: 1, protocol: UDP, nodePort: 30081}, \
             {name: c, port: 1, protocol: SCTP, nodePort: 30081}]",
            &["spec.ports[2].nodePort"],
        ),
        (
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30080, ports: [{port: 1, nodePort: 30080}]",
            &["spec.healthCheckNodePort"],
        ),
        (
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30081, ports: [{port: 1, nodePort: 30080}]",
            &[],
        ),
        ("type: ClusterIP, ports: [{port: 1, nodePort: 30080}]", &["spec.ports[0].nodePort"]),
        // An alias gets no node port, but its fields are compared.
        ("type: ExternalName, externalName: a.example.com, ports: [{port: 1, nodePort: 70000}]", &[]),
        (
            "type: ExternalName, externalName: a.example.com, ports: [{name: a, port: 1, nodePort: 30080}, {name: b, port: 2, \
             protocol: UDP, nodePort: 30080}, {name: c, port: 3, nodePort: 30080}]",
            &["spec.ports[2].nodePort"],
        ),
        ("type: ExternalName, externalName: a.example.com, ports: [{port: 70000}]", &["spec.ports[0].port"]),
        ("type: ExternalName, externalName: a.example.com, ports: [{port: 0}]", &["spec.ports[0].port"]),
        ("type: ExternalName, externalName: a.example.com, ports: [{name: HTTP, port: 80}]", &["spec.ports[0].name"]),
        (
            "type: ExternalName, externalName: a.example.com, ports: [{port: 80, protocol: tcp}]",
            &["spec.ports[0].protocol"],
        ),
        (
            "type: ExternalName, externalName: a.example.com, ports: [{name: a, port: 80}, {name: a, port: 80}]",
            &["spec.ports[1].name", "spec.ports[1].port"],
        ),
        ("type: ExternalName, externalName: a.example.com, sessionAffinity: Foo", &["spec.sessionAffinity"]),
        (
            "type: ExternalName, externalName: a.example.com, internalTrafficPolicy: Foo",
            &["spec.internalTrafficPolicy"],
        ),
        (
            "type: ExternalName, externalName: a.example.com, sessionAffinity: ClientIP, internalTrafficPolicy: Local, ports: \
             [{name: a, port: 80}, {name: b, port: 80, protocol: UDP}]",
            &[],
        ),
        ("clusterIPs: [None], ports: [{port: 1}]", &["spec.clusterIPs"]),
        ("clusterIP: None, clusterIPs: [None], ports: [{port: 1}]", &[]),
        (
            "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, ''], ipFamilyPolicy: PreferDualStack, ports: [{port: 1}]",
            &["spec.clusterIPs[1]"],
        ),
        ("clusterIP: 10.96.0.7", &["spec.ports"]),
        ("selector: {app: web}", &["spec.ports"]),
        ("clusterIP: None, selector: {app: web}", &[]),
        ("type: LoadBalancer, clusterIP: None, ports: [{port: 1}]", &["spec.clusterIP"]),
        ("type: NodePort, clusterIPs: [None], ports: [{port: 1}]", &["spec.clusterIPs"]),
        ("clusterIP: 10.96.0.7, clusterIPs: [10.96.0.8], ports: [{port: 1}]", &["spec.clusterIPs"]),
        ("type: ExternalName, externalName: a.example.com, clusterIP: 10.96.0.7", &["spec.clusterIP"]),
        ("type: ExternalName, externalName: A.example.com", &["spec.externalName"]),
        ("ports: [{port: 1, targetPort: 65536}]", &["spec.ports[0].targetPort"]),
        ("ports: [{port: 1, targetPort: -1}]", &["spec.ports[0].targetPort"]),
        ("ports: [{port: 1, targetPort: 0}]", &[]),
        ("ports: [{port: 1, targetPort: '8080'}]", &["spec.ports[0].targetPort"]),
        ("ports: [{port: 1, targetPort: http_main}]", &["spec.ports[0].targetPort"]),
        ("ports: [{port: 1, targetPort: a-name-of-16-byte}]", &["spec.ports[0].targetPort"]),
        ("ports: [{port: 1, targetPort: a-name-of-15byt}]", &[]),
        ("ipFamilies: [IPv4, IPv5], ports: [{port: 1}]", &["spec.ipFamilies[1]"]),
        ("ipFamilies: [IPv4, IPv4], ports: [{port: 1}]", &["spec.ipFamilies[1]"]),
        ("ipFamilyPolicy: DualStack, ports: [{port: 1}]", &["spec.ipFamilyPolicy"]),
        ("loadBalancerClass: x, selector: {app: web}, ports: [{port: 1}]", &["spec.loadBalancerClass"]),
        ("type: LoadBalancer, loadBalancerClass: x, loadBalancerSourceRanges: [10.0.0.0/8], ports: [{port: 1}]", &[]),
        ("externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 1}]", &["spec.externalTrafficPolicy"]),
        ("type: NodePort, externalTrafficPolicy: Node, ports: [{port: 1}]", &["spec.externalTrafficPolicy"]),
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, ports: [{port: 1}]",
            &["spec.sessionAffinityConfig.clientIP.timeoutSeconds"],
        ),
        // The API server drops the configuration of other affinities.
        ("sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}, ports: [{port: 1}]", &[]),
        ("sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}, ports: [{port: 1}]", &[]),
        ("selector: {app: <your-app>}, ports: [{port: 1}]", &["spec.selector.app"]),
        ("selector: {a b: web}, ports: [{port: 1}]", &["spec.selector.a b"]),
        ("ipFamilies: [IPv4, IPv6], ports: [{port: 1}]", &["spec.ipFamilyPolicy"]),
        ("ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack, ports: [{port: 1}]", &[]),
        ("clusterIPs: [10.96.0.7], ports: [{port: 1}]", &["spec.clusterIPs"]),
        ("type: ExternalName, externalName: a.example.com, ipFamilies: [IPv4]", &["spec.ipFamilies"]),
        ("type: ExternalName, externalName: -a.example.com", &["spec.externalName"]),
        ("trafficDistribution: Foo, ports: [{port: 1}]", &["spec.trafficDistribution"]),
        ("healthCheckNodePort: 30001, type: LoadBalancer, ports: [{port: 1}]", &["spec.healthCheckNodePort"]),
        ("healthCheckNodePort: 30001, type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 1}]", &[]),
        (
            "type: LoadBalancer, loadBalancerSourceRanges: [010.0.0.0/8, ' fd00::/8 ', 10.0.0.0/33, 10.0.0.1], ports: [{port: 1}]",
            &["spec.loadBalancerSourceRanges[2]", "spec.loadBalancerSourceRanges[3]"],
        ),
        ("type: LoadBalancer, loadBalancerClass: a b, ports: [{port: 1}]", &["spec.loadBalancerClass"]),
        ("ports: [{port: 1, appProtocol: a/b/c}]", &["spec.ports[0].appProtocol"]),
        ("ports: [{port: 1, appProtocol: example.com/mine}]", &[]),
        ("ports: [{port: 1, appProtocol: kubernetes.io/mine}]", &[]),
        ("ports: [{port: 1, appProtocol: kubernetes.io/}]", &["spec.ports[0].appProtocol"]),
        ("ports: [{port: 1, appProtocol: kubernetes.io/h2c/x}]", &["spec.ports[0].appProtocol"]),
        ("ports: [{port: 1, appProtocol: kubernetes.io/a b}]", &["spec.ports[0].appProtocol"]),
        ("ports: [{port: 1, appProtocol: KUBERNETES.io/h2c}]", &["spec.ports[0].appProtocol"]),
        ("clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, fd00::7], ports: [{port: 1}]", &["spec.ipFamilyPolicy"]),
        (
            "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, fd00::7], ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4], \
             ports: [{port: 1}]",
            &[],
        ),
        (
            "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 10.96.0.8], ipFamilyPolicy: PreferDualStack, ports: [{port: 1}]",
            &["spec.clusterIPs"],
        ),
        ("clusterIP: 10.96.0.7, ipFamilies: [IPv6], ports: [{port: 1}]", &["spec.clusterIP"]),
        (
            "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, fd00::7], ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack, \
             ports: [{port: 1}]",
            &["spec.clusterIPs[0]", "spec.clusterIPs[1]"],
        ),
        // The API server makes a headless Service without a selector dual-stack.
        ("clusterIP: None, ipFamilies: [IPv4, IPv6]", &[]),
        ("clusterIP: None, selector: {app: web}, ipFamilies: [IPv4, IPv6]", &["spec.ipFamilyPolicy"]),
        ("ipFamilyPolicy: '', ports: [{port: 1}]", &["spec.ipFamilyPolicy"]),
        ("trafficDistribution: '', ports: [{port: 1}]", &["spec.trafficDistribution"]),
        (
            "externalIPs: [api.example.com, 127.0.0.1, '::', fe80::1, 224.0.0.9, ff02::1, 010.0.0.1, 224.1.0.9], ports: [{port: 1}]",
            &[
                "spec.externalIPs[0]",
                "spec.externalIPs[1]",
                "spec.externalIPs[2]",
                "spec.externalIPs[3]",
                "spec.externalIPs[4]",
                "spec.externalIPs[5]",
            ],
        ),
        ("type: NodePort, ports: [{port: 1, nodePort: -1}]", &["spec.ports[0].nodePort"]),
        ("type: NodePort, ports: [{port: 1, nodePort: 70000}]", &["spec.ports[0].nodePort"]),
        ("type: NodePort, ports: [{port: 1, nodePort: 80}]", &[]),
        (
            "healthCheckNodePort: 65536, type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 1}]",
            &["spec.healthCheckNodePort"],
        ),
        // Patches of Services lack most fields.
        ("type: NodePort", &[]),
        ("externalTrafficPolicy: Local", &[]),
    ];
    for (spec, fields) in rows {
        let report = judge(&parse(&service("web", spec)));
        let found = report.findings.iter().filter(|finding| finding.rule.id == "BN079");
        assert_eq!(found.map(|finding| &*finding.field).collect::<Vec<_>>(), *fields, "{spec}");
    }
    let misspelled = [
        ("selectors: {app: web}", "spec.selectors", "write selector, or remove the field"),
        ("clusterIp: None", "spec.clusterIp", "write clusterIP, or remove the field"),
        ("Ports: [{port: 1}]", "spec.Ports", "write ports, or remove the field"),
        ("frontend: true", "spec.frontend", "remove the field"),
        ("ports: [{port: 1, targetport: 8080}]", "spec.ports[0].targetport", "write targetPort, or remove the field"),
        (
            "sessionAffinityConfig: {clientIp: {}}",
            "spec.sessionAffinityConfig.clientIp",
            "write clientIP, or remove the field",
        ),
        (
            "sessionAffinityConfig: {clientIP: {timeout: 9}}",
            "spec.sessionAffinityConfig.clientIP.timeout",
            "write timeoutSeconds, or remove the field",
        ),
    ];
    for (spec, field, fix) in misspelled {
        let object = service("web", spec);
        let report = judge(&parse(&object));
        let found = report.findings.iter().filter(|finding| finding.rule.id == "BN079");
        assert_eq!(found.map(|finding| (&*finding.field, &*finding.fix)).collect::<Vec<_>>(), [(field, fix)], "{spec}");
        // An API server may be newer than the program.
        assert!(!ids(&judge(&parse(&of_api(&object)))).contains(&"BN079"), "{spec}");
    }
    let object = service("web", PORT);
    let owned = "metadata: {ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, foo: 1}],";
    for (old, new, field) in [
        ("spec:", "Spec:", "Spec"),
        ("namespace:", "nameSpace:", "metadata.nameSpace"),
        ("metadata: {", owned, "metadata.ownerReferences[0].foo"),
        ("spec:", "status: {foo: 1}, spec:", "status.foo"),
        ("spec:", "status: {loadBalancer: {ingress: [{ipp: 1}]}}, spec:", "status.loadBalancer.ingress[0].ipp"),
    ] {
        let report = judge(&parse(&object.replace(old, new)));
        assert_eq!(report.findings[0].field, field);
    }
    assert_eq!(
        found(&[&object.replace("{app: web}", "{app: web}, $patch: replace")]),
        [""; 0],
        "a directive of a patch"
    );
    let noted = |spec: &str, ranges: &str| {
        let annotation =
            format!("annotations: {{service.beta.kubernetes.io/load-balancer-source-ranges: '{ranges}'}}, name: web");
        found(&[&service("web", spec).replace("name: web", &annotation)])
    };
    let balanced = "type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]";
    assert_eq!(noted(balanced, "10.0.0.0/8, 192.0.2.0/24"), [""; 0]);
    assert_eq!(noted(balanced, " "), [""; 0]);
    assert_eq!(noted(balanced, "10.0.0.0/8;192.0.2.0/24"), ["BN079"]);
    assert_eq!(noted(PORT, "10.0.0.0/8"), ["BN079"]);
    // Another rule says why.
    let named = service("web", "selector: {app: web}, ports: [{port: 80, targetPort: '8080'}]");
    assert_eq!(found(&[&named, &workload("Deployment", "web", "app: web", HTTP)]), ["BN020"]);
}

#[test]
fn what_an_api_server_refuses_in_a_slice_is_found() {
    const ENDPOINT: &str = "endpoints: [{addresses: [198.51.100.9]}]";
    let other = service("other", "clusterIP: 10.96.1.2, ipFamilies: [IPv4], ports: [{name: http, port: 80}]");
    let many = |count: usize, item: &str| vec![item; count].join(", ");
    let names = |count: usize| (0..count).map(|number| format!("{{name: z{number}}}")).collect::<Vec<_>>().join(", ");
    let with = |endpoint: &str| (ENDPOINT, format!("endpoints: [{endpoint}]"));
    let typed = |text: &str| ("addressType: IPv4, ", text.to_owned());
    let rows: &[((&str, String), &[&str])] = &[
        (typed(""), &["addressType"]),
        (typed("addressType: ipv4, "), &["addressType"]),
        (typed("addressType: IP, "), &["addressType"]),
        (typed("addressType: IPv6, "), &["endpoints[0].addresses[0]"]),
        (with("{addresses: ['fd00::1']}, {addresses: ['fd00::2']}"), &["endpoints[0].addresses[0]"]),
        (with("{addresses: [198.51.100.9, 'fd00::1']}"), &["endpoints[0].addresses[1]"]),
        (with("{addresses: [198.51.100.9]}, {addresses: []}"), &["endpoints[1].addresses"]),
        (with(&format!("{{addresses: [{}]}}", many(100, "198.51.100.9"))), &[]),
        (with(&format!("{{addresses: [{}]}}", many(101, "198.51.100.9"))), &["endpoints[0].addresses"]),
        (with(&many(1000, "{addresses: [198.51.100.9]}")), &[]),
        (with(&many(1001, "{addresses: [198.51.100.9]}")), &["endpoints"]),
        (with("{addresses: [198.51.100.9], hostname: ''}"), &["endpoints[0].hostname"]),
        (with("{adresses: [198.51.100.9], addresses: [198.51.100.9]}"), &["endpoints[0].adresses"]),
        (with("{addresses: [198.51.100.9], ready: true}"), &["endpoints[0].ready"]),
        (with("{addresses: [198.51.100.9], conditions: {raedy: true}}"), &["endpoints[0].conditions.raedy"]),
        (
            with("{addresses: [198.51.100.9], hints: {forZones: [{name: a, zone: b}]}}"),
            &["endpoints[0].hints.forZones[0].zone"],
        ),
        (with("{addresses: [198.51.100.9], targetRef: {kind: Node, foo: 1}}"), &["endpoints[0].targetRef.foo"]),
        (with("{addresses: [198.51.100.9], nodeName: Node}"), &["endpoints[0].nodeName"]),
        (with("{addresses: [198.51.100.9], nodeName: ''}"), &["endpoints[0].nodeName"]),
        (with("{addresses: [198.51.100.9], nodeName: node-1.example}"), &[]),
        (
            with("{addresses: [198.51.100.9], hints: {forZones: [{name: a}, {name: a}]}}"),
            &["endpoints[0].hints.forZones[1].name"],
        ),
        (
            with("{addresses: [198.51.100.9], hints: {forZones: [{name: a/b}]}}"),
            &["endpoints[0].hints.forZones[0].name"],
        ),
        (
            with(
                "{addresses: [198.51.100.9], hints: {forZones: [{name: a}], forNodes: [{name: A}, {name: a}, {name: a}]}}",
            ),
            &["endpoints[0].hints.forNodes[0].name", "endpoints[0].hints.forNodes[2].name"],
        ),
        (
            with(&format!("{{addresses: [198.51.100.9], hints: {{forZones: [{}]}}}}", names(9))),
            &["endpoints[0].hints.forZones"],
        ),
        (with(&format!("{{addresses: [198.51.100.9], hints: {{forZones: [{}]}}}}", names(8))), &[]),
        (("port: 1", "port: 1, appProtocol: a b".to_owned()), &["ports[0].appProtocol"]),
        (("port: 1", "port: 1, appProtocol: ''".to_owned()), &["ports[0].appProtocol"]),
        (("port: 1", "port: 1, appProtocol: kubernetes.io/h2c".to_owned()), &[]),
        (("other-1", "Web".to_owned()), &["metadata.name"]),
        (("other-1", "we_b".to_owned()), &["metadata.name"]),
        (("name: other-1", "generateName: other-".to_owned()), &[]),
        ((ENDPOINT, format!("spec: {{}}, {ENDPOINT}")), &["spec"]),
        (("port: 1", "port: 1, targetPort: 2".to_owned()), &["ports[0].targetPort"]),
        (("port: 1}", "port: 1}, {name: http, port: 2, protocol: UDP}".to_owned()), &["ports[1].name"]),
        (("port: 1}", "port: 1}, {port: 2}, {port: 3}".to_owned()), &["ports[2].name"]),
        (("port: 1}", "port: 1}, {name: quic, port: 2, protocol: QUIC}".to_owned()), &["ports[1].protocol"]),
    ];
    for ((old, new), fields) in rows {
        let slice = NEIGHBOUR.replace("uid: u9, ", "").replace(old, new);
        assert_ne!(slice, NEIGHBOUR);
        let report = judge(&parse(&documents(&[&other, &slice])));
        // No other rule says something else about the same mistake.
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.rule.id, &*finding.field)).collect();
        let expected: Vec<_> = fields.iter().map(|field| ("BN079", *field)).collect();
        assert_eq!(found, expected, "{new}");
    }
    // An API server may be newer than the program.
    let newer = NEIGHBOUR.replace("198.51.100.9]", "198.51.100.9], weight: 2");
    assert_eq!(found(&[&other, &newer]), [""; 0]);
    let unnamed = NEIGHBOUR.replace("service-name: other", "service-name: ''");
    for slice in [unnamed.replace("uid: u9, ", ""), unnamed] {
        assert!(found(&[&other, &slice]).contains(&"BN014"), "{slice}");
    }
}

#[test]
fn addresses_that_newer_api_servers_refuse_are_found() {
    let balanced =
        |ranges: &str| format!("type: LoadBalancer, loadBalancerSourceRanges: [{ranges}], ports: [{{port: 1}}]");
    let external = |addresses: &str| format!("externalIPs: [{addresses}], ports: [{{port: 1}}]");
    let range = |text: &str| balanced(&format!("'{text}'"));
    let rows: &[(String, &[&str])] = &[
        (balanced("10.0.0.0/8, 192.0.2.1/32, 'fd00::/8', ' 0.0.0.0/0 ', '::/0'"), &[]),
        (range("10.0.0.1/8"), &["10.0.0.1/8 has bits behind the prefix"]),
        (range("fd00::1/64"), &["fd00::1/64 has bits behind the prefix"]),
        (range("0.0.0.1/0"), &["0.0.0.1/0 has bits behind the prefix"]),
        (range("010.0.0.0/8"), &["010.0.0.0/8 has a zero in front of a number"]),
        (range("10.0.0.0/08"), &["10.0.0.0/08 has a zero in front of a number"]),
        (range("::ffff:1.2.3.4/128"), &["::ffff:1.2.3.4/128 is an IPv4 address in IPv6"]),
        (external("203.0.113.7, '2001:db8::7', '2001:DB8:0::7'"), &[]),
        (
            external("010.1.1.1, 1.2.3.0004, '::ffff:192.0.2.1'"),
            &[
                "010.1.1.1 has a zero in front of a number",
                "1.2.3.0004 has a zero in front of a number",
                "::ffff:192.0.2.1 is an IPv4 address in IPv6",
            ],
        ),
        (
            "clusterIP: '::ffff:10.96.5.5', ports: [{port: 1}]".to_owned(),
            &["::ffff:10.96.5.5 is an IPv4 address in IPv6"],
        ),
    ];
    let found = |objects: &[&str]| {
        let report = judge(&parse(&documents(objects)));
        let found = report.findings.into_iter().filter(|one| one.rule.id == "BN078");
        found.map(|one| (one.message.clone(), one.paste())).collect::<Vec<_>>()
    };
    let messages = |found: Vec<(String, Option<String>)>| {
        let refused = ", so API servers of Kubernetes 1.36 refuse it";
        found.into_iter().map(|(message, _)| message.strip_suffix(refused).unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (spec, expected) in rows {
        let object = service("web", spec);
        assert_eq!(messages(found(&[&object])), *expected, "{spec}");
        assert_eq!(found(&[&of_api(&object)]), [], "what an API server took: {spec}");
    }
    let paste = found(&[&service("web", &external("010.1.1.1"))]).remove(0).1;
    assert!(paste.as_ref().is_some_and(|paste| paste.contains("10.1.1.1") && !paste.contains("010")), "{paste:?}");
    let slice = NEIGHBOUR.replace("uid: u9, ", "");
    for (kind, address, expected) in [
        ("IPv4", "::ffff:198.51.100.9", "::ffff:198.51.100.9 is an IPv4 address in IPv6"),
        ("IPv6", "FD00::1", "FD00::1 is not in the canonical form"),
        ("IPv6", "fd00:0:0::1", "fd00:0:0::1 is not in the canonical form"),
        ("IPv6", "::10.1.2.3", "::10.1.2.3 is not in the canonical form"),
        ("IPv6", "fd00::1", ""),
        ("IPv4", "198.51.100.9", ""),
    ] {
        let object = slice.replace("IPv4", kind).replace("198.51.100.9", &format!("'{address}'"));
        let expected = Vec::from_iter(Some(expected).filter(|text| !text.is_empty()));
        assert_eq!(messages(found(&[&object])), expected, "{address}");
    }
}

#[test]
fn fields_that_have_no_effect_raise_no_alarm() {
    let alias =
        |name: &str, more: &str| service(name, &format!("type: ExternalName, externalName: a.example.com, {more}"));
    let balanced = |name: &str, port: u16, protocol: &str| {
        service(name, &format!("type: NodePort, ports: [{{port: {port}, protocol: {protocol}, nodePort: 30080}}]"))
    };
    let node_port = |number: u32| format!("ports: [{{port: 1, nodePort: {number}}}]");
    // An alias gets no node port.
    assert_eq!(found(&[&alias("a", &node_port(30_080)), &alias("b", &node_port(30_080))]), ["BN035"]);
    assert_eq!(found(&[&alias("a", &node_port(80))]), ["BN035"]);
    assert_eq!(found(&[&balanced("a", 1, "TCP"), &alias("b", &node_port(30_080))]), ["BN035"]);
    // The allocator knows no protocols.
    assert_eq!(found(&[&balanced("a", 1, "TCP"), &balanced("b", 1, "UDP")]), ["BN051"]);
    // kube-proxy skips Services without a cluster IP.
    let external = "externalIPs: [203.0.113.7]";
    assert_eq!(found(&[&service("a", &format!("clusterIP: None, selector: {{app: a}}, {external}"))]), [""; 0]);
    assert_eq!(found(&[&alias("a", external)]), [""; 0]);
    assert_eq!(found(&[&service("a", &format!("ports: [{{port: 1}}], {external}"))]), ["BN056"]);
    for (mode, expected) in
        [("Auto", &["BN073"][..]), ("auto", &["BN073"]), ("", &[]), ("AUTO", &[]), ("Disabled", &[])]
    {
        let annotation = format!("annotations: {{service.kubernetes.io/topology-mode: '{mode}'}}, name: web");
        let object = service("web", "ports: [{port: 1}]").replace("name: web", &annotation);
        assert_eq!(found(&[&object]), expected, "{mode}");
    }
    for (target, expected) in [
        ("192.0.2.80", "192.0.2.80 is read as an IP address"),
        ("'010.1'", "010.1 is read as an IP address"),
        ("1.2.3.0xff", "1.2.3.0xff is read as an IP address"),
        ("'fd00::1'", "fd00::1 is read as an IP address"),
        ("999.1.1.1", "999.1.1.1 is neither an IP address nor the name of a host: each of its labels is a number"),
        ("1.2.3.4.5", "1.2.3.4.5 is neither an IP address nor the name of a host: each of its labels is a number"),
        ("10.1.2.3.", "10.1.2.3. is neither an IP address nor the name of a host: each of its labels is a number"),
    ] {
        let report = judge(&parse(&service("a", &format!("type: ExternalName, externalName: {target}"))));
        let messages: Vec<&str> =
            report.findings.iter().filter(|one| one.rule.id == "BN030").map(|one| &*one.message).collect();
        assert_eq!(messages, [expected]);
    }
}

#[test]
fn a_number_of_a_slice_port_that_is_no_port_costs_that_port_alone() {
    let web = service(
        "web",
        "clusterIP: 10.96.1.2, selector: {app: web}, ports: [{name: http, port: 80}, {name: admin, port: 81}]",
    );
    let slice = |name: &str, address: &str, http: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: {name}, namespace: shop, labels: \
             {{kubernetes.io/service-name: web}}}}, ports: [{{name: http{http}}}, {{name: admin, port: 8081}}], endpoints: [{{addresses: \
             [{address}]}}]}}"
        )
    };
    let good = slice("web-1", "10.1.0.1", ", port: 8080");
    for (http, number) in [(", port: 65536", Some(65_536)), (", port: -1", Some(-1)), (", port: 0", None), ("", None)] {
        let bad = slice("web-2", "10.1.0.2", http);
        let found = |objects: &[&str]| {
            let report = judge(&parse(&documents(objects)));
            let found = report.findings.iter();
            found
                .map(|one| format!("{} {} {}: {}", one.rule.id, one.object, one.field, one.message))
                .collect::<Vec<_>>()
        };
        let in_slice = number.map(|number| {
            format!(
                "BN015 EndpointSlice shop/web-2 ports[0].port: {number} is not a port, so the endpoints have no port http/TCP"
            )
        });
        assert_eq!(found(&[&web, &good, &bad]), Vec::from_iter(in_slice.clone()), "{http}");
        let alone = in_slice.unwrap_or_else(|| {
            "BN015 Service shop/web spec.ports[0]: no EndpointSlice has port 80 (http, TCP); the EndpointSlices have admin/TCP, \
             http/TCP without a number"
                .to_owned()
        });
        assert_eq!(found(&[&web, &bad]), [alone], "{http}");
        let explained = stdout(&explain(&[&web, &good, &bad], &["web"]));
        assert!(explained.contains("1 of 2 can serve"), "{explained}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("objects.yaml");
        fs::write(&file, documents(&[&web, &good, &bad])).unwrap();
        let compiled = byname(&["compile", "-f", file.to_str().unwrap(), "-n", "shop"]);
        let table = stdout(&compiled);
        assert_eq!(compiled.status.code(), Some(0), "{compiled:?}");
        assert!(
            table.contains(r#"{"addresses":"10.1.0.1","ports":{"admin":8081,"http":8080}}"#)
                && table.contains(r#"{"addresses":"10.1.0.2","ports":{"admin":8081}}"#),
            "{table}"
        );
    }
}

#[test]
fn commands_agree_on_endpoints_that_kube_proxy_ignores() {
    let other = service(
        "other",
        "clusterIP: 10.96.1.2, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, ports: [{name: http, port: 80}]",
    );
    for (old, new, why) in [
        ("198.51.100.9", "'fd00::1'", "kube-proxy ignores it: its EndpointSlice has addressType IPv4"),
        ("IPv4", "IPv6", "kube-proxy ignores it: its EndpointSlice has addressType IPv6"),
        ("IPv4", "IP", "its EndpointSlice has addressType IP, so kube-proxy ignores it"),
        ("addressType: IPv4, ", "", "its EndpointSlice has no addressType, so kube-proxy ignores it"),
    ] {
        let slice = NEIGHBOUR.replace(old, new);
        let explained = explain(&[&other, &slice], &["other"]);
        let text = String::from_utf8(explained.stdout).unwrap();
        assert_eq!(explained.status.code(), Some(1), "{text}");
        assert!(text.contains(why) && text.contains("0 of 1 can serve"), "{text}");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("objects.yaml");
        fs::write(&file, documents(&[&other, &slice])).unwrap();
        let table = stdout(&byname(&["compile", "-f", file.to_str().unwrap(), "-n", "shop"]));
        assert!(table.contains("\"endpoints\":[]"), "{table}");
    }
}

#[test]
fn an_address_is_compared_in_every_spelling() {
    let with = |name: &str, ip: &str| {
        service(name, &format!("clusterIP: '{ip}', selector: {{app: x}}, ports: [{{port: 80}}]"))
    };
    for (one, other, expected) in [
        ("fd00::1", "FD00::1", &["BN057"][..]),
        ("fd00::1", "fd00:0::1", &["BN057"]),
        ("10.96.0.7", "::ffff:10.96.0.7", &["BN057", "BN078"]),
    ] {
        let other_selector = with("b", other).replace("app: x", "app: z");
        assert_eq!(found(&[&with("a", one), &other_selector]), expected, "{one} {other}");
    }
}

#[test]
fn an_alias_to_a_name_of_no_form_needs_no_dump() {
    let api = service("api", "selector: {app: api}, ports: [{port: 80}]").replace("shop", "billing");
    let web = service("web", "selector: {app: web}, ports: [{port: 80}]");
    let rows: &[(&str, Option<Option<&str>>)] = &[
        ("api.billing.cluster.local", Some(Some("api.billing.svc.cluster.local"))),
        ("web.svc.cluster.local.", Some(Some("web.shop.svc.cluster.local"))),
        ("billing.svc.cluster.local", Some(None)),
        ("api.billing.service.cluster.local", Some(None)),
        ("cluster.local", Some(None)),
        ("a.b.c.api.billing.svc.cluster.local", Some(None)),
        ("_http._quic.api.billing.svc.cluster.local", Some(None)),
        ("my_api.billing.svc.cluster.local", Some(None)),
        ("other.billing.svc.cluster.local", None),
        ("pod-0.api.billing.svc.cluster.local", None),
        ("_http._tcp.api.billing.svc.cluster.local", None),
        ("api.billing.example.com", None),
    ];
    for (target, expected) in rows {
        let alias = service("a", &format!("type: ExternalName, externalName: {target}"));
        let report = judge(&parse(&documents(&[&api, &web, &alias])));
        let finding = report.findings.iter().find(|finding| finding.rule.id == "BN036");
        assert_eq!(finding.is_some(), expected.is_some(), "{target}");
        let meant = expected.flatten().map(|meant| format!("externalName: \"{meant}\"  # line 5"));
        assert_eq!(finding.and_then(|finding| finding.paste()), meant, "{target}");
    }
}

#[test]
fn a_huge_name_is_cut_in_the_report() {
    let object = service(&"n".repeat(1 << 20), "ports: [{port: 70000}]");
    let written = crate::plain(&judge(&parse(&object)));
    assert!(written.len() < 10_000, "{} bytes", written.len());
}

#[test]
fn an_alias_that_is_refused_says_why() {
    for (target, why) in [
        ("localhost", "the client's own machine"),
        ("api.localhost", "the client's own machine"),
        ("metadata.google.internal", "the metadata service of a cloud"),
        ("instance-data.ec2.internal", "the metadata service of a cloud"),
        ("10-1-2-3.shop.pod.cluster.local", "the name of a pod"),
    ] {
        let report = judge(&parse(&service("a", &format!("type: ExternalName, externalName: {target}"))));
        assert_eq!(ids(&report), ["BN034"], "{target}");
        assert!(report.findings[0].message.contains(why), "{}", report.findings[0].message);
    }
}

#[test]
fn ports_for_udp_may_share_a_name() {
    let ports = |name: &str| service("web", &format!("ports: [{{name: {name}, port: 443, protocol: UDP}}]"));
    for (name, expected) in [("http-quic", &[][..]), ("http-h3", &[]), ("http", &["BN023"]), ("http-web", &["BN023"])] {
        assert_eq!(found(&[&ports(name)]), expected, "{name}");
    }
}

#[test]
fn a_named_target_of_a_headless_service_is_resolved() {
    let headless = |port: u16| {
        service("web", &format!("clusterIP: None, selector: {{app: web}}, ports: [{{port: {port}, targetPort: http}}]"))
    };
    let workload = workload("StatefulSet", "web", "app: web", HTTP);
    assert_eq!(found(&[&headless(8080), &workload]), [""; 0]);
    assert_eq!(found(&[&headless(80), &workload]), ["BN026"]);
}

#[test]
fn a_gateway_reads_fields_of_a_headless_backend() {
    let headless = |field: &str| {
        service(
            "web",
            &format!("clusterIP: None, selector: {{app: web}}, {field}, ports: [{{port: 80, targetPort: 8080}}]"),
        )
    };
    let route = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec: {rules: \
                 [{backendRefs: [{name: web, port: 80}]}]}}";
    let zone = headless("trafficDistribution: PreferSameZone");
    assert_eq!(found(&[&zone]), ["BN026", "BN072"]);
    assert_eq!(found(&[&zone, route]), [""; 0]);
    assert_eq!(found(&[&headless("internalTrafficPolicy: Local"), route]), ["BN072"]);
}

#[test]
fn explain_does_not_judge_pods_of_a_namespace_that_was_not_read() {
    let cart = service("cart", "clusterIP: 10.96.2.2, selector: {app: cart}, ports: [{name: http, port: 80}]");
    let slice = NEIGHBOUR.replace("other", "cart").replace("endpoints: [{addresses: [198.51.100.9]}]", "endpoints: []");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: far}, spec: {containers: [{name: c}]}}";
    let output = stdout(&explain(&[&cart, &slice, pod], &["cart"]));
    assert!(output.contains("but the input has no pods of namespace shop; add pods to the input"), "{output}");
}

#[test]
fn a_hostname_that_reaches_the_same_endpoint_shadows_nothing() {
    let slice = |service: &str, address: &str, hostname: &str| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: {service}-1, namespace: NS, labels: \
             {{kubernetes.io/service-name: {service}}}}}, ports: [{{port: 80}}], endpoints: [{{addresses: [{address}]{hostname}}}]}}"
        )
    };
    let at = |object: &str, namespace: &str| {
        object.replace("NS", namespace).replace("namespace: shop", &format!("namespace: {namespace}"))
    };
    let db = service("db", "clusterIP: None, ports: [{port: 80}]");
    let first = service("first", "clusterIP: 10.96.3.3, ports: [{port: 80}]");
    let rows: &[(&str, &str, &[&str])] = &[("10.1.1.1", "the same pod", &[]), ("10.1.1.2", "another pod", &["BN060"])];
    for (address, claim, expected) in rows {
        let objects = [
            at(&db, "db"),
            at(&slice("db", "10.1.1.1", ", hostname: first"), "db"),
            at(&first, "db"),
            at(&slice("first", address, ""), "db"),
        ];
        let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
        assert_eq!(found(&objects), *expected, "{claim}");
    }
}

/// Runs `explain` on these objects.
fn explain(objects: &[&str], args: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.yaml");
    fs::write(&file, documents(objects)).unwrap();
    byname(&[&["explain", "-f", file.to_str().unwrap(), "--from", "shop"], args].concat())
}

#[test]
fn explain_says_what_a_manifest_leaves_open() {
    let output = stdout(&explain(
        &[&service("cart", "type: LoadBalancer, selector: {app: cart}, ports: [{name: http, port: 80}]")],
        &["cart"],
    ));
    assert!(
        output.contains("  cart.shop.svc.cluster.local → an address that the API server will assign\n\n"),
        "{output}"
    );
    assert!(output.contains("a load balancer gets its address after the Service is created"), "{output}");
}

#[test]
fn explain_names_objects_of_the_mesh() {
    let cart = service("cart", "clusterIP: 10.96.2.2, selector: {app: cart}, ports: [{name: http, port: 80}]");
    let istio = |kind: &str, spec: &str| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: rule, namespace: shop}}, spec: {{{spec}}}}}"
        )
    };
    let route = "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: split, namespace: shop}, spec: {parentRefs: \
                 [{group: '', kind: Service, name: cart}], rules: []}}";
    for (object, note) in [
        (istio("VirtualService", "hosts: [cart]"), Some("VirtualService shop/rule (")),
        (istio("DestinationRule", "host: cart.shop.svc.cluster.local"), Some("DestinationRule shop/rule (")),
        (istio("ServiceEntry", "hosts: [cart.shop.svc.cluster.local]"), Some("ServiceEntry shop/rule (")),
        (route.to_owned(), Some("GRPCRoute shop/split (")),
        (istio("VirtualService", "hosts: [basket]"), None),
        (istio("VirtualService", "hosts: [cart], gateways: [edge]"), None),
    ] {
        let output = stdout(&explain(&[&cart, &object], &["cart"]));
        match note {
            Some(note) => {
                assert!(output.contains(note) && output.contains("byname does not read its rules"), "{output}")
            }
            None => assert!(!output.contains("byname does not read"), "{output}"),
        }
    }
    for object in [
        "{apiVersion: split.smi-spec.io/v1alpha1, kind: TrafficSplit, metadata: {name: rule, namespace: shop}, spec: {service: cart}}",
        "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: cart.shop.svc.cluster.local, namespace: shop}}",
    ] {
        let output = stdout(&explain(&[&cart, object], &["cart"]));
        assert!(output.contains("byname does not read its rules"), "{output}");
    }
    let output = stdout(&explain(&[&cart, &istio("ServiceEntry", "hosts: [api.example.com]")], &["api.example.com"]));
    assert!(output.contains("ServiceEntry shop/rule"), "{output}");
}

#[test]
fn compile_knows_the_endpoints_of_a_service_without_a_selector() {
    let lone =
        service("lone", "clusterIP: 10.96.1.9, ports: [{port: 80}]").replace("namespace: shop", "namespace: far");
    let other = service("other", "clusterIP: 10.96.1.2, selector: {app: other}, ports: [{name: http, port: 80}]");
    let ledger = service("ledger", "clusterIP: 10.96.1.1, ports: [{name: https, port: 443}]");
    let compile = |objects: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("objects.yaml");
        fs::write(&file, documents(objects)).unwrap();
        stdout(&byname(&["compile", "-f", file.to_str().unwrap(), "-n", "shop"]))
    };
    let table = compile(&[&lone, &other, NEIGHBOUR]);
    assert!(
        table.contains(r#""far/lone": {"clusterIPs":"10.96.1.9","ports":[{"port":80}],"endpoints":[]}"#),
        "{table}"
    );
    assert!(!compile(&[&lone, &other]).contains("\"endpoints\""));
    let none =
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSliceList, metadata: {resourceVersion: '12'}, items: []}";
    let table = compile(&[&lone, &other, none]);
    assert!(
        table.contains(r#""far/lone": {"clusterIPs":"10.96.1.9","ports":[{"port":80}],"endpoints":[]}"#),
        "{table}"
    );
    assert!(!compile(&[&lone, &other, &none.replace("EndpointSliceList", "List")]).contains("\"endpoints\""));
    let table = compile(&[&ledger, ENDPOINTS]);
    assert!(table.contains(r#""endpoints":[{"addresses":"198.51.100.7","ports":{"https":9443}}]"#), "{table}");
}

#[test]
fn kinds_that_decide_are_not_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects.yaml");
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}";
    fs::write(
        &file,
        documents(&[&service("web", "ports: [{port: 80}]"), ENDPOINTS, &workload("Job", "j", "a: b", HTTP), map]),
    )
    .unwrap();
    let output = byname(&["lint", "-f", file.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("skipped 1 object of kinds that byname does not read: 1 ConfigMap"), "{said}");
    let knative = "{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: hello, namespace: shop}}";
    let empty = "{apiVersion: example.com/v1, kind: GadgetList, items: []}";
    fs::write(&file, documents(&[&service("web", "ports: [{port: 80}]"), knative, empty])).unwrap();
    let said = String::from_utf8(byname(&["lint", "-f", file.to_str().unwrap()]).stderr).unwrap();
    assert!(said.contains("1 Service of serving.knative.dev/v1"), "{said}");
    assert!(!said.contains("Gadget"), "{said}");
}

#[test]
fn readme_examples_hold_in_a_directory_of_manifests() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(fixtures().join("sets/votes.yaml"), directory.path().join("votes.yaml")).unwrap();
    let wrong = service("page", "selector: {app: page-svc}, ports: [{port: 80, targetPort: htpp}]")
        .replace("namespace: shop", "namespace: votes");
    fs::write(directory.path().join("page.yaml"), wrong).unwrap();
    let output = byname(&["lint", "-f", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("no container of Deployment page has a TCP port named \"htpp\""));
}

/// A report is used here so that its parts stay public.
#[test]
fn the_report_says_which_rules_judge_in_part() {
    let report: LintReport = judge(&parse(&service("web", "ports: [{port: 80}]")));
    let in_part: Vec<&str> = report.in_part.values().flatten().map(|rule| rule.id).collect();
    assert_eq!(in_part, ["BN004", "BN014", "BN036", "BN040", "BN055"]);
}
