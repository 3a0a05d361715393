//! The result of compiling a cluster.

use std::collections::BTreeMap;

use byname_core::{Config, wire};

use crate::{input::InputError, kubernetes::NamespacedName, output::some};

/// A compiled configuration.
#[derive(Debug)]
pub struct Compiled {
    /// The configuration in its JSON form.
    pub wire: wire::Config,
    /// The same with a packed table, if that was asked for.
    pub packed: Option<wire::Config>,
    /// The configuration as JSON text.
    pub text: String,
    /// The configuration as the filter reads it. Where the cluster answers in place of a server, it has the whole table and asks nothing.
    pub config: Config,
    /// The Services that were left out, each with the reason.
    pub left_out: BTreeMap<NamespacedName, InputError>,
}

impl Compiled {
    /// Whether the filter has to know when a request ends: it counts open requests, or failures.
    #[must_use]
    pub fn watches_ends(&self) -> bool {
        let counts = |balancer: &wire::LoadBalancer| balancer.simple == Some(wire::SimpleLb::LeastRequest);
        let steering = &self.wire.steering;
        counts(&steering.load_balancer)
            || steering.outlier_detection.is_some()
            || self.wire.table.services.values().filter_map(|service| service.steering.as_ref()).any(|steering| {
                steering.load_balancer.as_ref().is_some_and(counts) || steering.outlier_detection.is_some()
            })
    }

    /// The warning about Services that no caller of this configuration can reach, because it does not tell the caller's node.
    #[must_use]
    pub fn unknown_node(&self) -> Option<String> {
        if self.wire.caller.node.as_ref().is_some_and(|node| !node.is_empty()) {
            return None;
        }
        let needs_node = |service: &wire::Service| {
            service.internal_traffic_policy == wire::InternalTrafficPolicy::Local
                && service.endpoints.is_some()
                && !service.is_headless()
        };
        let services = self.wire.table.services.iter().filter(|(_, service)| needs_node(service));
        let mut names = services.map(|(name, _)| name).peekable();
        names.peek()?;
        let shown = some(names);
        Some(format!(
            "the caller's node is unknown, so the filter answers 503 for Services with internalTrafficPolicy: Local ({shown}), \
             unless the node's metadata has NODE_NAME; compile with --pod, or set caller.node in the --config file"
        ))
    }
}
