//! Every step of one decision, as values. [`Display`](fmt::Display) writes them for people.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::IpAddr};

use crate::{
    limits::{MAX_QUOTED_CHARS, MAX_TRACE_HEADER_BYTES},
    names::AuthorityError,
    table::{Choice, Missing},
    text::{quoted, shown},
    wire::{IpFamily, Trigger},
};

/// The steps of a decision, in order, and the version of the table that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The version of the table.
    pub table_version: u64,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The authority is invalid.
    Unreadable(AuthorityError),
    /// An address was looked up among the cluster IPs.
    Address {
        /// The address.
        address: IpAddr,
        /// `namespace/name` of the Service with this cluster IP.
        service: Option<Box<str>>,
    },
    /// An absolute name was looked up.
    Candidate {
        /// The name.
        name: Box<str>,
        /// Whether it exists.
        outcome: Outcome,
    },
    /// An ExternalName Service was followed.
    Hop {
        /// `namespace/name` of the alias.
        alias: Box<str>,
        /// The target.
        target: Box<str>,
        /// Where it led.
        outcome: HopOutcome,
    },
    /// The fallback of a Service was followed.
    Fallback {
        /// `namespace/name` of the Service.
        of: Box<str>,
        /// `namespace/name` of the fallback, or an external host.
        to: Box<str>,
        /// Why the fallback is needed.
        trigger: Trigger,
        /// Where it led.
        outcome: FallbackOutcome,
    },
    /// The port was matched to the Service's ports.
    Port {
        /// The port.
        number: u16,
        /// Where the number comes from.
        origin: PortOrigin,
        /// The matching port.
        matched: Option<MatchedPort>,
    },
    /// The usable endpoints of the Service were looked up.
    Endpoints(EndpointsOutcome),
    /// A subset of the Service was chosen.
    Subset {
        /// The name; empty for endpoints outside every subset.
        name: Box<str>,
        /// The number of subsets to choose from.
        of: usize,
        /// Whether an affinity key chose, rather than a random number.
        by_key: bool,
    },
    /// An endpoint was chosen.
    Endpoint {
        /// Address and port.
        endpoint: Box<str>,
        /// The number of endpoints to choose from.
        of: usize,
        /// The policy that chose; `None` where the name was that of the endpoint.
        policy: Option<&'static str>,
        /// Whether the policy needs an affinity key that the request does not have.
        without_key: bool,
        /// The number of endpoints that are ejected.
        ejected: u32,
    },
    /// The upstream was chosen.
    Steer {
        /// The upstream cluster; `None` where Envoy's routes decide.
        cluster: Option<Box<str>>,
        /// The authority that goes upstream.
        authority: Box<str>,
        /// The field of the configuration that decided.
        because: &'static str,
    },
}

/// Whether a candidate exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exists.
    Exists,
    /// It does not exist.
    Missing(Missing),
    /// It is outside the cluster domain, of which no table knows anything; the next candidate is tried.
    Outside,
    /// It is outside the cluster domain, and a resolver asks public DNS before anything else: the search ends.
    AskedFirst,
}

/// Where an alias led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopOutcome {
    /// To a name in the cluster.
    Inside,
    /// To an allowed external host.
    Outside {
        /// The allowed port.
        port: u16,
    },
    /// To a name in the cluster that does not exist.
    Missing(Missing),
    /// To a host and port that are not listed.
    NotAllowed {
        /// The requested port.
        port: u16,
    },
    /// Into another namespace, without a grant.
    NotGranted {
        /// Namespace of the alias.
        from: Box<str>,
        /// Namespace of the target.
        to: Box<str>,
    },
    /// To a target that no configuration can allow.
    AlwaysRefused,
    /// To an alias that was already followed.
    Circle,
    /// Nowhere: too many aliases were followed already.
    TooMany,
}

/// Where a fallback led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackOutcome {
    /// To a Service.
    Inside,
    /// To an external host.
    Outside {
        /// The port there.
        port: u16,
    },
    /// To a Service that does not exist.
    Missing(Missing),
    /// To a fallback that was already followed.
    Circle,
    /// Nowhere: too many fallbacks were followed already.
    TooMany,
}

/// The origin of a port's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOrigin {
    /// The authority.
    Authority,
    /// The default of the scheme.
    Scheme,
    /// The port of the alias.
    Alias,
    /// The port of the fallback.
    Fallback,
    /// The port named by the authority's `_port` label.
    Name,
}

/// The port of a Service that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPort {
    /// The name; empty where the port has none.
    pub name: Box<str>,
    /// The application protocol.
    pub app_protocol: Option<Box<str>>,
}

/// The usable endpoints of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsOutcome {
    /// The endpoints are not in the table.
    Unknown,
    /// The endpoints are in the table; without a usable one the request is refused.
    Known {
        /// The number of usable endpoints.
        usable: usize,
        /// The number of all endpoints.
        of: usize,
        /// Why these endpoints are usable.
        choice: Choice,
        /// The family of their addresses, where one is preferred.
        family: Option<IpFamily>,
    },
}

impl Trace {
    /// An empty trace of a table with this version.
    #[must_use]
    pub fn new(table_version: u64) -> Self {
        Self { table_version, steps: Vec::new() }
    }

    /// The candidates and alias targets that were tried, in order.
    pub fn tried(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(Step::tried)
    }
}

impl Step {
    /// The whole name that the step tried.
    pub(crate) fn tried(&self) -> Option<&str> {
        match self {
            Self::Candidate { name, .. } => Some(name),
            Self::Hop { target, .. } => Some(target),
            _ => None,
        }
    }
}

impl fmt::Display for Trace {
    /// One line, so that it fits into a log or a header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}", self.table_version)?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "not an authority: {error}"),
            Self::Address { address, service: Some(service) } => write!(f, "{address} is the cluster IP of {service}"),
            Self::Address { address, service: None } => write!(f, "{address} is no cluster IP"),
            Self::Candidate { name, outcome } => write!(f, "{name} {outcome}"),
            Self::Hop { alias, target, outcome } => write!(f, "alias {alias} -> {target} {outcome}"),
            Self::Fallback { of, to, trigger, outcome } => {
                let because = match trigger {
                    Trigger::Missing => "is missing",
                    Trigger::NoEndpoints => "has no endpoints",
                };
                write!(f, "{of} {because}: fallback {to} {outcome}")
            }
            Self::Subset { name, of, by_key } => {
                let by = if *by_key { "the affinity key" } else { "weight" };
                match &**name {
                    "" => write!(f, "no subset of {of} by {by}"),
                    name => write!(f, "subset {name} of {of} by {by}"),
                }
            }
            Self::Endpoint { endpoint, policy: None, .. } => write!(f, "endpoint {endpoint} by its name"),
            Self::Endpoint { endpoint, of, policy: Some(policy), without_key, ejected } => {
                write!(f, "endpoint {endpoint} of {of} by {policy}")?;
                if *without_key {
                    f.write_str(", RANDOM as there is no key")?;
                }
                if *ejected > 0 { write!(f, ", {ejected} ejected") } else { Ok(()) }
            }
            Self::Port { number, origin, matched } => write_port(f, *number, *origin, matched.as_ref()),
            Self::Endpoints(outcome) => outcome.fmt(f),
            Self::Steer { cluster, authority, because } => {
                match cluster {
                    Some(cluster) => write!(f, "cluster {cluster} by {because}")?,
                    None => write!(f, "cluster left to the routes by {because}")?,
                }
                write!(f, ", authority {authority}")
            }
        }
    }
}

fn write_port(
    f: &mut fmt::Formatter<'_>,
    number: u16,
    origin: PortOrigin,
    matched: Option<&MatchedPort>,
) -> fmt::Result {
    let origin = match origin {
        PortOrigin::Authority => "from the authority",
        PortOrigin::Scheme => "by the scheme",
        PortOrigin::Alias => "by the alias",
        PortOrigin::Fallback => "by the fallback",
        PortOrigin::Name => "by its name",
    };
    write!(f, "port {number} {origin} ")?;
    let Some(MatchedPort { name, app_protocol }) = matched else { return f.write_str("is no port of the Service") };
    f.write_str("is a port of the Service")?;
    if !name.is_empty() {
        write!(f, " called {name}")?;
    }
    let protocol = app_protocol.as_ref().map(|protocol| quoted(protocol, MAX_QUOTED_CHARS));
    protocol.map_or(Ok(()), |protocol| write!(f, " with appProtocol {protocol}"))
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("exists"),
            Self::Missing(missing) => write!(f, "does not exist: {missing}"),
            Self::Outside => f.write_str("is outside the cluster domain: may differ from DNS"),
            Self::AskedFirst => f.write_str("is asked of public DNS first: may differ from DNS"),
        }
    }
}

impl fmt::Display for HopOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("exists"),
            Self::Outside { port } => write!(f, "is external and allowed on port {port}"),
            Self::Missing(missing) => write!(f, "does not exist: {missing}"),
            Self::NotAllowed { port } => write!(f, "is not listed in externalNames.allow with port {port}"),
            Self::NotGranted { from, to } => {
                write!(f, "is in another namespace, and externalNames.grants has none from {from} to {to}")
            }
            Self::AlwaysRefused => f.write_str("is refused whatever is listed"),
            Self::Circle => f.write_str("was followed before: a circle"),
            Self::TooMany => f.write_str("is one alias too many"),
        }
    }
}

impl fmt::Display for FallbackOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside => f.write_str("exists"),
            Self::Outside { port } => write!(f, "is external, on port {port}"),
            Self::Missing(missing) => write!(f, "does not exist: {missing}"),
            Self::Circle => f.write_str("was followed before: a circle"),
            Self::TooMany => f.write_str("is one fallback too many"),
        }
    }
}

impl fmt::Display for EndpointsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("endpoints are not in the table"),
            Self::Known { usable, of, choice, family } => {
                write!(f, "{usable} of {of} endpoints may serve")?;
                f.write_str(match family {
                    None => "",
                    Some(IpFamily::IPv4) => " by IPv4",
                    Some(IpFamily::IPv6) => " by IPv6",
                })?;
                f.write_str(match (choice, usable) {
                    (Choice::Ready, _) => "",
                    (Choice::SameNode, _) => ": those hinted to the caller's node",
                    (Choice::SameZone, _) => ": those hinted to the caller's zone",
                    (Choice::Terminating, 0) => ": none is ready or serves while it terminates",
                    (Choice::Terminating, _) => ": none is ready, and these serve while they terminate",
                    (Choice::Local, _) => ": those on the caller's node",
                    (Choice::LocalTerminating, 0) => ": none is on the caller's node and may serve",
                    (Choice::LocalTerminating, _) => {
                        ": on the caller's node none is ready, and these serve while they terminate"
                    }
                    (Choice::NodeUnknown, _) => ": internalTrafficPolicy is Local, and caller.node is not known",
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
            Self::Endpoint => "the Service has no ready endpoint of that name",
            Self::EndpointUnknown => "the Service's endpoints are not in the table: may differ from DNS",
            Self::Port => "the Service has no TCP port of that name",
            Self::NothingReady => "the Service is headless and no endpoint is ready",
            Self::BelowExternalName => "an ExternalName Service has no names below it",
            Self::PodAddress => "no endpoint has that address",
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
