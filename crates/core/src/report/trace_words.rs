//! The words of a trace: one line, so that it fits into a log or a header.

use alloc::string::{String, ToString};
use core::fmt;

use crate::{
    limits::{MAX_LISTED_PORTS, MAX_QUOTED_CHARS, MAX_TRACE_HEADER_BYTES},
    resolve::{
        Trace,
        trace::{EndpointsOutcome, FallbackOutcome, HopOutcome, Lack, MatchedPort, Outcome, PortOrigin, Step},
    },
    table::{Choice, Missing},
    text::{quoted, shown},
    wire::{IpFamily, Protocol, Trigger},
};

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table version {}", self.table_version)?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "the authority is invalid: {error}"),
            Self::Address { address, service: Some(service) } => write!(f, "{address} is the cluster IP of {service}"),
            Self::Address { address, service: None } => write!(f, "{address} is not a cluster IP"),
            Self::Candidate { name, outcome, .. } => write!(f, "{name} {outcome}"),
            Self::Hop { alias, target, outcome, .. } => write!(f, "alias {alias} -> {target} {outcome}"),
            Self::Fallback { of, to, trigger, outcome } => {
                let because = match trigger {
                    Trigger::Missing => "is missing",
                    Trigger::NoEndpoints => "has no endpoints",
                };
                write!(f, "{of} {because}: fallback {to} {outcome}")
            }
            Self::Unanswered(key) => write!(f, "the server has not answered for {key}"),
            Self::Waited { milliseconds } => write!(f, "waited {milliseconds} ms for the server"),
            Self::Subset { name, of, by_key } => {
                let by = if *by_key { "the affinity key" } else { "weight" };
                match &**name {
                    "" => write!(f, "endpoints outside every subset, chosen by {by}"),
                    name => write!(f, "subset {name} of {of}, chosen by {by}"),
                }
            }
            Self::Endpoint { endpoint, policy: None, .. } => write!(f, "endpoint {endpoint} by its name"),
            Self::Endpoint { endpoint, of, policy: Some(policy), without_key, ejected } => {
                write!(f, "endpoint {endpoint} of {of} by {policy}")?;
                if *without_key {
                    f.write_str(", RANDOM because the request has no affinity key")?;
                }
                if *ejected > 0 { write!(f, ", {ejected} ejected") } else { Ok(()) }
            }
            Self::Port { number, origin, matched } => {
                write_port(f, *number, *origin, matched.as_ref().map_err(|ports| &**ports))
            }
            Self::NamedPort { name, named, number, origin } => {
                write_number(f, *number, *origin)?;
                write!(f, "is not port {name} of the name, which is {named}")
            }
            Self::OtherPort { port, protocol: Protocol::Tcp } => write!(f, "the endpoints' port {port} has no number"),
            Self::OtherPort { port, protocol } => {
                write!(f, "port {port} of the Service is a {} port, and requests need a TCP port", protocol.as_str())
            }
            Self::PodPort { number, only } => write_pod_port(f, *number, only.as_deref()),
            Self::Endpoints(outcome) => outcome.fmt(f),
            Self::Observed(difference) => {
                write!(f, "observed: the request goes on unchanged, difference {}", difference.as_str())
            }
            Self::Steer { cluster, authority, because } => {
                match cluster {
                    Some(cluster) => write!(f, "cluster {cluster} by {because}")?,
                    None => write!(f, "cluster left to Envoy's routes by {because}")?,
                }
                write!(f, ", authority {authority}")
            }
        }
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, number: u16, origin: PortOrigin) -> fmt::Result {
    let origin = match origin {
        PortOrigin::Authority => "from the authority",
        PortOrigin::Connection => "of the connection",
        PortOrigin::Scheme => "by the scheme",
        PortOrigin::Alias => "by the alias",
        PortOrigin::Fallback => "by the fallback",
        PortOrigin::Name => "by its name",
    };
    write!(f, "port {number} {origin} ")
}

fn write_port(
    f: &mut fmt::Formatter<'_>,
    number: u16,
    origin: PortOrigin,
    matched: Result<&MatchedPort, &[u16]>,
) -> fmt::Result {
    write_number(f, number, origin)?;
    let MatchedPort { name, app_protocol } = match matched {
        Ok(matched) => matched,
        Err(ports) => {
            f.write_str("is not a port of the Service, which has ")?;
            return write_ports(f, ports);
        }
    };
    f.write_str("is a port of the Service")?;
    if !name.is_empty() {
        write!(f, " named {name}")?;
    }
    let protocol = app_protocol.as_ref().map(|protocol| quoted(protocol, MAX_QUOTED_CHARS));
    protocol.map_or(Ok(()), |protocol| write!(f, " with appProtocol {protocol}"))
}

fn write_pod_port(f: &mut fmt::Formatter<'_>, number: u16, only: Option<&[u16]>) -> fmt::Result {
    let Some(ports) = only else {
        return write!(f, "the name resolves to pod addresses, so it is port {number} of the pods");
    };
    write!(
        f,
        "port {number} may be a port of the pods, but only steering by endpoint reaches those; the Service has "
    )?;
    write_ports(f, ports)
}

/// The TCP ports that a Service has.
fn write_ports(f: &mut fmt::Formatter<'_>, ports: &[u16]) -> fmt::Result {
    match ports {
        [] => f.write_str("no TCP port"),
        [one] => write!(f, "only port {one}"),
        [first, others @ ..] => {
            write!(f, "only the ports {first}")?;
            others.iter().take(MAX_LISTED_PORTS - 1).try_for_each(|port| write!(f, ", {port}"))?;
            f.write_str(if ports.len() > MAX_LISTED_PORTS { " and more" } else { "" })
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("exists"),
            Self::Missing(missing) if missing.lacks_readiness() => write!(f, "is not in DNS now: {missing}"),
            Self::Missing(missing) => write_missing(f, *missing),
            Self::Outside => f.write_str("is outside the cluster domain: may differ from DNS"),
            Self::AskedFirst => {
                f.write_str("is first asked of public DNS, whose answer byname does not know: may differ from DNS")
            }
        }
    }
}

/// A name that the server has not denied may exist.
fn write_missing(f: &mut fmt::Formatter<'_>, missing: Missing) -> fmt::Result {
    let what = if missing.is_unsure() { "is not known" } else { "does not exist" };
    write!(f, "{what}: {missing}")
}

impl fmt::Display for HopOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("exists"),
            Self::Outside { port } => write!(f, "is external and allowed on port {port}"),
            Self::Missing(missing) => write_missing(f, *missing),
            Self::NotAllowed { port } => write!(f, "is not listed in externalNames.allow with port {port}"),
            Self::NotGranted { from, to } => {
                write!(f, "is in another namespace, and externalNames.grants has no grant from {from} to {to}")
            }
            Self::PassedOn => f.write_str("is not in the table: the request goes on under that name"),
            Self::WouldLosePort => f.write_str(
                "is not in the table and not listed in externalNames.allow; passing the request on would lose the alias's port \
                 or TLS",
            ),
            Self::AlwaysRefused => f.write_str("is always refused"),
            Self::Circle => f.write_str("was already followed: an alias loop"),
            Self::TooMany => f.write_str("is one alias too many"),
        }
    }
}

impl fmt::Display for FallbackOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("exists"),
            Self::Outside { port } => write!(f, "is external, on port {port}"),
            Self::Missing(missing) => write_missing(f, *missing),
            Self::Circle => f.write_str("was already followed: a fallback loop"),
            Self::TooMany => f.write_str("is one fallback too many"),
        }
    }
}

impl fmt::Display for EndpointsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("endpoints are not in the table"),
            Self::Known { lack: Some(Lack::Endpoints), .. } => f.write_str("the Service has no endpoints"),
            Self::Known { of, lack: Some(Lack::Port(port)), .. } => match &**port {
                "" => write!(f, "0 of {of} endpoints can serve: none has the Service's port"),
                port => write!(f, "0 of {of} endpoints can serve: none has a port named {port}"),
            },
            Self::Known { of, lack: Some(Lack::Family(family)), .. } => {
                let family = match family {
                    IpFamily::IPv4 => "IPv4",
                    IpFamily::IPv6 => "IPv6",
                };
                write!(f, "0 of {of} endpoints can serve: none has an {family} address, the Service's only family")
            }
            Self::Known { usable, of, choice, family, lack: None } => {
                write!(f, "{usable} of {of} endpoints can serve")?;
                f.write_str(match family {
                    None => "",
                    Some(IpFamily::IPv4) => " by IPv4",
                    Some(IpFamily::IPv6) => " by IPv6",
                })?;
                f.write_str(match (choice, usable) {
                    (Choice::Ready, _) => "",
                    (Choice::SameNode, _) => ": those hinted for the caller's node",
                    (Choice::SameZone, _) => ": those hinted for the caller's zone",
                    (Choice::Terminating, 0) => ": none is ready, and none serves while terminating",
                    (Choice::Terminating, _) => ": none is ready, so those that serve while terminating are used",
                    (Choice::Local, _) => ": those on the caller's node",
                    (Choice::LocalTerminating, 0) => ": none on the caller's node can serve",
                    (Choice::LocalTerminating, _) => {
                        ": on the caller's node none is ready, so those that serve while terminating are used"
                    }
                    (Choice::NodeUnknown, _) => ": internalTrafficPolicy is Local, and the caller's node is unknown",
                })
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "no name of the cluster has this form",
            Self::Service => "no such Service",
            Self::Endpoint => "the Service has no endpoint with that name",
            Self::EndpointNotReady => "the endpoint with that name is not ready",
            Self::EndpointUnknown => "the Service's endpoints are not in the table: may differ from DNS",
            Self::Port => "the Service has no port with that name and protocol in DNS",
            Self::NothingReady => "the Service is headless and has no ready endpoint",
            Self::BelowExternalName => "an ExternalName Service has no names below it",
            Self::PodAddress => "no endpoint has that address",
            Self::Unanswered => "the server has not answered",
            Self::Outdated => "the stream to the server that denied it has ended",
        })
    }
}

impl Trace {
    /// The steps as the value of a header: visible ASCII and spaces, cut to [`MAX_TRACE_HEADER_BYTES`].
    #[must_use]
    pub fn header_value(&self) -> String {
        let mut value = shown(self.to_string().as_bytes(), MAX_TRACE_HEADER_BYTES);
        // Escaping may have made it longer; it is ASCII, so it can be cut anywhere.
        value.truncate(MAX_TRACE_HEADER_BYTES);
        value
    }
}
