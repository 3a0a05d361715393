//! Names resolved in tables of every type of Service, with any policy, search path and steering.

use arbitrary::{Arbitrary, Result, Unstructured};
use byname_core::{Config, Defaults, Plan, Request, Resolution, Scheme, ServiceSpec, Table};
use serde_json::{Map, Value, json};

use crate::rules::decided;

const ZONE: &str = "cluster.local";

/// Enough for every word to be used several times.
const MAX_SERVICES: u8 = 24;

/// Words of Services, namespaces, hostnames, ports and nodes: few and short, so that they often match.
const WORDS: [&str; 8] = ["a", "b", "shop", "svc", "pod", "http", "tcp", "10-0-0-1"];

/// One port for each word.
const PORTS: [u16; 8] = [80, 443, 8080, 9090, 1, 65_535, 81, 53];

/// Targets of aliases, besides Services `word.word`.
const TARGETS: [&str; 8] = [
    "a.example",
    "b.a.example.",
    "metadata.google.internal",
    "localhost",
    "10-0-0-1.shop.pod.cluster.local",
    "a.b.shop.svc.cluster.local",
    "http.tcp.a.shop.svc.cluster.local",
    "cluster.local",
];

/// Addresses of endpoints: of both families, with special ones among them.
const ADDRESSES: [&str; 8] =
    ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::", "::ffff:10.0.0.1", "127.0.0.1", "169.254.169.254", "100.100.100.200"];

/// Templates of clusters, with each placeholder.
const TEMPLATES: [&str; 4] =
    ["{host}:{port}", "{service}.{namespace}|{portName}|{subset}", "{endpoint}|{service}", "one"];

/// Search domains.
const SEARCHES: [&str; 6] =
    [".", "a.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example", "example"];

/// The bytes are a table, followed by an authority. The rules of `rules.rs` hold, even while each Service is removed
/// and put back, and then every answer is as before. An empty table knows no name.
pub fn names(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok((configuration, https)) = read(&mut bytes) else { return };
    let authority = bytes.take_rest();
    let scheme = if https { Scheme::Https } else { Scheme::Http };
    let request = Request::new(authority, scheme);
    let used = &mut Plan::default();

    let mut config = Config::read(configuration.to_string(), &Defaults::default())
        .unwrap_or_else(|errors| panic!("the configuration is valid: {errors}\n{configuration:#}"));
    let before = decided(&config, ZONE, request, used);
    let services = configuration["table"]["services"].as_object().expect("an object");
    let counts = |table: &Table| (table.services(), table.endpoints(), table.addresses_dropped());
    let counted = counts(&config.table);
    assert_eq!(counted.0, services.len());

    for key in services.keys() {
        let (namespace, name) = key.split_once('/').expect("namespace/name");
        assert!(config.table.remove(namespace, name) && !config.table.remove(namespace, name));
        decided(&config, ZONE, request, used);
    }
    assert_eq!(counts(&config.table), (0, 0, 0));
    let resolution = config.resolve(request, None);
    let is_outside = matches!(&resolution, Resolution::Route(route) if route.destination.service().is_none());
    assert!(
        !matches!(resolution, Resolution::Route(_)) || is_outside,
        "an empty table routes nothing but by a fallback to a host: {resolution:?}"
    );

    for (key, service) in services {
        let wire = serde_json::from_value(service.clone()).expect("the wire form");
        let service = ServiceSpec::compile(key, &wire).expect("a valid Service");
        config.table.put(service.clone()).expect("there is room");
        config.table.put(service).expect("it replaces itself");
        decided(&config, ZONE, request, used);
    }
    assert_eq!(decided(&config, ZONE, request, used), before, "a table with every Service put back answers as before");
    assert_eq!(counts(&config.table), counted);
}

fn read(bytes: &mut Unstructured<'_>) -> Result<(Value, bool)> {
    // The lowest bit is the scheme. Older inputs of the corpus use only this bit of the byte.
    let flags: u8 = bytes.arbitrary()?;
    let (https, has_choices) = (flags & 1 == 1, flags & 2 == 2);
    let mut caller = json!({"namespace": word(bytes)?});
    if bytes.arbitrary()? {
        caller["node"] = word(bytes)?.into();
    }
    let mut dns = json!({
        "ndots": bytes.int_in_range(0..=15u8)?,
        "resolver": bytes.choose(&["glibc", "musl"])?,
        "extraSearches": some_of(bytes, &SEARCHES)?,
    });
    if bytes.arbitrary()? {
        dns["searches"] = some_of(bytes, &SEARCHES)?;
    }
    let steering = json!({
        "by": bytes.choose(&["cluster", "authority"])?,
        "rewriteAuthority": bytes.choose(&["always", "alias", "never"])?,
        "cluster": bytes.choose(&TEMPLATES)?,
        "passCluster": if bytes.arbitrary()? { Some("pass") } else { None },
        "external": {"dynamicForwardProxy": bool::arbitrary(bytes)?},
    });
    let grants: Result<Vec<Value>> =
        (0..bytes.int_in_range(0..=3u8)?).map(|_| Ok(json!({"from": word(bytes)?, "to": word(bytes)?}))).collect();
    let grants = grants?;
    let allow = json!([
        {"host": "a.example", "ports": [80, 443]},
        {"host": "*.a.example", "ports": [8080]},
        {"host": "metadata.google.internal", "ports": [80]},
    ]);
    let unknown = bytes.choose(&["pass", "refuse"])?;
    let single_machine = bool::arbitrary(bytes)?;
    let mut services = Map::new();
    for index in 0..bytes.int_in_range(0..=MAX_SERVICES)? {
        services.insert(format!("{}/{}", word(bytes)?, word(bytes)?), service(bytes, index)?);
    }
    let mut fallback = json!({});
    let mut steering = steering;
    if has_choices {
        for (_, service) in &mut services {
            choices(bytes, service)?;
        }
        fallback = fallbacks(bytes, &grants)?;
        steering["loadBalancer"] = balancer(bytes)?;
        steering["outlierDetection"] = json!({"consecutive5xxErrors": bytes.int_in_range(0..=2u8)?});
        caller["podIP"] = json!("10.9.9.9");
        caller["zone"] = word(bytes)?.into();
    }
    let configuration = json!({
        "version": 1,
        "fallback": fallback,
        "caller": caller,
        "dns": dns,
        "steering": steering,
        "unknownNames": unknown,
        "externalNames": {"allow": allow, "grants": grants},
        "table": {"singleMachine": single_machine, "services": services},
    });
    Ok((configuration, https))
}

fn service(bytes: &mut Unstructured<'_>, index: u8) -> Result<Value> {
    let kind = bytes.int_in_range(0..=3u8)?;
    if kind == 3 {
        return alias(bytes);
    }
    let cluster_ips = match kind {
        0 => json!([]),
        1 => json!([format!("10.96.0.{index}"), format!("fd00:96::{index}")]),
        _ => json!("None"),
    };
    let mut service = json!({"clusterIPs": cluster_ips, "ports": ports(bytes)?});
    if bytes.arbitrary()? {
        let groups: Result<Vec<Value>> = (0..bytes.int_in_range(0..=3u8)?).map(|_| group(bytes)).collect();
        service["endpoints"] = groups?.into();
        service["publishNotReadyAddresses"] = bool::arbitrary(bytes)?.into();
    }
    service["internalTrafficPolicy"] = (*bytes.choose(&["Cluster", "Local"])?).into();
    if bytes.arbitrary()? {
        service["steering"] = json!({
            "by": bytes.choose(&[None, Some("cluster"), Some("authority")])?,
            "rewriteAuthority": bytes.choose(&[None, Some("always"), Some("alias"), Some("never")])?,
            "cluster": bytes.choose(&TEMPLATES)?,
            "subset": word(bytes)?,
        });
    }
    Ok(service)
}

/// Fields that only Services with a choice of endpoints have.
fn choices(bytes: &mut Unstructured<'_>, service: &mut Value) -> Result<()> {
    if service["type"] == "ExternalName" {
        return Ok(());
    }
    service["trafficDistribution"] =
        (*bytes.choose(&[None, Some("PreferClose"), Some("PreferSameZone"), Some("PreferSameNode")])?).into();
    service["ipFamilies"] = (*bytes.choose(&[&[][..], &["IPv4"], &["IPv6", "IPv4"]])?).into();
    service["sessionAffinity"] = (*bytes.choose(&["None", "None", "ClientIP"])?).into();
    let mut subsets = Map::new();
    for _ in 0..bytes.int_in_range(0..=2u8)? {
        let subset =
            json!({"weight": bytes.int_in_range(0..=2u8)?, "zone": bytes.choose(&[None, Some("a"), Some("b")])?});
        subsets.insert(word(bytes)?.into(), subset);
    }
    for group in service.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        group["weight"] = bytes.int_in_range(1..=3u8)?.into();
        group["zone"] = word(bytes)?.into();
    }
    let by_endpoint = service["endpoints"].is_array() && bool::arbitrary(bytes)?;
    if by_endpoint {
        service["steering"] = json!({"by": "endpoint"});
        if service["sessionAffinity"] == "None" {
            service["steering"]["loadBalancer"] = balancer(bytes)?;
        }
    }
    if by_endpoint || service["steering"].is_null() {
        service["subsets"] = subsets.into();
    }
    Ok(())
}

fn balancer(bytes: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match bytes.int_in_range(0..=4u8)? {
        0 => json!({"simple": "ROUND_ROBIN"}),
        1 => json!({"simple": "RANDOM"}),
        2 => json!({"simple": "LEAST_REQUEST"}),
        3 => json!({"consistentHash": {"httpHeaderName": "x-user"}}),
        _ => json!({"consistentHash": {"useSourceIp": true}}),
    })
}

/// Fallbacks that a configuration with these grants may have.
fn fallbacks(bytes: &mut Unstructured<'_>, grants: &[Value]) -> Result<Value> {
    let mut services = Map::new();
    for _ in 0..bytes.int_in_range(0..=6u8)? {
        let (namespace, name, other) = (word(bytes)?, word(bytes)?, word(bytes)?);
        let granted = grants
            .iter()
            .find(|grant| grant["from"] == namespace)
            .map_or(namespace.into(), |grant| grant["to"].clone());
        let to = if bool::arbitrary(bytes)? { granted } else { namespace.into() };
        let fallback = match bytes.int_in_range(0..=3u8)? {
            0 => json!({"host": "a.example", "port": 80, "tls": bytes.choose(&[None, Some(true)])?}),
            when => json!({
                "service": format!("{}/{other}", to.as_str().unwrap_or_default()),
                "port": bytes.choose(&[None, Some(80)])?,
                "when": match when {
                    1 => json!(["missing"]),
                    2 => json!(["noEndpoints"]),
                    _ => json!([]),
                },
            }),
        };
        if fallback["service"] != format!("{namespace}/{name}") {
            services.insert(format!("{namespace}/{name}"), fallback);
        }
    }
    let (from, to) = (word(bytes)?, word(bytes)?);
    let baselines = if from == to { json!({}) } else { json!({from: to}) };
    Ok(json!({"services": services, "baselines": baselines}))
}

fn alias(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let outside = bytes.arbitrary()?;
    let target = match outside {
        true => (*bytes.choose(&TARGETS)?).to_owned(),
        false => format!("{}.{}.svc.{ZONE}", word(bytes)?, word(bytes)?),
    };
    let mut alias = json!({"port": bytes.choose(&[None, Some(80), Some(443), Some(8080)])?});
    if !target.ends_with(ZONE) {
        alias["tls"] = bytes.choose(&[None, Some(false), Some(true)])?.as_ref().copied().into();
    }
    Ok(json!({"type": "ExternalName", "externalName": target, "alias": alias}))
}

/// Ports with distinct numbers and names. A single port may have no name.
fn ports(bytes: &mut Unstructured<'_>) -> Result<Vec<Value>> {
    let count = bytes.int_in_range(0..=4u8)?;
    let (first, named) = (bytes.int_in_range(0..=7u8)?, bool::arbitrary(bytes)? || count > 1);
    (0..count)
        .zip((first..8).chain(0..first))
        .map(|(_, index)| {
            let index = usize::from(index);
            let name = if named { WORDS.get(index).copied() } else { None };
            let port = PORTS.get(index);
            Ok(json!({
                "name": name.unwrap_or_default(),
                "port": port,
                "protocol": bytes.choose(&["TCP", "TCP", "UDP", "SCTP"])?,
                "appProtocol": bytes.choose(&[None, Some("grpc")])?,
            }))
        })
        .collect()
}

fn group(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let addresses = some_of(bytes, &ADDRESSES)?;
    let hostnames: Result<Vec<&str>> = match bytes.arbitrary()? {
        true => addresses.as_array().into_iter().flatten().map(|_| word(bytes)).collect(),
        false => Ok(vec![]),
    };
    let mut group = json!({"addresses": addresses, "hostnames": hostnames?});
    if bytes.arbitrary()? {
        group["ports"] = json!({word(bytes)?: 8080, word(bytes)?: 9901});
    }
    for condition in ["ready", "serving", "terminating"] {
        if let Some(condition_is) = *bytes.choose(&[None, Some(false), Some(true)])? {
            group[condition] = condition_is.into();
        }
    }
    if bytes.arbitrary()? {
        group["node"] = word(bytes)?.into();
    }
    Ok(group)
}

fn some_of(bytes: &mut Unstructured<'_>, texts: &[&str]) -> Result<Value> {
    let some: Result<Vec<&str>> = (0..bytes.int_in_range(0..=3u8)?).map(|_| bytes.choose(texts).copied()).collect();
    Ok(some?.into())
}

fn word(bytes: &mut Unstructured<'_>) -> Result<&'static str> {
    bytes.choose(&WORDS).copied()
}
