//! Why a request was routed, passed or refused. The same value feeds the counter, the log, the local reply and the trace.

use core::fmt;

/// The reason of a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The name is a Service's.
    Service,
    /// The name is that of a single endpoint of a Service.
    Endpoint,
    /// The name is a pod's.
    Pod,
    /// The address is a Service's cluster IP.
    ClusterIp,
    /// An ExternalName Service led to a name in the cluster.
    Alias,
    /// An ExternalName Service led to an allowed external host.
    External,
    /// The Service does not exist, and its fallback is used.
    FallbackMissing,
    /// The Service has no usable endpoint, and its fallback is used.
    FallbackNoEndpoints,
    /// The Service was found in the baseline namespace only.
    Baseline,
    /// The address is not a cluster IP.
    IpLiteral,
    /// The resolver asks public DNS before it tries the search path, and no table knows that answer.
    PublicName,
    /// No candidate of the search path exists, or the target of an alias does not.
    NameNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// The authority is invalid or ambiguous.
    BadAuthority,
    /// An alias leads to a target that it may not reach.
    AliasDenied,
    /// Aliases form a circle or a chain that is too long.
    AliasLoop,
    /// The Service exists and has no usable endpoint.
    NoEndpoints,
    /// The server has not said what the name resolves to.
    Unanswered,
}

impl Reason {
    /// Every reason, at its [`Reason::index`].
    pub const ALL: [Self; 18] = [
        Self::Service,
        Self::Endpoint,
        Self::Pod,
        Self::ClusterIp,
        Self::Alias,
        Self::External,
        Self::FallbackMissing,
        Self::FallbackNoEndpoints,
        Self::Baseline,
        Self::IpLiteral,
        Self::PublicName,
        Self::NameNotFound,
        Self::PortNotFound,
        Self::BadAuthority,
        Self::AliasDenied,
        Self::AliasLoop,
        Self::NoEndpoints,
        Self::Unanswered,
    ];

    /// The index of the reason in [`Reason::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether the request is routed to something with another name.
    #[must_use]
    pub fn changes_name(self) -> bool {
        matches!(
            self,
            Self::Alias | Self::External | Self::FallbackMissing | Self::FallbackNoEndpoints | Self::Baseline
        )
    }

    /// The name that counters, headers and logs show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Endpoint => "endpoint",
            Self::Pod => "pod",
            Self::ClusterIp => "cluster_ip",
            Self::Alias => "alias",
            Self::External => "external",
            Self::FallbackMissing => "fallback_missing",
            Self::FallbackNoEndpoints => "fallback_no_endpoints",
            Self::Baseline => "baseline",
            Self::IpLiteral => "ip_literal",
            Self::PublicName => "public_name",
            Self::NameNotFound => "name_not_found",
            Self::PortNotFound => "port_not_found",
            Self::BadAuthority => "bad_authority",
            Self::AliasDenied => "alias_denied",
            Self::AliasLoop => "alias_loop",
            Self::NoEndpoints => "no_endpoints",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason of a refusal. Each has a local reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// See [`Reason::BadAuthority`].
    BadAuthority,
    /// See [`Reason::AliasDenied`].
    AliasDenied,
    /// See [`Reason::NameNotFound`]; only where unknown names are refused.
    NameNotFound,
    /// See [`Reason::PortNotFound`]; only where unknown names are refused.
    PortNotFound,
    /// See [`Reason::NoEndpoints`].
    NoEndpoints,
    /// See [`Reason::AliasLoop`].
    AliasLoop,
    /// See [`Reason::Unanswered`]; only where such requests are refused.
    Unanswered,
}

impl Refusal {
    /// The reason by which the refusal is counted and shown.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::BadAuthority => Reason::BadAuthority,
            Self::AliasDenied => Reason::AliasDenied,
            Self::NameNotFound => Reason::NameNotFound,
            Self::PortNotFound => Reason::PortNotFound,
            Self::NoEndpoints => Reason::NoEndpoints,
            Self::AliasLoop => Reason::AliasLoop,
            Self::Unanswered => Reason::Unanswered,
        }
    }
}
