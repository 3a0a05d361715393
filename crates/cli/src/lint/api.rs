//! What an API server refuses in a Service, an EndpointSlice or the DNS settings of a pod, and the filter takes. The rules for Services are those of
//! pkg/apis/core/validation in Kubernetes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use byname_core::is_label;
use k8s_openapi::api::core::v1::ServiceSpec;

use super::{
    api_pods, api_slices,
    context::{Context, LintedService, most_similar, shown, slice_subject},
    findings::{Findings, Subject},
    refusal::{QUALIFIED_NAME_FIX, Refusal, ip},
    rule::{Rule, Severity},
    unknown_fields::UnknownField,
};
use crate::{
    input::Field,
    kubernetes::{
        NamespacedName, ServicePortView, ServiceView, TargetPort, TransportProtocol, is_label_value, is_qualified_name,
    },
};

pub(super) const RULES: &[Rule] = &[Rule {
    id: API_REFUSES,
    name: "api-server-refuses",
    severity: Severity::Error,
    summary: "an API server refuses a Service, an EndpointSlice or the DNS settings of a pod, and no other rule says why",
    why: "kubectl apply fails, so the object is not created, or stays as it was",
    fix: "correct the field to match the Kubernetes API",
    needs: &[],
    absence: None,
    check: api_refuses,
}];

/// The rule that yields to every other rule with an error in the same field.
pub(super) const API_REFUSES: &str = "BN079";

/// The maximum of `timeoutSeconds`: a day.
const MAX_AFFINITY_SECONDS: i32 = 86_400;
/// The annotation that came before the field loadBalancerSourceRanges.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// The numbers of ports.
pub(super) const PORTS: RangeInclusive<i32> = 1..=65_535;
const NODE_PORT_FIX: &str = "omit it to have a port from 30000 to 32767 allocated";
/// The length of a port's name (RFC 6335 section 5.1).
const MAX_PORT_NAME_BYTES: usize = 15;

fn api_refuses(context: &Context<'_>, findings: &mut Findings) {
    unknown_fields(context, findings);
    for service in &context.services {
        let mut refusals = Vec::new();
        ports(service, &mut refusals);
        addresses(service, &mut refusals);
        of_other_types(service, &mut refusals);
        external_name(service, &mut refusals);
        unread_fields(service, &mut refusals);
        labels(service, &mut refusals);
        refusals.into_iter().for_each(|refusal| refusal.report(service.subject(), findings));
    }
    for slice in context.cluster.slice_views() {
        for refusal in api_slices::refusals(&slice) {
            refusal.report(slice_subject(&slice), findings);
        }
    }
    for (name, pod) in &context.cluster.pods {
        for refusal in api_pods::refusals(&pod.object, |field| ["spec", field].into()) {
            refusal.report(Subject::new("Pod", name, pod), findings);
        }
    }
    for (name, workload) in context.templates() {
        for refusal in api_pods::refusals(&workload.object.pod, |field| workload.object.pod_field(field)) {
            refusal.report(Subject::of_workload(name, workload), findings);
        }
    }
}

fn unknown_fields(context: &Context<'_>, findings: &mut Findings) {
    for (object, fields) in &context.input.unknown_fields {
        // A newer API server may know more fields.
        if context.cluster.has_read_from_api(object) {
            continue;
        }
        let name = NamespacedName::new(&object.namespace, &object.name);
        let (services, slices) = (&context.cluster.services, &context.cluster.slices);
        let service = services.get_key_value(&name).filter(|_| object.kind == "Service");
        let service = service.map(|(name, service)| Subject::of_object(object, service).of_service(name));
        let slice = || Some(Subject::of_object(object, slices.get(&name)?));
        let Some(subject) = service.or_else(slice) else { continue };
        for unknown in fields {
            let fix = match meant(unknown) {
                Some(meant) => format!("write {meant}, or remove the field"),
                None => "remove the field".to_owned(),
            };
            let found = findings.add(subject, unknown.field.clone(), "Kubernetes has no such field");
            found
                .fix(fix)
                .why("kubectl refuses the field; where nothing checks it, the API server leaves it out of the object");
        }
    }
}

/// The field that seems to be meant.
fn meant(UnknownField { name, known, .. }: &UnknownField) -> Option<&'static str> {
    let in_other_case = known.iter().find(|known| name.eq_ignore_ascii_case(known)).copied();
    in_other_case.or_else(|| most_similar(name, known.iter().copied()))
}

fn ports(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    let view = &service.view;
    // A patch of a Service may lack its ports.
    let is_whole = view.selector().is_some() || view.cluster_ips().next().is_some();
    if is_whole && view.is_virtual() && view.ports().next().is_none() {
        let fix = "add a port, or set clusterIP: None if clients need only the addresses of the pods";
        refusals.push(Refusal::new(["spec", "ports"], "the Service has a cluster IP and no ports", fix));
    }
    let mut node_ports = NodePorts::default();
    for port in view.ports() {
        refusals.extend(target_port(&port));
        if let Some(protocol) = port.object.app_protocol.as_ref().filter(|name| !is_qualified_name(name)) {
            let reason = format!("{protocol:?} is not the name of a protocol");
            refusals.push(Refusal::new(port.field().field("appProtocol"), reason, QUALIFIED_NAME_FIX));
        }
        let Some(number) = port.object.node_port.filter(|number| *number != 0) else { continue };
        let field = port.field().field("nodePort");
        if view.type_word() == "ClusterIP" && (is_whole || view.spec.type_.is_some()) {
            let fix = "set type: NodePort, or remove nodePort";
            refusals.push(Refusal::new(field.clone(), "a Service of type ClusterIP has no node ports", fix));
        }
        // The node ports of an ExternalName Service are compared, and never allocated.
        let other = node_ports.take(port, number, !view.is_external_name());
        if !PORTS.contains(&number) && !view.is_external_name() {
            refusals.push(Refusal::new(field, format!("{number} is not a port"), NODE_PORT_FIX).removable());
        } else if let Some(other) = other {
            let reason = format!("port {} has node port {number} ({}) too", shown(&other), other.protocol);
            let fix = "omit the nodePort of one of the two ports to have another one allocated";
            refusals.push(Refusal::new(field, reason, fix).removable());
        }
    }
    let health = view.spec.health_check_node_port.filter(|_| has_health_check(view));
    if let Some((number, other)) = health.and_then(|number| Some((number, node_ports.allocated.get(&number)?))) {
        let reason = format!("port {} has node port {number} too", shown(other));
        refusals.push(Refusal::new(["spec", "healthCheckNodePort"], reason, NODE_PORT_FIX).removable());
    }
}

/// The node ports of a Service, as an API server allocates them: by number alone, and once for all ports of one number that have
/// different protocols.
#[derive(Default)]
struct NodePorts<'c> {
    allocated: BTreeMap<i32, ServicePortView<'c>>,
    by_protocol: BTreeMap<(i32, &'c str), ServicePortView<'c>>,
    /// The node port of each port number.
    of_number: BTreeMap<i32, i32>,
}

impl<'c> NodePorts<'c> {
    /// Takes the node port of `port`. Returns the port that has it already, if an API server then refuses the Service.
    fn take(&mut self, port: ServicePortView<'c>, number: i32, is_allocated: bool) -> Option<ServicePortView<'c>> {
        let same_protocol = self.by_protocol.insert((number, port.protocol.as_str()), port);
        let has_other = self.of_number.get(&port.number).is_none_or(|own| *own != number);
        self.of_number.entry(port.number).or_insert(number);
        let allocated = if is_allocated && has_other { self.allocated.insert(number, port) } else { None };
        same_protocol.or(allocated)
    }
}

/// Whether a Service has a port for the health checks of load balancers.
fn has_health_check(view: &ServiceView<'_>) -> bool {
    view.type_word() == "LoadBalancer" && view.spec.external_traffic_policy.as_deref() == Some("Local")
}

fn target_port(port: &ServicePortView<'_>) -> Option<Refusal> {
    const FIX: &str = "use a port from 1 to 65535, or the name of a container port";
    // The API server takes 0 and an empty name for a targetPort that is left out.
    let target = port.object.target_port.as_ref().map(|_| port.target())?;
    let field = port.field().field("targetPort");
    match target {
        TargetPort::Number(0..=65535) | TargetPort::Name("") => None,
        TargetPort::Number(number) => Some(Refusal::new(field, format!("{number} is not a port"), FIX)),
        TargetPort::Name(name) if is_port_name(name) => None,
        TargetPort::Name(name) => Some(match name.parse::<u16>() {
            Ok(number) => {
                let reason = format!("\"{name}\" is text, and the name of a port needs a letter");
                Refusal::new(field, reason, "write the number without quotes").settable(Some(number.into()))
            }
            Err(_) => {
                let fix = "use a name of at most 15 bytes: a-z, 0-9 and single '-' (not first or last), with a letter";
                Refusal::new(field, format!("\"{name}\" is not the name of a port"), fix)
            }
        }),
    }
}

/// Whether `text` is a service name of RFC 6335.
fn is_port_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= MAX_PORT_NAME_BYTES
        && text.bytes().all(is_allowed)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The field that says which cluster IPs a Service has.
fn cluster_ip_field(spec: &ServiceSpec) -> Field {
    let is_alone = spec.cluster_ip.as_ref().is_some_and(|ip| !ip.is_empty());
    ["spec", if is_alone { "clusterIP" } else { "clusterIPs" }].into()
}

fn addresses(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    let (view, spec) = (&service.view, service.view.spec);
    let (type_word, field) = (view.type_word(), cluster_ip_field(spec));
    if view.is_headless() && ["NodePort", "LoadBalancer"].contains(&type_word) {
        let reason = format!("a Service of type {type_word} cannot be headless");
        refusals.push(Refusal::new(field, reason, "remove clusterIP: None, or set type: ClusterIP"));
    } else if view.is_external_name() && view.cluster_ips().next().is_some() {
        let reason = "a Service of type ExternalName has no cluster IP";
        refusals.push(Refusal::new(field, reason, "remove the cluster IP, or the type").removable());
    }
    let is_refused = !refusals.is_empty();
    let first = spec.cluster_ips.iter().flatten().next();
    if let (Some(own), Some(first)) = (spec.cluster_ip.as_ref().filter(|own| !own.is_empty()), first)
        && own != first
    {
        let reason = format!("{first} is not clusterIP, {own}");
        refusals.push(Refusal::new(["spec", "clusterIPs"], reason, "write the value of clusterIP first"));
    }
    let is_alone = first.is_some() && spec.cluster_ip.as_ref().is_none_or(String::is_empty);
    if is_alone && !is_refused && !view.is_external_name() {
        let fix = "write the first of them into clusterIP too";
        refusals.push(Refusal::new(["spec", "clusterIPs"], "clusterIP is missing beside clusterIPs", fix));
    }
    let others = spec.cluster_ips.iter().flatten().enumerate().skip(1);
    for (index, _) in others.filter(|(_, ip)| ip.is_empty() && !view.is_external_name()) {
        let field = Field::from(["spec", "clusterIPs"]).item(index);
        refusals.push(Refusal::new(field, "the cluster IP is empty", "remove the item").removable());
    }
    let is_single = match spec.ip_family_policy.as_deref() {
        // The API server fills in RequireDualStack.
        None => !view.is_headless() || view.selector().is_some(),
        Some(policy) => policy == "SingleStack",
    };
    let families: BTreeSet<&str> = spec.ip_families.iter().flatten().map(String::as_str).collect();
    if is_single && !view.is_external_name() {
        let fix = "set ipFamilyPolicy: PreferDualStack, or keep one IP family";
        let reason = match spec.cluster_ips.as_deref() {
            _ if families == BTreeSet::from(["IPv4", "IPv6"]) => Some("a single-stack Service has one IP family"),
            Some([_, _]) => Some("a single-stack Service has one cluster IP"),
            _ => None,
        };
        refusals.extend(reason.map(|reason| Refusal::new(["spec", "ipFamilyPolicy"], reason, fix)));
    }
    if view.is_virtual() {
        cluster_ip_families(view, refusals);
    }
    for (name, is_set) in [("ipFamilies", !families.is_empty()), ("ipFamilyPolicy", spec.ip_family_policy.is_some())] {
        if is_set && view.is_external_name() {
            let reason = format!("a Service of type ExternalName has no {name}");
            refusals.push(Refusal::new(["spec", name], reason, "remove the field").removable());
        }
    }
    let mut seen = BTreeSet::new();
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        let field = Field::from(["spec", "ipFamilies"]).item(index);
        if !["IPv4", "IPv6"].contains(&&**family) {
            refusals.push(Refusal::new(field, format!("{family:?} is not an IP family"), "use IPv4 or IPv6"));
        } else if !seen.insert(family) {
            refusals
                .push(Refusal::new(field, format!("{family} is listed twice"), "list each family once").removable());
        }
    }
    let policies = &["SingleStack", "PreferDualStack", "RequireDualStack"];
    let fix = "use SingleStack, PreferDualStack or RequireDualStack";
    refusals.extend(one_of("ipFamilyPolicy", spec.ip_family_policy.as_ref(), policies, fix));
}

/// Cluster IPs that are not one of each IP family, in the order of `ipFamilies`.
fn cluster_ip_families(view: &ServiceView<'_>, refusals: &mut Vec<Refusal>) {
    let field = Field::from(["spec", "clusterIPs"]);
    let families: Option<Vec<&str>> = view.cluster_ips().map(|ip| Some(family(ip.parse().ok()?))).collect();
    // BN080 reports text that is no IP address.
    let Some(families) = families else { return };
    match families.as_slice() {
        [one, other] if one == other => {
            let reason = format!("both cluster IPs are {one}");
            refusals.push(Refusal::new(field.clone(), reason, "keep one cluster IP for each IP family"));
        }
        [_, _, _, ..] => {
            let reason = format!("{} cluster IPs are more than 2", families.len());
            refusals.push(Refusal::new(field.clone(), reason, "keep one cluster IP for each IP family"));
        }
        _ => {}
    }
    let is_alone = view.spec.cluster_ips.as_ref().is_none_or(Vec::is_empty);
    let wanted = view.spec.ip_families.iter().flatten().enumerate();
    for ((index, wanted), (ip, own)) in wanted.zip(view.cluster_ips().zip(families)) {
        if ["IPv4", "IPv6"].contains(&&**wanted) && wanted != own {
            let field = if is_alone { ["spec", "clusterIP"].into() } else { field.clone().item(index) };
            let reason = format!("{ip} is not an {wanted} address, and ipFamilies[{index}] is {wanted}");
            refusals.push(Refusal::new(field, reason, "write ipFamilies in the order of the cluster IPs, or omit it"));
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.to_canonical().is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The refusal of a field of the spec whose value is none of `values`.
fn one_of(name: &str, value: Option<&String>, values: &[&str], fix: &'static str) -> Option<Refusal> {
    let value = value.filter(|value| !values.contains(&&***value))?;
    Some(Refusal::new(["spec", name], format!("{value:?} is not a value of {name}"), fix))
}

/// Fields that only other types of Services have.
fn of_other_types(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    let (view, spec) = (&service.view, service.view.spec);
    // A patch of a Service may lack its type.
    let is_whole = view.selector().is_some() || view.spec.type_.is_some() || view.cluster_ips().next().is_some();
    let type_word = view.type_word();
    let of_load_balancers = [
        ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
        ("loadBalancerClass", spec.load_balancer_class.is_some()),
        ("loadBalancerSourceRanges", spec.load_balancer_source_ranges.as_ref().is_some_and(|all| !all.is_empty())),
    ];
    for (name, _) in of_load_balancers.iter().filter(|(_, is_set)| *is_set && is_whole && type_word != "LoadBalancer") {
        let reason = format!("only a Service of type LoadBalancer may have {name}");
        let fix = "set type: LoadBalancer, or remove the field";
        refusals.push(Refusal::new(["spec", name], reason, fix).removable());
    }
    let policy = spec.external_traffic_policy.as_ref().filter(|policy| !policy.is_empty());
    refusals.extend(one_of("externalTrafficPolicy", policy, &["Cluster", "Local"], "use Cluster or Local"));
    let has_external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let is_external = ["NodePort", "LoadBalancer"].contains(&type_word) || has_external_ips;
    if policy.is_some() && is_whole && !is_external {
        let reason = format!("a Service of type {type_word} has no traffic from outside the cluster");
        let fix = "set type: NodePort or type: LoadBalancer, or remove the field";
        refusals.push(Refusal::new(["spec", "externalTrafficPolicy"], reason, fix).removable());
    }
    let values = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    let fix = "use PreferSameZone, PreferSameNode or PreferClose";
    refusals.extend(one_of("trafficDistribution", spec.traffic_distribution.as_ref(), values, fix));
    let is_checked = has_health_check(view);
    if let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) {
        let reason =
            "only a Service of type LoadBalancer with externalTrafficPolicy: Local may have healthCheckNodePort";
        let refused = match is_checked {
            true if !PORTS.contains(&port) => Some((format!("{port} is not a port"), NODE_PORT_FIX)),
            false if is_whole => Some((reason.to_owned(), "remove the field")),
            _ => None,
        };
        let refusal = refused.map(|(reason, fix)| Refusal::new(["spec", "healthCheckNodePort"], reason, fix));
        refusals.extend(refusal.map(Refusal::removable));
    }
    for (index, address) in spec.external_ips.iter().flatten().enumerate() {
        let field = Field::from(["spec", "externalIPs"]).item(index);
        let refused = external_ip(address);
        refusals.extend(refused.map(|reason| Refusal::new(field, reason, "use an address of the nodes, or remove it")));
    }
    if let Some(class) = spec.load_balancer_class.as_ref().filter(|class| !is_qualified_name(class)) {
        let reason = format!("{class:?} is not the name of a class");
        refusals.push(Refusal::new(["spec", "loadBalancerClass"], reason, QUALIFIED_NAME_FIX));
    }
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    for (field, range) in source_ranges(service).filter(|(_, range)| address_range(range).is_none()) {
        refusals.push(Refusal::new(field, format!("{range:?} is not an address range"), "use the form 10.0.0.0/8"));
    }
    let is_noted = service.annotation(SOURCE_RANGES).is_some() && ranges.is_empty();
    if is_noted && is_whole && type_word != "LoadBalancer" {
        let reason = "only a Service of type LoadBalancer may have the annotation";
        let fix = "set type: LoadBalancer, or remove the annotation";
        refusals.push(Refusal::new(["metadata", "annotations", SOURCE_RANGES], reason, fix).removable());
    }
    // The API server drops the configuration of other affinities.
    let affinity = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    let affinity = affinity.filter(|_| spec.session_affinity.as_deref() == Some("ClientIP"));
    if let Some(seconds) = affinity.filter(|seconds| !(1..=MAX_AFFINITY_SECONDS).contains(seconds)) {
        let field = ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"];
        refusals.push(Refusal::new(
            field,
            format!("{seconds} seconds are outside 1 to 86400"),
            "use a number in that range",
        ));
    }
}

/// Why an API server refuses an address in externalIPs; `None` if it takes it.
pub(super) fn external_ip(text: &str) -> Option<String> {
    let Some(address) = ip(text) else { return Some(format!("{text:?} is not an IP address")) };
    let special = match address.to_canonical() {
        address if address.is_unspecified() => "the unspecified address",
        address if address.is_loopback() => "a loopback address",
        IpAddr::V4(address) if address.is_link_local() => "a link-local address",
        IpAddr::V6(address) if address.is_unicast_link_local() => "a link-local address",
        IpAddr::V4(address) if address.octets().starts_with(&[224, 0, 0]) => "a link-local multicast address",
        IpAddr::V6(address) if address.segments().first().is_some_and(|first| first & 0xff0f == 0xff02) => {
            "a link-local multicast address"
        }
        _ => return None,
    };
    Some(format!("{text} is {special}"))
}

/// The ranges of clients that a load balancer lets in, from the field, or from the annotation if there is no field.
pub(super) fn source_ranges<'c>(service: &LintedService<'c>) -> impl Iterator<Item = (Field, &'c str)> {
    let ranges = service.view.spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let listed = ranges.iter().enumerate().map(|(index, range)| {
        let field = Field::from(["spec", "loadBalancerSourceRanges"]).item(index);
        (field, range.trim())
    });
    let noted = service.annotation(SOURCE_RANGES).filter(|noted| ranges.is_empty() && !noted.trim().is_empty());
    let noted = noted.into_iter().flat_map(|noted| noted.split(','));
    listed.chain(noted.map(|range| (Field::from(["metadata", "annotations", SOURCE_RANGES]), range.trim())))
}

/// The address and the prefix length of a CIDR block; `None` if `text` is none.
pub(super) fn address_range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address = ip(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = Some(bits).filter(|bits| bits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    (bits <= most).then_some((address, bits))
}

/// The labels of a Service and of its selector, and the keys of its annotations.
fn labels(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    const VALUE_FIX: &str =
        "use at most 63 letters, digits, '-', '_' and '.', with a letter or a digit at the beginning and at the end";
    let metadata = &service.view.source.object.metadata;
    for (field, labels) in
        [(["spec", "selector"], service.view.selector()), (["metadata", "labels"], metadata.labels.as_ref())]
    {
        for (key, value) in labels.into_iter().flatten() {
            let field = Field::from(field).field(key);
            if !is_qualified_name(key) {
                refusals.push(Refusal::new(field, format!("{key:?} is not the key of a label"), QUALIFIED_NAME_FIX));
            } else if !is_label_value(value) {
                refusals.push(Refusal::new(field, format!("{value:?} is not the value of a label"), VALUE_FIX));
            }
        }
    }
    // Their letters may be upper-case. BN090 and BN091 report byname's own.
    let is_refused = |key: &&String| !is_qualified_name(&key.to_ascii_lowercase()) && !key.starts_with("byname/");
    for key in metadata.annotations.iter().flat_map(BTreeMap::keys).filter(is_refused) {
        let field = Field::from(["metadata", "annotations"]).field(key);
        refusals.push(Refusal::new(field, format!("{key:?} is not the key of an annotation"), QUALIFIED_NAME_FIX));
    }
}

/// What an API server checks in an ExternalName Service too. BN080 reports the others: byname reads these fields of them.
fn unread_fields(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    let (view, spec) = (&service.view, service.view.spec);
    if !view.is_external_name() {
        return;
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for port in view.ports() {
        let field = |name| port.field().field(name);
        if !PORTS.contains(&port.number) {
            refusals.push(Refusal::new(field("port"), format!("{} is not a port", port.number), "use 1 to 65535"));
        } else if !numbers.insert((port.number, port.protocol)) {
            let reason = format!("port {} ({}) is listed twice", port.number, port.protocol);
            refusals.push(Refusal::new(field("port"), reason, "remove one of the two ports"));
        }
        if !port.name.is_empty() && !is_label(port.name) {
            let fix = "use a-z, 0-9 and '-' (not first or last), at most 63 bytes";
            refusals.push(Refusal::new(field("name"), format!("{:?} is not the name of a port", port.name), fix));
        } else if !port.name.is_empty() && !names.insert(port.name) {
            let reason = format!("two ports are called {}", port.name);
            refusals.push(Refusal::new(field("name"), reason, "give each port its own name"));
        }
        if let TransportProtocol::Unknown(word) = port.protocol {
            let reason = format!("{word:?} is not a port protocol");
            refusals.push(Refusal::new(field("protocol"), reason, "use TCP, UDP or SCTP"));
        }
    }
    let affinity = spec.session_affinity.as_ref().filter(|word| !word.is_empty());
    refusals.extend(one_of("sessionAffinity", affinity, &["ClientIP", "None"], "use ClientIP or None"));
    let policy = spec.internal_traffic_policy.as_ref();
    refusals.extend(one_of("internalTrafficPolicy", policy, &["Cluster", "Local"], "use Cluster or Local"));
}

fn external_name(service: &LintedService<'_>, refusals: &mut Vec<Refusal>) {
    let name = service.view.spec.external_name.as_deref().filter(|_| service.view.is_external_name());
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let own = name.map(|name| name.strip_suffix('.').unwrap_or(name)).filter(|name| !name.is_empty());
    if own.is_some_and(|name| !name.split('.').all(is_label)) {
        let reason = "a label of the name is empty, or begins or ends with '-'";
        refusals.push(Refusal::new(["spec", "externalName"], reason, "correct the name"));
    }
    let is_refused = |name: &&str| name.contains(|c: char| c.is_ascii_uppercase() || c == '_');
    if let Some(name) = name.filter(is_refused) {
        let lower = Some(name).filter(|name| !name.contains('_')).map(|name| name.to_ascii_lowercase().into());
        let reason = format!("{name} has an upper-case letter or an underscore");
        let refusal = Refusal::new(["spec", "externalName"], reason, "use lower-case letters, digits, - and .");
        refusals.push(refusal.settable(lower));
    }
}
