//! Side by side with what one would pick instead, over a real Envoy: the processor time that each adds to a request.
//!
//! Each contestant has an Envoy of its own with one worker. In every round each of them serves the same requests for the
//! same names, one after another, in an order that moves on from round to round, so that what else the machine does meets
//! them alike; a ratio is of two measurements of one round. After a heat of rounds all are started anew. What is measured
//! is the time that Envoy's own threads ran, not how long it took: the time of client and upstream is theirs, and so is
//! that of whatever shares the machine.

mod contestant;
mod cpu;
mod load;
mod report;
mod world;

use std::{io::IsTerminal, path::Path, sync::Arc};

use anyhow::{Context, Result};
use byname_test_support::Envoy;

use contestant::{ALL, Contestant};
use load::{Client, Requests, Turn};
use report::{Pattern, Question, Report, Sample};
use world::World;

/// Enough to keep one worker busy.
const CONNECTIONS: usize = 8;

/// Requests of one contestant before it is another's turn: some 40 ms, since a machine that is shared is now faster and now
/// slower, for seconds at a time.
const REQUESTS: usize = 1_000;
/// Requests of each turn that are not measured: the caches were another's.
const SETTLING: usize = 100;
/// Rounds of a heat before those that are measured: V8 compiles twice, Envoy opens its upstream connections.
const WARM_UP: usize = 3;

/// How much is measured.
struct Plan {
    services: &'static [usize],
    /// How often every Envoy is started: where its memory comes to lie makes a process faster or slower than the next, by
    /// some tenths of a microsecond for a request, for as long as it lives.
    heats: usize,
    /// Rounds of each heat.
    rounds: usize,
}

const WHOLE: Plan = Plan { services: &[10, 1_000, 10_000], heats: 5, rounds: 24 };
const QUICK: Plan = Plan { services: &[10, 1_000], heats: 4, rounds: 12 };

pub(crate) fn run(root: &Path, quick: bool) -> Result<()> {
    contestant::build_noop(root)?;
    let module_bytes = std::fs::metadata(root.join(crate::module::SHIPPED))
        .context("the module is not built: run `make build`")?
        .len();
    let plan = if quick { QUICK } else { WHOLE };
    cpu::stay_on_one()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let samples = runtime.block_on(async {
        let upstream = load::start_upstream().await?;
        let mut samples = Vec::new();
        for heat in 1..=plan.heats {
            let progress = Progress::new(format!("heat {heat} of {}", plan.heats));
            measure(root, &plan, upstream, &progress, &mut samples).await?;
        }
        anyhow::Ok(samples)
    })?;
    let report = Report::new(samples, module_bytes, REQUESTS, CONNECTIONS);
    report.print();
    report.write(&root.join("target/bench/report.json"))
}

/// A contestant's Envoy and the connections to it.
struct Stand {
    contestant: Contestant,
    /// With how many Services; 0 where it has no table.
    services: usize,
    envoy: Envoy,
    client: Client,
}

impl Stand {
    /// One turn, and for how long Envoy ran meanwhile.
    async fn turn(&mut self, requests: &Arc<Requests>, pattern: Pattern) -> Result<u64> {
        let turn = |requests| Turn { requests, same: pattern == Pattern::Same, steered: self.contestant.steers() };
        let (settling, measured) = (turn(SETTLING), turn(REQUESTS));
        self.client.run(requests, settling).await?;
        let before = cpu::nanoseconds(self.envoy.id())?;
        self.client.run(requests, measured).await?;
        Ok(cpu::nanoseconds(self.envoy.id())? - before)
    }
}

/// One heat.
async fn measure(
    root: &Path,
    plan: &Plan,
    upstream: u16,
    progress: &Progress,
    samples: &mut Vec<Sample>,
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
                let envoy = contestant.start(root, world, upstream).await?;
                let client = Client::connect(envoy.port(15001), CONNECTIONS).await?;
                stands.push(Stand { contestant, services, envoy, client });
            }
        }
    }
    for round in 0..WARM_UP + plan.rounds {
        match round.checked_sub(WARM_UP) {
            None => progress.say(&format!("warming up, {} of {WARM_UP}", round + 1)),
            Some(round) => progress.say(&format!("round {} of {}", round + 1, plan.rounds)),
        }
        for (services, requests) in &asked {
            for pattern in Pattern::ALL {
                for contestant in order(round) {
                    let key = (contestant, contestant.services_of(*services));
                    let stand = stands.iter_mut().find(|stand| (stand.contestant, stand.services) == key);
                    let stand = stand.context("every contestant was started")?;
                    let nanoseconds = stand.turn(requests, pattern).await.with_context(|| contestant.name())?;
                    let question = Question { contestant, services: *services, pattern };
                    if round >= WARM_UP {
                        samples.push(Sample { question, nanoseconds });
                    }
                }
            }
        }
    }
    progress.end();
    Ok(())
}

/// Who comes after whom differs from round to round, so that nobody always follows the same.
fn order(round: usize) -> [Contestant; ALL.len()] {
    let mut order = ALL;
    order.rotate_left(round % ALL.len());
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// One line on stderr that tells how far it is.
struct Progress {
    heat: String,
    terminal: bool,
}

impl Progress {
    fn new(heat: String) -> Self {
        Self { heat, terminal: std::io::stderr().is_terminal() }
    }

    fn say(&self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{}, {what} ", self.heat);
        } else {
            eprintln!("{}, {what}", self.heat);
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
