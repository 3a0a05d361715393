//! A sidecar with many listeners: its memory, the first and later uses of a name, and response times while a Service
//! changes. byname has its table in its configuration, or asks `byname serve` for the names that requests use.

mod changes;
mod memory;
mod names;
mod server;
mod sidecar;
mod started;
mod uses;

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::progress::Progress;
use changes::Changing;
use memory::{Listenings, NAMES};
pub(super) use sidecar::Sidecar;
pub(super) use started::set_listeners;
use uses::Uses;

/// The sidecars whose memory is measured. A pod uses some dozens of names, and seldom a thousand.
const ALL: &[Sidecar] = &[
    Sidecar::None,
    Sidecar::Native,
    Sidecar::Empty,
    Sidecar::Plain,
    Sidecar::Packed,
    FEW_USED,
    Sidecar::Stream { used: 1_000 },
];
const FEW_USED: Sidecar = Sidecar::Stream { used: 30 };
/// The sidecars under load.
const LOADED: &[Sidecar] = &[Sidecar::Native, Sidecar::Packed, Sidecar::Stream { used: 0 }];

/// The sidecars whose memory is measured with another number of listeners. Plain tables and Envoy's own routes would take most of the time.
const FEW: &[Sidecar] = &[Sidecar::None, Sidecar::Empty, Sidecar::Packed, FEW_USED];

/// The numbers of names, each with the sidecars whose memory is measured with it.
pub(super) type MemoryPlan = &'static [(usize, &'static [Sidecar])];

/// Once all sidecars.
pub(super) const ONCE: MemoryPlan = &[(NAMES, ALL)];
/// What the part measures when it runs alone, each time in this order. An object of Kubernetes holds 75,000 packed names.
pub(super) const ALONE: MemoryPlan = &[(NAMES, ALL), (30_000, &[Sidecar::Packed]), (75_000, &[Sidecar::Packed])];

/// The same with another number of listeners: memory alone.
pub(super) const MEMORY_ALONE: MemoryPlan = &[(NAMES, FEW)];

/// All that was measured.
#[derive(Default)]
pub(super) struct Listeners {
    memory: Listenings,
    uses: Vec<Uses>,
    changes: Vec<Changing>,
}

impl Listeners {
    /// Measures the memory of this plan, and then the sidecars under load.
    pub(super) async fn measure(&mut self, root: &Path, plan: MemoryPlan, upstream: u16) -> Result<()> {
        self.measure_memory(root, plan, upstream).await?;
        let progress = Progress::new("listeners");
        uses::run(root, LOADED, NAMES, upstream, &progress, &mut self.uses).await?;
        changes::run(root, LOADED, NAMES, &progress, &mut self.changes).await
    }

    /// Measures the memory of this plan alone.
    pub(super) async fn measure_memory(&mut self, root: &Path, plan: MemoryPlan, upstream: u16) -> Result<()> {
        let progress = Progress::new("listeners");
        for &(names, sidecars) in plan {
            memory::run(root, sidecars, names, upstream, &progress, &mut self.memory.0).await?;
        }
        Ok(())
    }

    pub(super) fn print(&self) {
        self.memory.print();
        uses::print(&self.uses);
        changes::print(&self.changes);
    }

    /// The main figures.
    pub(super) fn ratios(&self) -> [(&'static str, Option<[f64; 3]>); 4] {
        let ratio = |sidecar, other| self.memory.ratio(sidecar, other, NAMES, Sidecar::None);
        [
            ("packedVsPlain", ratio(Sidecar::Packed, Sidecar::Plain)),
            ("packedVsNative", ratio(Sidecar::Packed, Sidecar::Native)),
            ("streamVsPacked", ratio(FEW_USED, Sidecar::Packed)),
            ("changeWorstStallMs", changes::worst_stall(&self.changes)),
        ]
    }

    pub(super) fn json(&self) -> Value {
        let mut json = self.memory.json();
        json["firstUse"] = uses::json(&self.uses);
        json["changes"] = changes::json(&self.changes);
        json
    }
}
