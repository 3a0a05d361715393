//! The memory of a sidecar with many listeners.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    super::{
        load::{Client, Turn},
        numbers::{median, quartiles, round, table},
        progress::Progress,
        push::ensure_workers_share,
        setting::Setting,
        traffic::Traffic,
    },
    names::Names,
    sidecar::{Content, Sidecar},
    started::{Started, listeners},
};

const PUSHES: usize = 10;
/// Enough connections for each worker to get some.
const CONNECTIONS: usize = 16;
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after each push in which all workers take it, and the time before memory is read.
const CALM: Duration = Duration::from_millis(300);
const SETTLING: Duration = Duration::from_secs(2);

/// One sidecar after its pushes.
pub(super) struct Listening {
    sidecar: Sidecar,
    names: usize,
    /// The size of a pushed file.
    bytes: usize,
    resident_kilobytes: u64,
    /// The most that was ever resident.
    peak_kilobytes: u64,
}

/// Starts each of `sidecars` with this number of names, one at a time, and pushes to it.
pub(super) async fn run(
    root: &Path,
    sidecars: &[Sidecar],
    names: usize,
    upstream: u16,
    progress: &Progress,
    measured: &mut Vec<Listening>,
) -> Result<()> {
    let names = Names::new(names);
    for &sidecar in sidecars {
        progress.say(&format!("{} with {} names", sidecar.name(), names.services.len()));
        measured.push(once(root, sidecar, &names, upstream).await?);
    }
    Ok(())
}

async fn once(root: &Path, sidecar: Sidecar, names: &Names, upstream: u16) -> Result<Listening> {
    let content = Content::new(sidecar, names);
    let mut bytes = content.text(root, 0)?.len();
    let started = Started::start(root, &content, names, Setting::Standing.workers(), upstream).await?;
    let pushes = if sidecar == Sidecar::None { 0 } else { PUSHES };
    for version in 1..=pushes {
        bytes = started.push(&content.text(root, version)?)?;
        let start = Instant::now();
        while !sidecar.has_taken(&started.envoy, version).await? {
            if start.elapsed() > PATIENCE {
                bail!("{} has not taken push {version}:\n{}", sidecar.name(), started.log());
            }
            sleep(POLL).await;
        }
        sleep(CALM).await;
    }
    let used = match sidecar {
        Sidecar::Empty => 0,
        Sidecar::Stream { used } => used,
        _ => 1,
    };
    use_names(&started, sidecar, names, used).await?;
    sleep(SETTLING).await;
    Ok(Listening {
        sidecar,
        names: names.services.len(),
        bytes,
        resident_kilobytes: started.envoy.resident_kilobytes()?,
        peak_kilobytes: started.envoy.peak_kilobytes()?,
    })
}

/// Asks for the first names over each of several connections, so that both workers use all of them.
async fn use_names(started: &Started, sidecar: Sidecar, names: &Names, used: usize) -> Result<()> {
    let turn = Turn { requests: used, traffic: Traffic::Other, rewritten: sidecar.rewrites(), pace: None };
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(started.port(), 1).await?;
        let requests = Arc::new(names.requests(0, used));
        client.run(&requests, turn).await.with_context(|| started.log())?;
        clients.push(client);
    }
    if used > 1 {
        ensure_workers_share(&started.envoy).await?;
    }
    started.ensure_answered().await
}

/// The sidecars of a run.
#[derive(Default)]
pub(super) struct Listenings(pub(super) Vec<Listening>);

impl Listenings {
    fn of(&self, sidecar: Sidecar, names: usize) -> impl Iterator<Item = &Listening> {
        self.0.iter().filter(move |one| (one.sidecar, one.names) == (sidecar, names))
    }

    /// Each number of names with each sidecar.
    fn rows(&self) -> Vec<(usize, Sidecar)> {
        let mut rows: Vec<_> = self.0.iter().map(|one| (one.names, one.sidecar)).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// What this sidecar adds to `none`, in MB, in each round. `none` and `empty` do not depend on the number of names.
    fn added(&self, sidecar: Sidecar, names: usize, to: Sidecar) -> Vec<f64> {
        let base = median(self.0.iter().filter(|one| one.sidecar == to).map(resident));
        self.of(sidecar, names).map(|one| resident(one) - base).collect()
    }

    /// What `sidecar` adds to `base`, divided by what `other` adds, in each round, with its quartiles.
    pub(super) fn ratio(&self, sidecar: Sidecar, other: Sidecar, names: usize, base: Sidecar) -> Option<[f64; 3]> {
        let added = self.added(sidecar, names, base);
        let ratios = added.into_iter().zip(self.added(other, names, base)).map(|(added, other)| added / other);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        (!ratios.is_empty()).then(|| quartiles(ratios))
    }

    pub(super) fn print(&self) {
        if self.0.is_empty() {
            return;
        }
        let headings = ["names", "sidecar", "a push", "resident", "spread", "most", "added", "by the table"];
        let mut table = table(headings, &[1]);
        for (names, sidecar) in self.rows() {
            let [low, middle, high] = quartiles(self.of(sidecar, names).map(resident).collect());
            let most = median(self.of(sidecar, names).map(|one| one.peak_kilobytes as f64 / 1e3));
            let bytes = self.of(sidecar, names).map(|one| one.bytes).max().unwrap_or_default();
            let added = |to| format!("{:.0} MB", median(self.added(sidecar, names, to)));
            table.add_row([
                names.to_string(),
                sidecar.name(),
                if bytes == 0 { String::new() } else { format!("{} kB", bytes / 1_000) },
                format!("{middle:.0} MB"),
                format!("{low:.0} .. {high:.0}"),
                format!("{most:.0} MB"),
                if sidecar == Sidecar::None { String::new() } else { added(Sidecar::None) },
                if sidecar < Sidecar::Plain { String::new() } else { added(Sidecar::Empty) },
            ]);
        }
        println!("Memory of a sidecar with {} listeners and two workers after {PUSHES} pushes:", listeners());
        println!("medians and quartiles of all starts.");
        println!("{table}\n");
        if self.of(Sidecar::Plain, NAMES).next().is_none() {
            return;
        }
        let ratio =
            |other, base| self.ratio(Sidecar::Packed, other, NAMES, base).map_or(f64::NAN, |[_, ratio, _]| ratio);
        println!(
            "Packed ÷ plain: {:.2} with the module, {:.2} the table alone. Packed ÷ native: {:.2}, {:.2} without the module.\n",
            ratio(Sidecar::Plain, Sidecar::None),
            ratio(Sidecar::Plain, Sidecar::Empty),
            ratio(Sidecar::Native, Sidecar::None),
            self.table_vs_native(),
        );
    }

    /// What the packed table adds to the module, divided by what the routes add.
    fn table_vs_native(&self) -> f64 {
        let of = |sidecar, base| median(self.added(sidecar, NAMES, base));
        of(Sidecar::Packed, Sidecar::Empty) / of(Sidecar::Native, Sidecar::None)
    }

    pub(super) fn json(&self) -> Value {
        let result = |(names, sidecar): (usize, Sidecar)| {
            let all = |field: fn(&Listening) -> u64| self.of(sidecar, names).map(field).collect::<Vec<_>>();
            json!({
                "sidecar": sidecar.name(),
                "names": names,
                "bytes": self.of(sidecar, names).map(|one| one.bytes).max(),
                "residentKilobytes": all(|one| one.resident_kilobytes),
                "peakKilobytes": all(|one| one.peak_kilobytes),
                "addedMegabytes": round(median(self.added(sidecar, names, Sidecar::None))),
                "addedByTheTableMegabytes": round(median(self.added(sidecar, names, Sidecar::Empty))),
            })
        };
        json!({
            "workers": 2,
            "listeners": listeners(),
            "pushes": PUSHES,
            "results": self.rows().into_iter().map(result).collect::<Vec<_>>(),
        })
    }
}

/// The number of names in the ratios.
pub(super) const NAMES: usize = 10_000;

fn resident(one: &Listening) -> f64 {
    one.resident_kilobytes as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_what_sidecars_add() {
        let one = |sidecar, resident_kilobytes| Listening {
            sidecar,
            names: NAMES,
            bytes: 1,
            resident_kilobytes,
            peak_kilobytes: 0,
        };
        let mut all = Listenings(vec![one(Sidecar::None, 50_000), one(Sidecar::Packed, 90_000)]);
        assert_eq!(
            all.ratio(Sidecar::Packed, Sidecar::Plain, NAMES, Sidecar::None),
            None,
            "the plain table was not measured"
        );
        all.0.extend([one(Sidecar::Empty, 70_000), one(Sidecar::Plain, 250_000)]);
        assert_eq!(all.ratio(Sidecar::Packed, Sidecar::Plain, NAMES, Sidecar::None), Some([0.2; 3]));
        assert_eq!(all.ratio(Sidecar::Packed, Sidecar::Plain, NAMES, Sidecar::Empty), Some([20.0 / 180.0; 3]));
    }
}
