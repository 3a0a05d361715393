//! All that one run measured: tables to read, and a file.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    cost::Costs,
    fuel::{self, Fuel},
    latency::{self, Latency},
    micro::Micro,
    numbers::round,
    push::{self, Push},
    standing::Standings,
    traffic::Traffic,
};

/// How many Services ratios are of.
const SERVICES: usize = 10_000;

/// A run.
pub(super) struct Report {
    pub(super) is_quick: bool,
    /// Of which all share one while requests are measured.
    pub(super) processors: usize,
    pub(super) costs: Costs,
    pub(super) latencies: Vec<Latency>,
    pub(super) standings: Standings,
    pub(super) pushes: Vec<Push>,
    pub(super) fuel: Vec<Fuel>,
    pub(super) micro: Micro,
    pub(super) module_bytes: u64,
    pub(super) seconds: f64,
}

impl Report {
    /// What one would look at first, between its quartiles or bounds where it has some. All are there; one that could not be
    /// measured is null.
    fn ratios(&self) -> Vec<(&'static str, Option<[f64; 3]>)> {
        let mut ratios = self.costs.ratios(Traffic::Other).to_vec();
        ratios.extend([
            ("memoryVsNative", self.standings.memory_vs_native(SERVICES).map(|ratio| [ratio; 3])),
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
        fuel::print(&self.fuel);
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

    /// What was not measured, and why.
    fn left_out(&self) -> Vec<&'static str> {
        let quick = [
            "1,000 Services, requests of one name and with a body, how long answers take, starts and memory of others than `none`, \
             `native` and `byname-endpoint`, pushes of `native` and `lua`, and most of the core's benchmarks: this was a quick run",
        ];
        quick.into_iter().filter(|_| self.is_quick).collect()
    }

    /// Writes all there is.
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
            "fuel": fuel::json(&self.fuel),
            "core": self.micro.json(),
        });
        fs::write(path, format!("{report:#}\n"))?;
        println!("Every round is in {}.", path.display());
        Ok(())
    }
}
