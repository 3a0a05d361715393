//! The cluster and the user, from a kubeconfig or from the service account of the pod that byname runs in.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{limit::RateLimitLayer, timeout::TimeoutLayer};

use super::{failure::Failure, request::HEADERS};
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

    /// The contexts of the kubeconfig, as advice for people; empty if there is none.
    pub(crate) fn contexts(&self) -> String {
        self.read().map(|kubeconfig| contexts(&kubeconfig)).unwrap_or_default()
    }

    fn read(&self) -> Result<Kubeconfig, kube::config::KubeconfigError> {
        match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        }
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
    let ApiAccess { kubeconfig, context, instead } = access;
    let mut config = match (kubeconfig, context) {
        (None, None) => Config::infer().await.map_err(|error| {
            let why = Failure::of_error(&error).text;
            let in_pod = "run in a pod with a service account token";
            let ways = match instead {
                Some(instead) => format!("pass --kubeconfig, {in_pod}, or {instead}"),
                None => format!("pass --kubeconfig, or {in_pod}"),
            };
            anyhow!("no cluster is configured; {ways} ({why})")
        })?,
        _ => {
            let unusable = || match kubeconfig {
                Some(file) => format!("{}: is not a usable kubeconfig", file.display()),
                None => "cannot use this context of the kubeconfig".to_owned(),
            };
            let read = access.read().with_context(unusable)?;
            if let Some(context) = context
                && !read.contexts.iter().any(|other| other.name == *context)
            {
                let there = match contexts(&read) {
                    none if none.is_empty() => "it has none".to_owned(),
                    contexts => format!("choose one of its contexts: {contexts}"),
                };
                return Err(anyhow!("--context {context}: the kubeconfig has no such context; {there}"));
            }
            let chosen = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(read, &chosen).await.with_context(unusable)?
        }
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
    let client = ClientBuilder::try_from(config).context("cannot create a client from this kubeconfig")?;
    // The time counts from when a request is sent and not from when it has to wait for others.
    let client = client.with_layer(&TimeoutLayer::new(HEADERS));
    Ok(client.with_layer(&RateLimitLayer::new(REQUESTS, Duration::from_secs(1))).build())
}
