//! The cluster and the user, from a kubeconfig or from the service account of the pod that byname runs in.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{limit::RateLimitLayer, timeout::TimeoutLayer};

use super::{kubeconfig, request::HEADERS};
use crate::output::some;

/// Connect timeout.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum requests a second. An ended watch begins anew at once, and a proxy may end every watch at once.
const REQUESTS: u64 = 50;

/// The cluster and the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiAccess {
    /// The kubeconfig. Default: the one that kubectl uses, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: the current context.
    pub context: Option<String>,
    /// How the command does without an API, for the error where none is configured: `read files with -f`. `None` if it cannot.
    pub instead: Option<&'static str>,
}

impl ApiAccess {
    /// The cluster as people call it: by its context, if the kubeconfig has one.
    pub(crate) fn called(&self) -> String {
        let current = || self.read().ok().and_then(|kubeconfig| kubeconfig.current_context);
        match self.context.clone().or_else(current).filter(|context| !context.is_empty()) {
            Some(context) => format!("context {context}"),
            None => "the cluster".to_owned(),
        }
    }

    /// The contexts of the kubeconfig apart from the one in use, as advice for people; empty if there is none.
    pub(crate) fn other_contexts(&self) -> String {
        let Ok(mut kubeconfig) = self.read() else { return String::new() };
        let used = self.context.clone().or(kubeconfig.current_context.take());
        kubeconfig.contexts.retain(|context| used.as_ref() != Some(&context.name));
        contexts(&kubeconfig)
    }

    fn read(&self) -> Result<Kubeconfig, KubeconfigError> {
        kubeconfig::read(self.kubeconfig.as_deref())
    }

    /// The configuration of the kubeconfig, or else of the service account of this pod, as kubectl chooses between them.
    async fn infer(&self) -> anyhow::Result<Config> {
        let error = match self.read() {
            Ok(read) => match self.choose(read).await {
                Ok(config) => return Ok(config),
                Err(error) => error,
            },
            Err(error) if kubeconfig::is_missing(&error) => {
                let in_pod = "run in a pod with a service account token";
                let ways = match self.instead {
                    Some(instead) => format!("pass --kubeconfig, {in_pod}, or {instead}"),
                    None => format!("pass --kubeconfig, or {in_pod}"),
                };
                anyhow!("no cluster is configured; {ways} ({})", kubeconfig::reason(&error))
            }
            Err(error) => self.unusable(&error),
        };
        Config::incluster().map_err(|_| error)
    }

    /// The configuration of the context of `--context`, or of the current one.
    async fn choose(&self, read: Kubeconfig) -> anyhow::Result<Config> {
        let there = contexts(&read);
        if let Some(context) = &self.context
            && !read.contexts.iter().any(|other| other.name == *context)
        {
            let there = match there.is_empty() {
                true => "it has none".to_owned(),
                false => format!("choose one of its contexts: {there}"),
            };
            return Err(anyhow!("--context {context}: the kubeconfig has no such context; {there}"));
        }
        let chosen = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(read, &chosen).await.map_err(|error| {
            let unusable = self.unusable(&error);
            match there.is_empty() || !kubeconfig::lacks_context(&error) {
                true => unusable,
                false => anyhow!("{unusable}; pass --context with one of: {there}"),
            }
        })
    }

    fn unusable(&self, error: &KubeconfigError) -> anyhow::Error {
        let called = match &self.kubeconfig {
            Some(file) if kubeconfig::is_missing(error) => {
                return anyhow!("--kubeconfig {}: does not exist; pass another file", file.display());
            }
            Some(file) => file.display().to_string(),
            None if kubeconfig::is_missing(error) => {
                return anyhow!("no cluster is configured; pass --kubeconfig ({})", kubeconfig::reason(error));
            }
            None => "the kubeconfig".to_owned(),
        };
        anyhow!("{called}: is not usable: {}", kubeconfig::reason(error))
    }
}

fn contexts(kubeconfig: &Kubeconfig) -> String {
    some(kubeconfig.contexts.iter().map(|context| &context.name))
}

/// The configuration of a client.
///
/// # Errors
/// If there is no usable kubeconfig and no service account, or the kubeconfig lacks the context.
pub(crate) async fn config(access: &ApiAccess) -> anyhow::Result<Config> {
    let mut config = match (&access.kubeconfig, &access.context) {
        (None, None) => access.infer().await?,
        _ => access.choose(access.read().map_err(|error| access.unusable(&error))?).await?,
    };
    config.connect_timeout = Some(CONNECT);
    // A watch has its own bound for silence.
    config.read_timeout = None;
    // Callers retry, so that failures are counted and told.
    config.default_retry = false;
    Ok(config)
}

/// A client for `config`.
///
/// # Errors
/// If the certificates or the user cannot be used.
pub(crate) fn build(config: Config) -> anyhow::Result<Client> {
    let client = ClientBuilder::try_from(config)
        .map_err(|error| anyhow!("the kubeconfig is not usable: {}", kubeconfig::reason_in(&error)))?;
    // The time counts from when a request is sent and not from when it has to wait for others.
    let client = client.with_layer(&TimeoutLayer::new(HEADERS));
    Ok(client.with_layer(&RateLimitLayer::new(REQUESTS, Duration::from_secs(1))).build())
}
