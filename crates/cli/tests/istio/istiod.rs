//! The part of istiod that makes a sidecar's outbound listener for port 80 of Services and Istio objects, after
//! istiod's sources. Istio's own filters (`istio.alpn`, metadata exchange, stats) are left out, because they ignore
//! names.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Istio versions, which differ in the names of ECDS resources.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Istio {
    /// 1.24 and 1.25.
    V1_24,
    /// 1.26 to 1.29.
    V1_26,
    /// 1.30 and later: a WasmPlugin becomes a TrafficExtension.
    V1_30,
}

pub(crate) const TYPE: &str = "type.googleapis.com/envoy.extensions.filters";

fn filter_name(name: &str, config: Value) -> Value {
    let mut config = config;
    config["@type"] = format!("{TYPE}.http.{name}").into();
    let short = name.split('.').next().unwrap_or_default();
    json!({"name": format!("envoy.filters.http.{short}"), "typed_config": config})
}

impl Istio {
    fn resource_name(self, plugin: &Value) -> String {
        let name = metadata(plugin);
        match self {
            Self::V1_24 => format!("extenstions.istio.io/wasmplugin/{name}"),
            Self::V1_26 => format!("extensions.istio.io/wasmplugin/{name}"),
            Self::V1_30 => format!("extensions.istio.io/trafficextension/{name}~istio-translated-wasmplugin"),
        }
    }

    /// The ECDS response for a plugin, after the proxy's agent has replaced the URL with a file.
    pub(crate) fn extension_config(self, plugin: &Value, module: &str) -> Value {
        let spec = &plugin["spec"];
        let mut config = json!({
            "name": metadata(plugin),
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": go_json(&not_redirected(&spec["pluginConfig"])),
            },
        });
        config["failure_policy"] = match spec["failStrategy"].as_str() {
            Some("FAIL_OPEN") => "FAIL_OPEN",
            Some("FAIL_RELOAD") => "FAIL_RELOAD",
            Some("FAIL_CLOSE") | None => "FAIL_CLOSED",
            Some(other) => panic!("{other} is not a failStrategy"),
        }
        .into();
        self.resource(plugin, &filter_name("wasm.v3.Wasm", json!({"config": config}))["typed_config"])
    }

    /// The ECDS response of the agent if it cannot pull the module or `sha256` differs.
    pub(crate) fn denied(self, plugin: &Value) -> Value {
        self.resource(plugin, &filter_name("rbac.v3.RBAC", json!({"rules": {}}))["typed_config"])
    }

    fn resource(self, plugin: &Value, config: &Value) -> Value {
        json!({"resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.resource_name(plugin),
            "typed_config": config,
        }]})
    }

    /// The HTTP filters in istiod's order. A sidecar's outbound listener gets authentication and authorization filters
    /// only from EnvoyFilters, and `authorizes` has these.
    pub(crate) fn filters(self, plugin: Option<&Value>, file: &str, directory: &str, authorizes: &[Value]) -> Value {
        let outbound = |plugin: &&Value| plugin["spec"]["match"].to_string().contains("CLIENT");
        let discovered = plugin.filter(outbound).map(|plugin| {
            json!({"name": self.resource_name(plugin), "config_discovery": {
                // Istio uses ADS instead of a file.
                "config_source": {
                    "path_config_source": {"path": file, "watched_directory": {"path": directory}},
                    "initial_fetch_timeout": "0s",
                },
                "type_urls": [format!("{TYPE}.http.wasm.v3.Wasm"), format!("{TYPE}.http.rbac.v3.RBAC")],
            }})
        });
        let is_in = |phases: &[&str]| {
            plugin.is_some_and(|plugin| phases.contains(&plugin["spec"]["phase"].as_str().unwrap_or_default()))
        };
        let of_phases = |phases: &[&str]| discovered.clone().filter(|_| is_in(phases));
        let mut filters: Vec<Value> = of_phases(&["AUTHN", "AUTHZ"]).into_iter().collect();
        filters.extend(authorizes.iter().cloned());
        filters.extend(of_phases(&["STATS", "UNSPECIFIED_PHASE", ""]));
        filters.extend([
            filter_name("grpc_stats.v3.FilterConfig", json!({"emit_filter_state": true})),
            filter_name("fault.v3.HTTPFault", json!({})),
            filter_name("cors.v3.Cors", json!({})),
            filter_name("router.v3.Router", json!({})),
        ]);
        json!(filters)
    }
}

/// The HTTP connection manager of a sidecar's listener for a port.
pub(crate) fn connection_manager(port: u16, routes_file: &str, filters: &Value) -> Value {
    json!({
        "@type": format!("{TYPE}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": format!("outbound_0.0.0.0_{port}"),
        "use_remote_address": false,
        "normalize_path": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "rds": {"route_config_name": port.to_string(), "config_source": {"path_config_source": {"path": routes_file}}},
        "http_filters": filters,
    })
}

/// A Service as istiod knows it, from Kubernetes or from a ServiceEntry.
pub(crate) struct MeshService {
    pub(crate) host: String,
    pub(crate) ports: Vec<u16>,
    addresses: Vec<String>,
    /// ExternalNames that point to the Service.
    aliases: Vec<String>,
}

/// The Services of these namespaces in a dump of kubectl.
pub(crate) fn services(dump: &Value, namespaces: &[&str], entries: &[Value]) -> Vec<MeshService> {
    let host = |service: &Value| {
        let (namespace, name) = (&service["metadata"]["namespace"], &service["metadata"]["name"]);
        format!("{}.{}.svc.cluster.local", name.as_str().unwrap(), namespace.as_str().unwrap())
    };
    let ports = |value: &Value, field: &str| -> Vec<u16> {
        let all = value["ports"].as_array().into_iter().flatten();
        all.map(|port| u16::try_from(port[field].as_u64().unwrap()).unwrap()).collect()
    };
    let is_seen = |item: &&Value| {
        item["kind"] == "Service" && namespaces.contains(&item["metadata"]["namespace"].as_str().unwrap_or_default())
    };
    let items: Vec<&Value> = dump["items"].as_array().expect("a List").iter().filter(is_seen).collect();
    let mut aliases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for item in items.iter().filter(|item| item["spec"]["type"] == "ExternalName") {
        aliases.entry(item["spec"]["externalName"].as_str().unwrap()).or_default().push(host(item));
    }
    let of_kubernetes = items.iter().filter(|item| item["spec"]["type"] != "ExternalName").map(|item| {
        let host = host(item);
        let addresses = item["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
        MeshService {
            ports: ports(&item["spec"], "port"),
            addresses: addresses.filter(|address| *address != "None").map(Into::into).collect(),
            aliases: aliases.get(&*host).cloned().unwrap_or_default(),
            host,
        }
    });
    let of_entries = entries.iter().filter(|entry| entry["kind"] == "ServiceEntry").map(|entry| MeshService {
        host: entry["spec"]["hosts"][0].as_str().unwrap().to_owned(),
        ports: ports(&entry["spec"], "number"),
        addresses: Vec::new(),
        aliases: Vec::new(),
    });
    of_kubernetes.chain(of_entries).collect()
}

/// The domains by which a sidecar in `namespace` reaches a host, without ports because the route configuration ignores
/// them.
fn domains(service: &MeshService, namespace: &str) -> Vec<String> {
    let mut domains = Vec::new();
    for host in [&service.host].into_iter().chain(&service.aliases) {
        domains.extend([host.clone(), format!("{host}.")]);
        if let Some(within) = host.strip_suffix(".svc.cluster.local") {
            domains.extend([within.to_owned(), format!("{within}.svc")]);
            domains.extend(within.strip_suffix(&format!(".{namespace}")).map(Into::into));
        }
    }
    let bracketed = |address: &String| if address.contains(':') { format!("[{address}]") } else { address.clone() };
    domains.extend(service.addresses.iter().map(bracketed));
    domains
}

/// The route configuration of a port.
pub(crate) fn routes(port: u16, services: &[MeshService], namespace: &str, allows_any: bool) -> Value {
    let of_port = services.iter().filter(|service| service.ports.contains(&port));
    let mut hosts: Vec<Value> = of_port
        .map(|service| {
            json!({
                "name": format!("{}:{port}", service.host),
                "domains": domains(service, namespace),
                "routes": [{
                    "name": "default",
                    "match": {"prefix": "/"},
                    "route": {"cluster": cluster_name(port, &service.host), "timeout": "0s"},
                }],
                "include_request_attempt_count": true,
            })
        })
        .collect();
    let (name, action) = if allows_any {
        ("allow_any", json!({"route": {"cluster": "PassthroughCluster", "timeout": "0s"}}))
    } else {
        ("block_all", json!({"direct_response": {"status": 502}}))
    };
    let mut route = json!({"name": name, "match": {"prefix": "/"}});
    route.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
    hosts.push(json!({"name": name, "domains": ["*"], "routes": [route]}));
    json!({
        "name": port.to_string(),
        "virtual_hosts": hosts,
        "validate_clusters": false,
        "ignore_port_in_host_matching": true,
    })
}

pub(crate) fn cluster_name(port: u16, host: &str) -> String {
    format!("outbound|{port}||{host}")
}

/// The transport socket for a DestinationRule. Without `caCertificates`, Istio uses the system's certificates. Here
/// `ca_file` takes their place.
pub(crate) fn transport_socket(rule: &Value, port: u16, ca_file: &str) -> Option<Value> {
    let settings = rule["spec"]["trafficPolicy"]["portLevelSettings"].as_array()?;
    let tls = &settings.iter().find(|settings| settings["port"]["number"] == port)?["tls"];
    assert_eq!(tls["mode"], "SIMPLE");
    let names = tls["subjectAltNames"].as_array().expect("names").iter();
    let names: Vec<Value> = names.map(|name| json!({"san_type": "DNS", "matcher": {"exact": name}})).collect();
    Some(json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": tls["sni"],
        "common_tls_context": {"validation_context": {
            "trusted_ca": {"filename": ca_file},
            "match_typed_subject_alt_names": names,
        }},
    }}))
}

/// Namespace and name, as Istio joins them.
fn metadata(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}.{}", text("namespace"), text("name"))
}

/// A `google.protobuf.Struct` as Go's jsonpb writes it: sorted, without spaces, every number a double, and `<`, `>` and
/// `&` escaped.
pub(crate) fn go_json(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let field = |(name, value): (&&String, &&Value)| format!("{}:{}", go_json(&json!(name)), go_json(value));
            format!("{{{}}}", list(sorted.iter().map(field).collect()))
        }
        Value::Array(items) => format!("[{}]", list(items.iter().map(go_json).collect())),
        Value::Number(number) => number.as_f64().expect("a number").to_string(),
        Value::String(_) => {
            let text = value.to_string().replace('<', "\\u003c").replace('>', "\\u003e");
            text.replace('&', "\\u0026").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
        }
        Value::Bool(_) | Value::Null => value.to_string(),
    }
}

#[test]
fn go_json_keeps_numbers() {
    let value = json!({"b": [2_176_535_616_u64, 1, 0.5], "a": "<&", "c": {"d": null, "a": true}});
    assert_eq!(go_json(&value), r#"{"a":"\u003c\u0026","b":[2176535616,1,0.5],"c":{"a":true,"d":null}}"#);
}

/// The configuration of a plugin for a listener that the clients of these tests connect to: nothing is redirected to it, and its port
/// is not the Service's.
fn not_redirected(plugin: &Value) -> Value {
    let mut plugin = plugin.clone();
    if let Some(fields) = plugin.as_object_mut() {
        fields.remove("destinationPort");
    }
    plugin
}
