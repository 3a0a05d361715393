//! Why a name does not exist.

/// Why a name below the cluster domain does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No name of the cluster has this form.
    Form,
    /// No such Service.
    Service,
    /// The Service has no endpoint of this name.
    Endpoint,
    /// The Service has an endpoint of this name, and it is not ready.
    EndpointNotReady,
    /// The Service's endpoints are not in the table, so it may have one of this name.
    EndpointUnknown,
    /// The Service has no port of this name and protocol.
    Port,
    /// The Service is headless and has no ready endpoint.
    NothingReady,
    /// No name exists below an ExternalName Service.
    BelowExternalName,
    /// No endpoint has this address, or no pod can have it.
    PodAddress,
    /// The server that the table is filled from has not said whether there is such a Service or address.
    Unanswered,
    /// The server said that there is no such Service or address, before the stream to it ended.
    Outdated,
}

impl Missing {
    /// Whether the table knows what the name stands for, and DNS leaves it out only because nothing is ready.
    pub(crate) fn lacks_readiness(self) -> bool {
        matches!(self, Self::NothingReady | Self::EndpointNotReady)
    }

    /// Whether the server that the table is filled from may say otherwise.
    pub(crate) fn is_unsure(self) -> bool {
        matches!(self, Self::Unanswered | Self::Outdated)
    }
}
