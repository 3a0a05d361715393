//! A Service as it is served.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::class::{CallerClass, Places};
use crate::{
    compile::{PushedService, UpstreamCluster},
    kubernetes::{NamespacedName, Visibility},
};

/// All Services that are served.
pub(super) type ServedServices = BTreeMap<NamespacedName, ServedService>;

/// The addresses of a Service's clusters, by their names.
pub(super) type Addresses = BTreeMap<String, Vec<SocketAddr>>;

/// A Service as it is served.
pub(super) struct ServedService {
    pub(super) name: Arc<NamespacedName>,
    pub(super) parts: PushedService,
    pub(super) clusters: BTreeMap<String, UpstreamCluster>,
    /// The zones by which its endpoints differ; `None` if they do not.
    pub(super) zones: Option<Places>,
    /// The same by node.
    pub(super) nodes: Option<Places>,
    pub(super) visibility: Visibility,
    /// The Service of the cluster that an alias leads to.
    pub(super) target: Option<Box<NamespacedName>>,
    /// The addresses of each class that asked for some, until the Service changes.
    pub(super) addresses: RefCell<BTreeMap<CallerClass, Addresses>>,
}

/// The Service that a host of the cluster is, or that its endpoint is of. `zone` is the cluster domain.
pub(super) fn service_of(host: &str, zone: &str) -> Option<NamespacedName> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = host.strip_suffix(zone)?.strip_suffix(".svc.")?;
    let (rest, namespace) = host.rsplit_once('.')?;
    let name = rest.rsplit_once('.').map_or(rest, |(_, name)| name);
    Some(NamespacedName::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_services_that_hosts_are_of() {
        let of = |host: &str| service_of(host, "cluster.local").map(|name| name.to_string());
        for host in [
            "web.shop.svc.cluster.local",
            "web.shop.svc.cluster.local.",
            "WEB.shop.svc.Cluster.local",
            "web-0.web.shop.svc.cluster.local",
        ] {
            assert_eq!(of(host).as_deref(), Some("shop/web"), "{host}");
        }
        for host in ["web.shop", "example.com", "shop.svc.cluster.local", "web.shop.svc.cluster.local.example.com"] {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
