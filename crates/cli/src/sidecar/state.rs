//! What one sidecar says of itself.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use byname_core::{Config, wire};
use serde_json::Value;

use super::{
    admin::Admin,
    counters::Counters,
    held::{HeldConfiguration, Node},
    stream_state::StreamState,
};

/// What one sidecar says of itself.
#[derive(Clone, Debug)]
pub struct SidecarState {
    /// The version of Envoy.
    pub envoy: String,
    /// Envoy's state, such as `LIVE`.
    pub envoy_state: String,
    /// The configuration that Envoy holds; `None` if no listener has byname's filter.
    pub held: Option<HeldConfiguration>,
    /// The filter's statistics.
    pub counters: Counters,
    pub(super) node: Node,
}

/// An endpoint of an upstream cluster, as Envoy has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamHost {
    /// Address and port.
    pub address: String,
    /// Whether Envoy sends requests there.
    pub is_healthy: bool,
}

impl SidecarState {
    /// Asks the sidecar.
    ///
    /// # Errors
    /// If it cannot be reached, or does not answer as Envoy does.
    pub async fn ask(admin: &Admin) -> anyhow::Result<Self> {
        let info: Value =
            serde_json::from_str(&admin.get("/server_info").await?).context("/server_info: is not Envoy's answer")?;
        let text = |path: &str| info.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        ensure!(!text("/state").is_empty(), "/server_info: is not Envoy's answer");
        // `revision/1.40.0/Clean/RELEASE/BoringSSL`.
        let envoy = text("/version").split('/').nth(1).unwrap_or_default().to_owned();
        let node = Node::of(&info);
        let stats = admin.get("/stats?format=json&filter=byname").await?;
        // Filters that were discovered are a small part of everything. Listeners of a large mesh are many megabytes.
        let mut held = None;
        for path in ["/config_dump?resource=ecds_filters", "/config_dump"] {
            let dump = admin.get(path).await;
            let read = dump.and_then(|dump| serde_json::from_str(&dump).with_context(|| format!("{path}: is no JSON")));
            let dump: Value = match read {
                Ok(dump) => dump,
                // An Envoy that discovers no filter answers 404, and pilot-agent prints the text of such an answer as any other. The
                // whole dump has discovered filters too.
                Err(_) if path != "/config_dump" => continue,
                Err(error) => return Err(error),
            };
            held = HeldConfiguration::find(&dump, &node);
            if held.is_some() {
                break;
            }
        }
        Ok(Self { envoy, envoy_state: text("/state"), held, counters: Counters::read(&stats), node })
    }

    /// A sidecar with this configuration and these statistics, as Envoy tells them; `None` for one without the filter.
    #[cfg(test)]
    pub(crate) fn made(configuration: Option<&str>, stats: &[(&str, u64)]) -> Self {
        let node = Node { namespace: Some("shop".to_owned()), ..Node::default() };
        let held = configuration.and_then(|text| {
            let plugin = serde_json::json!({"configuration": {"@type": "StringValue", "value": text}});
            HeldConfiguration::find(&serde_json::json!({"configs": [plugin]}), &node)
        });
        let stat = |(name, value): &(&str, u64)| serde_json::json!({"name": name, "value": value});
        let stats = serde_json::json!({"stats": stats.iter().map(stat).collect::<Vec<_>>()});
        let counters = Counters::read(&stats.to_string());
        Self { envoy: "1.40.0".to_owned(), envoy_state: "LIVE".to_owned(), held, counters, node }
    }

    /// The endpoints that Envoy has in a cluster, in order; `None` if it has no such cluster.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub async fn hosts(admin: &Admin, cluster: &str) -> anyhow::Result<Option<Vec<UpstreamHost>>> {
        let answer: Value = serde_json::from_str(&admin.get("/clusters?format=json").await?)?;
        let mut clusters = answer.get("cluster_statuses").and_then(Value::as_array).into_iter().flatten();
        let Some(found) = clusters.find(|one| one.get("name").and_then(Value::as_str) == Some(cluster)) else {
            return Ok(None);
        };
        let hosts = found.get("host_statuses").and_then(Value::as_array).into_iter().flatten();
        let mut hosts: Vec<UpstreamHost> = hosts.filter_map(host).collect();
        hosts.sort();
        Ok(Some(hosts))
    }

    /// The server that the filter asks for Services, by its Envoy cluster.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.held.as_ref()?.server()
    }

    /// What has become of the streams to that server.
    #[must_use]
    pub fn stream(&self) -> Option<StreamState> {
        self.server().map(|_server| StreamState::of(&self.counters))
    }

    /// The version of the table that the filter serves; `None` if it serves none.
    #[must_use]
    pub fn served(&self) -> Option<u64> {
        self.counters.get("table.version")
    }

    /// Whether the filter serves another table than Envoy holds, because it refused that one. A table written by hand may have no
    /// version, and then says nothing.
    #[must_use]
    pub fn serves_older(&self) -> bool {
        match (self.held.as_ref().map(|held| &held.read), self.served()) {
            (Some(Ok(wire)), Some(served)) => wire.table.version != served,
            (Some(Err(_)), _) => true,
            _ => false,
        }
    }

    /// The pushes that were refused since Envoy started.
    #[must_use]
    pub fn refused_pushes(&self) -> u64 {
        self.counters.rejected.max(self.counters.get("configurations_refused").unwrap_or_default())
    }

    /// The configuration as this sidecar's filter reads it.
    ///
    /// # Errors
    /// If the filter refuses it.
    pub fn config(&self, wire: &wire::Config) -> anyhow::Result<Config> {
        Config::from_wire(wire.clone(), &self.node.defaults()).map_err(|refused| {
            crate::input::InputErrors::of_configuration("the sidecar's configuration", &refused).into()
        })
    }

    /// `wire` with the caller's properties that it leaves to Envoy's node.
    #[must_use]
    pub fn with_node(&self, wire: &wire::Config) -> wire::Config {
        let mut wire = wire.clone();
        let caller = &mut wire.caller;
        for (own, of_node) in [
            (&mut caller.namespace, &self.node.namespace),
            (&mut caller.zone, &self.node.zone),
            (&mut caller.node, &self.node.node),
        ] {
            if own.is_none() {
                own.clone_from(of_node);
            }
        }
        wire
    }

    /// The id of Envoy's node, by which `byname serve` knows it.
    #[must_use]
    pub fn node_id(&self) -> Option<&str> {
        self.node.id.as_deref()
    }

    /// The reasons of requests with their numbers, the most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        let reasons: &BTreeMap<String, u64> = &self.counters.reasons;
        let mut reasons: Vec<(&str, u64)> = reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
        reasons
    }
}

fn host(host: &Value) -> Option<UpstreamHost> {
    let address = host.pointer("/address/socket_address")?;
    let (ip, port) = (address.get("address")?.as_str()?, address.get("port_value")?.as_u64()?);
    let address = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let health = host.get("health_status")?;
    let is_healthy = health.get("eds_health_status").is_none_or(|status| status == "HEALTHY" || status == "UNKNOWN")
        && !["failed_active_health_check", "failed_outlier_check", "failed_active_degraded_check"]
            .iter()
            .any(|flag| health.get(*flag).and_then(Value::as_bool) == Some(true));
    Some(UpstreamHost { address, is_healthy })
}
