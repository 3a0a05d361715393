//! An endpoint as every command reads it.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::{NamespacedName, SliceView};
use crate::input::Field;

/// An endpoint of an EndpointSlice.
#[derive(Clone, Copy, Debug)]
pub struct EndpointView<'c> {
    /// The EndpointSlice.
    pub slice: SliceView<'c>,
    /// The endpoint's index in `endpoints`.
    pub index: usize,
    /// The endpoint, for the fields that the view does not read.
    pub object: &'c Endpoint,
    /// The endpoint's first address, the only one that serves: kube-proxy reads no other.
    pub address: &'c str,
    /// The endpoint's conditions.
    pub conditions: Conditions,
    /// Whether the endpoint counts as ready: by its condition, or because its Service sets `publishNotReadyAddresses`.
    pub is_ready: bool,
}

/// The conditions of an endpoint, with the defaults of kube-proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Default: true.
    pub ready: bool,
    /// Default: true.
    pub serving: bool,
    /// Default: false.
    pub terminating: bool,
}

impl Conditions {
    fn of(conditions: Option<&EndpointConditions>) -> Self {
        let said = |condition: fn(&EndpointConditions) -> Option<bool>| conditions.and_then(condition);
        Self {
            ready: said(|conditions| conditions.ready).unwrap_or(true),
            serving: said(|conditions| conditions.serving).unwrap_or(true),
            terminating: said(|conditions| conditions.terminating).unwrap_or(false),
        }
    }
}

impl<'c> EndpointView<'c> {
    /// `None` for an endpoint without an address.
    fn new(slice: SliceView<'c>, index: usize, object: &'c Endpoint) -> Option<Self> {
        let address = object.addresses.first()?;
        let conditions = Conditions::of(object.conditions.as_ref());
        let is_ready = conditions.ready || slice.publishes_not_ready;
        Some(Self { slice, index, object, address, conditions, is_ready })
    }

    /// The endpoint's path in the object that was read: `endpoints[0]`.
    #[must_use]
    pub fn field(&self) -> Field {
        let mirrored = self.slice.mirror.and_then(|mirror| mirror.fields.get(self.index));
        mirrored.cloned().unwrap_or_else(|| Field::from(["endpoints"]).item(self.index))
    }

    /// The path of an address of the endpoint in the object that was read.
    #[must_use]
    pub fn address_field(&self, index: usize) -> Field {
        match self.slice.mirror {
            Some(_) => self.field().field("ip"),
            None => self.field().field("addresses").item(index),
        }
    }

    /// The endpoint's address, if it is an IP address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// Whether its address is of the IP family of its EndpointSlice. kube-proxy ignores an endpoint whose address is of the other one,
    /// with the event KubeProxyIncorrectIPVersion.
    #[must_use]
    pub fn is_of_slice_type(&self) -> bool {
        self.slice.address_type.fits(self.address)
    }

    /// Whether both endpoints have one address, in whatever spelling.
    #[must_use]
    pub fn has_same_address(&self, other: &Self) -> bool {
        let canonical = |endpoint: &Self| endpoint.ip().map(|address| address.to_canonical());
        self.address == other.address || canonical(self).is_some_and(|own| canonical(other) == Some(own))
    }

    /// All IP addresses of the endpoint. Only the first one serves: kube-proxy and the API's documentation read no other.
    pub fn all_ips(&self) -> impl Iterator<Item = IpAddr> + use<'c> {
        self.object.addresses.iter().filter_map(|address| address.parse().ok())
    }

    /// Whether the endpoint still serves while it terminates. It is used if no endpoint is ready (KEP-1672).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.conditions.serving && self.conditions.terminating
    }

    /// Whether the endpoint may get requests: it is ready, or it is draining and no endpoint is ready.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        self.is_ready || self.is_draining()
    }

    /// The endpoint's hostname in DNS.
    #[must_use]
    pub fn hostname(&self) -> Option<&'c str> {
        self.object.hostname.as_deref().filter(|hostname| !hostname.is_empty())
    }

    /// The endpoint's node.
    #[must_use]
    pub fn node(&self) -> Option<&'c str> {
        self.object.node_name.as_deref().filter(|node| !node.is_empty())
    }

    /// The name of the endpoint's Pod, whether the input has the Pod or not.
    #[must_use]
    pub fn pod(&self) -> Option<NamespacedName> {
        let target = self.object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
        let namespace = target.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or(&self.slice.name.namespace);
        Some(NamespacedName::new(namespace, target.name.as_deref().unwrap_or_default()))
    }

    /// The zones in the endpoint's topology hints.
    pub fn hinted_zones(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        let zones = self.object.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        zones.into_iter().flatten().map(|zone| zone.name.as_str())
    }

    /// The nodes in the endpoint's topology hints.
    pub fn hinted_nodes(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        let nodes = self.object.hints.as_ref().and_then(|hints| hints.for_nodes.as_ref());
        nodes.into_iter().flatten().map(|node| node.name.as_str())
    }
}

impl<'c> SliceView<'c> {
    /// The endpoints of the EndpointSlice that have an address of its type.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointView<'c>> + use<'c> {
        self.all_endpoints().filter(EndpointView::is_of_slice_type)
    }

    /// The endpoints of the EndpointSlice that have an address.
    pub fn all_endpoints(&self) -> impl Iterator<Item = EndpointView<'c>> + use<'c> {
        let slice = *self;
        let endpoints = slice.source.object.endpoints.iter().flatten().enumerate();
        endpoints.filter_map(move |(index, endpoint)| EndpointView::new(slice, index, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_are_left_out_are_those_of_a_ready_endpoint() {
        let ready = Conditions { ready: true, serving: true, terminating: false };
        assert_eq!(Conditions::of(None), ready);
        assert_eq!(Conditions::of(Some(&EndpointConditions::default())), ready);
        let not_ready = EndpointConditions { ready: Some(false), ..EndpointConditions::default() };
        assert_eq!(Conditions::of(Some(&not_ready)), Conditions { ready: false, ..ready });
    }
}
