//! A real Envoy that uses as many names as a simulated sidecar.

use std::path::Path;

use anyhow::Result;
use byname_test_support::{Connection, Envoy, EnvoyBuilder, RequestForm, ServeProcess, TestUpstream};
use tokio::task::JoinSet;

use crate::{fleet::NAMES, synthetic::host};

/// An Envoy that runs until the value is dropped.
pub(crate) struct RealSidecar {
    pub(crate) envoy: Envoy,
    _passthrough: TestUpstream,
}

impl RealSidecar {
    /// The Envoy of a bootstrap in `envoy/` that asks this server.
    pub(crate) async fn of_server(bootstrap: &str, server: &ServeProcess, services: usize) -> Result<Self> {
        Self::start(Envoy::builder(bootstrap).port(18000, server.address.port()), services).await
    }

    /// The Envoy of `envoy/endpoint.yaml`, whose table is the file `byname.yaml` of this directory.
    pub(crate) async fn of_table(directory: &Path, services: usize) -> Result<Self> {
        Self::start(Envoy::builder("endpoint.yaml").following(directory), services).await
    }

    async fn start(envoy: EnvoyBuilder, services: usize) -> Result<Self> {
        let passthrough = TestUpstream::start("passthrough").await?;
        let envoy = envoy.upstream(18080, &passthrough).start().await?;
        let mut requests = JoinSet::new();
        for service in used(services) {
            let (port, authority) = (envoy.port(15001), host(service));
            requests.spawn(async move {
                // Nobody answers there, but the sidecar knows the name then.
                drop(Connection::open(port, RequestForm::Host).await?.get(&authority, &[]).await);
                anyhow::Ok(())
            });
        }
        while let Some(request) = requests.join_next().await {
            request??;
        }
        Ok(Self { envoy, _passthrough: passthrough })
    }
}

/// The Services that it uses.
pub(crate) fn used(services: usize) -> impl Iterator<Item = usize> + Clone {
    (0..NAMES).map(move |number| number * (services / NAMES))
}
