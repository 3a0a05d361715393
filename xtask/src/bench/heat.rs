//! One heat: every contestant's Envoy starts, and the contestants take turns in many rounds.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use byname_test_support::Envoy;

use super::{
    contestant::{ALL, Contestant},
    cost::{Question, Sample},
    cpu,
    latency::{Latency, PACE, PACED},
    load::{CONNECTIONS, Client, Turn},
    progress::Progress,
    setting::Setting,
    traffic::{Requests, Traffic},
    world::World,
};

/// Requests of one turn. A turn takes some tens of milliseconds, because a shared machine changes its speed for seconds
/// at a time.
pub(super) const REQUESTS: usize = 300;
/// Requests at the start of each turn that are not measured, because the caches hold another contestant's data.
const SETTLING: usize = 60;
/// Rounds before the measured ones. V8 compiles in two tiers, and Envoy opens its upstream connections.
const WARM_UP: usize = 3;

/// The amount of measuring.
#[derive(Clone, Copy)]
pub(super) struct Rounds {
    pub(super) services: &'static [usize],
    pub(super) traffic: &'static [Traffic],
    /// The number of times that every Envoy is started. Its memory layout makes a process faster or slower than the
    /// next one, by tenths of a microsecond per request, for as long as it lives.
    pub(super) heats: usize,
    /// Rounds of each heat, if time permits; at least one.
    pub(super) rounds: usize,
    /// Whether response times are measured too.
    pub(super) with_latency: bool,
}

/// A contestant's Envoy and the connections to it.
struct Stand {
    contestant: Contestant,
    /// The number of Services; 0 without a table.
    services: usize,
    // Fields drop in order, so the connections end before Envoy.
    client: Client,
    envoy: Envoy,
}

impl Stand {
    /// Runs one turn, and returns the CPU time of Envoy.
    async fn turn(&mut self, requests: &Arc<Requests>, traffic: Traffic) -> Result<u64> {
        self.client.run(requests, self.asks(SETTLING, traffic)).await?;
        let before = cpu::nanoseconds(self.envoy.id())?;
        self.client.run(requests, self.asks(REQUESTS, traffic)).await?;
        Ok(cpu::nanoseconds(self.envoy.id())? - before)
    }

    /// Runs one turn at a fixed rate, and returns the response times.
    async fn paced(&mut self, requests: &Arc<Requests>) -> Result<Vec<Duration>> {
        self.client.run(requests, self.asks(SETTLING, Traffic::Other)).await?;
        self.client.run(requests, Turn { pace: Some(PACE), ..self.asks(PACED, Traffic::Other) }).await
    }

    fn asks(&self, requests: usize, traffic: Traffic) -> Turn {
        Turn { requests, traffic, rewritten: self.contestant.rewrites(), pace: None }
    }
}

/// The measurements of all heats so far.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) samples: Vec<Sample>,
    pub(super) latencies: Vec<Latency>,
}

/// Runs a heat, which should end by `end`.
pub(super) async fn run(
    root: &Path,
    plan: Rounds,
    upstream: u16,
    end: Instant,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<()> {
    let mut asked = Vec::new();
    let mut stands: Vec<Stand> = Vec::new();
    for &services in plan.services {
        let world = World { services };
        asked.push((services, Arc::new(Requests::new(world.names()))));
        for contestant in ALL {
            let services = contestant.services_of(services);
            if stands.iter().all(|stand| (stand.contestant, stand.services) != (contestant, services)) {
                progress.say(&format!("Envoy starts for {} with {} Services", contestant.name(), world.services));
                let envoy = contestant.envoy(root, world, upstream, Setting::Requests)?.start().await;
                let envoy = envoy.with_context(|| format!("{} with {services} Services", contestant.name()))?;
                let client = Client::connect(envoy.port(15001), CONNECTIONS).await?;
                stands.push(Stand { contestant, services, client, envoy });
            }
        }
    }
    let paced = if plan.with_latency { asked.len() * ALL.len() * PACED } else { 0 };
    let timing = PACE * u32::try_from(paced)?;
    let mut longest = Duration::ZERO;
    for round in 0..WARM_UP + plan.rounds {
        let start = Instant::now();
        if round > WARM_UP && start + longest + timing > end {
            break;
        }
        match round.checked_sub(WARM_UP) {
            None => progress.say(&format!("warming up, {} of {WARM_UP}", round + 1)),
            Some(round) => progress.say(&format!("round {} of {}", round + 1, plan.rounds)),
        }
        for (services, requests) in &asked {
            for &traffic in plan.traffic {
                for contestant in order(round) {
                    let turn = find(&mut stands, contestant, *services)?.turn(requests, traffic).await;
                    let nanoseconds = turn.with_context(|| contestant.name())?;
                    let question = Question { contestant, services: *services, traffic };
                    if round >= WARM_UP {
                        measured.samples.push(Sample { question, nanoseconds });
                    }
                }
            }
        }
        longest = longest.max(start.elapsed());
    }
    if !plan.with_latency {
        return Ok(());
    }
    progress.say("answers at a fixed rate");
    for (services, requests) in &asked {
        for contestant in order(measured.latencies.len()) {
            let times =
                find(&mut stands, contestant, *services)?.paced(requests).await.with_context(|| contestant.name())?;
            measured.latencies.push(Latency::new(contestant, *services, &times));
        }
    }
    Ok(())
}

fn find(stands: &mut [Stand], contestant: Contestant, services: usize) -> Result<&mut Stand> {
    let key = (contestant, contestant.services_of(services));
    let stand = stands.iter_mut().find(|stand| (stand.contestant, stand.services) == key);
    stand.context("every contestant was started")
}

/// The order of a round. It varies, so that no contestant always follows the same one.
pub(super) fn order(round: usize) -> [Contestant; ALL.len()] {
    let mut order = ALL;
    order.rotate_left(round % ALL.len());
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
