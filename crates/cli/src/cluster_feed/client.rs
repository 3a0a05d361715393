//! The client of the API, built anew when the files that it was built from change, as when a certificate is rotated.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use kube::{Client, Config};
use tokio::time::{Instant, sleep};

use super::recovery::Recovery;
use crate::{
    daemon::log,
    kube_api::{ApiAccess, build, config},
};

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(10);
/// Time between two looks at the files while requests fail.
const LOOK_FAILING: Duration = Duration::from_secs(1);

/// Builds and keeps the client.
pub(super) struct Clients {
    access: ApiAccess,
    recovery: Recovery,
    state: Mutex<State>,
    pub(super) url: String,
}

struct State {
    client: Client,
    /// Hash of all that the client was built from.
    built_from: u64,
    looked_at: Instant,
    trouble: Option<String>,
}

impl Clients {
    pub(super) async fn new(access: ApiAccess, recovery: Recovery) -> anyhow::Result<Self> {
        let config = config(&access).await?;
        let url = config.cluster_url.to_string();
        let built_from = fingerprint(&config)?;
        let client = build(config)?;
        let state = State { client, built_from, looked_at: Instant::now(), trouble: None };
        Ok(Self { access, recovery, state: Mutex::new(state), url })
    }

    pub(super) fn current(&self) -> Client {
        self.state().client.clone()
    }

    /// Looks at the files now and then.
    pub(super) async fn watch_files(&self) {
        loop {
            sleep(LOOK).await;
            self.refresh().await;
        }
    }

    /// Builds the client anew if the files changed. Files that cannot be used leave the client as it is.
    pub(super) async fn refresh(&self) {
        {
            let mut state = self.state();
            if state.looked_at.elapsed() < LOOK_FAILING {
                return;
            }
            state.looked_at = Instant::now();
        }
        let built = self.rebuild().await;
        let mut state = self.state();
        match built {
            Ok(None) => state.trouble = None,
            Ok(Some((client, built_from))) => {
                (state.client, state.built_from, state.trouble) = (client, built_from, None);
                log::note("the files of the kubeconfig or service account changed: connecting with the new ones");
                self.recovery.wake();
            }
            Err(error) => {
                let text = format!("{error:#}");
                if state.trouble.as_ref() != Some(&text) {
                    log::warn(&format!("{text}; the client goes on with what it read before"));
                    state.trouble = Some(text);
                }
            }
        }
    }

    async fn rebuild(&self) -> anyhow::Result<Option<(Client, u64)>> {
        let config = config(&self.access).await?;
        let built_from = fingerprint(&config)?;
        if built_from == self.state().built_from {
            return Ok(None);
        }
        Ok(Some((build(config)?, built_from)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash of all that a client is built from.
fn fingerprint(config: &Config) -> anyhow::Result<u64> {
    let auth = &config.auth_info;
    let mut hasher = DefaultHasher::new();
    (config.cluster_url.to_string(), &config.root_cert, &config.tls_server_name).hash(&mut hasher);
    serde_json::to_vec(auth).context("the kubeconfig's user cannot be read")?.hash(&mut hasher);
    if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        bail!("the kubeconfig's certificate authority has no certificate; use a PEM file with at least one");
    }
    for file in [&auth.client_certificate, &auth.client_key].into_iter().flatten() {
        let content = fs::read(file).with_context(|| format!("{file}: cannot be read"))?;
        content.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
