//! The arguments of commands that follow a cluster.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::args::parse_whole;
use crate::{
    cluster_feed::{ApiOptions, SourceOptions},
    compile::CompileOptions,
    kube_api::ApiAccess,
    kubernetes::NamespacedName,
};

/// Where the cluster comes from.
#[derive(Args, Clone, Debug)]
pub(super) struct SourceArgs {
    /// Follow this directory or file in place of the API; it holds the output of `kubectl get -o yaml`. Can be repeated.
    #[arg(long = "from-dir", value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    directories: Vec<PathBuf>,
    /// Use this kubeconfig. Default: the one that kubectl uses, or the service account of the pod that byname runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig. Default: the current context.
    #[arg(long)]
    context: Option<String>,
    /// If at least 50 objects and at least 30 % of a kind vanish from a list, keep them for this many seconds, until a second list
    /// agrees. 0 removes them at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = |text: &str| parse_whole(text, 0..=86_400))]
    brake_seconds: u64,
}

impl SourceArgs {
    pub(super) fn brake(&self) -> Duration {
        Duration::from_secs(self.brake_seconds)
    }

    /// The source, with the objects that these options need, and with Namespaces if `has_exports`.
    pub(super) fn options(
        self,
        needed: &CompileOptions,
        pod: Option<&NamespacedName>,
        has_exports: bool,
    ) -> SourceOptions {
        if !self.directories.is_empty() {
            return SourceOptions::Files { paths: self.directories, visible: needed.visible.clone() };
        }
        SourceOptions::Api(ApiOptions {
            access: ApiAccess {
                kubeconfig: self.kubeconfig,
                context: self.context,
                instead: Some("watch files with --from-dir"),
            },
            namespaces: needed.visible.clone(),
            pod: pod.cloned(),
            has_exports,
            namespaces_of_labels: needed.base.namespaces_of_labels(),
        })
    }
}

/// Parses an address; one without a host means all addresses.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "use ADDRESS:PORT with an IP address, such as 127.0.0.1:9902 or :9902".to_owned())
}
