//! Endpoints and their EndpointSlices.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    context::{Context, LintedService, names_no_container_port, shown, slice_subject},
    findings::{Findings, Subject},
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::{
    input::Field,
    kubernetes::{AddressType, EndpointView, SERVICE_NAME, ServicePortView, SlicePortView, SliceView},
    output::some,
};
use byname_core::wire::IpFamily;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN010",
        name: "no-ready-endpoint",
        severity: Severity::Error,
        summary: "a Service has no endpoint that is ready or that serves while it terminates",
        why: "every request to the Service fails: the filter answers 503; without the filter the connection is refused",
        fix: "inspect the pods: kubectl describe shows which readiness probe fails, or why a pod does not start",
        needs: &["EndpointSlice"],
        absence: None,
        check: no_ready_endpoint,
    },
    Rule {
        id: "BN011",
        name: "no-selector-no-endpoints",
        severity: Severity::Error,
        summary: "a Service without a selector has no endpoints",
        why: "no controller creates endpoints for such a Service, so every request to it fails",
        fix: "add a selector, or an EndpointSlice with addresses and the label kubernetes.io/service-name",
        needs: &["EndpointSlice"],
        absence: Some("EndpointSlice"),
        check: no_selector_no_endpoints,
    },
    Rule {
        id: "BN012",
        name: "special-address",
        severity: Severity::Error,
        summary: "an endpoint has a loopback, link-local, multicast or metadata address",
        why: "requests go to the client itself or its cloud's metadata (CVE-2021-25737); the filter drops the endpoint",
        fix: "use the address of a pod or of a host that other machines can reach",
        needs: &[],
        absence: None,
        check: special_address,
    },
    Rule {
        id: "BN013",
        name: "endpoint-without-pod",
        severity: Severity::Warning,
        summary: "an endpoint refers to a pod that does not exist",
        why: "the address is unused or soon another pod's, but the endpoint still gets its share of requests",
        fix: "delete the EndpointSlice, and its controller recreates it; if the finding returns, check the controller",
        needs: &["Pod"],
        absence: Some("Pod"),
        check: endpoint_without_pod,
    },
    Rule {
        id: "BN014",
        name: "slice-without-service",
        severity: Severity::Warning,
        summary: "an EndpointSlice has no Service: its label is missing or empty, or names no Service of its namespace",
        why: "no name resolves to its endpoints: only the label kubernetes.io/service-name ties a slice to a Service",
        fix: "set the label to the Service's name, or delete the EndpointSlice",
        needs: &["Service"],
        absence: Some("Service"),
        check: slice_without_service,
    },
    Rule {
        id: "BN015",
        name: "port-in-no-slice",
        severity: Severity::Error,
        summary: "no endpoint that can serve has a port with the name and protocol of the Service's port",
        why: "the Service has endpoints, but none can serve this port, so every request to the port fails",
        fix: "use the same port name and protocol in the Service and in its EndpointSlices",
        needs: &["EndpointSlice"],
        absence: None,
        check: port_in_no_slice,
    },
    Rule {
        id: "BN016",
        name: "hints-fall-away",
        severity: Severity::Warning,
        summary: "some ready endpoints of a Service have hints and others have none",
        why: "clients ignore hints unless every ready endpoint has one, so requests go to every zone",
        fix: "add hints to every endpoint; if the control plane writes them, look for nodes without a zone",
        needs: &["EndpointSlice"],
        absence: None,
        check: hints_fall_away,
    },
    Rule {
        id: "BN017",
        name: "hint-leads-nowhere",
        severity: Severity::Warning,
        summary: "the hints of an endpoint name only zones or nodes that do not exist",
        why: "no client runs there, so the endpoint gets no requests while hints apply",
        fix: "use a zone or node that exists; if a controller wrote the EndpointSlice, delete it to have it recreated",
        needs: &["Node"],
        absence: Some("Node"),
        check: hint_leads_nowhere,
    },
    Rule {
        id: "BN018",
        name: "slice-of-the-other-ip-family",
        severity: Severity::Error,
        summary: "an EndpointSlice of a single-stack Service has addresses of the other IP family",
        why: "kube-proxy and the filter ignore the EndpointSlice, so its endpoints never get requests",
        fix: "set ipFamilyPolicy and ipFamilies to both families, or use endpoints of the Service's family",
        needs: &["EndpointSlice"],
        absence: None,
        check: slice_of_the_other_family,
    },
    Rule {
        id: "BN019",
        name: "slice-of-names",
        severity: Severity::Warning,
        summary: "an EndpointSlice has addressType FQDN, beside others of its Service that count",
        why: "kube-proxy, DNS and the filter ignore the EndpointSlice, so its endpoints get no requests",
        fix: "write IP addresses with addressType IPv4 or IPv6, or make the Service an ExternalName for the host",
        needs: &[],
        absence: None,
        check: slice_of_names,
    },
];

fn slice_of_names(context: &Context<'_>, findings: &mut Findings) {
    // BN010 and BN011 report Services that have no other EndpointSlice.
    for service in context.services.iter().filter(|service| !service.endpoints.is_empty()) {
        for slice in service.view.all_slices().filter(|slice| slice.address_type == AddressType::Fqdn) {
            let message = format!("the EndpointSlice holds DNS names, and Service {} has others", service.name);
            findings.add(slice_subject(&slice), ["addressType"], message);
        }
    }
}

fn no_ready_endpoint(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name() && !service.serves()) {
        // BN079 reports the cause.
        if !context.knows_endpoints_of(service) || service.mixes_types() {
            continue;
        }
        let all = service.endpoints.len();
        let message = match (service.view.selector(), all) {
            // BN011 reports this case, and so does BN001 where the pods are known.
            (None, 0) => continue,
            (Some(_), 0) if context.cluster.knows_pods() && context.has_no_pod(service) => continue,
            (_, 0) => match uncounted_slices(service) {
                Some(uncounted) => format!("the Service has no endpoint: {uncounted}"),
                None => "the Service has no endpoint".to_owned(),
            },
            (_, 1) => "the only endpoint of the Service is not ready".to_owned(),
            (_, all) => format!("none of the {all} endpoints of the Service is ready"),
        };
        let field = if service.view.selector().is_some() { ["spec", "selector"] } else { ["metadata", "name"] };
        let found = findings.add(service.subject(), field, message);
        // A pod that is not ready is an endpoint too.
        if all == 0 && field == ["spec", "selector"] && uncounted_slices(service).is_none() {
            found.fix("compare the selector with the labels of the pods: none has them, or none has an address yet");
        }
    }
}

/// The reason why no EndpointSlice of a Service counts, if it has any.
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
        // Some Services exist for their annotations or their name alone.
        let is_for_its_name = service.view.is_headless() && service.view.ports().next().is_none() && slices == 0;
        // BN079 reports the cause of endpoints that are ignored.
        if is_for_its_name || !context.knows_endpoints_of(service) || service.mixes_types() {
            continue;
        }
        let message = match (slices, uncounted_slices(service)) {
            (0, _) if context.cluster.endpoints.contains_key(service.name) => {
                "the Service has no selector, and its Endpoints object has no address".to_owned()
            }
            (0, _) => "the Service has no selector, and no EndpointSlice has its name in the label".to_owned(),
            (_, Some(uncounted)) => format!("the Service has no selector, and {uncounted}"),
            (slices, None) => format!("the Service has no selector, and its EndpointSlices ({slices}) are empty"),
        };
        findings.add(service.subject(), ["metadata", "name"], message);
    }
}

fn special_address(context: &Context<'_>, findings: &mut Findings) {
    for endpoint in context.cluster.endpoint_views() {
        let special = |text: &&String| text.parse::<IpAddr>().is_ok_and(byname_core::is_special);
        // kube-proxy reads only the first address; other clients read all of them.
        if let Some(address) = endpoint.object.addresses.iter().find(special) {
            let is_mirror = endpoint.slice.kind() == "Endpoints";
            let field = if is_mirror { endpoint.address_field(0) } else { endpoint.field().field("addresses") };
            findings.add(slice_subject(&endpoint.slice), field, format!("{address} cannot be the address of a pod"));
        }
    }
}

fn endpoint_without_pod(context: &Context<'_>, findings: &mut Findings) {
    for endpoint in context.cluster.endpoint_views() {
        let Some(pod) = endpoint.pod() else { continue };
        // The input may have only some pods, or pods of other namespaces.
        if context.cluster.lists("Pod", &pod.namespace) && !context.cluster.pods.contains_key(&pod) {
            let message = format!("endpoint {} refers to Pod {pod}, which does not exist", endpoint.address);
            let field = endpoint.field().field("targetRef").field("name");
            let patch = (endpoint.slice.kind() == "EndpointSlice").then_some(Patch::Delete);
            findings.add(slice_subject(&endpoint.slice), field, message).patch(patch);
        }
    }
}

fn slice_without_service(context: &Context<'_>, findings: &mut Findings) {
    for (name, slice) in &context.cluster.slices {
        /// The label of a slice that belongs to a multi-cluster Service.
        const MULTICLUSTER: &str = "multicluster.kubernetes.io/service-name";
        let labels = slice.object.metadata.labels.as_ref();
        let label = labels.and_then(|labels| labels.get(SERVICE_NAME));
        if labels.is_some_and(|labels| labels.contains_key(MULTICLUSTER)) {
            continue;
        }
        let subject = Subject::new("EndpointSlice", name, slice);
        let Some(service) = label else {
            let message = format!("the EndpointSlice has no label {SERVICE_NAME}");
            findings.add(subject, ["metadata", "labels"], message);
            continue;
        };
        if service.is_empty() {
            let message = format!("the label {SERVICE_NAME} is empty");
            findings.add(subject, ["metadata", "labels", SERVICE_NAME], message);
            continue;
        }
        if let Some(missing) = context.missing_service(&name.namespace, service) {
            let field = Field::from(["metadata", "labels", SERVICE_NAME]);
            let patch = missing.meant.map(|meant| Patch::Set(field.clone(), meant.into()));
            findings.add(subject, field, missing.message(&name.namespace, service)).patch(patch);
        }
    }
}

fn port_in_no_slice(context: &Context<'_>, findings: &mut Findings) {
    /// The filter leaves out the port alone.
    const WHY_NO_PORT: &str = "no client can connect to such a port, so the filter leaves it out of these endpoints; the API server does \
                               not check the number";
    /// A client of a headless Service connects to the address of an endpoint, which is the pod's own.
    const WHY_HEADLESS: &str = "the filter answers 503 to requests for this port; without the filter, clients get the endpoints' addresses \
                                from DNS, and reach the port if it is open there";
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        for slice in service.view.slices() {
            for (port, number) in slice.ports().filter_map(|port| Some((port, wrong_number(&port)?))) {
                let message = format!("{number} is not a port, so the endpoints have no port {}", slice_port(&port));
                let subject = slice_subject(&slice).of_service(service.name);
                let found = findings.add(subject, slice.port_field(port.index), message);
                found.why(WHY_NO_PORT).fix("write the port of the pods, from 1 to 65535");
            }
        }
        for port in service.view.ports() {
            // BN020 reports the cause, or the number of a port in an EndpointSlice is it.
            let is_wrong = |own: SlicePortView<'_>| {
                own.name == port.name && own.protocol == port.protocol && wrong_number(&own).is_some()
            };
            let is_known = names_no_container_port(service, &port)
                || service.view.slices().flat_map(|slice| slice.ports()).any(is_wrong);
            let Some(message) = lacks_port(service, &port).filter(|_| !is_known) else {
                continue;
            };
            let found = findings.add(service.subject(), port.field(), message);
            if service.view.is_headless() {
                found.why(WHY_HEADLESS);
            }
        }
    }
}

/// Why no endpoint serves a port of a Service, if the endpoints that could serve lack the port.
fn lacks_port(service: &LintedService<'_>, port: &ServicePortView<'_>) -> Option<String> {
    let (having, lacking): (Vec<&EndpointView<'_>>, Vec<_>) =
        service.endpoints.iter().partition(|endpoint| endpoint.slice.port_of(port).is_some());
    let slices = || service.view.slices();
    if slices().any(|slice| slice.port_of(port).is_some()) {
        // BN010 reports a Service without any endpoint that can serve.
        let is_lacking = !having.iter().any(|endpoint| endpoint.may_serve());
        let lacking: BTreeSet<String> =
            lacking.iter().filter(|endpoint| endpoint.may_serve()).map(|endpoint| called(&endpoint.slice)).collect();
        return (is_lacking && !lacking.is_empty()).then(|| {
            let lacking = some(lacking);
            let others = if having.is_empty() { "" } else { "; those with the port are not ready" };
            format!("the endpoints that can serve have no port {}: {lacking}{others}", shown(port))
        });
    }
    let port = shown(port);
    let there: BTreeSet<String> = slices().flat_map(|slice| slice.ports()).map(|port| slice_port(&port)).collect();
    let there = if there.is_empty() { "no ports".to_owned() } else { some(there) };
    let is_mirror = slices().any(|slice| slice.kind() == "Endpoints");
    (!service.endpoints.is_empty()).then(|| match is_mirror {
        true => format!("the Endpoints object has no port {port}; it has {there}"),
        false => format!("no EndpointSlice has port {port}; the EndpointSlices have {there}"),
    })
}

/// The object of a slice in words: `EndpointSlice web-1`.
fn called(slice: &SliceView<'_>) -> String {
    format!("{} {}", slice.kind(), slice.name.name)
}

/// The number of a port of an EndpointSlice that is none of a port.
fn wrong_number(port: &SlicePortView<'_>) -> Option<i32> {
    port.written.filter(|_| port.number.is_none())
}

/// A port of an EndpointSlice as text: `http/TCP`.
fn slice_port(port: &SlicePortView<'_>) -> String {
    let SlicePortView { name, protocol, written, .. } = port;
    let port = if name.is_empty() { format!("an unnamed {protocol} port") } else { format!("{name}/{protocol}") };
    if written.is_some() { port } else { format!("{port} without a number") }
}

/// Zones and nodes in the hints of an endpoint.
fn hints<'c>(endpoint: &EndpointView<'c>) -> [(&'static str, Vec<&'c str>); 2] {
    [("zone", endpoint.hinted_zones().collect()), ("node", endpoint.hinted_nodes().collect())]
}

fn hints_fall_away(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        // kube-proxy decides for each IP family by itself.
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
            "endpoint {} has no {kind} hint, so the hints of {hinted} of {} ready endpoints of Service {} do not apply",
            bare.address,
            ready.len(),
            service.name
        );
        findings.add(slice_subject(&bare.slice), bare.field(), message);
    }
}

fn slice_of_the_other_family(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let Some(stray) = service.view.stray_family() else { continue };
        let (stray, own, address_type) = match stray {
            IpFamily::IPv4 => ("IPv4", "IPv6", AddressType::IPv4),
            IpFamily::IPv6 => ("IPv6", "IPv4", AddressType::IPv6),
        };
        // BN079 reports a slice that has addresses of both.
        let slices = service.view.slices().filter(|slice| slice.address_type == address_type && !slice.mixes_types());
        for slice in slices {
            let message = format!("the addresses are {stray}, and Service {} has only {own}", service.name);
            // An Endpoints object may have addresses of both families.
            let first = slice.endpoints().next().filter(|_| slice.kind() == "Endpoints");
            let field = first.map_or_else(|| ["addressType"].into(), |endpoint| endpoint.address_field(0));
            findings.add(slice_subject(&slice), field, message);
        }
    }
}

fn hint_leads_nowhere(context: &Context<'_>, findings: &mut Findings) {
    let nodes = &context.cluster.nodes;
    if !context.cluster.lists("Node", "") {
        return;
    }
    let zones: BTreeSet<&str> = nodes.values().filter_map(|node| node.object.zone.as_deref()).collect();
    for endpoint in context.services.iter().flat_map(|service| &service.endpoints) {
        for (kind, names) in hints(endpoint) {
            let is_there = |name: &&str| match kind {
                "zone" => zones.contains(name),
                _ => nodes.contains_key(*name),
            };
            if !names.is_empty() && !names.iter().any(is_there) {
                let missing = if kind == "zone" { "which has no nodes" } else { "which does not exist" };
                let message = format!("the hint of {} names {kind} {}, {missing}", endpoint.address, some(&names));
                findings.add(slice_subject(&endpoint.slice), endpoint.field().field("hints"), message);
            }
        }
    }
}
