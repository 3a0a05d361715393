//! `v1 Endpoints`, the form of endpoints before EndpointSlices. The control plane mirrors those that a person wrote into
//! EndpointSlices, so byname reads them where the input lacks these mirrors.

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, Endpoints},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{AddressType, Lines, Sourced, metadata::is_of_api};
use crate::input::Field;

/// The label that keeps the control plane from mirroring an Endpoints object.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of an object that programs elect their leader by; the control plane does not mirror those either.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// An Endpoints object as the EndpointSlices that mirror it.
#[derive(Clone, Debug)]
pub struct EndpointsObject {
    /// Its place and version.
    pub(super) source: Sourced<()>,
    /// One EndpointSlice for each subset and IP family.
    pub(super) mirrors: Vec<EndpointsMirror>,
    /// Whether the object was read from an API server, where a controller keeps it current.
    pub(super) is_of_api: bool,
    /// Whether the control plane does not mirror the object.
    pub(super) skips_mirror: bool,
}

/// An EndpointSlice that mirrors addresses of one subset.
#[derive(Clone, Debug)]
pub(super) struct EndpointsMirror {
    /// The EndpointSlice, with the place and lines of the Endpoints object.
    pub(super) source: Sourced<EndpointSlice>,
    /// The field of each endpoint in the Endpoints object: `subsets[0].addresses[1]`.
    pub(super) fields: Vec<Field>,
    /// The field of the ports: `subsets[0].ports`.
    pub(super) ports: Field,
}

impl EndpointsObject {
    pub(super) fn of(object: Sourced<Endpoints>) -> Self {
        let Sourced { object: Endpoints { metadata, subsets }, place, lines, version } = object;
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(SKIP_MIRROR));
        let is_of_election = metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
        let skips_mirror = is_of_election || label.is_some_and(|value| value == "true");
        let mut mirrors = Vec::new();
        for (index, subset) in subsets.unwrap_or_default().into_iter().enumerate() {
            let field = Field::from(["subsets"]).item(index);
            let ports: Vec<EndpointPort> = subset.ports.into_iter().flatten().map(port).collect();
            let ready = subset.addresses.into_iter().flatten().enumerate();
            let ready = ready.map(|(index, address)| (field.clone().field("addresses").item(index), address, true));
            let other = subset.not_ready_addresses.into_iter().flatten().enumerate();
            let other =
                other.map(|(index, address)| (field.clone().field("notReadyAddresses").item(index), address, false));
            let is_v6 = |ip: &str| AddressType::of(ip) == Some(AddressType::IPv6);
            let (v6, v4): (Vec<_>, Vec<_>) = ready.chain(other).partition(|(_, address, _)| is_v6(&address.ip));
            for (address_type, addresses) in [("IPv4", v4), ("IPv6", v6)] {
                if addresses.is_empty() {
                    continue;
                }
                let (fields, endpoints) =
                    addresses.into_iter().map(|(field, address, ready)| (field, endpoint(address, ready))).unzip();
                let object = EndpointSlice {
                    address_type: address_type.to_owned(),
                    endpoints: Some(endpoints),
                    metadata: ObjectMeta::default(),
                    ports: Some(ports.clone()),
                };
                let source = Sourced { object, place: place.clone(), lines: lines.clone(), version };
                mirrors.push(EndpointsMirror { source, fields, ports: field.clone().field("ports") });
            }
        }
        let source = Sourced { object: (), place, lines: Lines::default(), version };
        Self { source, mirrors, is_of_api: is_of_api(&metadata), skips_mirror }
    }

    /// Whether both objects have the same endpoints.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.slices().eq(other.slices())
    }

    fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.mirrors.iter().map(|mirror| &mirror.source.object)
    }
}

fn port(port: k8s_openapi::api::core::v1::EndpointPort) -> EndpointPort {
    // The API server replaces an empty protocol of an Endpoints object by the default, and refuses one in an EndpointSlice.
    let protocol = port.protocol.filter(|word| !word.is_empty());
    EndpointPort { app_protocol: port.app_protocol, name: port.name, port: Some(port.port), protocol }
}

fn endpoint(address: EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname,
        node_name: address.node_name,
        target_ref: address.target_ref,
        ..Endpoint::default()
    }
}
