//! Every step of one decision, as values; their [`Display`](fmt::Display) is for people.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::IpAddr};

use crate::{
    authority::AuthorityError,
    limits::{MAX_QUOTED_CHARS, MAX_TRACE_HEADER_BYTES},
    problem::quoted,
    table::Missing,
    usable::Choice,
    wire::{IpFamily, Trigger},
};

/// The steps that led to a resolution, in order, and the version of the table that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Version of the table.
    pub table_version: u64,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The authority could not be read.
    Unreadable(AuthorityError),
    /// An address was looked up among the cluster IPs.
    Address {
        /// The address.
        address: IpAddr,
        /// `namespace/name` of the Service that has it.
        service: Option<Box<str>>,
    },
    /// An absolute name was looked up.
    Candidate {
        /// The name.
        name: Box<str>,
        /// What it is.
        outcome: Outcome,
    },
    /// An ExternalName Service was followed.
    Hop {
        /// `namespace/name` of the alias.
        alias: Box<str>,
        /// Its target.
        target: Box<str>,
        /// Where that led.
        outcome: HopOutcome,
    },
    /// Another stood in for a Service, or should have.
    Fallback {
        /// `namespace/name` of what it stands in for.
        of: Box<str>,
        /// `namespace/name` of the other, or an external host.
        to: Box<str>,
        /// What made it stand in.
        trigger: Trigger,
        /// Where that led.
        outcome: FallbackOutcome,
    },
    /// The port was matched to a Service's ports.
    Port {
        /// The port.
        number: u16,
        /// Where the number comes from.
        origin: PortOrigin,
        /// The matching port.
        matched: Option<MatchedPort>,
    },
    /// The endpoints of the Service were looked at.
    Endpoints(EndpointsOutcome),
    /// A subset of the Service was chosen.
    Subset {
        /// Its name; empty for the endpoints that are in none.
        name: Box<str>,
        /// Of how many.
        of: usize,
        /// Whether an affinity key decided, and not chance.
        by_key: bool,
    },
    /// An endpoint was chosen.
    Endpoint {
        /// Address and port.
        endpoint: Box<str>,
        /// Of how many.
        of: usize,
        /// The policy that chose it; `None`: the name said which.
        policy: Option<&'static str>,
        /// Whether the policy goes by a key that this request does not have.
        without_key: bool,
        /// How many of them are ejected.
        ejected: u32,
    },
    /// The upstream was chosen.
    Steer {
        /// The upstream cluster; `None` where the routes decide.
        cluster: Option<Box<str>>,
        /// The authority that goes upstream.
        authority: Box<str>,
        /// What made it so: the field of the configuration.
        because: &'static str,
    },
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exists.
    Exists,
    /// It would be a name of the cluster, and does not exist.
    Missing(Missing),
    /// It is outside the cluster domain, where no table knows anything; the next candidate is tried.
    Outside,
    /// It is outside the cluster domain and asked of public DNS before all else: the walk ends.
    AskedFirst,
}

/// Where an alias led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopOutcome {
    /// To something in the cluster.
    Inside,
    /// To an allowed external host.
    Outside {
        /// The port that is allowed.
        port: u16,
    },
    /// To a name of the cluster that does not exist.
    Missing(Missing),
    /// To a host and port that are not listed.
    NotAllowed {
        /// The port that was asked for.
        port: u16,
    },
    /// Into a namespace that was not granted.
    NotGranted {
        /// Namespace of the alias.
        from: Box<str>,
        /// Namespace of the target.
        to: Box<str>,
    },
    /// To a target that is refused whatever is listed.
    AlwaysRefused,
    /// To an alias that was followed before.
    Circle,
    /// Nowhere: as many aliases as may be were followed already.
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
    /// To a fallback that was followed before.
    Circle,
    /// Nowhere: as many as may be were followed already.
    TooMany,
}

/// Where a port's number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOrigin {
    /// The authority.
    Authority,
    /// The scheme's default.
    Scheme,
    /// The alias's own port.
    Alias,
    /// The fallback's own port.
    Fallback,
    /// The port named by the authority's `_port` label.
    Name,
}

/// A Service's port that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPort {
    /// Its name, empty where it has none.
    pub name: Box<str>,
    /// Its application protocol.
    pub app_protocol: Option<Box<str>>,
}

/// What the endpoints of a Service allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsOutcome {
    /// The table says nothing of them.
    Unknown,
    /// So many may serve; where it is none, the request is refused.
    Known {
        /// How many may serve.
        usable: usize,
        /// How many the Service has in all.
        of: usize,
        /// Why these.
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
    /// The whole name that was tried in it.
    pub(crate) fn tried(&self) -> Option<&str> {
        match self {
            Self::Candidate { name, .. } => Some(name),
            Self::Hop { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// A trace that is only written where somebody asked for one.
pub(crate) type MaybeTrace<'a> = Option<&'a mut Trace>;

pub(crate) fn note(trace: &mut MaybeTrace<'_>, step: impl FnOnce() -> Step) {
    if let Some(trace) = trace {
        trace.steps.push(step());
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
    /// The steps as a header's value: visible ASCII and spaces, cut where it is too long for one.
    #[must_use]
    pub fn header_value(&self) -> String {
        let mut value = shown(self.to_string().as_bytes(), MAX_TRACE_HEADER_BYTES);
        // What was escaped grew; it is ASCII now, so that it can be cut anywhere.
        value.truncate(MAX_TRACE_HEADER_BYTES);
        value
    }
}

/// What a client sent, made fit for one line of text: escaped and cut.
pub(crate) fn shown(bytes: &[u8], most: usize) -> String {
    let cut = bytes.get(..most);
    let mut text = cut.unwrap_or(bytes).escape_ascii().to_string();
    if cut.is_some_and(|cut| cut.len() < bytes.len()) {
        text.push_str("...");
    }
    text
}
