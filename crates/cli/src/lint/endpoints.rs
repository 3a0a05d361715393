//! Endpoints and the slices that they stand in.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    context::{Context, LintedService, names_no_container_port, shown, slice_subject, some},
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::kubernetes::{AddressType, EndpointView, SERVICE_NAME};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN010",
        name: "no-ready-endpoint",
        severity: Severity::Error,
        summary: "a Service has no endpoint that is ready, nor one that serves while it terminates",
        why: "every request to it fails: 503 from the filter, a refused connection without it",
        fix: "look at the pods: kubectl describe says which readiness probe fails, or why they do not start",
        needs: &["EndpointSlice"],
        check: no_ready_endpoint,
    },
    Rule {
        id: "BN011",
        name: "no-selector-no-endpoints",
        severity: Severity::Error,
        summary: "a Service without a selector has no endpoints",
        why: "nothing makes endpoints for it, so every request to it fails",
        fix: "give it a selector, or an EndpointSlice with addresses that has the label kubernetes.io/service-name",
        needs: &["EndpointSlice"],
        check: no_selector_no_endpoints,
    },
    Rule {
        id: "BN012",
        name: "special-address",
        severity: Severity::Error,
        summary: "an endpoint has a loopback, link-local, multicast or metadata address",
        why: "it leads to the client's own machine or to its cloud's metadata (CVE-2021-25737); the filter drops it",
        fix: "write the address of a pod or of a host that other machines can reach",
        needs: &[],
        check: special_address,
    },
    Rule {
        id: "BN013",
        name: "endpoint-without-pod",
        severity: Severity::Warning,
        summary: "an endpoint is said to be a pod that is not there",
        why: "its address is nobody's, or soon somebody else's, and gets its share of requests",
        fix: "delete the EndpointSlice, and its controller makes it anew; if that persists, look at the controller",
        needs: &["Pod"],
        check: endpoint_without_pod,
    },
    Rule {
        id: "BN014",
        name: "slice-without-service",
        severity: Severity::Warning,
        summary: "an EndpointSlice has no Service: its label is missing, or names none of its namespace",
        why: "its endpoints are reached by no name: slices are found by the label kubernetes.io/service-name alone",
        fix: "write the Service's name into the label, or delete the EndpointSlice",
        needs: &["Service"],
        check: slice_without_service,
    },
    Rule {
        id: "BN015",
        name: "port-in-no-slice",
        severity: Severity::Error,
        summary: "no EndpointSlice of a Service has its port, by name and protocol",
        why: "the Service has endpoints, but none for this port, so every request to it fails",
        fix: "call the port the same in the Service and in its EndpointSlices, with the same protocol",
        needs: &["EndpointSlice"],
        check: port_in_no_slice,
    },
    Rule {
        id: "BN016",
        name: "hints-fall-away",
        severity: Severity::Warning,
        summary: "some ready endpoints have hints and others have none",
        why: "hints count only where every ready endpoint has them, so traffic goes to every zone again",
        fix: "give each endpoint hints; where the control plane writes them, look for nodes without a zone",
        needs: &[],
        check: hints_fall_away,
    },
    Rule {
        id: "BN017",
        name: "hint-leads-nowhere",
        severity: Severity::Warning,
        summary: "an endpoint is hinted to zones or nodes that are not there",
        why: "no client is there, so while hints count the endpoint gets no requests",
        fix: "write a zone or node that there is; where a controller wrote the slice, delete it and it is made anew",
        needs: &["Node"],
        check: hint_leads_nowhere,
    },
];

fn no_ready_endpoint(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name() && !service.serves()) {
        if !context.cluster.knows_endpoints_of(service.name) {
            continue;
        }
        let all = service.endpoints.len();
        let message = match (service.view.selector(), all) {
            // BN011 says it better, and BN001 where the pods are known.
            (None, 0) => continue,
            (Some(_), 0) if context.cluster.knows("Pod") && service.pods.is_empty() => continue,
            (_, 0) => match uncounted_slices(service) {
                Some(uncounted) => format!("it has no endpoint: {uncounted}"),
                None => "it has no endpoint".to_owned(),
            },
            (_, 1) => "its only endpoint is not ready".to_owned(),
            (_, all) => format!("none of its {all} endpoints is ready"),
        };
        let field = if service.view.selector().is_some() { "spec.selector" } else { "metadata.name" };
        findings.add(service.subject(), field, message);
    }
}

/// Why no EndpointSlice of a Service counts, where it has some.
fn uncounted_slices(service: &LintedService<'_>) -> Option<String> {
    if service.view.slices().next().is_some() {
        return None;
    }
    let names: Vec<&str> = service.view.all_slices().map(|slice| slice.name.name.as_str()).collect();
    let slices = if names.len() == 1 { "EndpointSlice" } else { "EndpointSlices" };
    (!names.is_empty()).then(|| format!("kube-proxy and DNS ignore addressType FQDN ({slices} {})", some(names)))
}

fn no_selector_no_endpoints(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        if service.view.is_external_name() || service.view.selector().is_some() || !service.endpoints.is_empty() {
            continue;
        }
        let slices = service.view.all_slices().count();
        // Some have one for its annotations, or for its name alone.
        let is_for_its_name = service.view.is_headless() && service.view.ports().next().is_none() && slices == 0;
        if is_for_its_name || !context.cluster.knows_endpoints_of(service.name) {
            continue;
        }
        let message = match (slices, uncounted_slices(service)) {
            (0, _) => "it has no selector, and no EndpointSlice has its name in the label".to_owned(),
            (_, Some(uncounted)) => format!("it has no selector, and {uncounted}"),
            (slices, None) => format!("it has no selector, and nothing stands in its EndpointSlices ({slices})"),
        };
        findings.add(service.subject(), "metadata.name", message);
    }
}

fn special_address(context: &Context<'_>, findings: &mut Findings) {
    for endpoint in context.cluster.endpoint_views() {
        let special = |text: &&String| text.parse::<IpAddr>().is_ok_and(byname_core::is_special);
        // Others than the first are read by programs that are not kube-proxy.
        if let Some(address) = endpoint.object.addresses.iter().find(special) {
            let field = format!("{}.addresses", endpoint.field());
            findings.add(slice_subject(&endpoint.slice), field, format!("{address} is no pod's"));
        }
    }
}

fn endpoint_without_pod(context: &Context<'_>, findings: &mut Findings) {
    let namespaces: BTreeSet<&str> = context.cluster.pods.keys().map(|name| &*name.namespace).collect();
    for endpoint in context.cluster.endpoint_views() {
        let Some(pod) = endpoint.pod() else { continue };
        // What was read may have the pods of other namespaces alone.
        if namespaces.contains(&*pod.namespace) && !context.cluster.pods.contains_key(&pod) {
            let message = format!("{} is said to be Pod {pod}, which is not there", endpoint.address);
            let field = format!("{}.targetRef.name", endpoint.field());
            findings.add(slice_subject(&endpoint.slice), field, message);
        }
    }
}

fn slice_without_service(context: &Context<'_>, findings: &mut Findings) {
    for (name, slice) in &context.cluster.slices {
        /// Of a slice that is for a Service of several clusters.
        const MULTICLUSTER: &str = "multicluster.kubernetes.io/service-name";
        let labels = slice.object.metadata.labels.as_ref();
        let label = labels.and_then(|labels| labels.get(SERVICE_NAME));
        if labels.is_some_and(|labels| labels.contains_key(MULTICLUSTER)) {
            continue;
        }
        let (field, message) = match label {
            None => ("metadata.labels".to_owned(), format!("it has no label {SERVICE_NAME}")),
            Some(service)
                if context.knows_services_of(&name.namespace)
                    && context.service(&name.namespace, service).is_none() =>
            {
                let message = format!("there is no Service {}/{service}", name.namespace);
                (format!("metadata.labels.{SERVICE_NAME}"), message)
            }
            Some(_) => continue,
        };
        findings.add(Subject::new("EndpointSlice", name, slice), field, message);
    }
}

fn port_in_no_slice(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        if service.view.is_external_name() || service.endpoints.is_empty() {
            continue;
        }
        for port in service.view.ports() {
            let slices = || service.view.slices();
            // BN020 knows why.
            if slices().any(|slice| slice.port_of(&port).is_some()) || names_no_container_port(service, &port) {
                continue;
            }
            let there = slices().flat_map(|slice| slice.ports());
            let there: BTreeSet<String> = there.map(|port| format!("{}/{}", port.name, port.protocol)).collect();
            let there = if there.is_empty() { "no ports".to_owned() } else { some(there) };
            findings.add(
                service.subject(),
                port.field(),
                format!("port {} is in no EndpointSlice: they have {there}", shown(&port)),
            );
        }
    }
}

/// Names in the hints of an endpoint, for zones and for nodes.
fn hints<'c>(endpoint: &EndpointView<'c>) -> [(&'static str, Vec<&'c str>); 2] {
    [("zone", endpoint.hinted_zones().collect()), ("node", endpoint.hinted_nodes().collect())]
}

fn hints_fall_away(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        // kube-proxy asks family by family.
        for family in [AddressType::IPv4, AddressType::IPv6] {
            hints_of_family(service, family, findings);
        }
    }
}

fn hints_of_family(service: &LintedService<'_>, family: AddressType, findings: &mut Findings) {
    let ready = service.endpoints.iter().filter(|one| one.is_ready && one.slice.address_type == family);
    let ready: Vec<_> = ready.map(|endpoint| (endpoint, hints(endpoint))).collect();
    for number in [0, 1] {
        let names =
            |hints: &[(&'static str, Vec<&str>); 2]| hints.get(number).is_some_and(|(_, names)| !names.is_empty());
        let hinted = ready.iter().filter(|(_, hints)| names(hints)).count();
        let Some((bare, hints)) = ready.iter().find(|(_, hints)| !names(hints)).filter(|_| hinted > 0) else {
            continue;
        };
        let kind = hints.get(number).map_or("", |(kind, _)| kind);
        let message = format!(
            "{} has no {kind} hint and {hinted} of {} ready endpoints have one, so none counts for Service {}",
            bare.address,
            ready.len(),
            service.name
        );
        findings.add(slice_subject(&bare.slice), bare.field(), message);
    }
}

fn hint_leads_nowhere(context: &Context<'_>, findings: &mut Findings) {
    let nodes = &context.cluster.nodes;
    let zones: BTreeSet<&str> = nodes.values().filter_map(|node| node.object.zone.as_deref()).collect();
    for endpoint in context.services.iter().flat_map(|service| &service.endpoints) {
        for (kind, names) in hints(endpoint) {
            let is_there = |name: &&str| match kind {
                "zone" => zones.contains(name),
                _ => nodes.contains_key(*name),
            };
            if !names.is_empty() && !names.iter().any(is_there) {
                let missing = if kind == "zone" { "in which no node is" } else { "which is not there" };
                let message = format!("{} is hinted to {kind} {}, {missing}", endpoint.address, some(&names));
                findings.add(slice_subject(&endpoint.slice), format!("{}.hints", endpoint.field()), message);
            }
        }
    }
}
