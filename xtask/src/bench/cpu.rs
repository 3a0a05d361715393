//! The processor of the measurements, and the CPU time of another process.

use std::fs;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins this thread and the processes that it starts to one processor. Envoy then waits while the client and the
/// upstream run, instead of running beside them on what may be the same core. The spread between rounds falls to a
/// third.
///
/// Measurements with several workers must not use it.
pub(super) fn stay_on_one() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    // The first processors handle the most interrupts.
    let last = (0..CpuSet::MAX_CPU).rev().find(|processor| allowed.is_set(*processor));
    let mut one = CpuSet::new();
    one.set(last.context("there is no processor to run on")?);
    Ok(sched_setaffinity(None, &one)?)
}

/// The CPU time of all threads of the process in nanoseconds: the first number of each thread's `schedstat`, which the
/// kernel updates at every context switch. `utime` and `stime` have a resolution of only 10 ms.
pub(super) fn nanoseconds(process: u32) -> Result<u64> {
    let tasks = format!("/proc/{process}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}: is this Linux?"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: has the kernel CONFIG_SCHED_INFO?", path.display()))?;
        let ran = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        sum += ran.with_context(|| format!("{} holds no number", path.display()))?;
    }
    Ok(sum)
}
