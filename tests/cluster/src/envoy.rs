//! A real Envoy whose table `byname watch` keeps, and a client that never stops asking it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream, repository};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    part::{Part, eventually},
    watch::byname_program,
};

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(10);
const LISTENER: u16 = 15001;

/// Envoy with `envoy/endpoint.yaml`, steered by endpoint, in namespace `shop`.
pub struct WatchedEnvoy {
    // Dropped first to last: the client, Envoy, and the process that writes its table.
    load: Option<Load>,
    envoy: Envoy,
    _passthrough: TestUpstream,
    /// The `byname watch` that keeps the table.
    pub watch: Part,
    runtime: Runtime,
    _directory: TempDir,
}

struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
    thread: JoinHandle<Result<()>>,
}

impl WatchedEnvoy {
    /// Starts both, and a client that asks for `name` over and over.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(kubeconfig: &Path, name: &'static str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let live = directory.path().join("live");
        fs::create_dir(&live)?;
        let config = directory.path().join("byname.json");
        fs::write(&config, r#"{"version": 1, "steering": {"by": "endpoint"}}"#)?;
        let mut command = Command::new(byname_program()?);
        command
            .args(["watch", "--namespace", "shop", "--filter-name", "byname-endpoint", "--kubeconfig"])
            .arg(kubeconfig);
        command.arg("--config").arg(&config).arg("--module").arg(repository().join("target/byname.wasm"));
        command.arg("--output-file").arg(live.join("byname.yaml"));
        let watch = Part::spawn(command, "watch-of-envoy", directory.path())?;
        eventually("watch has written a table", || Ok(live.join("byname.yaml").exists()))
            .with_context(|| watch.tail())?;
        let runtime = Runtime::new()?;
        let live = live.display().to_string();
        let (envoy, passthrough) = runtime.block_on(async {
            let passthrough = TestUpstream::start("passthrough").await?;
            let envoy = Envoy::builder("endpoint.yaml")
                .upstream(18080, &passthrough)
                .edit("path: envoy/ecds/endpoint.yaml", &format!("path: {live}/byname.yaml"))
                .edit("watched_directory: {path: envoy/ecds}", &format!("watched_directory: {{path: {live}}}"))
                .start()
                .await?;
            anyhow::Ok((envoy, passthrough))
        })?;
        let load = Load::start(envoy.port(LISTENER), name);
        Ok(Self { load: Some(load), envoy, _passthrough: passthrough, watch, runtime, _directory: directory })
    }

    /// The answers until now, by status and pod.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, usize> {
        self.load.as_ref().map(Load::answers).unwrap_or_default()
    }

    /// Ends the client. Returns all answers, by status and pod.
    ///
    /// # Errors
    /// If the client failed, or Envoy refused a table.
    pub fn stop(mut self) -> Result<BTreeMap<String, usize>> {
        let load = self.load.take().context("it is stopped once")?;
        load.stop.store(true, Ordering::Relaxed);
        let answers = load.answers();
        load.thread.join().ok().context("the client panicked")??;
        let refused = "extension_config_discovery.http_filter.byname-endpoint.update_rejected";
        let refused = self.runtime.block_on(self.envoy.stat(refused))?;
        ensure!(refused == 0, "Envoy refused {refused} tables");
        Ok(answers)
    }
}

impl Load {
    fn start(port: u16, name: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = thread::spawn(move || {
            Runtime::new()?.block_on(async {
                while !stopped.load(Ordering::Relaxed) {
                    let reply = Connection::open(port, RequestForm::Host).await?.get(name, &[]).await?;
                    let who = if reply.status == 200 { reply.said("pod") } else { reply.body.trim().to_owned() };
                    let answer = format!("{} {who}", reply.status);
                    *counted.lock().unwrap_or_else(PoisonError::into_inner).entry(answer).or_default() += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(())
            })
        });
        Self { stop, answers, thread }
    }

    fn answers(&self) -> BTreeMap<String, usize> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
