//! Configurations of a small cluster, and decisions on requests of one of its pods.

use byname_core::{
    Balance, Chooser, Config, Defaults, FakeEnv, LocalReply, Pass, Plan, Request, Resolution, Scheme, Trace,
};
use serde_json::{Value, json};

/// A configuration with these fields: version 1, and a caller in `shop` where `fields` has no other.
pub(crate) fn config(fields: Value) -> Config {
    try_config(fields).unwrap_or_else(|errors| panic!("the configuration is valid:\n{errors}"))
}

pub(crate) fn try_config(fields: Value) -> Result<Config, String> {
    let whole = with_fields(json!({"version": 1, "caller": {"namespace": "shop"}}), fields);
    read(&whole.to_string())
}

/// Adds fields to `whole`, or replaces its own.
pub(crate) fn with_fields(mut whole: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("an object of fields, not {fields}") };
    for (field, value) in fields {
        whole[field] = value;
    }
    whole
}

pub(crate) fn read(json: &str) -> Result<Config, String> {
    Config::read(json, &Defaults::default()).map_err(|errors| errors.to_string())
}

/// A configuration with these Services and nothing else.
pub(crate) fn services(services: Value) -> Config {
    config(json!({"table": {"services": services}}))
}

/// The Services of most tests.
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

/// A request over `http`.
pub(crate) fn http(authority: &(impl AsRef<[u8]> + ?Sized)) -> Request<'_> {
    Request::new(authority, Scheme::Http)
}

/// What `authority` resolves to over `http`: `REASON HOST:PORT`, `pass REASON` or `refuse REASON`.
pub(crate) fn ask(config: &Config, authority: impl AsRef<[u8]>) -> String {
    ask_over(config, authority, Scheme::Http)
}

pub(crate) fn ask_over(config: &Config, authority: impl AsRef<[u8]>, scheme: Scheme) -> String {
    ask_for(config, Request::new(&authority, scheme))
}

pub(crate) fn ask_for(config: &Config, request: Request<'_>) -> String {
    match config.resolve(request, None) {
        Resolution::Route(route) => {
            let mut host = String::new();
            route.destination.write_host("cluster.local", &mut host);
            let host = host.replace(".svc.cluster.local", "");
            format!("{} {host}:{}", route.reason, route.port)
        }
        Resolution::Pass(Pass { reason, target: None }) => format!("pass {reason}"),
        Resolution::Pass(Pass { reason, target: Some((host, port)) }) => {
            format!("pass {reason} as {}:{port}", host.replace(".svc.cluster.local", ""))
        }
        Resolution::Refuse(refusal) => format!("refuse {}", refusal.reason()),
    }
}

/// Asks for every row of `(authority, expected, why)`, and lists every answer that differs.
#[track_caller]
pub(crate) fn check(config: &Config, rows: &[(&str, &str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(authority, expected, why)| {
            let answer = ask(config, authority);
            (answer != *expected).then(|| format!("{authority:?} is {answer:?}, not {expected:?} ({why})"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Runs `decide` with a balance that remembers nothing and an environment that is the same each time.
pub(crate) fn with_chooser<T>(decide: impl FnOnce(&mut Chooser<'_>) -> T) -> T {
    decide(&mut Chooser { balance: &mut Balance::default(), env: &mut FakeEnv::default() })
}

/// Resolves and plans a request.
pub(crate) fn decide_with<'c>(
    config: &'c Config,
    request: Request<'_>,
    chooser: &mut Chooser<'_>,
    plan: &mut Plan,
) -> Resolution<'c> {
    let resolution = config.resolve(request, None);
    config.plan(&resolution, request, chooser, plan, None);
    resolution
}

/// Resolves and plans a request, and returns every step.
pub(crate) fn decide_traced_with<'c>(
    config: &'c Config,
    request: Request<'_>,
    chooser: &mut Chooser<'_>,
    plan: &mut Plan,
) -> (Resolution<'c>, Trace) {
    let mut trace = Trace::new(config.table.version());
    let resolution = config.resolve(request, Some(&mut trace));
    config.plan(&resolution, request, chooser, plan, Some(&mut trace));
    (resolution, trace)
}

/// Resolves and plans a request as a worker does that has decided nothing before.
pub(crate) fn decide<'c>(config: &'c Config, request: Request<'_>, plan: &mut Plan) -> Resolution<'c> {
    with_chooser(|chooser| decide_with(config, request, chooser, plan))
}

/// As [`decide`], with every step.
pub(crate) fn decide_traced<'c>(config: &'c Config, request: Request<'_>, plan: &mut Plan) -> (Resolution<'c>, Trace) {
    with_chooser(|chooser| decide_traced_with(config, request, chooser, plan))
}

/// The plan for a request.
pub(crate) fn plan(config: &Config, authority: &str, scheme: Scheme) -> Plan {
    let mut plan = Plan::default();
    decide(config, Request::new(authority, scheme), &mut plan);
    plan
}

/// Every step of the decision on a request.
pub(crate) fn trace(config: &Config, authority: &str) -> Trace {
    decide_traced(config, http(authority), &mut Plan::default()).1
}

/// The local reply to a request, if it is refused.
pub(crate) fn local_reply(config: &Config, request: Request<'_>) -> Option<LocalReply> {
    match config.resolve(request, None) {
        Resolution::Refuse(refusal) => Some(config.local_reply(request, refusal)),
        Resolution::Route(_) | Resolution::Pass(_) => None,
    }
}
