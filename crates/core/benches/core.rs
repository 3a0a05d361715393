//! What a resolution and a new table take natively, by the number of Services. Nothing here fails for being slow; what the
//! filter adds to a request in Envoy is measured by `make bench`.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on ends, which is what these do")]

use std::{hint::black_box, time::Duration};

use byname_core::{Config, Defaults, Reason, Request, Scheme, resolve};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Map, Value, json};

const RESOLVED: [usize; 4] = [10, 1_000, 10_000, 100_000];
const READ: [usize; 3] = [10, 1_000, 10_000];
const ENDPOINTS: usize = 10;
/// Every tenth Service is the caller's neighbour.
const NAMESPACES: usize = 10;
/// Names that are asked for in turn, spread over the table: one alone would always be in the cache.
const NAMES: usize = 4_096;
/// The neighbours among the first so many Services have aliases.
const ALIASED: usize = 10_000;
/// A table holds 100,000 Services, aliases and all.
const MOST_BESIDE_ALIASES: usize = 100_000 - 2 * ALIASED / NAMESPACES;

fn namespace(index: usize) -> String {
    match index % NAMESPACES {
        0 => "shop".to_owned(),
        team => format!("team-{team}"),
    }
}

/// A configuration with this many Services, and for neighbours an alias that leads to it and one that leads outside.
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
    Config::from_json(text, &Defaults::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is asked, the reason that it has, and the name for a Service of `shop`.
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
                let request = Request { authority: name.as_bytes(), scheme: Scheme::Http };
                resolve(&config.table, &config.caller, request).reason()
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
        let text = configuration(services);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            // What is built is dropped outside of what is measured.
            bencher.iter_batched(|| (), |()| read(black_box(&text)), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, resolving, reading);
criterion_main!(benches);
