//! The time to resolve a name and to read a table, natively and by the number of Services. Nothing here fails for being
//! slow. `make bench` measures the time that the filter adds to a request in Envoy.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic ends the benchmark")]

use std::{hint::black_box, time::Duration};

use byname_core::{Balance, Chooser, Config, Defaults, FakeEnv, Plan, Reason, Request, Scheme, ServiceSpec};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};

const RESOLVED: [usize; 4] = [10, 1_000, 10_000, 100_000];
const READ: [usize; 4] = [10, 1_000, 10_000, 100_000];
const ENDPOINTS: usize = 10;
/// Every tenth Service is in the caller's namespace.
const NAMESPACES: usize = 10;
/// The number of names that are resolved in turn, spread over the table. A single name would always be in the CPU's
/// cache.
const NAMES: usize = 4_096;
/// Services of the caller's namespace below this index have aliases.
const ALIASED: usize = 10_000;
/// A table holds 100,000 Services, including aliases.
const MOST_BESIDE_ALIASES: usize = 100_000 - 2 * ALIASED / NAMESPACES;

fn namespace(index: usize) -> String {
    match index % NAMESPACES {
        0 => "shop".to_owned(),
        team => format!("team-{team}"),
    }
}

/// A configuration with this many Services. Some have an alias to them and an alias to an external host.
fn configuration(services: usize) -> String {
    let mut table = Map::new();
    for index in 0..services {
        let address = |number: usize| format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        let addresses: Vec<String> =
            (0..ENDPOINTS).map(|endpoint| address((index + 1) * ENDPOINTS + endpoint)).collect();
        let service = json!({
            "ports": [{"name": "http", "port": 80}],
            "endpoints": [{"addresses": addresses.join(" ")}],
        });
        table.insert(format!("{}/payments-{index}", namespace(index)), service);
    }
    for index in (0..services.min(ALIASED)).step_by(NAMESPACES) {
        let inside = format!("payments-{index}.shop.svc.cluster.local");
        for (name, target) in [("alias", inside.as_str()), ("external", "api.example.com")] {
            table.insert(format!("shop/{name}-{index}"), json!({"type": "ExternalName", "externalName": target}));
        }
    }
    let allowed = json!([{"host": "*.example.com", "ports": [80]}]);
    let services = Value::from(table);
    json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "externalNames": {"allow": allowed},
        "table": {"version": 1, "services": services},
    })
    .to_string()
}

fn read(text: &str) -> Config {
    Config::read(text, &Defaults::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The name of a benchmark, its expected reason, and the authority for a Service of `shop`.
type Form = (&'static str, Reason, fn(usize) -> String);

const FORMS: [Form; 5] = [
    ("short", Reason::Service, |index| format!("payments-{index}")),
    ("fqdn", Reason::Service, |index| format!("payments-{index}.shop.svc.cluster.local")),
    ("alias", Reason::Alias, |index| format!("alias-{index}")),
    ("miss", Reason::NameNotFound, |index| format!("nothing-{index}.shop")),
    ("external", Reason::External, |index| format!("external-{index}")),
];

fn resolving(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for services in RESOLVED {
        let config = read(&configuration(services.min(MOST_BESIDE_ALIASES)));
        for (form, reason, name) in FORMS {
            let known =
                if reason == Reason::Service { services.min(MOST_BESIDE_ALIASES) } else { services.min(ALIASED) };
            let neighbours = known / NAMESPACES;
            let names: Vec<String> = (0..NAMES).map(|number| name(number * 7_919 % neighbours * NAMESPACES)).collect();
            let ask = |name: &String| {
                let request = Request::new(name, Scheme::Http);
                config.resolve(request, None).reason()
            };
            names.iter().for_each(|name| assert_eq!(ask(name), reason, "{name}"));
            let mut next = names.iter().cycle();
            group.bench_function(BenchmarkId::new(form, services), |bencher| {
                bencher.iter(|| ask(black_box(next.next().expect("it goes round"))));
            });
        }
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for services in READ {
        let text = configuration(services.min(MOST_BESIDE_ALIASES));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            // The table is dropped outside the measurement.
            bencher.iter_batched(|| (), |()| read(black_box(&text)), BatchSize::PerIteration);
        });
    }
    group.finish();
}

/// A known name in a table that a server fills, and in the same table without a server.
fn on_demand(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("on demand");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let text = configuration(1_000);
    let with_server = text.replacen('{', r#"{"server":{"cluster":"byname"},"#, 1);
    for (form, text) in [("without", text), ("with", with_server)] {
        let config = read(&text);
        assert_eq!(config.table.is_on_demand(), form == "with");
        let names: Vec<String> = (0..100).map(|number| format!("payments-{}", number * NAMESPACES)).collect();
        let mut next = names.iter().cycle();
        group.bench_function(form, |bencher| {
            bencher.iter(|| {
                let request = Request::new(black_box(next.next().expect("it goes round")), Scheme::Http);
                config.resolve(request, None).reason()
            });
        });
    }
    group.finish();
}

/// Takes a Service into a table and drops it again, as a stream does. The time must not grow with the table.
fn coming_and_going(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take and drop");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for services in [10, 10_000] {
        let mut config = read(&configuration(services));
        let wire = json!({
            "clusterIPs": "10.200.0.1",
            "ports": [{"name": "http", "port": 80}],
            "endpoints": [{"addresses": "10.200.1.1 10.200.1.2"}],
        });
        let wire = serde_json::from_value(wire).expect("the wire form");
        let service = ServiceSpec::compile("shop/new", &wire).expect("it is good");
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            bencher.iter_batched(
                || service.clone(),
                |service| {
                    config.table.put(service).expect("there is room");
                    config.table.remove("shop", "new")
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Replaces one Service of an existing table, as an incremental push would.
fn changing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delta");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for services in RESOLVED {
        let mut config = read(&configuration(services.min(MOST_BESIDE_ALIASES)));
        let count = config.table.services();
        let forms = ["10.200.0", "10.201.0"].map(|network| {
            let addresses: Vec<String> = (0..ENDPOINTS).map(|endpoint| format!("{network}.{endpoint}")).collect();
            let endpoints = json!([{"addresses": addresses.join(" ")}]);
            let wire = json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints});
            let wire = serde_json::from_value(wire).expect("the wire form");
            ServiceSpec::compile("shop/payments-0", &wire).expect("it is good")
        });
        let mut next = forms.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            bencher.iter_batched(
                || next.next().expect("it goes round").clone(),
                |service| config.table.put(service).expect("there is room"),
                BatchSize::SmallInput,
            );
        });
        assert_eq!(config.table.services(), count, "it replaces the earlier Service");
    }
    group.finish();
}

/// One Service with this many endpoints, and how it is steered.
fn one_service(endpoints: usize, steering: &Value) -> Config {
    let address = |number: usize| format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let addresses: Vec<String> = (1..=endpoints).map(address).collect();
    // Two groups, so that weights can differ.
    let (some, others) = addresses.split_at(endpoints / 2);
    let weight = steering["weight"].as_u64().unwrap_or(1);
    let groups = json!([{"addresses": some.join(" ")}, {"addresses": others.join(" "), "weight": weight}]);
    let mut steering = steering.clone();
    if let Some(fields) = steering.as_object_mut() {
        fields.remove("weight");
    }
    let service = json!({"ports": [{"name": "http", "port": 80}], "endpoints": groups});
    let config = json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "steering": steering,
        "table": {"services": {"shop/web": service}},
    });
    read(&config.to_string())
}

/// A whole decision by each policy, and by cluster, which picks no endpoint. The difference is the cost of the policy.
fn picking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let by_endpoint = |balancer: Value| json!({"by": "endpoint", "loadBalancer": balancer});
    let watched = json!({"by": "endpoint", "loadBalancer": {"simple": "LEAST_REQUEST"}, "outlierDetection": {}});
    let weighted = json!({"by": "endpoint", "loadBalancer": {"simple": "ROUND_ROBIN"}, "weight": 3});
    let policies = [
        ("none", json!({"by": "cluster"})),
        ("ROUND_ROBIN", by_endpoint(json!({"simple": "ROUND_ROBIN"}))),
        ("ROUND_ROBIN, weights", weighted),
        ("RANDOM", by_endpoint(json!({"simple": "RANDOM"}))),
        ("LEAST_REQUEST", by_endpoint(json!({"simple": "LEAST_REQUEST"}))),
        ("LEAST_REQUEST, watched", watched),
        ("consistentHash", by_endpoint(json!({"consistentHash": {"httpHeaderName": "x-user"}}))),
    ];
    for endpoints in [10, 100, 1_000, 10_000] {
        for (policy, steering) in &policies {
            let config = one_service(endpoints, steering);
            let mut balance = Balance::default();
            let mut users = (0..NAMES).map(|user| {
                let headers = vec![("x-user".to_owned(), format!("user-{user}"))];
                FakeEnv { now: 1, seed: user as u64, headers }
            });
            let mut users: Vec<FakeEnv> = users.by_ref().collect();
            let mut plan = Plan::default();
            let mut next = (0..NAMES).cycle();
            group.bench_function(BenchmarkId::new(*policy, endpoints), |bencher| {
                bencher.iter(|| {
                    let user = users.get_mut(next.next().unwrap_or_default()).expect("one of them");
                    let request = Request::new("web", Scheme::Http);
                    let request = black_box(request);
                    let resolution = config.resolve(request, None);
                    let chooser = &mut Chooser { balance: &mut balance, env: user };
                    config.plan(&resolution, request, chooser, &mut plan, None);
                    if let Some(ticket) = plan.take_ticket() {
                        config.done(ticket, Some(200), &mut Chooser { balance: &mut balance, env: user });
                    }
                });
            });
        }
    }
    group.finish();
}

/// An alternative to rendezvous hashing: a table that is built at a push and costs one lookup per request. Eisenbud et
/// al., *Maglev: A Fast and Reliable Software Network Load Balancer*, section 3.4.
struct Maglev(Vec<u16>);

impl Maglev {
    /// `slots` is a prime number, at least a hundred times the number of endpoints.
    fn new(endpoints: u16, slots: usize) -> Self {
        let hash = |number: u64| {
            let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
        };
        let slot = |number: u64| usize::try_from(number).unwrap_or_default();
        let mut places: Vec<(usize, usize)> = (0..u64::from(endpoints))
            .map(|endpoint| (slot(hash(endpoint + 1)) % slots, slot(hash(endpoint + 1_000_003)) % (slots - 1) + 1))
            .collect();
        let mut table = vec![u16::MAX; slots];
        let mut filled = 0;
        loop {
            for (endpoint, (place, step)) in (0..endpoints).zip(&mut places) {
                while table.get(*place) != Some(&u16::MAX) {
                    *place = (*place + *step) % slots;
                }
                if let Some(free) = table.get_mut(*place) {
                    *free = endpoint;
                }
                filled += 1;
                if filled == slots {
                    return Self(table);
                }
            }
        }
    }
}

fn maglev(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maglev");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for (endpoints, slots) in [(10, 1_009), (100, 10_007), (1_000, 100_003)] {
        let table = Maglev::new(endpoints, slots);
        println!("maglev of {endpoints} endpoints: {} bytes for each port of each Service", table.0.len() * 2);
        group.bench_function(BenchmarkId::new("build", endpoints), |bencher| {
            bencher.iter(|| Maglev::new(black_box(endpoints), slots));
        });
        let mut key = 0_usize;
        group.bench_function(BenchmarkId::new("look", endpoints), |bencher| {
            bencher.iter(|| {
                key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                table.0.get(black_box(key) % slots).copied()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, resolving, on_demand, reading, changing, coming_and_going, picking, maglev);
criterion_main!(benches);
