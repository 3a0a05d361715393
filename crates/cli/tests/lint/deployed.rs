//! What lint finds in the objects of Istio's that deploy byname, and what it does not.

use std::fs;

use byname_cli::lint::{LintOptions, lint};
use tempfile::TempDir;

use crate::{CLEAN, byname, ids, judge, parse, stdout};

/// An object that `byname compile` writes of the clean cluster.
fn compiled(format: &str, more: &[&str]) -> String {
    let image: &[&str] = match format {
        "istio-envoyfilter" => &[],
        _ => &["--image", "oci://registry.example.com/byname:0.1.0"],
    };
    let output = byname(&[&["compile", "-f", CLEAN, "--format", format], image, more].concat());
    assert!(output.status.success(), "{output:?}");
    stdout(&output)
}

/// An object as an API server gives it back.
fn of_api(object: &str) -> String {
    object.replacen("metadata:\n", "metadata:\n  resourceVersion: \"7\"\n", 1)
}

/// [`of_api`] for an object in flow style.
fn of_api_in_flow(object: &str) -> String {
    object.replacen("metadata: {", "metadata: {uid: u1, ", 1)
}

fn found(objects: &[&str]) -> Vec<&'static str> {
    ids(&judge(&parse(&objects.join("\n---\n"))))
}

/// A plugin in flow style, with the fields of its configuration beside an empty table.
fn plugin(namespace: &str, spec: &str, configuration: &str) -> String {
    format!(
        "{{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {{name: byname, namespace: {namespace}}}, \
         spec: {{{spec}pluginConfig: {{version: 1, minor: 1, table: {{version: 7}}, {configuration}}}}}}}"
    )
}

/// An EnvoyFilter with the route that byname writes.
fn route(namespace: &str, spec: &str, header: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {{name: byname, namespace: {namespace}}}, \
         spec: {{{spec}configPatches: [{{applyTo: HTTP_ROUTE, patch: {{operation: INSERT_FIRST, \
         value: {{name: byname, route: {{cluster_header: {header}}}}}}}}}]}}}}"
    )
}

/// A plugin whose filter asks a server for Services, with these fields beside it.
fn plugin_of_server(namespace: &str, configuration: &str) -> String {
    plugin(namespace, "", configuration).replace("table: {version: 7}", "server: {cluster: byname-server}")
}

const AUTHORITY: &str = "steering: {by: authority}";

#[test]
fn compiled_objects_are_right_until_the_cluster_changes() {
    let directory = TempDir::new().unwrap();
    let config = |name: &str, text: &str| {
        let file = directory.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let by_cluster = config("cluster.json", r#"{"version": 1, "steering": {"by": "cluster"}}"#);
    let by_endpoint = config("endpoint.json", r#"{"version": 1, "steering": {"by": "endpoint"}}"#);
    let cluster = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CLEAN)).unwrap();
    let renamed = cluster.replace("name: recommend\n", "name: recommendations\n");
    assert_ne!(renamed, cluster);
    let plain = [
        compiled("istio-wasmplugin", &[]),
        compiled("istio-wasmplugin", &["--plain"]),
        compiled("istio-wasmplugin", &["-n", "shop", "--visible", "shop", "--visible", "billing"]),
        compiled("istio-trafficextension", &["--endpoints"]),
        compiled("istio-envoyfilter", &["--config", &by_cluster, "--module", "/etc/byname/byname.wasm"]),
    ];
    for object in plain {
        for object in [of_api(&object), object] {
            assert_eq!(found(&[&cluster, &object]), [""; 0], "{object}");
            assert!(found(&[&renamed, &object]).contains(&"BN082"), "{object}");
        }
    }
    for (config, more) in [(&by_cluster, &[] as &[&str]), (&by_endpoint, &["--endpoints"])] {
        let [plugin, filter] = ["istio-wasmplugin", "istio-envoyfilter"]
            .map(|format| of_api(&compiled(format, &[&["--config", config], more].concat())));
        assert_eq!(found(&[&cluster, &plugin, &filter]), [""; 0], "{config}");
        let other = of_api_in_flow(&route("istio-system", "", "x-other").replace("name: byname", "name: other"));
        assert_eq!(found(&[&cluster, &plugin, &other]), ["BN085"], "{config}");
    }
}

#[test]
fn a_table_is_compared_with_what_the_input_knows() {
    const WEB: &str = "clusterIPs: 10.96.0.1, ports: [{name: http, port: 80}]";
    let service = |name: &str, metadata: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop{metadata}}}, spec: {{{spec}}}}}"
        )
    };
    let table =
        |services: &str| plugin("shop", "", AUTHORITY).replace("version: 7", &format!("services: {{{services}}}"));
    let web = |metadata: &str| service("web", metadata, "clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]");
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop, \
                 labels: {kubernetes.io/service-name: web}}, addressType: IPv4, ports: [{name: http, port: 80}], \
                 endpoints: [{addresses: [10.244.1.9]}]}";
    let alias = service("pay", "", "type: ExternalName, externalName: pay.example.com");
    let (manifest, listed) = (web(""), web(", uid: u1"));
    let only_web = table(&format!("shop/web: {{{WEB}}}"));
    let rows: &[(&str, &[&str], String, &str)] = &[
        ("the same", &[&listed], only_web.clone(), ""),
        ("endpoints do not count", &[&listed], table(&format!("shop/web: {{{WEB}, endpoints: []}}")), ""),
        (
            "a Service is gone",
            &[&listed],
            table(&format!("shop/web: {{{WEB}}}, shop/old: {{{WEB}}}"))
                .replace("shop/old: {clusterIPs: 10.96.0.1", "shop/old: {clusterIPs: 10.96.0.2"),
            "the table has shop/old, which the cluster lacks",
        ),
        (
            "manifests may lack a Service",
            &[&manifest],
            table(&format!("shop/web: {{{WEB}}}, shop/old: {{ports: [{{port: 80}}]}}")),
            "",
        ),
        (
            "a namespace that the dump lacks",
            &[&listed],
            table(&format!("shop/web: {{{WEB}}}, prod/old: {{ports: [{{port: 80}}]}}")),
            "",
        ),
        (
            "another port",
            &[&manifest],
            table("shop/web: {clusterIPs: 10.96.0.1, ports: [{name: http, port: 8080}]}"),
            "shop/web differs in ports",
        ),
        (
            "another address",
            &[&listed],
            table("shop/web: {clusterIPs: 10.96.0.2, ports: [{name: http, port: 80}]}"),
            "shop/web differs in cluster IPs",
        ),
        (
            "another spelling of an address",
            &[&listed],
            table("shop/web: {clusterIPs: '::ffff:10.96.0.1', ports: [{name: http, port: 80}]}"),
            "",
        ),
        (
            "manifests have no addresses",
            &[&manifest],
            table("shop/web: {clusterIPs: 10.96.0.2, ports: [{name: http, port: 80}]}"),
            "",
        ),
        (
            "another target",
            &[&alias],
            table("shop/pay: {type: ExternalName, externalName: pay.example.org}"),
            "shop/pay differs in externalName",
        ),
        ("a new Service", &[&manifest, &alias], only_web.clone(), "the table lacks shop/pay"),
        ("a table by hand has what matters", &[&manifest, &alias], only_web.replace("minor: 1, ", ""), ""),
        ("a namespace that is not visible", &[&manifest], table("billing/api: {ports: [{port: 80}]}"), ""),
        (
            "a Service that compile refuses",
            &[&manifest, &service("bad", "", "ports: [{port: 70000}]")],
            only_web.clone(),
            "",
        ),
    ];
    for (claim, objects, plugin, message) in rows {
        let all = [*objects, &[slice, plugin]].concat().join("\n---\n");
        let report = judge(&parse(&all));
        let stale: Vec<&str> =
            report.findings.iter().filter(|one| one.rule.id == "BN082").map(|one| one.message.as_str()).collect();
        let expected: Vec<&str> = [*message].into_iter().filter(|message| !message.is_empty()).collect();
        assert_eq!(stale, expected, "{claim}");
    }
}

#[test]
fn the_filter_runs_twice_only_where_two_objects_have_pods_in_common() {
    let shop = plugin("shop", "", AUTHORITY);
    let renamed = |object: &str| object.replacen("name: byname", "name: other", 1);
    let web = "selector: {matchLabels: {app: web}}, ";
    let rows: &[(&str, String, &[&str])] = &[
        ("another namespace", plugin("prod", "", AUTHORITY), &[]),
        ("the root namespace", plugin("istio-system", "", AUTHORITY), &["BN084"]),
        ("a selector within all pods", renamed(&plugin("shop", web, AUTHORITY)), &["BN084"]),
        ("overlays of one object", shop.replace("version: 7", "version: 8"), &[]),
        ("a gateway", renamed(&plugin("shop", "targetRefs: [{kind: Gateway, name: edge}], ", AUTHORITY)), &[]),
        (
            "a filter for byname watch",
            "{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: watch, namespace: shop}, \
             spec: {configPatches: [{applyTo: HTTP_FILTER, patch: {value: {name: byname, config_discovery: {}}}}]}}"
                .to_owned(),
            &["BN084"],
        ),
        ("another plugin", renamed(&shop).replace("version: 1, minor: 1, table: {version: 7}, steering", "rules"), &[]),
    ];
    for (claim, other, expected) in rows {
        assert_eq!(found(&[&shop, other]), *expected, "{claim}");
    }
    let selecting = |namespace: &str, labels: &str| {
        plugin(namespace, &format!("selector: {{matchLabels: {{{labels}}}}}, "), AUTHORITY)
    };
    assert_eq!(found(&[&selecting("shop", "app: web"), &selecting("istio-system", "app: cart")]), [""; 0]);
    assert_eq!(found(&[&selecting("shop", "app: web"), &selecting("istio-system", "tier: front")]), [""; 0]);
    let of_revision = |object: &str, revision: &str| {
        object.replacen("metadata: {", &format!("metadata: {{labels: {{istio.io/rev: {revision}}}, "), 1)
    };
    let revisions = [of_revision(&shop, "stable"), of_revision(&renamed(&shop), "canary")];
    assert_eq!(found(&[&revisions[0], &revisions[1]]), [""; 0]);
    // The mesh may have another root namespace.
    let objects = parse(&[shop, plugin("mesh", "", AUTHORITY)].join("\n---\n"));
    assert_eq!(ids(&judge(&objects)), [""; 0]);
    let options = LintOptions { root_namespace: "mesh".into(), ..LintOptions::default() };
    assert_eq!(ids(&lint(&objects, &options)), ["BN084"]);
}

#[test]
fn a_route_is_missing_only_where_every_envoyfilter_is_known() {
    let shop = plugin("shop", "", "steering: {by: cluster}");
    let own = route("shop", "", "x-byname-cluster");
    // Not byname's: its name and its header are others.
    let other =
        |namespace: &str| of_api_in_flow(&route(namespace, "", "x-other").replace("name: byname", "name: other"));
    let rows: &[(&str, String, &[&str])] = &[
        ("the route", own.clone(), &[]),
        ("the route for the mesh", own.replace("namespace: shop", "namespace: istio-system"), &[]),
        ("in camel case", own.replace("cluster_header", "clusterHeader"), &[]),
        ("the route of another namespace, of a manifest", own.replace("namespace: shop", "namespace: prod"), &[]),
        ("another header", own.replace("x-byname-cluster", "x-shop-cluster"), &["BN085"]),
        ("a dump of all namespaces", other("billing"), &["BN085"]),
        ("a dump of one namespace", other("shop"), &[]),
    ];
    for (claim, filter, expected) in rows {
        assert_eq!(found(&[&shop, filter]), *expected, "{claim}");
    }
    let report = judge(&parse(&shop));
    assert!(report.not_run["EnvoyFilter"].iter().any(|rule| rule.id == "BN085"));
    // Without steering that needs a route, nothing is missing.
    assert!(!judge(&parse(&plugin("shop", "", AUTHORITY))).not_run.contains_key("EnvoyFilter"));
}

#[test]
fn configurations_are_refused_as_the_filter_refuses_them() {
    let refused = |configuration: &str| {
        let report = judge(&parse(&plugin("shop", "", configuration)));
        let findings = report.findings.iter().filter(|finding| finding.rule.id == "BN081");
        findings.map(|finding| format!("{}: {}", finding.field, finding.message)).collect::<Vec<_>>()
    };
    assert_eq!(refused("dns: {ndots: 5}"), [""; 0]);
    assert_eq!(refused("dns: {ndots: 16}"), ["spec.pluginConfig.dns.ndots: 16 is more than 15"]);
    let both = refused("dns: {ndots: 16}, caller: {podIP: web}");
    assert_eq!(both.len(), 2, "{both:?}");
    let unknown = refused("steerign: {}");
    assert!(unknown[0].starts_with("spec.pluginConfig.steerign: cannot be read: unknown field"), "{unknown:?}");
    assert!(!unknown[0].contains(" line "), "the place is one in JSON that nobody sees: {unknown:?}");
    let ports = "{port: 0}, ".repeat(30);
    let many = plugin("shop", "", "").replace("version: 7", &format!("services: {{shop/web: {{ports: [{ports}]}}}}"));
    let report = judge(&parse(&many));
    assert_eq!(ids(&report), ["BN081"]);
    let message = &report.findings.iter().find(|finding| finding.field == "spec.pluginConfig").unwrap().message;
    assert!(message.starts_with("has ") && message.ends_with(" more errors"), "{message}");
    // A module leaves out the fields of a newer program.
    let newer = plugin("shop", "", "futureField: {}").replace("minor: 1", "minor: 999");
    assert_eq!(found(&[&newer]), [""; 0]);
    // A packed table and a configuration in a text have one line.
    let packed = compiled("istio-wasmplugin", &[]).replace("bytes: ", "bytes: 1");
    let report = judge(&parse(&packed));
    assert_eq!(ids(&report), ["BN081"]);
    assert_eq!(report.findings[0].field, "spec.pluginConfig.table.packed.deflate");
    let filter = compiled("istio-envoyfilter", &["--module", "/etc/byname/byname.wasm"]);
    let report = judge(&parse(&filter.replace("\"version\": 1,", "\"version\": 2,")));
    assert_eq!(ids(&report), ["BN081"], "{filter}");
    assert!(report.findings[0].field.ends_with("configuration.value"), "{}", report.findings[0].field);
    assert!(report.findings[0].message.starts_with("version: "), "{}", report.findings[0].message);
}

#[test]
fn a_plugin_whose_filter_asks_a_server_is_checked_without_its_table() {
    let directory = TempDir::new().unwrap();
    let cluster = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CLEAN)).unwrap();
    let config = directory.path().join("config.json");
    let config = config.to_str().unwrap();
    let of_server = |format: &str| {
        let image: &[&str] = match format {
            "istio-envoyfilter" => &[],
            _ => &["--image", "oci://registry.example.com/byname:0.1.0"],
        };
        let server = ["compile", "--format", format, "--server", "byname.byname-system:9905", "--config", config];
        let output = byname(&[&server as &[&str], image].concat());
        assert!(output.status.success(), "{output:?}");
        of_api(&stdout(&output))
    };
    for by in ["authority", "cluster", "endpoint"] {
        fs::write(config, format!(r#"{{"version": 1, "steering": {{"by": "{by}"}}}}"#)).unwrap();
        let objects = match by {
            "authority" => vec![of_server("istio-wasmplugin")],
            _ => vec![of_server("istio-trafficextension"), of_server("istio-envoyfilter")],
        };
        let objects: Vec<&str> = [&*cluster].into_iter().chain(objects.iter().map(String::as_str)).collect();
        assert_eq!(found(&objects), [""; 0], "{by}");
    }
    // It is byname's all the same.
    assert_eq!(found(&[&plugin_of_server("shop", "dns: {ndots: 16}")]), ["BN081"]);
    assert_eq!(found(&[&plugin_of_server("prod", "caller: {namespace: shop}")]), ["BN083"]);
    let mesh = plugin_of_server("istio-system", AUTHORITY);
    assert_eq!(found(&[&mesh, &plugin("shop", "", AUTHORITY)]), ["BN084"]);
    // The server has the Services that such a table lacks, and no table is stale where there is none.
    let by_hand = "{version: 1, minor: 1, server: {cluster: byname-server}, table: {services: {shop/web: {ports: [{name: http, port: 80}]}}}}";
    let some = plugin("shop", "", "").replace("{version: 1, minor: 1, table: {version: 7}, }", by_hand);
    let service = |name: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{selector: {{app: web}}, \
                 ports: [{{name: http, port: 80}}]}}}}"
        )
    };
    let stale =
        |objects: &[&str]| judge(&parse(&objects.join("\n---\n"))).findings.iter().any(|one| one.rule.id == "BN082");
    assert!(!stale(&[&some, &service("web"), &service("cart")]));
    assert!(stale(&[&some.replace("server: {cluster: byname-server}, ", ""), &service("web"), &service("cart")]));
    let needs_services = |object: &str| judge(&parse(object)).in_part.values().flatten().any(|rule| rule.id == "BN082");
    assert!(!needs_services(&mesh));
    assert!(needs_services(&plugin("shop", "", AUTHORITY)));
}

#[test]
fn annotations_of_deployed_objects_ignore_findings() {
    let copied = plugin("prod", "", "caller: {namespace: shop}");
    assert_eq!(found(&[&copied]), ["BN083"]);
    let ignored =
        copied.replacen("metadata: {", "metadata: {annotations: {byname/ignore-BN083: they share names}, ", 1);
    assert_eq!(found(&[&ignored]), [""; 0]);
    // A gateway asks for another namespace.
    let gateway = plugin("edge", "", "gateways: resolve, caller: {namespace: shop}");
    assert_eq!(found(&[&gateway]), [""; 0]);
}

#[test]
fn findings_of_the_root_namespace_can_be_chosen() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("deployed.yaml");
    let objects = [plugin("istio-system", "", AUTHORITY), plugin("shop", "", AUTHORITY)];
    fs::write(&file, objects.join("\n---\n")).unwrap();
    let file = file.to_str().unwrap();
    // The finding is in the object of namespace shop.
    for (args, status) in [
        (&["-n", "shop"] as &[&str], 1),
        (&["-n", "istio-system"], 0),
        (&["-n", "prod"], 2),
        (&["--root-namespace", "mesh"], 0),
    ] {
        let output = byname(&[&["lint", "-f", file], args].concat());
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
    }
}
