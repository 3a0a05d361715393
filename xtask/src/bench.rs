//! Measures byname side by side with its alternatives in a real Envoy: the cost of a request, start, memory and pushes.
//!
//! Each contestant has an Envoy of its own. Requests are measured by the CPU time of Envoy's threads, and not by
//! elapsed time, which would include the client, the upstream and other processes of the machine. In every round, each
//! contestant serves the same requests. The order changes from round to round, so that other load on the machine
//! affects all contestants alike. A ratio compares two measurements of one round. After each heat of several rounds,
//! every Envoy is restarted.
//!
//! Start, memory and pushes are measured first, with two workers and on all processors. So are sidecars
//! with many listeners, which are a part that can run alone.

mod contestant;
mod cost;
mod cpu;
mod fuel;
mod heat;
mod instructions;
mod latency;
mod listeners;
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
use listeners::{Listeners, MemoryPlan};
use progress::Progress;
use report::Report;
use standing::Standings;
use traffic::Traffic;

/// The amount of measuring.
struct BenchPlan {
    /// The time for everything after compilation: ten or two minutes, less the time to stop and to draw. A slow machine
    /// runs fewer rounds.
    time: Duration,
    rounds: Rounds,
    /// The contestants that are started to measure their memory, and how often.
    standing: &'static [Contestant],
    starts: usize,
    /// The numbers of Services at those starts.
    standing_services: &'static [usize],
    /// The contestants that receive pushes, with the number of Services and the pushes of each kind.
    pushes: &'static [(Contestant, usize, usize)],
    /// The memory of sidecars with many listeners. `None`: nothing is measured of such sidecars.
    listeners: Option<MemoryPlan>,
}

/// A part of the benchmark that can run alone.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum BenchPart {
    /// A sidecar with many listeners: memory, first use, and a Service that changes
    Listeners,
    /// Starts: the first answer, CPU time and memory, with 10 Services
    Starts,
    /// Whole pushes of 10,000 Services, and the answers meanwhile
    Pushes,
    /// Fuel, and the instructions that a request executes, by function
    Fuel,
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
    listeners: Some(listeners::ONCE),
};
/// The part that the ratios need.
const QUICK: BenchPlan = BenchPlan {
    time: Duration::from_secs(105),
    rounds: Rounds { services: &[10, 10_000], traffic: &[Traffic::Other], heats: 2, rounds: 30, with_latency: false },
    standing: &[Contestant::None, Contestant::Native, Contestant::Endpoint],
    starts: 1,
    standing_services: &[10_000],
    pushes: &[(Contestant::Endpoint, 10_000, 3)],
    listeners: None,
};

const LISTENERS_ALONE_STARTS: usize = 3;
const FEW: usize = 10;
const STARTS: [Contestant; 4] = [Contestant::None, Contestant::Noop, Contestant::Lua, Contestant::Cluster];
const STARTS_ALONE: usize = 7;
const PUSHES_ALONE: usize = 10;

/// Runs one part alone, and prints its tables. It writes no report. With a number of `listeners`, only the memory of a sidecar with
/// as many is measured.
pub(crate) fn run_part(root: &Path, part: BenchPart, listeners: Option<usize>) -> Result<()> {
    listeners.into_iter().for_each(listeners::set_listeners);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match part {
        BenchPart::Listeners => {
            let all = runtime.block_on(async {
                let upstream = load::start_upstream().await?;
                let mut all = Listeners::default();
                for _ in 0..LISTENERS_ALONE_STARTS {
                    match listeners {
                        None => all.measure(root, listeners::ALONE, upstream).await?,
                        Some(_) => all.measure_memory(root, listeners::MEMORY_ALONE, upstream).await?,
                    }
                }
                anyhow::Ok(all)
            })?;
            all.print();
        }
        BenchPart::Starts => {
            contestant::build_noop(root)?;
            let all = runtime.block_on(async {
                let upstream = load::start_upstream().await?;
                let mut all = Vec::new();
                for number in 1..=STARTS_ALONE {
                    let progress = Progress::new(format!("start {number} of {STARTS_ALONE}"));
                    standing::run(root, &STARTS, &[FEW], upstream, &progress, &mut all).await?;
                }
                anyhow::Ok(Standings(all))
            })?;
            all.print();
            all.print_ratios(FEW);
        }
        BenchPart::Fuel => {
            fuel::print(&fuel::run(SERVICES, &Progress::new("fuel"))?);
            instructions::run(root, &Progress::new("instructions"))?.print();
        }
        BenchPart::Pushes => {
            let all = runtime.block_on(push::run(
                root,
                Contestant::Endpoint,
                10_000,
                PUSHES_ALONE,
                &Progress::new("pushes"),
            ))?;
            push::print(&all);
        }
    }
    Ok(())
}

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
    let instructions = instructions::run(root, &Progress::new("instructions"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (standings, pushes, listeners, measured) = runtime.block_on(measure(root, &plan, start + plan.time))?;
    let report = Report {
        is_quick,
        processors,
        costs: Costs { samples: measured.samples, requests: heat::REQUESTS, connections: load::CONNECTIONS },
        latencies: measured.latencies,
        standings,
        pushes,
        listeners,
        fuel,
        instructions,
        micro,
        module_bytes,
        seconds: start.elapsed().as_secs_f64(),
    };
    report.print();
    report.write(&root.join("target/bench/report.json"))
}

/// Measures everything that needs an Envoy.
async fn measure(
    root: &Path,
    plan: &BenchPlan,
    end: Instant,
) -> Result<(Standings, Vec<push::Push>, Listeners, Measured)> {
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
    let mut listeners = Listeners::default();
    if let Some(plan) = plan.listeners {
        listeners.measure(root, plan, upstream).await?;
    }
    cpu::stay_on_one()?;
    let mut measured = Measured::default();
    for number in 1..=plan.rounds.heats {
        let progress = Progress::new(format!("heat {number} of {}", plan.rounds.heats));
        let left = end.saturating_duration_since(Instant::now());
        let heats = u32::try_from(plan.rounds.heats + 1 - number)?;
        heat::run(root, plan.rounds, upstream, Instant::now() + left / heats, &progress, &mut measured).await?;
    }
    Ok((Standings(standings), pushes, listeners, measured))
}
