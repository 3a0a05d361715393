//! Which processor all runs on, and the processor time of another process.

use std::fs;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Lets this thread, and the processes that it starts from now on, run on one processor alone. Envoy then waits while the
/// client and the upstream run, in place of running beside them on what may be the other half of the same core: measured
/// so, rounds differ a third as much.
///
/// Where several workers are measured it is not for them.
pub(super) fn stay_on_one() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    // The first ones have the most interrupts.
    let last = (0..CpuSet::MAX_CPU).rev().find(|processor| allowed.is_set(*processor));
    let mut one = CpuSet::new();
    one.set(last.context("there is no processor to run on")?);
    Ok(sched_setaffinity(None, &one)?)
}

/// What all threads of the process have run so far, in nanoseconds: the first number of each thread's `schedstat`, which
/// the kernel takes from its clock at every switch. `utime` and `stime` come in ticks of 10 ms.
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
