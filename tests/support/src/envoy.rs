//! A real Envoy, run from one of the bootstraps in `envoy/` with only its ports changed.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    client::{Connection, Reply, RequestForm},
    ports,
    push::EcdsFile,
    upstream::TestUpstream,
};

/// The time limit for Envoy's start and for a push. Generous, because the machine may be slow and busy.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The port of the admin interface in every bootstrap.
const ADMIN: u16 = 9901;

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path of Envoy: the value of `ENVOY`, or the Envoy that `make envoy` installs.
///
/// # Errors
/// If there is no Envoy. A missing Envoy is an error, because skipped tests look like passing tests.
pub fn envoy_binary() -> Result<PathBuf> {
    let (binary, advice) = match env::var_os("ENVOY") {
        Some(path) => (PathBuf::from(path), "ENVOY names it"),
        None => (repository().join("target/envoy/envoy"), "run `make envoy`, or set ENVOY=/path/to/envoy"),
    };
    if !binary.is_file() {
        bail!("there is no Envoy at {}: {advice}", binary.display());
    }
    Ok(binary)
}

/// The shipped module.
///
/// # Errors
/// If the module is not built.
pub fn module() -> Result<Vec<u8>> {
    let path = module_path()?;
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn module_path() -> Result<PathBuf> {
    let path = repository().join("target/byname.wasm");
    if !path.is_file() {
        bail!("there is no module at {}: run `make build`", path.display());
    }
    Ok(path)
}

/// An Envoy that has not been started.
pub struct EnvoyBuilder {
    directory: PathBuf,
    bootstrap: String,
    ports: BTreeMap<u16, u16>,
    concurrency: u32,
    edits: Vec<(String, String)>,
}

impl EnvoyBuilder {
    /// Takes the bootstrap and the ECDS files from this directory of the repository. The default is `envoy`.
    #[must_use]
    pub fn directory(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Puts `upstream` in place of this port of the bootstrap.
    #[must_use]
    pub fn upstream(self, port: u16, upstream: &TestUpstream) -> Self {
        self.port(port, upstream.port())
    }

    /// Puts a port that something listens on in place of this port of the bootstrap.
    #[must_use]
    pub fn port(mut self, port: u16, instead: u16) -> Self {
        self.ports.insert(port, instead);
        self
    }

    /// Sets the number of workers. The default is 2.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Replaces `from` with `to` in the bootstrap and the files beside it. One of the files must contain `from`.
    #[must_use]
    pub fn edit(mut self, from: &str, to: &str) -> Self {
        self.edits.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Lets the filter of `envoy/endpoint.yaml` follow the file `byname.yaml` of this directory.
    #[must_use]
    pub fn following(self, directory: &Path) -> Self {
        let directory = directory.display();
        self.edit("path: envoy/ecds/endpoint.yaml", &format!("path: {directory}/byname.yaml"))
            .edit("watched_directory: {path: envoy/ecds}", &format!("watched_directory: {{path: {directory}}}"))
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Errors
    /// If Envoy or the module is missing, or if Envoy does not become ready. The error has the end of Envoy's log.
    pub async fn start(self) -> Result<Envoy> {
        let mut envoy = self.spawn()?;
        envoy.wait_until_ready().await?;
        Ok(envoy)
    }

    /// Starts Envoy without waiting.
    ///
    /// # Errors
    /// If Envoy or the module is missing.
    pub fn spawn(self) -> Result<Envoy> {
        let binary = envoy_binary()?;
        let module = module_path()?;
        let directory = tempfile::Builder::new().prefix("byname-envoy-").tempdir()?;
        let here = directory.path().display().to_string();
        let mut applied = vec![false; self.edits.len()];
        let mut localized = |path: &Path| -> Result<String> {
            let mut text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            for ((from, to), applied) in self.edits.iter().zip(&mut applied) {
                *applied |= text.contains(from);
                text = text.replace(from, to);
            }
            text = text.replace("target/byname.wasm", &module.display().to_string());
            Ok(text.replace("envoy/ecds", &format!("{here}/ecds")))
        };
        let files = repository().join(&self.directory);
        let mut ports = self.ports;
        let bootstrap = directory.path().join("bootstrap.yaml");
        fs::write(&bootstrap, ports::exchange(&localized(&files.join(&self.bootstrap))?, &mut ports)?)?;
        fs::create_dir(directory.path().join("ecds"))?;
        for entry in fs::read_dir(files.join("ecds"))? {
            let entry = entry?;
            fs::write(directory.path().join("ecds").join(entry.file_name()), localized(&entry.path())?)?;
        }
        if let Some(((from, _), _)) = self.edits.iter().zip(&applied).find(|(_, applied)| !**applied) {
            bail!("neither {} nor a file beside it holds {from:?}", files.join(&self.bootstrap).display());
        }
        let log = directory.path().join("envoy.log");
        let child = Command::new(binary)
            .arg("--config-path")
            .arg(&bootstrap)
            .args(["--concurrency", &self.concurrency.to_string()])
            .args(["--use-dynamic-base-id", "--drain-time-s", "1", "--log-level", "info", "--log-path"])
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::from(fs::File::create(directory.path().join("stdout.log"))?))
            .stderr(Stdio::from(fs::File::create(directory.path().join("stderr.log"))?))
            .spawn()
            .context("Envoy cannot be started")?;
        Ok(Envoy { child, ports, directory })
    }
}

/// An Envoy that runs until it is dropped.
pub struct Envoy {
    child: Child,
    ports: BTreeMap<u16, u16>,
    directory: TempDir,
}

impl Envoy {
    /// A builder with the bootstrap `envoy/NAME`.
    #[must_use]
    pub fn builder(bootstrap: &str) -> EnvoyBuilder {
        EnvoyBuilder {
            directory: "envoy".into(),
            bootstrap: bootstrap.to_owned(),
            ports: BTreeMap::new(),
            concurrency: 2,
            edits: Vec::new(),
        }
    }

    /// The free port in place of a port of the bootstrap.
    ///
    /// # Panics
    /// If the bootstrap has no such port.
    #[must_use]
    pub fn port(&self, port: u16) -> u16 {
        self.ports.get(&port).copied().unwrap_or_else(|| panic!("the bootstrap has no port {port}"))
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The log so far, with the access log on standard output.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        read("envoy.log") + &read("stderr.log") + &read("stdout.log")
    }

    /// Waits until the log has a line that contains `text`. Envoy writes its log with a delay.
    ///
    /// # Errors
    /// If no such line appears in time.
    pub async fn wait_for_log(&self, text: &str) -> Result<()> {
        let start = Instant::now();
        while !self.log().contains(text) {
            if start.elapsed() > Duration::from_secs(15) {
                bail!("the log does not hold {text:?};{}", self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Requests a path of the admin interface.
    ///
    /// # Errors
    /// If the admin interface does not answer.
    pub async fn admin(&self, path: &str) -> Result<Reply> {
        Connection::open(self.port(ADMIN), RequestForm::Host).await?.get_path("admin", path, &[]).await
    }

    /// The statistics whose names contain `part`, by name.
    ///
    /// # Errors
    /// If the admin interface does not answer.
    pub async fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.admin("/stats").await?.body;
        let wanted = text.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| name.contains(part));
        Ok(wanted.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// One statistic; 0 if Envoy has no statistic of that name yet.
    ///
    /// # Errors
    /// If the admin interface does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(name).await?.get(name).copied().unwrap_or_default())
    }

    /// The count of each reason.
    ///
    /// # Errors
    /// If the admin interface does not answer.
    pub async fn reasons(&self) -> Result<BTreeMap<String, u64>> {
        const PREFIX: &str = "wasmcustom.byname.reason.";
        let stats = self.stats(PREFIX).await?;
        Ok(stats.into_iter().filter_map(|(name, count)| Some((name.strip_prefix(PREFIX)?.to_owned(), count))).collect())
    }

    /// The configuration of a filter in the file `envoy/ecds/NAME.yaml`.
    ///
    /// # Errors
    /// If the file is no ECDS file.
    pub fn filter(&self, name: &str) -> Result<EcdsFile> {
        EcdsFile::read(&self.directory.path().join(format!("ecds/{name}.yaml")))
    }

    /// Pushes a filter's configuration: replaces the file in one step, which Envoy sees as a change of its directory.
    /// Waits until `statistic` of the filter's discovery rises: `config_reload` or `update_rejected`.
    ///
    /// # Errors
    /// If the statistic does not rise in time.
    pub async fn push(&self, name: &str, filter: &EcdsFile, statistic: &str) -> Result<()> {
        self.push_text(name, &filter.to_string(), statistic).await
    }

    /// [`Envoy::push`] with the whole text of the file.
    ///
    /// # Errors
    /// If the statistic does not rise in time.
    pub async fn push_text(&self, name: &str, text: &str, statistic: &str) -> Result<()> {
        let statistic = format!("extension_config_discovery.http_filter.byname-{name}.{statistic}");
        let before = self.stat(&statistic).await?;
        self.write_push(name, text)?;
        let start = Instant::now();
        while self.stat(&statistic).await? == before {
            if start.elapsed() > PATIENCE {
                bail!("{statistic} did not rise after a push;{}", self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Replaces the file of a filter's configuration in one step, without waiting for the effect.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_push(&self, name: &str, text: &str) -> Result<()> {
        let next = self.directory.path().join(format!("{name}.next"));
        fs::write(&next, text)?;
        fs::rename(&next, self.directory.path().join(format!("ecds/{name}.yaml")))?;
        Ok(())
    }

    /// The resident memory in kB.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn resident_kilobytes(&self) -> Result<u64> {
        self.kilobytes("VmRSS")
    }

    /// The most memory that was ever resident, in kB.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn peak_kilobytes(&self) -> Result<u64> {
        self.kilobytes("VmHWM")
    }

    fn kilobytes(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB").parse()?)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(reply) = self.admin("/ready").await
                && reply.status == 200
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("Envoy ended while it started ({status});{}", self.tail());
            }
            if start.elapsed() > PATIENCE {
                bail!("Envoy was not ready after {} s;{}", PATIENCE.as_secs(), self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until Envoy exits by itself, and returns its status.
    ///
    /// # Errors
    /// If Envoy does not exit.
    pub async fn wait_until_ended(&mut self) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            if start.elapsed() > PATIENCE {
                bail!("Envoy still runs after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("][info]")).collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
        let cut: Vec<String> = tail.iter().map(|line| line.chars().take(600).collect()).collect();
        format!(" the end of its log:\n{}", cut.join("\n"))
    }
}

impl Envoy {
    /// Stops Envoy by its process id, first with SIGTERM. The log is whole then.
    pub fn stop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let start = Instant::now();
        while asked.as_ref().is_ok_and(|status| status.success()) && start.elapsed() < Duration::from_secs(3) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.stop();
    }
}
