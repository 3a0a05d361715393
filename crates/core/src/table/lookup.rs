//! The lookup of one DNS name: which names exist, and what each resolves to.

use core::net::IpAddr;

use super::{
    endpoints::LabelledEndpoints, headless, index::Table, missing::Missing, service::Service, service_port::OtherPort,
    service_spec::ServiceKind,
};
use crate::{
    names::{ClusterName, EndpointLabel, is_special, parse_dashed},
    wire::Protocol,
};

/// What a name below the cluster domain resolves to, as far as a table can know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'t> {
    Match(Match<'t>),
    /// A pod with this address, which belongs to no Service.
    Pod(IpAddr),
    Missing(Missing),
}

/// A Service, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Match<'t> {
    Service(&'t Service),
    /// `_port._proto` of a Service.
    Port(&'t Service, NamedPort<'t>),
    /// `_port._proto` of a Service, of a port that no request can go to.
    OtherPort(OtherPort<'t>),
    Endpoint(NamedEndpoint<'t>),
}

/// An endpoint of a Service by its DNS name, or several that share a hostname.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedEndpoint<'t> {
    pub(crate) service: &'t Service,
    pub(crate) label: EndpointLabel<'t>,
    pub(crate) endpoints: LabelledEndpoints<'t>,
}

/// A port of a Service, by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedPort<'t> {
    pub(crate) name: &'t str,
    pub(crate) number: u16,
}

impl Table {
    /// Looks a name up.
    ///
    /// | form, without the cluster domain | resolves to |
    /// |---|---|
    /// | `svc.ns.svc` | the Service |
    /// | `ep.svc.ns.svc` | the ready endpoints with this hostname, or the one with this dashed address |
    /// | `_port._proto.svc.ns.svc`, underscores optional | the Service at that port, of any protocol |
    /// | `a-b-c-d.ns.pod` | an address that an endpoint has |
    ///
    /// Kubernetes DNS-Based Service Discovery, section 2; endpoint names of Services with a cluster IP, and the forms
    /// without underscores, are answered as CoreDNS does.
    #[inline(always)]
    pub(crate) fn lookup(&self, name: &ClusterName<'_>) -> Lookup<'_> {
        // Most search domains make a name with more or fewer labels than any name of the cluster has.
        if (3..=5).contains(&name.len()) { self.lookup_labels(name) } else { Lookup::Missing(Missing::Form) }
    }

    #[inline(never)]
    fn lookup_labels(&self, name: &ClusterName<'_>) -> Lookup<'_> {
        // Nearly every name is that of a Service.
        let found = match name.service() {
            Some((namespace, name)) => self.existing(namespace, name).map(|it| Lookup::Match(Match::Service(it))),
            None => self.find_part(name),
        };
        found.unwrap_or_else(Lookup::Missing)
    }

    /// Looks up a name that is not that of a Service.
    #[inline(never)]
    fn find_part<'t>(&'t self, cluster_name: &ClusterName<'_>) -> Result<Lookup<'t>, Missing> {
        let (namespace, name) = (cluster_name.label(1), cluster_name.label(2));
        let found = match (cluster_name.label(0), cluster_name.len()) {
            (b"svc", 4) => {
                let service = self.with_names_below(namespace, name)?;
                let endpoints = service.spec.endpoints.as_ref().ok_or(Missing::EndpointUnknown)?;
                let label = cluster_name.text(3);
                let endpoint = endpoints.find(label, service.spec.family);
                let (label, endpoints) = endpoint.ok_or_else(|| match endpoints.knows(label) {
                    true => Missing::EndpointNotReady,
                    false => Missing::Endpoint,
                })?;
                Match::Endpoint(NamedEndpoint { service, label, endpoints })
            }
            (b"svc", 5) => {
                let (protocol, port) = (strip_underscore(cluster_name.text(3)), strip_underscore(cluster_name.text(4)));
                let protocol = Protocol::parse(protocol).ok_or(Missing::Port);
                // Public names have this form in each search domain, and the server need not be asked for them.
                if self.on_demand.is_some() && protocol.is_err() {
                    return Err(Missing::Form);
                }
                let service = self.with_names_below(namespace, name)?;
                let protocol = protocol?;
                let has_port = || protocol == Protocol::Tcp && service.ports().iter().any(|own| *own.name == *port);
                if let Some(named) = named_port(service, port, protocol) {
                    Match::Port(service, named)
                } else if let Some(other) = service.spec.other_port(port, protocol) {
                    // DNS has names of ports of any protocol, so the search ends here.
                    Match::OtherPort(other)
                } else {
                    return Err(match self.existing(namespace, name) {
                        Err(missing) if has_port() => missing,
                        _ => Missing::Port,
                    });
                }
            }
            (b"pod", 3) => {
                let address = parse_dashed(cluster_name.text(2)).ok_or(Missing::PodAddress)?;
                if is_special(address) {
                    return Err(Missing::PodAddress);
                }
                return match (self.knows_address(address), &self.on_demand) {
                    (true, _) => Ok(Lookup::Pod(address)),
                    (false, Some(on_demand)) => on_demand.pod(address).map(|()| Lookup::Pod(address)),
                    (false, None) => Err(Missing::PodAddress),
                };
            }
            _ => return Err(Missing::Form),
        };
        Ok(Lookup::Match(found))
    }

    /// The Service called `name` in `namespace`, if DNS has its name.
    #[inline(always)]
    pub(crate) fn existing(&self, namespace: &[u8], name: &[u8]) -> Result<&Service, Missing> {
        let service = self.find(namespace, name).ok_or_else(|| self.absent(namespace, name))?;
        match (&service.spec.kind, &service.spec.endpoints) {
            (ServiceKind::Headless, Some(endpoints)) if !headless::name_exists(endpoints) => Err(Missing::NothingReady),
            _ => Ok(service),
        }
    }

    /// Why the table has no Service called `name` in `namespace`.
    #[inline]
    fn absent(&self, namespace: &[u8], name: &[u8]) -> Missing {
        self.on_demand.as_ref().map_or(Missing::Service, |on_demand| on_demand.absent(namespace, name))
    }

    /// The Service called `name` in `namespace`, ready or not, if names below its own may exist.
    fn with_names_below(&self, namespace: &[u8], name: &[u8]) -> Result<&Service, Missing> {
        let service = self.find(namespace, name).ok_or_else(|| self.absent(namespace, name))?;
        match service.spec.kind {
            ServiceKind::ExternalName(_) => Err(Missing::BelowExternalName),
            ServiceKind::Virtual(_) | ServiceKind::Headless => Ok(service),
        }
    }
}

/// The TCP port called `name`.
fn named_port<'t>(service: &'t Service, name: &str, protocol: Protocol) -> Option<NamedPort<'t>> {
    if protocol != Protocol::Tcp || name.is_empty() {
        return None;
    }
    let own = service.ports().iter().find(|port| *port.name == *name);
    let own = own.map(|port| (&*port.name, port.port));
    let found = match (&service.spec.kind, &service.spec.endpoints) {
        (ServiceKind::Headless, Some(endpoints)) => headless::named_port(endpoints, name, own),
        _ => own,
    };
    found.map(|(name, number)| NamedPort { name, number })
}

fn strip_underscore(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}
