//! The filter's own streams: two of each sidecar, one for each worker of its Envoy.

use anyhow::Result;
use tokio::time::sleep;

use crate::{
    dialect::Dialect,
    fleet::SETTLED,
    process::memory,
    report::Measured,
    setting::{Cost, Setting},
};

/// Measures streams that open, and endpoints that change. `of_change` is the CPU for a change that nobody is told of, in seconds.
pub(crate) async fn measure(setting: &mut Setting<'_>, of_change: f64) -> Result<()> {
    let server = setting.server(&[]).await?;
    sleep(SETTLED).await;
    let fleet = setting.connect(Dialect::Filter, &server).await?;
    let cost = Cost { of_change, idle: setting.idle(&server).await? };
    setting.churn(&fleet, &server, None, setting.plan.churn_of_filter, cost).await?;
    let highest = Measured::Bytes(memory(server.id(), "VmHWM")? as f64);
    setting.report.add("memory of the server, highest until here", "1 GB", &[highest]);
    Ok(())
}
