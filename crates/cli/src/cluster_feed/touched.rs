//! The Services whose names or endpoints may have changed.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::object::ObjectKind;
use crate::kubernetes::{NamespacedName, service_of};

/// The Services that may have changed. All others are as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Whether any Service may have changed, because all objects were read anew.
    pub(crate) is_all: bool,
    /// The Services by name.
    pub(crate) services: BTreeSet<NamespacedName>,
    /// Namespaces with a Pod that changed: subsets of Services by labels may have other endpoints.
    pub(crate) pods_of: BTreeSet<String>,
    /// Namespaces whose Services other namespaces see than before.
    pub(crate) namespaces: BTreeSet<String>,
}

impl Touched {
    /// Every Service.
    pub(super) fn all() -> Self {
        Self { is_all: true, ..Self::default() }
    }

    /// An object that changed. What an EndpointSlice touches is in its content: see [`slice`](Self::slice).
    pub(super) fn object(&mut self, kind: ObjectKind, name: &NamespacedName) {
        match kind {
            ObjectKind::Service => _ = self.services.insert(name.clone()),
            ObjectKind::Pod => _ = self.pods_of.insert(name.namespace.clone()),
            ObjectKind::Namespace => _ = self.namespaces.insert(name.name.clone()),
            ObjectKind::EndpointSlice | ObjectKind::Node => {}
        }
    }

    pub(super) fn slice(&mut self, name: &NamespacedName, slice: Option<&EndpointSlice>) {
        self.services.extend(slice.and_then(|slice| service_of(name, slice)));
    }
}
