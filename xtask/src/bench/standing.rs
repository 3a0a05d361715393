//! The cost of a contestant in every pod: its start and its memory.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};

use super::{
    contestant::Contestant,
    cpu,
    load::{MAX_MESSAGE_BYTES, ask, body},
    numbers::{median, round, table},
    progress::Progress,
    setting::Setting,
    traffic::get,
    world::World,
};

/// The time limit for a start. `native` takes longest.
const PATIENCE: Duration = Duration::from_secs(120);
/// The interval of requests until the first response.
const POLL: Duration = Duration::from_millis(5);
/// The time before memory is read. Memory of the start is freed by then.
const SETTLING: Duration = Duration::from_secs(1);

/// One start.
pub(super) struct Standing {
    contestant: Contestant,
    services: usize,
    /// The time to the first response.
    start: Duration,
    /// The CPU time of Envoy until a second after it.
    cpu: Duration,
    resident_kilobytes: u64,
}

/// Starts each of `contestants` with each number of Services, one at a time.
pub(super) async fn run(
    root: &Path,
    contestants: &[Contestant],
    services: &[usize],
    upstream: u16,
    progress: &Progress,
    measured: &mut Vec<Standing>,
) -> Result<()> {
    for &services in services {
        for &contestant in contestants {
            progress.say(&format!("{} with {services} Services", contestant.name()));
            let one = once(root, contestant, services, upstream).await;
            measured.push(one.with_context(|| format!("{} with {services} Services", contestant.name()))?);
        }
    }
    Ok(())
}

async fn once(root: &Path, contestant: Contestant, services: usize, upstream: u16) -> Result<Standing> {
    let world = World { services };
    let envoy = contestant.envoy(root, world, upstream, Setting::Standing)?.spawn()?;
    let start = Instant::now();
    let first = world.names().into_iter().next().context("there is no name to ask for")?;
    let expected = if contestant.rewrites() { &first.canonical } else { &first.asked };
    let start = loop {
        let last = match answer(envoy.port(15001), &first.asked, expected.len()).await {
            Ok(answer) if body(&answer) == Some(expected.as_bytes()) => break start.elapsed(),
            // Envoy does not listen yet, or its routes are not loaded.
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() > PATIENCE {
            bail!("no first answer after {} s, the last one: {last}\n{}", PATIENCE.as_secs(), envoy.log());
        }
        sleep(POLL).await;
    };
    sleep(SETTLING).await;
    let cpu = Duration::from_nanos(cpu::nanoseconds(envoy.id())?);
    Ok(Standing { contestant, services, start, cpu, resident_kilobytes: envoy.resident_kilobytes()? })
}

pub(super) async fn answer(port: u16, host: &str, body: usize) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let answer =
        tokio::time::timeout(Duration::from_secs(1), ask(&mut stream, &mut buffer, &get(host), body)).await??;
    Ok(answer.to_vec())
}

/// The starts of a run.
pub(super) struct Standings(pub(super) Vec<Standing>);

impl Standings {
    /// Each contestant with each number of Services.
    fn rows(&self) -> Vec<(usize, Contestant)> {
        let mut rows: Vec<_> = self.0.iter().map(|one| (one.services, one.contestant)).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn of(&self, contestant: Contestant, services: usize) -> impl Iterator<Item = &Standing> {
        self.0.iter().filter(move |one| (one.contestant, one.services) == (contestant, services))
    }

    fn megabytes(&self, contestant: Contestant, services: usize) -> f64 {
        median(self.of(contestant, services).map(|one| one.resident_kilobytes as f64 / 1e3))
    }

    fn added(&self, contestant: Contestant, services: usize) -> f64 {
        self.megabytes(contestant, services) - self.megabytes(Contestant::None, services)
    }

    fn cpu_seconds(&self, contestant: Contestant, services: usize) -> f64 {
        median(self.of(contestant, services).map(|one| one.cpu.as_secs_f64()))
    }

    /// Prints what a start of byname takes, divided by what a filter that does nothing takes in the same round.
    pub(super) fn print_ratios(&self, services: usize) {
        let ratio = |of: fn(&Standing) -> Duration| {
            let pairs = self.of(Contestant::Cluster, services).zip(self.of(Contestant::Noop, services));
            median(pairs.map(|(byname, noop)| of(byname).as_secs_f64() / of(noop).as_secs_f64()))
        };
        println!("byname-cluster ÷ noop: first answer {:.2}, CPU {:.2}", ratio(|one| one.start), ratio(|one| one.cpu));
    }

    /// The memory that steering by endpoint adds to Envoy, divided by the memory that native routes and clusters add.
    pub(super) fn memory_vs_native(&self, services: usize) -> Option<f64> {
        let ratio = self.added(Contestant::Endpoint, services) / self.added(Contestant::Native, services);
        ratio.is_finite().then_some(ratio)
    }

    pub(super) fn print(&self) {
        let mut table = table(["Services", "contestant", "first answer after", "CPU", "resident", "added"], &[1]);
        for (services, contestant) in self.rows() {
            let start = median(self.of(contestant, services).map(|one| one.start.as_secs_f64()));
            let added = self.added(contestant, services);
            table.add_row([
                services.to_string(),
                contestant.name().to_owned(),
                format!("{start:.2} s"),
                format!("{:.2} s", self.cpu_seconds(contestant, services)),
                format!("{:.0} MB", self.megabytes(contestant, services)),
                if contestant == Contestant::None { String::new() } else { format!("{added:.0} MB") },
            ]);
        }
        println!("Starting, with two workers: medians of all starts. Resident memory a second after the first answer.");
        println!("{table}\n");
    }

    pub(super) fn json(&self) -> Value {
        let result = |(services, contestant): (usize, Contestant)| {
            let seconds = self.of(contestant, services).map(|one| round(one.start.as_secs_f64()));
            let resident = self.of(contestant, services).map(|one| one.resident_kilobytes);
            json!({
                "contestant": contestant.name(),
                "services": services,
                "firstAnswerSeconds": seconds.collect::<Vec<_>>(),
                "cpuSeconds": self.of(contestant, services).map(|one| round(one.cpu.as_secs_f64())).collect::<Vec<_>>(),
                "residentKilobytes": resident.collect::<Vec<_>>(),
                "addedMegabytes": round(self.added(contestant, services)),
            })
        };
        json!({"workers": 2, "results": self.rows().into_iter().map(result).collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_memory_is_compared() {
        let one = |contestant, resident_kilobytes| Standing {
            contestant,
            services: 10_000,
            start: Duration::ZERO,
            cpu: Duration::ZERO,
            resident_kilobytes,
        };
        let mut all = Standings(vec![one(Contestant::None, 50_000), one(Contestant::Native, 850_000)]);
        assert_eq!(all.memory_vs_native(10_000), None, "steering by endpoint was not measured");
        all.0.push(one(Contestant::Endpoint, 150_000));
        assert_eq!(all.memory_vs_native(10_000), Some(0.125));
    }
}
