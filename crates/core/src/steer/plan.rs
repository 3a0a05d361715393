//! The plan for one request, and what it takes to make it.

use alloc::string::String;

use super::template::write_cluster;
use crate::{
    balance::{Balance, Env, Ticket},
    policy::Template,
    resolve::{Reason, Resolution, Route, trace::Difference},
};

/// The state and the environment of a choice.
pub struct Chooser<'c> {
    /// The state of earlier choices.
    pub balance: &'c mut Balance,
    /// Clock, random numbers and headers.
    pub env: &'c mut dyn Env,
}

/// What is done to one request. A plan is reused, so steering allocates nothing once its buffers have grown.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) cluster: String,
    pub(super) has_cluster: bool,
    pub(super) authority: String,
    pub(super) has_authority: bool,
    /// Empty where no endpoint was chosen.
    pub(super) endpoint: String,
    pub(super) ticket: Option<Ticket>,
    host: String,
    dynamic_port: Option<u16>,
}

impl Plan {
    /// The value of the control header; `None`: the header is removed, whoever set it.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.has_cluster.then_some(&*self.cluster)
    }

    /// The new `:authority`; `None`: it stays unchanged.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.has_authority.then_some(&*self.authority)
    }

    /// Address and port of the chosen endpoint, for an `ORIGINAL_DST` cluster: `10.0.0.7:8080`, `[fd00::7]:8080`.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        (!self.endpoint.is_empty()).then_some(&*self.endpoint)
    }

    /// Whether there is a ticket.
    #[must_use]
    pub fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    /// The ticket for [`Config::done`](crate::Config::done), where the end of the request matters. Returned once.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Host and port for a dynamic forward proxy cluster.
    #[must_use]
    pub fn dynamic_host(&self) -> Option<(&str, u16)> {
        self.dynamic_port.map(|port| (&*self.host, port))
    }

    /// What would be different if this plan were carried out. `route_cluster` is asked for the upstream cluster of Envoy's own route,
    /// only where it matters.
    pub fn difference<C: AsRef<[u8]>>(
        &self,
        resolution: &Resolution<'_>,
        route_cluster: impl FnOnce() -> Option<C>,
    ) -> Difference {
        if resolution.reason() == Reason::Unanswered {
            return Difference::Unknown;
        }
        if let Resolution::Refuse(_) = resolution {
            return Difference::Refused;
        }
        let is_other = |cluster: &str| route_cluster().is_none_or(|route| route.as_ref() != cluster.as_bytes());
        match (self.has_authority, self.cluster().is_some_and(is_other)) {
            (false, false) => Difference::None,
            (true, false) => Difference::Host,
            (false, true) => Difference::Cluster,
            (true, true) => Difference::HostAndCluster,
        }
    }

    pub(super) fn clear(&mut self) {
        self.cluster.clear();
        self.authority.clear();
        self.endpoint.clear();
        self.host.clear();
        (self.has_cluster, self.has_authority, self.ticket, self.dynamic_port) = (false, false, None, None);
    }

    pub(super) fn set_cluster(&mut self, name: &str) {
        self.cluster.push_str(name);
        self.has_cluster = true;
    }

    /// Sets the cluster that the template names for `route`.
    pub(super) fn write_cluster(&mut self, template: &Template, route: &Route<'_>, subset: &str, zone: &str) {
        write_cluster(template, route, subset, zone, &mut self.cluster);
        self.has_cluster = true;
    }

    pub(super) fn set_dynamic_host(&mut self, host: &str, port: u16) {
        self.host.push_str(host);
        self.dynamic_port = Some(port);
    }
}
