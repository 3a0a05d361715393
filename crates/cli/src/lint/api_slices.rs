//! What an API server refuses in an EndpointSlice. The rules are those of pkg/apis/discovery/validation in Kubernetes.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointHints;

use super::refusal::{QUALIFIED_NAME_FIX, Refusal};
use crate::{
    input::Field,
    kubernetes::{
        AddressType, GENERATED, SliceView, TransportProtocol, is_label_value, is_qualified_name, is_subdomain,
    },
};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
/// The zones, and the nodes, in the hints of an endpoint.
const MAX_HINTS: usize = 8;
const SUBDOMAIN_FIX: &str =
    "use a-z, 0-9, '-' and '.', with a letter or a digit at the beginning and at the end of each part";

/// What an API server refuses in an EndpointSlice.
pub(super) fn refusals(slice: &SliceView<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let name = &*slice.name.name;
    // The API server completes a name that ends in this character.
    if !name.ends_with(GENERATED) && !is_subdomain(name) {
        let reason = format!("{name:?} is not the name of an EndpointSlice");
        refusals.push(Refusal::new(["metadata", "name"], reason, SUBDOMAIN_FIX));
    }
    address_type(slice, &mut refusals);
    endpoints(slice, &mut refusals);
    ports(slice, &mut refusals);
    refusals
}

fn address_type(slice: &SliceView<'_>, refusals: &mut Vec<Refusal>) {
    let word = slice.type_word();
    if slice.address_type == AddressType::Unknown {
        let reason = match word {
            "" => "the EndpointSlice has no addressType, so kube-proxy and the filter ignore it".to_owned(),
            word => format!("{word:?} is not an addressType, so kube-proxy and the filter ignore the EndpointSlice"),
        };
        refusals.push(Refusal::new(["addressType"], reason, "use IPv4 or IPv6"));
    }
    let stray = slice.all_endpoints().find_map(|endpoint| {
        let mut addresses = endpoint.object.addresses.iter().enumerate();
        let (index, address) = addresses.find(|(_, address)| !slice.address_type.fits(address))?;
        Some((endpoint.address_field(index), address))
    });
    // One finding for all of them: often each address is of the other family.
    if let Some((field, address)) = stray {
        let reason = format!("{address} is not an {word} address, and addressType is {word}, so kube-proxy ignores it");
        let fix = "correct addressType or the address: each IP family needs an EndpointSlice of its own";
        refusals.push(Refusal::new(field, reason, fix));
    }
}

fn endpoints(slice: &SliceView<'_>, refusals: &mut Vec<Refusal>) {
    let endpoints = slice.source.object.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > MAX_ENDPOINTS {
        let reason = format!("{} endpoints are more than {MAX_ENDPOINTS}", endpoints.len());
        refusals.push(Refusal::new(["endpoints"], reason, "write several EndpointSlices"));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let field = Field::from(["endpoints"]).item(index);
        let count = endpoint.addresses.len();
        if count == 0 {
            let fix = "write the address of the endpoint into addresses";
            refusals.push(Refusal::new(field.clone().field("addresses"), "the endpoint has no address", fix));
        } else if count > MAX_ADDRESSES {
            let reason = format!("{count} addresses are more than {MAX_ADDRESSES}");
            let fix = "write an endpoint for each address: clients use only the first address of an endpoint";
            refusals.push(Refusal::new(field.clone().field("addresses"), reason, fix));
        }
        if endpoint.hostname.as_deref() == Some("") {
            let refusal = Refusal::new(field.clone().field("hostname"), "the hostname is empty", "remove the field");
            refusals.push(refusal.removable());
        }
        if let Some(node) = endpoint.node_name.as_deref().filter(|node| !is_subdomain(node)) {
            let reason = format!("{node:?} is not the name of a node");
            refusals.push(Refusal::new(field.clone().field("nodeName"), reason, SUBDOMAIN_FIX));
        }
        let Some(EndpointHints { for_zones, for_nodes }) = &endpoint.hints else { continue };
        let zones = for_zones.iter().flatten().map(|zone| &*zone.name);
        hints(zones, field.clone().field("hints").field("forZones"), is_label_value, "zone", refusals);
        let nodes = for_nodes.iter().flatten().map(|node| &*node.name);
        hints(nodes, field.field("hints").field("forNodes"), is_subdomain, "node", refusals);
    }
}

/// The zones or nodes in the hints of an endpoint.
fn hints<'s>(
    names: impl Iterator<Item = &'s str>,
    field: Field,
    is_name: fn(&str) -> bool,
    kind: &str,
    refusals: &mut Vec<Refusal>,
) {
    let names: Vec<&str> = names.collect();
    if names.len() > MAX_HINTS {
        let reason = format!("{} {kind}s are more than {MAX_HINTS}", names.len());
        refusals.push(Refusal::new(field.clone(), reason, "keep the zones and nodes that are closest"));
    }
    let mut seen = BTreeSet::new();
    for (index, name) in names.into_iter().enumerate() {
        let field = field.clone().item(index).field("name");
        // BN080 reports white space.
        if !is_name(name) && !name.contains(char::is_whitespace) {
            refusals.push(Refusal::new(field, format!("{name:?} is not the name of a {kind}"), "correct the name"));
        } else if !seen.insert(name) {
            refusals.push(Refusal::new(field, format!("{kind} {name} is listed twice"), "list each one once"));
        }
    }
}

fn ports(slice: &SliceView<'_>, refusals: &mut Vec<Refusal>) {
    let mut names = BTreeSet::new();
    for port in slice.ports() {
        let field = Field::from(["ports"]).item(port.index);
        if !names.insert(port.name) {
            let reason = match port.name {
                "" => "two ports have no name".to_owned(),
                name => format!("two ports are called {name}"),
            };
            refusals.push(Refusal::new(field.clone().field("name"), reason, "give each port its own name"));
        }
        if let TransportProtocol::Unknown(word) = port.protocol {
            let reason = format!("{word:?} is not a port protocol");
            refusals.push(Refusal::new(field.clone().field("protocol"), reason, "use TCP, UDP or SCTP"));
        }
        if let Some(word) = port.object.app_protocol.as_ref().filter(|word| !is_qualified_name(word)) {
            let reason = format!("{word:?} is not the name of a protocol");
            refusals.push(Refusal::new(field.field("appProtocol"), reason, QUALIFIED_NAME_FIX));
        }
    }
}
