//! The report of a run: tables on standard output, and a file.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    cost::Costs,
    fuel::{self, Fuel},
    instructions::Instructions,
    latency::{self, Latency},
    listeners::Listeners,
    micro::Micro,
    numbers::round,
    push::{self, Push},
    standing::Standings,
    traffic::Traffic,
};

/// The number of Services in the ratios.
const SERVICES: usize = 10_000;

/// The results of a run.
pub(super) struct Report {
    pub(super) is_quick: bool,
    /// The processors of the machine. Request measurements use one of them.
    pub(super) processors: usize,
    pub(super) costs: Costs,
    pub(super) latencies: Vec<Latency>,
    pub(super) standings: Standings,
    pub(super) pushes: Vec<Push>,
    pub(super) listeners: Listeners,
    pub(super) fuel: Vec<Fuel>,
    pub(super) instructions: Instructions,
    pub(super) micro: Micro,
    pub(super) module_bytes: u64,
    pub(super) seconds: f64,
}

impl Report {
    /// The main figures, with quartiles or bounds if they have some. A figure that was not measured is `None`.
    fn ratios(&self) -> Vec<(&'static str, Option<[f64; 3]>)> {
        let mut ratios = self.costs.ratios(Traffic::Other).to_vec();
        ratios.push(("memoryVsNative", self.standings.memory_vs_native(SERVICES).map(|ratio| [ratio; 3])));
        ratios.extend(self.listeners.ratios());
        ratios.extend([
            ("fullPushWorstStallMs", push::worst_stall(&self.pushes, SERVICES)),
            ("resolveNs", self.micro.hot()),
            ("resolveColdNs", self.micro.cold()),
            ("moduleBytes", Some([self.module_bytes as f64; 3])),
        ]);
        ratios
    }

    pub(super) fn print(&self) {
        self.costs.print();
        if !self.latencies.is_empty() {
            latency::print(&self.latencies);
        }
        self.standings.print();
        push::print(&self.pushes);
        self.listeners.print();
        fuel::print(&self.fuel);
        self.instructions.print();
        self.micro.print();
        println!("Ratios, of byname by cluster and {} where they are of a request:", Traffic::Other.name());
        for (name, ratio) in self.ratios() {
            match ratio {
                Some([low, ratio, high]) if low < high => {
                    println!("  {name:<22} {:<10} {} .. {}", round(ratio), round(low), round(high));
                }
                Some([_, ratio, _]) => println!("  {name:<22} {}", round(ratio)),
                None => println!("  {name:<22} not measured"),
            }
        }
        for left_out in self.left_out() {
            println!("Left out: {left_out}");
        }
        println!("It took {:.0} s.", self.seconds);
    }

    /// The measurements that this run left out.
    fn left_out(&self) -> Vec<&'static str> {
        let quick = [
            "1,000 Services, requests of one name and with a body, how long answers take, starts and memory of others than `none`, \
             `native` and `byname-endpoint`, pushes of `native` and `lua`, a sidecar with many listeners (memory, first use and a Service that changes), and most of the core's benchmarks: this was a quick run",
        ];
        quick.into_iter().filter(|_| self.is_quick).collect()
    }

    /// Writes all results.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let ratios = self.ratios();
        let by_name = |value: &dyn Fn([f64; 3]) -> Value| -> Value {
            let all = ratios.iter().map(|(name, ratio)| ((*name).to_owned(), ratio.map_or(Value::Null, value)));
            Value::Object(all.collect::<Map<_, _>>())
        };
        let report = json!({
            "ratios": by_name(&|[_, ratio, _]| json!(round(ratio))),
            "spreads": by_name(&|[low, _, high]| json!([round(low), round(high)])),
            "quick": self.is_quick,
            "leftOut": self.left_out(),
            "seconds": round(self.seconds),
            "processors": self.processors,
            "cpu": self.costs.json(),
            "latency": latency::json(&self.latencies),
            "standing": self.standings.json(),
            "pushes": push::json(&self.pushes),
            "listeners": self.listeners.json(),
            "fuel": fuel::json(&self.fuel),
            "instructions": self.instructions.json(),
            "core": self.micro.json(),
        });
        fs::write(path, format!("{report:#}\n"))?;
        println!("Every round is in {}.", path.display());
        Ok(())
    }
}
