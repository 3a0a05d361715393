//! Who asks: the pod that the sidecar belongs to.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::search::{Domain, SearchPath};

/// The pod whose requests are resolved. What a short name means depends on it.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) namespace: Box<str>,
    pub(crate) zone: Option<Box<str>>,
    pub(crate) node: Option<Box<str>>,
    pub(crate) pod_ip: Option<IpAddr>,
    pub(crate) search: SearchPath,
    /// The domain of its baseline namespace.
    pub(crate) baseline: Option<Domain>,
    /// What it is known by, where one client is to stay with one endpoint: the same for all workers of its Envoy.
    pub(crate) identity: Option<u64>,
}

impl Caller {
    /// Its namespace: the first that a short name is looked for in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its zone (`topology.kubernetes.io/zone`), where it is known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The name of its node, where it is known. `internalTrafficPolicy: Local` is about it.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// The pod's own address, where it is known.
    #[must_use]
    pub fn pod_ip(&self) -> Option<IpAddr> {
        self.pod_ip
    }

    /// Its search path.
    #[must_use]
    pub fn search(&self) -> &SearchPath {
        &self.search
    }
}

/// Where the caller is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts {
    pub(crate) node: Option<Box<str>>,
    pub(crate) zone: Option<Box<str>>,
}
