//! The work of the shipped module per request, in fuel of an interpreter. It is the same on every machine, to the
//! instruction. It excludes the work of the host, and a unit of fuel is no unit of time.

use anyhow::{Result, ensure};
use byname_test_support::{Action, SmallHost};
use serde_json::{Value, json};

use super::{
    numbers::table,
    progress::Progress,
    world::{BenchSteering, OWN, World},
};

/// The root context. Streams have higher numbers.
const ROOT: u32 = 1;
/// Requests before the counted one, so that buffers have grown.
const WARM_UP: u32 = 8;

/// The kind of a request, its authority, and the filter's action.
pub(super) type RequestPath = (&'static str, &'static str, Action);

/// The kinds of requests that are counted.
pub(super) const PATHS: [RequestPath; 5] = [
    ("steered, short name", "payments-0", Action::Continue),
    ("steered, whole name", "payments-1.team-1.svc.cluster.local", Action::Continue),
    ("steered, alias", "alias-0", Action::Continue),
    ("passed, unknown name", "nothing.nowhere", Action::Continue),
    ("refused, alias that may not leave", "outside", Action::Pause),
];

/// With this many Services, the module calls every function that it calls with any number.
const TRANSLATING: usize = 1_000;

/// The fuel with one number of Services.
#[derive(Debug)]
pub(super) struct Fuel {
    services: usize,
    /// The fuel to read the table.
    table: u64,
    /// The fuel of each request, in the order of [`PATHS`].
    requests: [u64; PATHS.len()],
}

/// Counts twice with each number of Services. If the counts differed, they would mean nothing.
pub(super) fn run(services: &[usize], progress: &Progress) -> Result<Vec<Fuel>> {
    // The interpreter translates a function at its first call, which takes fuel, and reuses the translation in later
    // VMs.
    count(TRANSLATING)?;
    let one = |services: usize| {
        progress.say(&format!("{services} Services"));
        let (one, other) = (count(services)?, count(services)?);
        let is_same = (one.table, one.requests) == (other.table, other.requests);
        ensure!(is_same, "two VMs needed different fuel for {services} Services: {one:?}, {other:?}");
        Ok(one)
    };
    services.iter().copied().map(one).collect()
}

/// Hands the module a table with this many Services.
pub(super) fn configure(host: &mut SmallHost, services: usize) -> Result<()> {
    let mut configuration = World { services }.configuration(&BenchSteering::Cluster { destination_port: Value::Null });
    configuration["caller"] = json!({"namespace": OWN});
    configuration["externalNames"] = json!({"mode": "listed"});
    configuration["table"]["services"][format!("{OWN}/outside")] =
        json!({"type": "ExternalName", "externalName": "api.example.com"});
    ensure!(host.configure(ROOT, &configuration.to_string())?, "the table is refused: {:?}", host.state().log);
    Ok(())
}

/// Makes requests of one kind. Calls `before` ahead of the last one, which is the one that counts.
pub(super) fn warm_up(
    host: &mut SmallHost,
    (path, authority, expected): &RequestPath,
    mut before: impl FnMut(&mut SmallHost) -> Result<()>,
) -> Result<()> {
    for request in 0..=WARM_UP {
        if request == WARM_UP {
            before(host)?;
        }
        let action = host.ask(ROOT + 1 + request, authority.as_bytes())?;
        ensure!(action == *expected, "{path}: {action:?}");
    }
    let is_steered = !host.state().header("x-byname-cluster").is_empty();
    ensure!(is_steered == path.starts_with("steered"), "{path}: {:?}", host.state().calls.last());
    host.state_mut().calls.clear();
    Ok(())
}

fn count(services: usize) -> Result<Fuel> {
    let mut host = SmallHost::new()?;
    host.take_fuel()?;
    configure(&mut host, services)?;
    let table = host.take_fuel()?;
    let mut requests = [0; PATHS.len()];
    for (path, fuel) in PATHS.iter().zip(&mut requests) {
        warm_up(&mut host, path, |host| host.take_fuel().map(drop))?;
        *fuel = host.take_fuel()?;
    }
    Ok(Fuel { services, table, requests })
}

pub(super) fn print(all: &[Fuel]) {
    let [short, whole, alias, passed, refused] = PATHS.map(|(path, ..)| path);
    let mut table = table(["Services", short, whole, alias, passed, refused, "a table"], &[]);
    for fuel in all {
        let numbers = [fuel.services as u64].into_iter().chain(fuel.requests).chain([fuel.table]);
        table.add_row(numbers.map(|number| number.to_string()));
    }
    println!("Fuel of the module that ships, of a request and of a table that is read: the same on every machine.");
    println!("{table}\n");
}

pub(super) fn json(all: &[Fuel]) -> Value {
    let result = |fuel: &Fuel| {
        let requests = PATHS.iter().zip(fuel.requests).map(|((path, ..), fuel)| ((*path).to_owned(), fuel.into()));
        json!({
            "services": fuel.services,
            "table": fuel.table,
            "requests": Value::Object(requests.collect()),
        })
    };
    all.iter().map(result).collect()
}
