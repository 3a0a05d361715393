//! The caller: the pod that the sidecar belongs to.

use alloc::boxed::Box;
use core::net::IpAddr;

use super::search_path::{SearchDomain, SearchPath};

/// The pod whose requests are resolved. A short name resolves differently for callers of different namespaces.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) namespace: Box<str>,
    pub(crate) zone: Option<Box<str>>,
    pub(crate) node: Option<Box<str>>,
    pub(crate) pod_ip: Option<IpAddr>,
    pub(crate) search: SearchPath,
    /// The search domain of the caller's baseline namespace.
    pub(crate) baseline: Option<SearchDomain>,
    /// The hash that identifies the caller where a client stays with one endpoint. All workers of an Envoy have the same.
    pub(crate) identity: Option<u64>,
}

impl Caller {
    /// The namespace, which a short name is looked up in first.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The zone (`topology.kubernetes.io/zone`), if it is known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The name of the node, if it is known. `internalTrafficPolicy: Local` keeps traffic on it, so such Services need it.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The pod's own address, if it is known.
    #[must_use]
    pub fn pod_ip(&self) -> Option<IpAddr> {
        self.pod_ip
    }

    /// The search path of the pod's resolver.
    #[must_use]
    pub fn search(&self) -> &SearchPath {
        &self.search
    }
}

/// The node and the zone that a caller runs in, as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locality {
    pub(crate) node: Option<Box<str>>,
    pub(crate) zone: Option<Box<str>>,
}
