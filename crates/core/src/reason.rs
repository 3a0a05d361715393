//! Why a request was routed, passed or refused. The same value feeds the counter, the log, the local answer and a trace.

use core::fmt;

/// The outcome of a resolution, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The name is a Service's.
    Service,
    /// The name is that of one endpoint of a Service.
    Endpoint,
    /// The name is a pod's.
    Pod,
    /// The address is a Service's cluster IP.
    ClusterIp,
    /// An ExternalName Service led to something in the cluster.
    Alias,
    /// An ExternalName Service led to an allowed external host.
    External,
    /// Another stood in for a Service that does not exist.
    FallbackMissing,
    /// Another stood in for a Service with no endpoint that may serve.
    FallbackNoEndpoints,
    /// The baseline namespace has a Service that the caller's own lacks.
    Baseline,
    /// An address that is no cluster IP.
    IpLiteral,
    /// The resolver asks public DNS before it tries the search path, and no table can know the answer.
    PublicName,
    /// No candidate exists, or the target of an alias does not.
    NameNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// The authority can be read in more than one way, or in none.
    BadAuthority,
    /// An alias led where it may not.
    AliasDenied,
    /// Aliases lead in a circle, or on and on.
    AliasLoop,
    /// The Service exists and nothing can serve it.
    NoEndpoints,
}

impl Reason {
    /// All of them, each at the place that [`Reason::index`] gives.
    pub const ALL: [Self; 17] = [
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
    ];

    /// Its place in [`Reason::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether it leads to something that is called otherwise.
    #[must_use]
    pub fn leads_elsewhere(self) -> bool {
        matches!(
            self,
            Self::Alias | Self::External | Self::FallbackMissing | Self::FallbackNoEndpoints | Self::Baseline
        )
    }

    /// Its name, as counters, headers and logs show it.
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
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
