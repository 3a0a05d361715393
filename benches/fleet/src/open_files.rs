//! The limit of open files: each stream is a socket here, and another one in a server.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files of a process besides its streams.
const OTHERS: u64 = 1_000;

/// Raises the limit of this process, and of those that it starts, to what so many streams need.
pub(crate) fn allow(streams: usize) -> Result<()> {
    let needed = streams as u64 + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: maximum.map(|maximum| maximum.max(needed)) };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        format!("{streams} streams need {needed} open files, and the limit cannot be raised; raise it with ulimit -Hn {needed}")
    })
}
