//! Every step of one decision, as values. `report::trace_words` puts them into words.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::net::IpAddr;

use super::reason::Reason;
use crate::{
    names::{AuthorityError, NamespacedName},
    table::{Choice, Missing},
    wire::{IpFamily, Protocol, Trigger},
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
        /// The Service with this cluster IP.
        service: Option<NamespacedName>,
    },
    /// An absolute name was looked up.
    Candidate {
        /// The name.
        name: Box<str>,
        /// The Service that the name is of, whether it exists or not.
        service: Option<NamespacedName>,
        /// Whether it exists.
        outcome: Outcome,
    },
    /// An ExternalName Service was followed.
    Hop {
        /// `namespace/name` of the alias.
        alias: Box<str>,
        /// The target.
        target: Box<str>,
        /// The Service that the target is the name of, whether it exists or not.
        service: Option<NamespacedName>,
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
        /// The matching port, or the TCP ports that the Service has.
        matched: Result<MatchedPort, Box<[u16]>>,
    },
    /// The port is not one of the Service, and the name resolves to pod addresses, where any port of the pods answers.
    PodPort {
        /// The port.
        number: u16,
        /// The Service's TCP ports, where only these can be reached: the Service is not steered by endpoint.
        only: Option<Box<[u16]>>,
    },
    /// The name is for one port of the Service, and the request for another.
    NamedPort {
        /// The name of the named port.
        name: Box<str>,
        /// The number of the named port.
        named: u16,
        /// The port of the request.
        number: u16,
        /// Where the number of the request's port comes from.
        origin: PortOrigin,
    },
    /// The port exists, but no request can go to it.
    OtherPort {
        /// The name or the number.
        port: Box<str>,
        /// The protocol; TCP where the port has no number.
        protocol: Protocol,
    },
    /// The usable endpoints of the Service were looked up.
    Endpoints(EndpointsOutcome),
    /// The server has not answered for a Service or an address.
    Unanswered(Box<str>),
    /// The request waited for the server's answers.
    Waited {
        /// How long.
        milliseconds: u64,
    },
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
    /// The request is observed: it goes on unchanged.
    Observed(Difference),
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

/// What would be different about a request that is observed, if it were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Nothing.
    None,
    /// The authority that goes upstream would be another one.
    Host,
    /// byname would choose an upstream cluster other than that of Envoy's route.
    Cluster,
    /// Both.
    HostAndCluster,
    /// The request would get a local reply.
    Refused,
    /// The server has not said what the name resolves to.
    Unknown,
}

impl Difference {
    /// The name that counters and access logs show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
            Self::Cluster => "cluster",
            Self::HostAndCluster => "host_and_cluster",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// The counter of observed requests with this difference and a reason.
    #[must_use]
    #[inline(never)]
    pub fn counter(self, reason: Reason) -> String {
        format!("byname.observed.{}.{reason}", self.as_str())
    }
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
    /// To a name that the table does not know: the request goes on under that name.
    PassedOn,
    /// To a name that the table does not know, with a port or TLS that a request that is passed on would lose.
    WouldLosePort,
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
    /// The connection, as it was before it was redirected.
    Connection,
    /// The default of the scheme.
    Scheme,
    /// The port of the alias.
    Alias,
    /// The port of the fallback.
    Fallback,
    /// The port named by the authority's `_port` label.
    Name,
}

impl PortOrigin {
    /// Whether the client named no port, so that a name for one decides.
    pub(super) fn is_implied(self) -> bool {
        matches!(self, Self::Connection | Self::Scheme)
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// Why none is usable, where conditions and topology are not the reason.
        lack: Option<Lack>,
    },
}

/// What every endpoint of a Service lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The Service has no endpoints.
    Endpoints,
    /// No endpoint has the port of this name.
    Port(Box<str>),
    /// The Service is single-stack, and every endpoint has an address of the other family.
    Family(IpFamily),
}

impl Trace {
    /// Notes a step. Out of line, because code that a request passes by costs it fuel too.
    #[cold]
    #[inline(never)]
    pub(crate) fn note(&mut self, step: impl FnOnce() -> Step) {
        self.steps.push(step());
    }

    /// An empty trace of a table with this version.
    #[must_use]
    pub fn new(table_version: u64) -> Self {
        Self { table_version, steps: Vec::new() }
    }

    /// The last Service that was found by name or by address, be it an alias.
    #[must_use]
    pub fn last_service(&self) -> Option<&NamespacedName> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Address { service, .. }
            | Step::Candidate { service, outcome: Outcome::Exists | Outcome::Missing(Missing::NothingReady), .. }
            | Step::Hop { service, outcome: HopOutcome::Inside | HopOutcome::Missing(Missing::NothingReady), .. } => {
                service.as_ref()
            }
            _ => None,
        })
    }

    /// The Services that the tried candidates and alias targets are names of, in order, whether they exist or not.
    pub fn tried_services(&self) -> impl Iterator<Item = &NamespacedName> {
        self.steps.iter().filter_map(|step| match step {
            Step::Candidate { service, .. } | Step::Hop { service, .. } => service.as_ref(),
            _ => None,
        })
    }
}

impl Step {
    /// What the endpoints lack, where that is why none is usable.
    pub(crate) fn lack(&self) -> Option<&Lack> {
        match self {
            Self::Endpoints(EndpointsOutcome::Known { lack, .. }) => lack.as_ref(),
            _ => None,
        }
    }

    /// Whether no endpoint is usable because the caller's node is unknown.
    #[must_use]
    pub fn lacks_node(&self) -> bool {
        let Self::Endpoints(EndpointsOutcome::Known { choice, lack, .. }) = self else { return false };
        *choice == Choice::NodeUnknown && lack.is_none()
    }

    /// What the server has not answered for.
    pub(crate) fn unanswered(&self) -> Option<&str> {
        match self {
            Self::Unanswered(key) => Some(key),
            _ => None,
        }
    }

    /// The whole name that the step tried.
    pub(crate) fn tried(&self) -> Option<&str> {
        match self {
            Self::Candidate { name, .. } => Some(name),
            Self::Hop { target, .. } => Some(target),
            _ => None,
        }
    }
}
