//! Addresses in forms that API servers of Kubernetes 1.36 refuse, and older ones take: KEP-4858 and its feature gate
//! StrictIPCIDRValidation.

use std::net::IpAddr;

use super::{
    api::{address_range, source_ranges},
    context::{Context, LintedService, slice_subject},
    findings::Findings,
    patch::Patch,
    refusal::ip,
    rule::{Rule, Severity},
};
use crate::{
    input::Field,
    kubernetes::{AddressType, is_of_api},
};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "BN078",
    name: "address-in-old-form",
    severity: Severity::Warning,
    summary: "an address of a Service or an EndpointSlice has a form that API servers of Kubernetes 1.36 refuse",
    why: "kubectl apply fails there; older API servers take the address, but programs differ in which address it is",
    fix: "write the address without zeros in front of numbers, IPv4 in IPv6, or bits behind the prefix",
    needs: &[],
    absence: None,
    check: old_form,
}];

fn old_form(context: &Context<'_>, findings: &mut Findings) {
    // An API server keeps what it took earlier.
    for service in context.services.iter().filter(|service| !service.view.is_of_api()) {
        of_service(service, findings);
    }
    for slice in context.cluster.slice_views().filter(|slice| !is_of_api(&slice.source.object.metadata)) {
        for endpoint in slice.endpoints() {
            for (index, text) in endpoint.object.addresses.iter().enumerate() {
                // BN080 reports zeros in front of a number.
                let Ok(address) = text.parse::<IpAddr>() else { continue };
                let canonical = address.to_canonical().to_string();
                let reason = match address {
                    _ if canonical == *text => continue,
                    IpAddr::V6(_) if slice.address_type == AddressType::IPv6 => "is not in the canonical form",
                    _ => form(text, address),
                };
                if !reason.is_empty() {
                    let (field, message) = (endpoint.address_field(index), message(text, reason));
                    let patch = Patch::Set(field.clone(), canonical.into());
                    findings.add(slice_subject(&slice), field, message).patch(patch);
                }
            }
        }
    }
}

fn of_service(service: &LintedService<'_>, findings: &mut Findings) {
    let spec = service.view.spec;
    let own = spec.cluster_ip.iter().map(|text| (Field::from(["spec", "clusterIP"]), text));
    let listed = |name: &'static str, texts| {
        let texts: &Option<Vec<String>> = texts;
        let texts = texts.iter().flatten().enumerate();
        texts.map(move |(index, text)| (Field::from(["spec", name]).item(index), text))
    };
    // BN080 reports zeros in front of a number of a cluster IP.
    let own = own.chain(listed("clusterIPs", &spec.cluster_ips)).filter(|(_, text)| text.parse::<IpAddr>().is_ok());
    let addresses = own.chain(listed("externalIPs", &spec.external_ips));
    for (field, text) in addresses {
        let Some(address) = ip(text) else { continue };
        let reason = form(text, address);
        if !reason.is_empty() {
            let patch = Patch::Set(field.clone(), address.to_canonical().to_string().into());
            findings.add(service.subject(), field, message(text, reason)).patch(patch);
        }
    }
    for (field, text) in source_ranges(service) {
        let Some((address, bits)) = address_range(text) else { continue };
        let (of_address, of_bits) = text.split_once('/').unwrap_or_default();
        let reason = match form(of_address, address) {
            "" if of_bits.len() > 1 && of_bits.starts_with('0') => "has a zero in front of a number",
            "" if has_host_bits(address, bits) => "has bits behind the prefix",
            reason => reason,
        };
        if !reason.is_empty() {
            findings.add(service.subject(), field, message(text, reason));
        }
    }
}

fn message(text: &str, reason: &str) -> String {
    format!("{text} {reason}, so API servers of Kubernetes 1.36 refuse it")
}

/// What is wrong with the form of an address; empty if nothing is.
fn form(text: &str, address: IpAddr) -> &'static str {
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => "is an IPv4 address in IPv6",
        _ if text.parse::<IpAddr>().is_err() => "has a zero in front of a number",
        _ => "",
    }
}

/// Whether an address of a range has bits that are not in its prefix.
fn has_host_bits(address: IpAddr, bits: u8) -> bool {
    let (number, length) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128_u32),
    };
    let behind = length.saturating_sub(u32::from(bits));
    let mask = 1_u128.checked_shl(behind).map_or(u128::MAX, |bit| bit - 1);
    number & mask != 0
}
