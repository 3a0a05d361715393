//! Measures `byname serve` with a synthetic cluster and thousands of simulated sidecars, and prints the table of docs/serve.md.
//!
//! The servers are processes of their own. The sidecars and the cluster's API are tasks of this one: each sidecar has a
//! connection and a stream of its own, sends as long a first message as Envoy, asks for the clusters of the names that its pod
//! uses, and acknowledges each message. In the parts of the filter's own streams it has two, and asks as the filter does. CPU times are those of the servers alone. Times are from a change in the API to its
//! receipt, so they include the API, the network and the sidecars, which share the machine with the servers.

mod beside;
mod dialect;
mod fleet;
mod herd;
mod open_files;
mod own_streams;
mod phases;
mod process;
mod real_sidecar;
mod recorder;
mod report;
mod setting;
mod sidecar;
mod synthetic;
mod watch;
mod whole_table;
mod wire;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use byname_test_support::repository;
use clap::Parser;
use tokio::time::timeout;

use self::{beside::BesidePlan, dialect::Dialect, report::FleetReport, setting::FleetPlan, synthetic::ClusterSize};

/// Measure byname serve with simulated sidecars.
#[derive(Parser)]
struct Arguments {
    /// 1,000 Services and 500 sidecars in place of 10,000 and 5,000, and less of each part
    #[arg(long)]
    quick: bool,
    /// Another number of sidecars
    #[arg(long)]
    sidecars: Option<usize>,
    /// Measure only this part
    #[arg(long)]
    part: Option<phases::Part>,
    /// Measure istiod beside it. Needs the parts of `make test-cluster`, and network namespaces as `xtask fleet` makes them
    #[arg(long)]
    istiod: bool,
}

const WHOLE: FleetPlan = FleetPlan {
    limit: Duration::from_mins(10),
    cluster: ClusterSize { services: 10_000, endpoints: 10 },
    sidecars: 5_000,
    idle: Duration::from_secs(4),
    churns: &[(10, Duration::from_secs(10)), (100, Duration::from_secs(20))],
    popular_changes: 6,
    churn_of_filter: (100, Duration::from_secs(10)),
    changes_of_sidecar: [150, 10],
    names: &[(1_000, 5_000), (2_000, 5_000), (10_000, 500)],
    names_seconds: 8,
    servers_of_herd: 3,
    with_tls: 300,
    watches: 3,
    beside: Some(BesidePlan {
        cluster: ClusterSize { services: 2_000, endpoints: 10 },
        clients: 1_000,
        watches: 10,
        time: Duration::from_secs(10),
    }),
};
const QUICK: FleetPlan = FleetPlan {
    limit: Duration::from_mins(2),
    cluster: ClusterSize { services: 1_000, endpoints: 10 },
    sidecars: 500,
    idle: Duration::from_secs(1),
    churns: &[(10, Duration::from_secs(2)), (100, Duration::from_secs(3))],
    popular_changes: 2,
    churn_of_filter: (100, Duration::from_secs(2)),
    changes_of_sidecar: [50, 4],
    names: &[(1_000, 500)],
    names_seconds: 5,
    servers_of_herd: 3,
    with_tls: 100,
    watches: 0,
    beside: Some(BesidePlan {
        cluster: ClusterSize { services: 300, endpoints: 10 },
        clients: 10,
        watches: 2,
        time: Duration::from_secs(3),
    }),
};

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let plan = if arguments.quick { QUICK } else { WHOLE };
    let beside = plan.beside.filter(|_| arguments.istiod);
    let plan = FleetPlan { sidecars: arguments.sidecars.unwrap_or(plan.sidecars), beside, ..plan };
    open_files::allow(plan.sidecars * Dialect::Filter.streams_of_sidecar())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut report = FleetReport::new();
    let measured =
        runtime.block_on(async { timeout(plan.limit, phases::run(&plan, arguments.part, &mut report)).await });
    runtime.shutdown_background();
    // What was measured before an error counts.
    report.print();
    report.write(&repository().join("target/bench/fleet.json"))?;
    let minutes = plan.limit.as_secs() / 60;
    measured
        .with_context(|| format!("not done within {minutes} minutes; the parts above are whole but for the last"))?
}
