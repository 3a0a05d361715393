//! The metrics of a running `byname`.

use anyhow::{Context, Result};

use crate::cluster::run;

/// The value of the metric `name` of the process that serves metrics on `address`.
pub(crate) fn metric(address: &str, name: &str) -> Result<f64> {
    let text = run("curl", &["-sf", "-m", "5", &format!("http://{address}/metrics")], None)?;
    value_of(&text, name).with_context(|| format!("no metric {name} in:\n{text}"))
}

/// The value of the metric `name` in the text of all.
pub(crate) fn value_of(text: &str, name: &str) -> Option<f64> {
    let start = format!("{name} ");
    text.lines().find_map(|line| line.strip_prefix(&start))?.parse().ok()
}
