//! A real Envoy, and a client that never stops asking it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Connection, Envoy, EnvoyBuilder, RequestForm};
use tokio::runtime::Runtime;

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(10);
const LISTENER: u16 = 15001;

/// An Envoy under load. Pods of the namespace `shop` answer, whose names begin with the name that is asked for.
pub struct LoadedEnvoy {
    // Dropped before Envoy.
    load: Option<Load>,
    envoy: Envoy,
    runtime: Runtime,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The number of requests for each name, status and pod or reason.
    pub by_answer: BTreeMap<String, usize>,
    /// The number of all requests.
    pub requests: usize,
    /// The number of requests that no pod of the Service answered.
    pub failed: usize,
}

struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
    thread: JoinHandle<Result<()>>,
}

impl Answers {
    fn count(&mut self, name: &str, answer: &str) {
        self.requests += 1;
        self.failed += usize::from(!answer.starts_with(&format!("200 shop/{name}-")));
        *self.by_answer.entry(format!("{name}: {answer}")).or_default() += 1;
    }
}

impl LoadedEnvoy {
    /// Starts Envoy, and a client that asks for the names in turn.
    ///
    /// # Errors
    /// If Envoy does not start.
    pub fn start(builder: EnvoyBuilder, names: &[&'static str]) -> Result<Self> {
        let runtime = Runtime::new()?;
        let envoy = runtime.block_on(builder.start())?;
        let load = Load::start(envoy.port(LISTENER), names.to_vec());
        Ok(Self { load: Some(load), envoy, runtime })
    }

    /// What Envoy's admin interface answers.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn admin(&self, path: &str) -> Result<String> {
        Ok(self.runtime.block_on(self.envoy.admin(path))?.body)
    }

    /// A statistic of Envoy.
    ///
    /// # Errors
    /// If there is none.
    pub fn stat(&self, name: &str) -> Result<u64> {
        self.runtime.block_on(self.envoy.stat(name))
    }

    /// The status of one request for a name, and who answered.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub fn ask(&self, name: &str) -> Result<String> {
        self.runtime.block_on(ask(self.envoy.port(LISTENER), name))
    }

    /// The answers until now.
    #[must_use]
    pub fn answers(&self) -> Answers {
        self.load.as_ref().map(Load::answers).unwrap_or_default()
    }

    /// Ends the client. Returns all answers.
    ///
    /// # Errors
    /// If the client failed, or Envoy refused a configuration.
    pub fn stop(mut self) -> Result<Answers> {
        let load = self.load.take().context("it is stopped once")?;
        load.stop.store(true, Ordering::Relaxed);
        let answers = load.answers();
        load.thread.join().ok().context("the client panicked")??;
        let refused = self.runtime.block_on(self.envoy.stats("update_rejected"))?;
        ensure!(!refused.is_empty() && refused.values().all(|count| *count == 0), "Envoy refused updates: {refused:?}");
        Ok(answers)
    }
}

impl Load {
    fn start(port: u16, names: Vec<&'static str>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answers));
        let thread = thread::spawn(move || {
            Runtime::new()?.block_on(async {
                for name in names.iter().cycle() {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = ask(port, name).await?;
                    counted.lock().unwrap_or_else(PoisonError::into_inner).count(name, &answer);
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(())
            })
        });
        Self { stop, answers, thread }
    }

    fn answers(&self) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn ask(port: u16, name: &str) -> Result<String> {
    let reply = Connection::open(port, RequestForm::Host).await?.get(name, &[]).await?;
    let who = if reply.status == 200 { reply.said("pod") } else { reply.body.trim().to_owned() };
    Ok(format!("{} {who}", reply.status))
}
