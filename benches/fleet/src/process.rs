//! The CPU time and the memory of a process.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

/// The CPU time of all threads of a process: the first number of each thread's `schedstat`.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// A field of a process's `status` in bytes: `VmRSS`, or `VmHWM`, its highest value.
pub(crate) fn memory(process: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes: u64 = line.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1_024)
}

/// Measures the cores that a process uses in a time in which nothing changes.
pub(crate) async fn idle_cores(process: u32, time: Duration) -> Result<f64> {
    let (before, start) = (cpu_time(process)?, Instant::now());
    sleep(time).await;
    Ok((cpu_time(process)? - before).as_secs_f64() / start.elapsed().as_secs_f64())
}
