//! The name that a user asks for.

use anyhow::anyhow;
use clap::Args;

use crate::{explain::TypedName, kubernetes::ClusterState};

/// A name, and the request or the connection that it comes with.
#[derive(Args, Debug)]
pub(super) struct NameArgs {
    /// Name as the client has it in its configuration: payments, payments.prod:8080, a URL, a gRPC target, a connection string or an
    /// IP address.
    #[arg(value_name = "NAME[:PORT]")]
    name: String,
    /// Use https, so the port defaults to 443. Default: http and 80, or the scheme of the URL.
    #[arg(long)]
    https: bool,
    /// Explain a connection to this port that was redirected to Envoy: a name without a port then has this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    destination_port: Option<u16>,
}

impl NameArgs {
    /// The name as `cluster` makes it out.
    ///
    /// # Errors
    /// If it cannot be a name.
    pub(super) fn typed(&self, cluster: &ClusterState) -> anyhow::Result<TypedName> {
        let namespaces = cluster.all_namespaces();
        let mut typed = TypedName::parse(&self.name, self.https, &|name| namespaces.contains(name))
            .map_err(|problem| anyhow!("NAME: {problem}"))?;
        typed.requested.destination_port = self.destination_port.or(typed.requested.destination_port);
        Ok(typed)
    }
}
