//! The metrics of a running `byname`.

use anyhow::{Context, Result};

use crate::cluster::run;

/// The value of the metric `name` of the process that serves metrics on `address`.
pub(crate) fn metric(address: &str, name: &str) -> Result<f64> {
    let text = run("curl", &["-sf", "-m", "5", &format!("http://{address}/metrics")], None)?;
    let start = format!("{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&start));
    Ok(value.with_context(|| format!("no metric {name} in:\n{text}"))?.parse()?)
}
