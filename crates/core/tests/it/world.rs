//! A small cluster to ask, and one way to write down what came of it.

use byname_core::{Config, Defaults, Request, Resolution, Scheme, resolve};
use serde_json::{Value, json};

/// A configuration of the JSON fields given, on top of the least one: version 1 and a caller in `shop`.
pub(crate) fn config(fields: Value) -> Config {
    try_config(fields).unwrap_or_else(|problems| panic!("the configuration is good:\n{problems}"))
}

pub(crate) fn try_config(fields: Value) -> Result<Config, String> {
    let whole = with_fields(json!({"version": 1, "caller": {"namespace": "shop"}}), fields);
    read(&whole.to_string())
}

/// `whole` with more fields, or others in the place of its own.
pub(crate) fn with_fields(mut whole: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object, and not {fields}") };
    for (field, value) in fields {
        whole[field] = value;
    }
    whole
}

pub(crate) fn read(json: &str) -> Result<Config, String> {
    Config::from_json(json, &Defaults::default()).map_err(|problems| problems.to_string())
}

/// A table of these Services and nothing else.
pub(crate) fn services(services: Value) -> Config {
    config(json!({"table": {"services": services}}))
}

/// The Services that most rows are asked of.
pub(crate) fn shop() -> Value {
    json!({
        "shop/payments": {"clusterIPs": ["10.96.0.10", "fd00:96::10"],
                          "ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 9090},
                                    {"name": "dns", "port": 53, "protocol": "UDP"}],
                          "endpoints": [{"addresses": ["10.244.0.7", "fd00::7"]}]},
        "prod/payments": {"clusterIPs": ["10.96.0.11"], "ports": [{"port": 80}],
                          "endpoints": [{"addresses": "10.244.0.8"}]},
        "shop/db": {"clusterIPs": ["None"], "ports": [{"name": "http", "port": 80}],
                    "endpoints": [{"addresses": ["10.244.1.1", "10.244.1.2"], "hostnames": ["db-0", "db-1"],
                                   "ports": {"http": 8080, "admin": 9901}},
                                  {"addresses": "10.244.1.3", "hostnames": "db-2", "ready": false},
                                  {"addresses": "10.244.1.4 fd00::"}]},
        "shop/unready": {"clusterIPs": "None", "ports": [{"port": 80}],
                         "endpoints": [{"addresses": "10.244.2.1", "ready": false}]},
        "shop/2048": {"ports": [{"port": 80}]},
        "prod/1": {"ports": [{"port": 80}]},
    })
}

/// What `authority` means over `http`: `REASON HOST:PORT`, `pass REASON` or `refuse REASON`.
pub(crate) fn ask(config: &Config, authority: impl AsRef<[u8]>) -> String {
    ask_over(config, authority, Scheme::Http)
}

pub(crate) fn ask_over(config: &Config, authority: impl AsRef<[u8]>, scheme: Scheme) -> String {
    let request = Request { authority: authority.as_ref(), scheme };
    match resolve(&config.table, &config.caller, request) {
        Resolution::Route(route) => {
            let mut host = String::new();
            route.destination.write_host("cluster.local", &mut host);
            let host = host.replace(".svc.cluster.local", "");
            format!("{} {host}:{}", route.reason, route.port)
        }
        Resolution::Pass(reason) => format!("pass {reason}"),
        Resolution::Refuse(reason) => format!("refuse {reason}"),
    }
}

/// Asks every row of `(authority, expected, why)`, and says all that differ.
#[track_caller]
pub(crate) fn check(config: &Config, rows: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(authority, expected, why)| {
            let is = ask(config, authority);
            (is != *expected).then(|| format!("{authority:?} is {is:?}, not {expected:?} ({why})"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
