//! Targets of ExternalName Services.

use byname_core::{Name, is_label, is_refused_target, limits::MAX_ALIAS_HOPS};

use super::{
    backends::backend_services,
    context::{Context, LintedService, shown},
    findings::Findings,
    patch::Patch,
    public_suffixes::PUBLIC_SUFFIXES,
    rule::{Rule, Severity},
};
use crate::output::some;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN030",
        name: "external-name-is-address",
        severity: Severity::Error,
        summary: "an externalName is an IP address",
        why: "DNS returns the address as a name, which never resolves, and the filter rejects the table",
        fix: "use a Service without a selector and an EndpointSlice with the address, or write the host's name",
        needs: &[],
        absence: None,
        check: is_address,
    },
    Rule {
        id: "BN031",
        name: "external-name-is-short",
        severity: Severity::Warning,
        summary: "an externalName looks like the short name of a Service",
        why: "no search path applies to an externalName: clients ask public DNS and do not reach the Service",
        fix: "write the full name: service.namespace.svc.cluster.local",
        needs: &[],
        absence: None,
        check: is_short,
    },
    Rule {
        id: "BN032",
        name: "external-name-loop",
        severity: Severity::Error,
        summary: "ExternalName Services form a loop, or a chain of more than 10",
        why: "the name never resolves: resolvers give up, and the filter answers 508",
        fix: "set the externalName of one Service to the final target",
        needs: &[],
        absence: None,
        check: is_loop,
    },
    Rule {
        id: "BN033",
        name: "external-name-to-other-namespace",
        severity: Severity::Info,
        summary: "an externalName resolves to a Service of another namespace",
        why: "a proxy that asks on behalf of others, such as a gateway, lends its access to the alias's author (CVE-2021-25740)",
        fix: "set externalNames.mode: listed for such a proxy, and grant the target in externalNames.grants; sidecars need nothing",
        needs: &[],
        absence: None,
        check: to_other_namespace,
    },
    Rule {
        id: "BN034",
        name: "external-name-refused",
        severity: Severity::Error,
        summary: "an externalName is localhost, a cloud's metadata service or a pod",
        why: "requests and their credentials go to the client's own machine or its cloud; the filter answers 403",
        fix: "remove the Service, and find out who created it",
        needs: &[],
        absence: None,
        check: is_refused,
    },
    Rule {
        id: "BN035",
        name: "external-name-with-ports",
        severity: Severity::Info,
        summary: "an ExternalName Service has ports",
        why: "DNS knows no ports: a client uses the port of its own request; only gateways and meshes read the ports",
        fix: "remove the ports if neither a gateway nor a mesh reads them; the filter's table can set a port for the alias",
        needs: &[],
        absence: None,
        check: with_ports,
    },
    Rule {
        id: "BN036",
        name: "external-name-target-missing",
        severity: Severity::Error,
        summary: "an externalName is a name of this cluster, but its Service does not exist",
        why: "the name does not resolve, so every request to it fails",
        fix: "correct the name, or remove the Service",
        needs: &["Service"],
        absence: Some("Service"),
        check: target_missing,
    },
    Rule {
        id: "BN037",
        name: "external-name-is-no-name",
        severity: Severity::Error,
        summary: "an ExternalName Service has no externalName, or its externalName is not a DNS name",
        why: "the name never resolves, and the filter rejects the table",
        fix: "use a DNS name: labels of at most 63 letters, digits, - and _, joined by dots, without port or scheme",
        needs: &[],
        absence: None,
        check: is_no_name,
    },
];

const FIELD: [&str; 2] = ["spec", "externalName"];

/// An ExternalName Service and its target.
struct ExternalNameAlias<'a, 'c> {
    service: &'a LintedService<'c>,
    text: &'c str,
    target: Name,
}

impl<'c> ExternalNameAlias<'_, 'c> {
    /// The target's kind (`svc` or `pod`), namespace and name, if the target is in the cluster.
    fn inside(&self, context: &Context<'c>) -> Option<(&str, &str, &str)> {
        let mut labels = self.target.below(context.domain)?.rsplit('.');
        Some((labels.next()?, labels.next()?, labels.next()?))
    }

    /// The Service that the target names, which need not exist.
    fn service(&self, context: &Context<'c>) -> Option<(&str, &str)> {
        self.inside(context).filter(|(kind, ..)| *kind == "svc").map(|(_, namespace, name)| (namespace, name))
    }
}

impl ExternalNameAlias<'_, '_> {
    /// Whether the target is in the cluster domain, and no object can make it exist: it has not the form of the name of a Service, of
    /// an endpoint, or of a port. Names of pods are refused.
    fn is_of_no_form(&self, context: &Context<'_>) -> bool {
        let Some(below) = self.target.below(context.domain) else { return false };
        let labels: Vec<&str> = below.rsplit('.').collect();
        match *labels.as_slice() {
            ["pod", ..] => false,
            ["svc", namespace, name, ref part @ ..] => {
                let is_part = match *part {
                    [] | [_] => true,
                    [protocol, _] => ["tcp", "udp", "sctp"].contains(&protocol.trim_start_matches('_')),
                    _ => false,
                };
                !is_part || !is_label(namespace) || !is_label(name)
            }
            _ => true,
        }
    }

    /// The whole name of the Service that a target without its form seems to be meant for: `api.billing.cluster.local` lacks the label
    /// `svc`, and `api.svc.cluster.local` the namespace.
    fn service_without_form(&self, context: &Context<'_>) -> Option<String> {
        let labels: Vec<&str> = self.target.below(context.domain)?.split('.').collect();
        let (name, namespace) = match *labels.as_slice() {
            [name, "svc"] => (name, &*self.service.name.namespace),
            [name, namespace] => (name, namespace),
            _ => return None,
        };
        context.service(namespace, name)?;
        Some(format!("{name}.{namespace}.svc.{}", context.domain))
    }
}

fn external_names<'a, 'c>(context: &'a Context<'c>) -> impl Iterator<Item = &'a LintedService<'c>> {
    context.services.iter().filter(|service| service.view.is_external_name())
}

fn text<'c>(service: &LintedService<'c>) -> &'c str {
    service.view.spec.external_name.as_deref().unwrap_or_default()
}

fn alias<'a, 'c>(service: &'a LintedService<'c>) -> Option<ExternalNameAlias<'a, 'c>> {
    let text = text(service);
    let target = Name::parse(text.strip_suffix('.').unwrap_or(text).as_bytes()).ok()?;
    Some(ExternalNameAlias { service, text, target })
}

/// Aliases whose target is a name, not an address.
fn aliases<'a, 'c>(context: &'a Context<'c>) -> impl Iterator<Item = ExternalNameAlias<'a, 'c>> {
    external_names(context).filter_map(alias).filter(|alias| !alias.target.looks_like_ipv4())
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Whether a C library reads `text` as an IPv4 address, as inet_aton does: 1 to 4 decimal, octal or hexadecimal numbers, and the last
/// one stands for all bytes that are left.
fn is_read_as_ipv4(text: &str) -> bool {
    let number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(part) => u32::from_str_radix(part, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u32::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
    let Some((last, before)) = numbers.as_deref().and_then(<[u32]>::split_last) else { return false };
    let most = |before: usize| u32::MAX.checked_shr(u32::try_from(8 * before).unwrap_or(u32::MAX)).unwrap_or_default();
    before.len() < 4 && before.iter().all(|byte| *byte <= 255) && *last <= most(before.len())
}

fn is_address(context: &Context<'_>, findings: &mut Findings) {
    for service in external_names(context) {
        if is_ipv6(text(service)) || alias(service).is_some_and(|alias| alias.target.looks_like_ipv4()) {
            let text = text(service);
            let message = match is_ipv6(text) || is_read_as_ipv4(text) {
                true => format!("{text} is read as an IP address"),
                false => {
                    format!("{text} is neither an IP address nor the name of a host: each of its labels is a number")
                }
            };
            findings.add(service.subject(), FIELD, message);
        }
    }
}

fn is_short(context: &Context<'_>, findings: &mut Findings) {
    for ExternalNameAlias { service, text, target } in aliases(context) {
        if is_refused_target(target.as_str()) || target.below(context.domain).is_some() {
            continue;
        }
        let labels: Vec<&str> = target.as_str().split('.').collect();
        let (namespace, name) = match *labels.as_slice() {
            [name] => (&*service.name.namespace, name),
            [name, namespace, "svc"] => (namespace, name),
            // This may be a public name too, so it counts only where such a Service exists.
            [name, namespace]
                if !PUBLIC_SUFFIXES.contains(&namespace) && context.service(namespace, name).is_some() =>
            {
                (namespace, name)
            }
            _ => continue,
        };
        let whole = format!("{name}.{namespace}.svc.{}", context.domain);
        let message = format!("{text} does not resolve to {whole}");
        findings.add(service.subject(), FIELD, message).patch(Patch::Set(FIELD.into(), whole.into()));
    }
}

fn is_loop(context: &Context<'_>, findings: &mut Findings) {
    for start in aliases(context) {
        let mut way = vec![start.service.name];
        let mut next = following(&start, context);
        while let Some(service) = next {
            if way.contains(&service.name) {
                break;
            }
            way.push(service.name);
            if way.len() > MAX_ALIAS_HOPS {
                break;
            }
            next = alias(service).and_then(|alias| following(&alias, context));
        }
        let shown: Vec<String> = way.iter().map(ToString::to_string).collect();
        let message = match next {
            // Each loop is reported once.
            Some(end) if end.name == start.service.name && way.iter().min() == Some(&start.service.name) => {
                format!("{} resolves to itself: {} → {}", start.service.name, shown.join(" → "), start.service.name)
            }
            Some(_) if way.len() > MAX_ALIAS_HOPS => {
                format!("more than {MAX_ALIAS_HOPS} ExternalName Services form a chain: {}", some(shown))
            }
            _ => continue,
        };
        findings.add(start.service.subject(), FIELD, message);
    }
}

/// The next ExternalName Service in a chain.
fn following<'a, 'c>(alias: &ExternalNameAlias<'_, 'c>, context: &'a Context<'c>) -> Option<&'a LintedService<'c>> {
    let (namespace, name) = alias.service(context)?;
    context.service(namespace, name).filter(|service| service.view.is_external_name())
}

fn to_other_namespace(context: &Context<'_>, findings: &mut Findings) {
    for alias in aliases(context) {
        let Some((namespace, name)) = alias.service(context) else { continue };
        let own = &*alias.service.name.namespace;
        if namespace != own && context.service(namespace, name).is_some() {
            let message = format!("an alias in namespace {own} resolves to Service {namespace}/{name}");
            findings.add(alias.service.subject(), FIELD, message);
        }
    }
}

fn is_refused(context: &Context<'_>, findings: &mut Findings) {
    for alias in aliases(context) {
        let is_pod = alias.inside(context).is_some_and(|(kind, ..)| kind == "pod");
        if is_pod || is_refused_target(alias.target.as_str()) {
            let what = match alias.target.as_str() {
                _ if is_pod => "is the name of a pod, whose address changes when the pod is replaced",
                target if target.contains("metadata") || target.contains("instance-data") => {
                    "is the metadata service of a cloud, which hands out credentials of the machine"
                }
                _ => "is the client's own machine",
            };
            findings.add(alias.service.subject(), FIELD, format!("{} {what}", alias.text)).patch(Patch::Delete);
        }
    }
}

fn with_ports(context: &Context<'_>, findings: &mut Findings) {
    let backends = backend_services(context);
    for service in external_names(context).filter(|service| service.view.ports().count() > 0) {
        // A gateway connects to the port that its route names. A mesh makes a listener for each port.
        let is_read = backends.contains(service.name) || !context.cluster.mesh_rules.is_empty();
        if is_read {
            continue;
        }
        let ports = some(service.view.ports().map(|port| shown(&port)));
        let message = format!("ports without effect in DNS: {ports}");
        let field = ["spec", "ports"];
        findings.add(service.subject(), field, message).patch(Patch::Remove(field.into()));
    }
}

fn target_missing(context: &Context<'_>, findings: &mut Findings) {
    for alias in aliases(context) {
        if alias.is_of_no_form(context) {
            let message = format!("{} is in the cluster domain, but no name of the cluster has this form", alias.text);
            let fix = format!("write service.namespace.svc.{}, or correct the name", context.domain);
            let meant = alias.service_without_form(context).map(|whole| Patch::Set(FIELD.into(), whole.into()));
            findings.add(alias.service.subject(), FIELD, message).fix(fix).patch(meant);
            continue;
        }
        let Some((namespace, name)) = alias.service(context) else { continue };
        if let Some(missing) = context.missing_service(namespace, name) {
            let message = missing.message(namespace, name);
            let near = missing.meant.map(|near| format!("{near}.{namespace}.svc.{}", context.domain));
            let patch = near.map(|near| Patch::Set(FIELD.into(), near.into()));
            findings.add(alias.service.subject(), FIELD, message).patch(patch);
        }
    }
}

fn is_no_name(context: &Context<'_>, findings: &mut Findings) {
    for service in external_names(context) {
        let text = text(service);
        if text.is_empty() {
            findings.add(service.subject(), FIELD, "the Service has no externalName");
        } else if let (Err(error), false) =
            (Name::parse(text.strip_suffix('.').unwrap_or(text).as_bytes()), is_ipv6(text))
        {
            findings.add(service.subject(), FIELD, format!("\"{text}\" is not a DNS name: {error}"));
        }
    }
}
