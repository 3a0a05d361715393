//! A part of the cluster, as a process that ends with its value.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use byname_test_support::repository;

/// Longest wait for anything. A busy machine is slow; a test that hangs is worse.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error shows.
const TAIL: usize = 25;

/// A running process, and its log.
pub struct Part {
    name: String,
    child: Child,
    /// The parts of `tests/cluster` end when their standard input ends, so none outlives the test, however it ended.
    _stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Part {
    /// Starts a program that `make test-cluster` built into `target/cluster`. `name` names the log in `directory`.
    ///
    /// # Errors
    /// If the program is missing or does not start.
    pub fn start<S: AsRef<str>>(program: &str, name: &str, directory: &Path, arguments: &[S]) -> Result<Self> {
        let path = repository().join("target/cluster").join(program);
        ensure!(path.is_file(), "there is no {}; run `make test-cluster`, which builds it", path.display());
        let mut command = Command::new(path);
        command.args(arguments.iter().map(AsRef::as_ref));
        Self::spawn(command, name, directory)
    }

    /// Starts any command, with its output in a log in `directory`.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn spawn(mut command: Command, name: &str, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).current_dir(repository());
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, _stdin: stdin, log })
    }

    /// Waits until `is_ready`, and fails early if the process ends.
    ///
    /// # Errors
    /// If the process ends or is not ready in time, with the tail of its log.
    pub fn wait_until(&mut self, is_ready: impl Fn(&str) -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_ready(&self.log()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}):\n{}", self.name, self.tail());
            }
            ensure!(start.elapsed() < PATIENCE, "{} is not ready after {PATIENCE:?}:\n{}", self.name, self.tail());
            sleep(POLL);
        }
        Ok(())
    }

    /// Waits until the process has ended well.
    ///
    /// # Errors
    /// If it fails, with the tail of its log.
    pub fn wait_for_end(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "{} failed ({status}):\n{}", self.name, self.tail());
        Ok(())
    }

    /// Sends a signal by its name, such as `STOP`.
    ///
    /// # Errors
    /// If `kill` fails.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill -{signal} of {} failed", self.name);
        Ok(())
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The whole log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL)).fold(String::new(), |text, line| text + line + "\n")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until `is_so`.
///
/// # Errors
/// If it is not so in time.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let last = is_so();
        if matches!(last, Ok(true)) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            last.with_context(|| format!("not so after {PATIENCE:?}: {what}"))?;
            bail!("not so after {PATIENCE:?}: {what}");
        }
        sleep(POLL);
    }
}
