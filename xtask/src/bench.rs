//! Side by side with what one would pick instead, over a real Envoy: what each adds to a request, and what it takes besides.
//!
//! Each contestant has an Envoy of its own. What is measured of requests is the time that Envoy's own threads ran, not how
//! long it took: the time of client and upstream is theirs, and so is that of whatever shares the machine. In every round
//! each contestant serves the same requests for the same names, one after another, in an order that moves on from round to
//! round, so that what else the machine does meets them alike; a ratio is of two measurements of one round. After a heat of
//! rounds all are started anew.
//!
//! Starting, memory and pushes come first, with two workers and on all processors.

mod contestant;
mod cost;
mod cpu;
mod fuel;
mod heat;
mod latency;
mod load;
mod micro;
mod native;
mod numbers;
mod progress;
mod push;
mod report;
mod setting;
mod standing;
mod traffic;
mod world;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use contestant::{ALL, Contestant};
use cost::Costs;
use heat::{Measured, Rounds};
use progress::Progress;
use report::Report;
use standing::Standings;
use traffic::Traffic;

/// How much is measured.
struct BenchPlan {
    /// For how long in all, once everything is compiled: ten minutes, or two, less what stopping and drawing take. A slow machine
    /// has fewer rounds.
    time: Duration,
    rounds: Rounds,
    /// Who is started to look at its memory, and how often.
    standing: &'static [Contestant],
    starts: usize,
    /// With so many Services.
    standing_services: &'static [usize],
    /// To whom how many are pushed of each kind, with how many Services.
    pushes: &'static [(Contestant, usize, usize)],
}

const SERVICES: &[usize] = &[10, 1_000, 10_000];

const WHOLE: BenchPlan = BenchPlan {
    time: Duration::from_secs(550),
    rounds: Rounds { services: SERVICES, traffic: &Traffic::ALL, heats: 4, rounds: 20, with_latency: true },
    standing: &ALL,
    starts: 2,
    standing_services: SERVICES,
    pushes: &[
        (Contestant::Endpoint, 10, 5),
        (Contestant::Endpoint, 1_000, 5),
        (Contestant::Endpoint, 10_000, 5),
        (Contestant::Lua, 10_000, 5),
        (Contestant::Native, 1_000, 3),
        (Contestant::Native, 10_000, 1),
    ],
};
/// All that the ratios need.
const QUICK: BenchPlan = BenchPlan {
    time: Duration::from_secs(105),
    rounds: Rounds { services: &[10, 10_000], traffic: &[Traffic::Other], heats: 2, rounds: 30, with_latency: false },
    standing: &[Contestant::None, Contestant::Native, Contestant::Endpoint],
    starts: 1,
    standing_services: &[10_000],
    pushes: &[(Contestant::Endpoint, 10_000, 3)],
};

pub(crate) fn run(root: &Path, is_quick: bool) -> Result<()> {
    contestant::build_noop(root)?;
    let module_bytes = std::fs::metadata(root.join(crate::module::SHIPPED))
        .context("the module is not built: run `make build`")?
        .len();
    let plan = if is_quick { QUICK } else { WHOLE };
    let progress = Progress::new("the core alone");
    micro::build(root, &progress)?;
    let processors = std::thread::available_parallelism()?.get();
    let start = Instant::now();
    let micro = micro::run(root, is_quick, &progress)?;
    drop(progress);
    let fuel = fuel::run(SERVICES, &Progress::new("fuel"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (standings, pushes, measured) = runtime.block_on(measure(root, &plan, start + plan.time))?;
    let report = Report {
        is_quick,
        processors,
        costs: Costs { samples: measured.samples, requests: heat::REQUESTS, connections: load::CONNECTIONS },
        latencies: measured.latencies,
        standings,
        pushes,
        fuel,
        micro,
        module_bytes,
        seconds: start.elapsed().as_secs_f64(),
    };
    report.print();
    report.write(&root.join("target/bench/report.json"))
}

/// All that needs an Envoy.
async fn measure(root: &Path, plan: &BenchPlan, end: Instant) -> Result<(Standings, Vec<push::Push>, Measured)> {
    let upstream = load::start_upstream().await?;
    let mut standings = Vec::new();
    for number in 1..=plan.starts {
        let progress = Progress::new(format!("start {number} of {}", plan.starts));
        standing::run(root, plan.standing, plan.standing_services, upstream, &progress, &mut standings).await?;
    }
    let mut pushes = Vec::new();
    for &(contestant, services, rounds) in plan.pushes {
        pushes.extend(push::run(root, contestant, services, rounds, &Progress::new("pushes")).await?);
    }
    cpu::stay_on_one()?;
    let mut measured = Measured::default();
    for number in 1..=plan.rounds.heats {
        let progress = Progress::new(format!("heat {number} of {}", plan.rounds.heats));
        let left = end.saturating_duration_since(Instant::now());
        let heats = u32::try_from(plan.rounds.heats + 1 - number)?;
        heat::run(root, plan.rounds, upstream, Instant::now() + left / heats, &progress, &mut measured).await?;
    }
    Ok((Standings(standings), pushes, measured))
}
