//! What is done to one request, and what it takes to choose that.

use alloc::string::String;
use core::{fmt::Write, net::IpAddr};

use crate::{
    ambient::Ambient,
    balance::{Balance, Ticket},
    resolve::write_number,
};

/// What choices are made with.
pub struct Chooser<'c> {
    /// What earlier ones left.
    pub balance: &'c mut Balance,
    /// Clock, chance and headers.
    pub ambient: &'c mut dyn Ambient,
}

/// What is done to one request. Made once and used again, so that steering allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) cluster: String,
    pub(crate) has_cluster: bool,
    pub(crate) authority: String,
    pub(crate) has_authority: bool,
    /// Empty where none was chosen.
    pub(crate) endpoint: String,
    pub(crate) ticket: Option<Ticket>,
    host: String,
    dynamic_port: Option<u16>,
}

impl Plan {
    /// The value of the control header; `None`: the header is removed, whoever sent it.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.has_cluster.then_some(&*self.cluster)
    }

    /// The new `:authority`; `None`: it stays as it came.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.has_authority.then_some(&*self.authority)
    }

    /// Address and port of the endpoint for an `ORIGINAL_DST` cluster, where one was chosen: `10.0.0.7:8080`, `[fd00::7]:8080`.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        (!self.endpoint.is_empty()).then_some(&*self.endpoint)
    }

    /// What [`Config::done`](crate::Config::done) wants when the request is over, if anything: once.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// Host and port for a dynamic forward proxy cluster, where one was chosen.
    #[must_use]
    pub fn dynamic_host(&self) -> Option<(&str, u16)> {
        self.dynamic_port.map(|port| (&*self.host, port))
    }

    pub(crate) fn clear(&mut self) {
        for text in [&mut self.cluster, &mut self.authority, &mut self.endpoint, &mut self.host] {
            text.clear();
        }
        (self.has_cluster, self.has_authority, self.ticket, self.dynamic_port) = (false, false, None, None);
    }

    pub(crate) fn set_cluster(&mut self, name: &str) {
        self.cluster.push_str(name);
        self.has_cluster = true;
    }

    pub(crate) fn set_dynamic_host(&mut self, host: &str, port: u16) {
        self.host.push_str(host);
        self.dynamic_port = Some(port);
    }
}

/// What every request that is steered by endpoint comes by, so without the machinery of formatting where it can be.
pub(crate) fn write_endpoint(address: IpAddr, port: u16, to: &mut String) {
    match address {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    to.push('.');
                }
                write_number(octet.into(), to);
            }
        }
        // Into a String: it cannot fail.
        IpAddr::V6(v6) => drop(write!(to, "[{v6}]")),
    }
    to.push(':');
    write_number(port, to);
}
