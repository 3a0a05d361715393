//! Pushes and a dying upstream under load, for any time, reported as a table.

use std::time::Duration;

use anyhow::{Result, bail};
use byname_test_support::reliability::{self, ReliabilityReport};
use comfy_table::{ContentArrangement, Table, presets};

/// Runs for `seconds` with each number of workers.
pub(crate) async fn run(seconds: u64) -> Result<()> {
    let mut reports = Vec::new();
    for workers in [1, 2] {
        println!("{workers} workers: {seconds} seconds of load, a push every 100 ms, every fourth one bad");
        reports.push(reliability::run(workers, Duration::from_secs(seconds)).await?);
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        std::iter::once("workers".to_owned()).chain(reports.iter().map(|report| report.workers.to_string())),
    );
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let megabytes = |kilobytes: u64| format!("{:.0} MB", kilobytes as f64 / 1e3);
    type Cell<'a> = &'a dyn Fn(&ReliabilityReport) -> String;
    let rows: [(&str, Cell<'_>); 11] = [
        ("requests answered", &|report| report.requests.to_string()),
        ("failed, and no upstream's fault", &|report| report.failed.to_string()),
        ("503 while their upstream was down", &|report| report.caused_by_upstream.to_string()),
        ("connections that Envoy closed", &|report| report.closed.to_string()),
        ("good and bad pushes that were written", &|report| format!("{}, {}", report.pushes.0, report.pushes.1)),
        ("Envoy's config_reload", &|report| report.config_reload.to_string()),
        ("Envoy's update_rejected, config_fail", &|report| {
            format!("{}, {}", report.update_rejected, report.config_fail)
        }),
        ("times the upstream was killed", &|report| report.kills.to_string()),
        ("time of an answer: half, 99 of 100, all", &|report| {
            [0.5, 0.99, 1.0].map(|part| milliseconds(report.quantile(part))).join(", ")
        }),
        ("resident memory after a quarter of it", &|report| megabytes(report.resident.0)),
        ("resident memory at the end", &|report| megabytes(report.resident.1)),
    ];
    for (what, cell) in rows {
        table.add_row(std::iter::once(what.to_owned()).chain(reports.iter().map(cell)));
    }
    println!("{table}");
    let wrong: Vec<&str> = reports.iter().flat_map(|report| &report.failures).map(String::as_str).collect();
    if !wrong.is_empty() {
        bail!("requests failed without an upstream's fault:\n{}", wrong.join("\n"));
    }
    Ok(())
}
