//! The table: what is known of the cluster, laid out so that a lookup neither allocates nor slows with its size.
//!
//! Services stand in a slab, and maps of their places lead into it: by `namespace/name`, by cluster IP, and by the address of
//! an endpoint, which pod names are checked against. Putting one Service in, or taking one out, touches its own entries
//! alone; the last of the maps is then made anew, when it is asked for again.

use alloc::vec::Vec;
use core::{cell::OnceCell, net::IpAddr};

use hashbrown::HashTable;

use crate::{
    balance::{Balance, Ticket},
    endpoints::{Endpoints, Group},
    hash::{of_address, of_name},
    label::{EndpointLabel, parse_dashed},
    limits::{MAX_CLUSTER_IPS, MAX_SERVICES, MAX_TABLE_ENDPOINTS, MAX_TABLE_SHARES},
    name::below,
    path::Path,
    pieces::Pieces,
    policy::Policy,
    problem::{Fault, Place, Problems},
    service::{Kind, Service},
    special::is_special,
    wire::By,
};

/// What is known of the cluster. Whole at any time: a change that is refused leaves it as it was.
#[derive(Debug)]
pub struct Table {
    version: u64,
    policy: Policy,
    services: Vec<Option<Service>>,
    free: Vec<usize>,
    names: HashTable<u32>,
    /// The addresses themselves are in the Services: see [`cluster_ip_at`].
    cluster_ips: HashTable<u32>,
    /// By the address of an endpoint: a Service that has it. Made when it is first asked for, by the name of a pod: few tables
    /// ever are, and it would be an eighth of the work of each.
    addresses: OnceCell<HashTable<u32>>,
    endpoints: usize,
    shares: usize,
    dropped: usize,
}

/// What a name below the cluster domain is, as far as a table can know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'t> {
    Found(Found<'t>),
    /// A pod that has this address. It belongs to no Service.
    Pod(IpAddr),
    Missing(Missing),
}

/// A Service, or something of one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'t> {
    Service(&'t Service),
    /// `_port._proto` of a Service.
    Port(&'t Service, NamedPort<'t>),
    Endpoint(FoundEndpoint<'t>),
}

/// One endpoint of a Service, found by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundEndpoint<'t> {
    pub(crate) service: &'t Service,
    pub(crate) label: EndpointLabel<'t>,
    pub(crate) address: IpAddr,
    /// What it shares with others.
    pub(crate) group: &'t Group,
}

/// A port found by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedPort<'t> {
    pub(crate) name: &'t str,
    pub(crate) number: u16,
}

/// Why a name of the cluster does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It has none of the forms of a name in the cluster.
    Form,
    /// There is no such Service.
    Service,
    /// The Service has no ready endpoint of that name.
    Endpoint,
    /// The Service's endpoints are not in the table, so that it may have one of that name.
    EndpointUnknown,
    /// The Service has no TCP port of that name.
    Port,
    /// The Service is headless and no endpoint of it is ready.
    NothingReady,
    /// Nothing has a name below an ExternalName Service.
    BelowExternalName,
    /// No endpoint has this address, or it is one that a pod cannot have.
    PodAddress,
}

impl Table {
    /// A table that knows nothing but its `policy`.
    pub(crate) fn new(version: u64, policy: Policy) -> Self {
        Self {
            version,
            policy,
            services: Vec::new(),
            free: Vec::new(),
            names: HashTable::new(),
            cluster_ips: HashTable::new(),
            addresses: OnceCell::new(),
            endpoints: 0,
            shares: 0,
            dropped: 0,
        }
    }

    /// The version that was pushed with it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many Services it holds.
    #[must_use]
    pub fn services(&self) -> usize {
        self.names.len()
    }

    /// How many endpoints its Services have.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// How many endpoint addresses were dropped, as no other machine can reach them.
    #[must_use]
    pub fn addresses_dropped(&self) -> usize {
        self.dropped
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The Service called `name` in `namespace`.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Service> {
        let index = self.names.find(of_name(namespace, name), |index| self.is_called(*index, namespace, name))?;
        self.at(*index)
    }

    /// The Service that has `address` as a cluster IP.
    #[must_use]
    pub fn by_cluster_ip(&self, address: IpAddr) -> Option<&Service> {
        let is_it = |place: &u32| cluster_ip_at(&self.services, *place) == Some(address);
        self.at(self.cluster_ips.find(of_address(address), is_it)? / PER_SERVICE)
    }

    /// Whether an endpoint of the table has `address`.
    #[must_use]
    pub fn knows_address(&self, address: IpAddr) -> bool {
        let addresses = self.addresses.get_or_init(|| index_addresses(&self.services, self.endpoints));
        has_address(addresses, &self.services, address)
    }

    /// A table of these Services, which it has room for from the first.
    #[inline(never)]
    pub(crate) fn of(version: u64, policy: Policy, services: Pieces<Service>, problems: &mut Problems) -> Self {
        let mut table = Self::new(version, policy);
        table.services.reserve_exact(services.len());
        table.names = HashTable::with_capacity(services.len());
        table.cluster_ips = HashTable::with_capacity(services.len());
        for mut service in services {
            if table.get(service.namespace(), service.name()).is_some() {
                let at = Place::root("table");
                problems.add(&at.field("services"), service.key.as_str(), Fault::Twice);
            } else if let Err(more) = table.prepare(&mut service, None) {
                problems.append(more);
            } else {
                let slot = table.add_slot();
                table.place(service, slot);
            }
        }
        table
    }

    fn add_slot(&mut self) -> usize {
        self.services.push(None);
        self.services.len() - 1
    }

    /// Puts `service` in, in place of one with the same namespace and name. The work grows with the endpoints of the two,
    /// not with the table.
    ///
    /// # Errors
    /// What cannot be told of the Service alone: a cluster IP that another Service has, TLS towards a target inside the
    /// cluster, a table over its bounds. The table is then as it was.
    pub fn put(&mut self, mut service: Service) -> Result<(), Problems> {
        let old = self.get(service.namespace(), service.name());
        self.prepare(&mut service, old)?;
        self.remove(service.namespace(), service.name());
        let slot = self.free.pop().unwrap_or_else(|| self.add_slot());
        self.place(service, slot);
        Ok(())
    }

    /// Works out what of a Service depends on the rest, and checks it beside the `old` one, which it takes the place of.
    #[inline(never)]
    fn prepare(&self, service: &mut Service, old: Option<&Service>) -> Result<(), Problems> {
        if let (false, Some(endpoints)) = (self.policy.single_machine, &mut service.endpoints) {
            service.addresses_dropped = endpoints.drop_special();
        }
        self.check(service, old)?;
        service.find_usable(&self.policy.caller);
        if let Kind::ExternalName(alias) = &mut service.kind {
            alias.allowed_ports = self.policy.allowed_ports(&alias.target).into();
        }
        Ok(())
    }

    /// Takes the Service called `name` in `namespace` out, and says whether it was there.
    #[inline(never)]
    pub fn remove(&mut self, namespace: &str, name: &str) -> bool {
        let hash = of_name(namespace, name);
        let services = &self.services;
        let is_it = |index: &u32| at(services, *index).is_some_and(|other| is_called(other, namespace, name));
        let Ok(entry) = self.names.find_entry(hash, is_it) else { return false };
        let (index, _) = entry.remove();
        let Ok(slot) = usize::try_from(index) else { return false };
        let Some(service) = self.services.get_mut(slot).and_then(Option::take) else { return false };
        self.free.push(slot);
        self.dropped -= service.addresses_dropped;
        self.shares -= service.shares;
        for (address, which) in service.cluster_ips().iter().zip(0..) {
            let place = index * PER_SERVICE + which;
            if let Ok(entry) = self.cluster_ips.find_entry(of_address(*address), |other| *other == place) {
                entry.remove();
            }
        }
        if let Some(endpoints) = &service.endpoints {
            self.endpoints -= endpoints.len();
            self.addresses.take();
        }
        true
    }

    /// Puts a Service that is not in the table into this slot, which is empty.
    #[inline(never)]
    fn place(&mut self, mut service: Service, slot: usize) {
        self.dropped += service.addresses_dropped;
        self.shares += service.shares;
        // At most MAX_SERVICES.
        let index = u32::try_from(slot).unwrap_or(u32::MAX);
        service.index = index;
        if let Some(endpoints) = &service.endpoints {
            self.endpoints += endpoints.len();
            self.addresses.take();
        }
        let (namespace, name) = service.key.parts();
        let hash = of_name(namespace, name);
        if let Some(slot) = self.services.get_mut(slot) {
            *slot = Some(service);
        }
        let services = &self.services;
        insert(&mut self.names, hash, index, &|index| {
            let (namespace, name) = at(services, *index).map(|service| service.key.parts()).unwrap_or_default();
            of_name(namespace, name)
        });
        let addresses = at(services, index).map(Service::cluster_ips).unwrap_or_default();
        for (address, which) in addresses.iter().zip(0..) {
            insert(&mut self.cluster_ips, of_address(*address), index * PER_SERVICE + which, &|place| {
                cluster_ip_at(services, *place).map(of_address).unwrap_or_default()
            });
        }
    }

    #[inline(never)]
    fn check(&self, service: &Service, old: Option<&Service>) -> Result<(), Problems> {
        let table = Place::root("table");
        let services = table.field("services");
        let at = services.key(service.key.as_str());
        let mut problems = Problems::default();
        if old.is_none() && self.services() >= MAX_SERVICES {
            problems.add(&services, self.services() + 1, Fault::TooMany(MAX_SERVICES));
        }
        let count = |service: &Service| service.endpoints.as_ref().map_or(0, Endpoints::len);
        if self.endpoints - old.map_or(0, count) + count(service) > MAX_TABLE_ENDPOINTS {
            problems.add(&at.field("endpoints"), count(service), Fault::TooMany(MAX_TABLE_ENDPOINTS));
        }
        if self.shares - old.map_or(0, |old| old.shares) + service.shares > MAX_TABLE_SHARES {
            problems.add(&at.field("endpoints"), service.shares, Fault::TooMany(MAX_TABLE_SHARES));
        }
        for (index, address) in service.cluster_ips().iter().enumerate() {
            let at = at.field("clusterIPs");
            if self.by_cluster_ip(*address).is_some_and(|other| other.key != service.key) {
                problems.add(&at.index(index), address, Fault::ClusterIpTaken);
            }
        }
        if let Kind::ExternalName(alias) = &service.kind
            && alias.tls.is_some()
            && below(&alias.target, &self.policy.zone).is_some()
        {
            problems.add(&at.field("alias").field("tls"), &alias.target, Fault::TlsInsideCluster);
        }
        let by = service.steering.as_ref().and_then(|own| own.by()).unwrap_or(self.policy.by);
        let needs_endpoints = by == By::Endpoint && !matches!(service.kind, Kind::ExternalName(_));
        if needs_endpoints && service.endpoints.is_none() {
            problems.add(&at, "", Fault::EndpointsUnknown);
        }
        problems.or(())
    }

    #[inline(always)]
    fn at(&self, index: u32) -> Option<&Service> {
        at(&self.services, index)
    }

    /// How many endpoints are ejected of the set that `ticket` is of; `None` where that is not in the table any more.
    pub(crate) fn ejected_beside(&self, ticket: &Ticket, balance: &Balance, now: u64) -> Option<u32> {
        let service = self.at(ticket.place.service)?;
        let usable = service.usable.get(usize::from(ticket.place.port))?;
        let part = usable.parts.get(usize::from(ticket.place.part))?;
        let id = usable.set_id(part);
        let groups = service.endpoints.as_ref()?.groups();
        (id == ticket.set).then(|| part.set.ejected(groups, id, balance, now))
    }

    #[inline(always)]
    fn is_called(&self, index: u32, namespace: &str, name: &str) -> bool {
        self.at(index).is_some_and(|service| is_called(service, namespace, name))
    }

    /// What the name with these labels is.
    ///
    /// | form, without the cluster domain | is |
    /// |---|---|
    /// | `svc.ns.svc` | the Service |
    /// | `ep.svc.ns.svc` | one ready endpoint, by hostname or dashed address |
    /// | `_port._proto.svc.ns.svc`, underscores optional | the Service at that port |
    /// | `a-b-c-d.ns.pod` | an address that an endpoint has |
    ///
    /// Kubernetes DNS-Based Service Discovery, section 2; endpoint names of Services with a cluster IP, and the forms
    /// without underscores, are answered as CoreDNS does.
    pub(crate) fn lookup(&self, path: &Path<'_>) -> Lookup<'_> {
        self.find(path).unwrap_or_else(Lookup::Missing)
    }

    fn find<'t>(&'t self, path: &Path<'_>) -> Result<Lookup<'t>, Missing> {
        let (namespace, name) = (path.label(1), path.label(2));
        let found = match (path.label(0), path.len()) {
            ("svc", 3) => Found::Service(self.existing(namespace, name)?),
            ("svc", 4) => {
                let service = self.existing_with_names_below(namespace, name)?;
                let endpoints = service.endpoints.as_ref().ok_or(Missing::EndpointUnknown)?;
                let endpoint = endpoints.find(path.label(3), service.family);
                let (label, address, group) = endpoint.ok_or(Missing::Endpoint)?;
                Found::Endpoint(FoundEndpoint { service, label, address, group })
            }
            ("svc", 5) => {
                let service = self.existing_with_names_below(namespace, name)?;
                let (protocol, port) = (strip_underscore(path.label(3)), strip_underscore(path.label(4)));
                Found::Port(service, service.named_port(port, protocol).ok_or(Missing::Port)?)
            }
            ("pod", 3) => {
                let address = parse_dashed(name).ok_or(Missing::PodAddress)?;
                let is_one = self.knows_address(address) && !is_special(address);
                return is_one.then_some(Lookup::Pod(address)).ok_or(Missing::PodAddress);
            }
            _ => return Err(Missing::Form),
        };
        Ok(Lookup::Found(found))
    }

    /// The Service called `name` in `namespace`, if its name exists.
    #[inline(always)]
    pub(crate) fn existing(&self, namespace: &str, name: &str) -> Result<&Service, Missing> {
        let service = self.get(namespace, name).ok_or(Missing::Service)?;
        match (&service.kind, &service.endpoints) {
            (Kind::Headless, Some(endpoints)) if !endpoints.any_ready() => Err(Missing::NothingReady),
            _ => Ok(service),
        }
    }

    fn existing_with_names_below(&self, namespace: &str, name: &str) -> Result<&Service, Missing> {
        let service = self.existing(namespace, name)?;
        match service.kind {
            Kind::ExternalName(_) => Err(Missing::BelowExternalName),
            Kind::Virtual(_) | Kind::Headless => Ok(service),
        }
    }
}

impl Service {
    /// The TCP port called `name`: the Service's own, or for a headless Service the one that its endpoints have.
    fn named_port(&self, name: &str, protocol: &str) -> Option<NamedPort<'_>> {
        if protocol != "tcp" || name.is_empty() {
            return None;
        }
        let own = self.ports().iter().find(|port| *port.name == *name);
        let own = own.map(|port| NamedPort { name: &port.name, number: port.port });
        let Some(endpoints) = self.endpoints.as_ref().filter(|_| matches!(self.kind, Kind::Headless)) else {
            return own;
        };
        match own {
            Some(own) => endpoints.any_ready_with(name).then_some(own),
            None => endpoints.named_port(name).map(|(name, number)| NamedPort { name, number }),
        }
    }
}

fn strip_underscore(label: &str) -> &str {
    label.strip_prefix('_').unwrap_or(label)
}

fn at(services: &[Option<Service>], index: u32) -> Option<&Service> {
    services.get(usize::try_from(index).ok()?)?.as_ref()
}

/// Places that a Service has for its cluster IPs.
const PER_SERVICE: u32 = MAX_CLUSTER_IPS as u32;

const _: () = assert!(MAX_SERVICES < (u32::MAX / PER_SERVICE) as usize);

/// The cluster IP at a place: one of those of the Service with the place's number over [`PER_SERVICE`].
fn cluster_ip_at(services: &[Option<Service>], place: u32) -> Option<IpAddr> {
    let which = usize::try_from(place % PER_SERVICE).ok()?;
    at(services, place / PER_SERVICE)?.cluster_ips().get(which).copied()
}

fn has_address(addresses: &HashTable<u32>, services: &[Option<Service>], address: IpAddr) -> bool {
    let has_it = |index: &u32| {
        at(services, *index).and_then(|service| service.endpoints.as_ref()).is_some_and(|all| all.contains(address))
    };
    addresses.find(of_address(address), has_it).is_some()
}

/// One function for all maps, as what makes them grow is large.
#[inline(never)]
fn insert(into: &mut HashTable<u32>, hash: u64, value: u32, rehash: &dyn Fn(&u32) -> u64) {
    into.insert_unique(hash, value, rehash);
}

fn is_called(service: &Service, namespace: &str, name: &str) -> bool {
    service.key.is(namespace, name)
}

/// The Services by the addresses of their endpoints, of which there are so many.
#[inline(never)]
fn index_addresses(services: &[Option<Service>], endpoints: usize) -> HashTable<u32> {
    let mut addresses = HashTable::with_capacity(endpoints);
    for service in services.iter().flatten() {
        if let Some(endpoints) = &service.endpoints {
            // Once for each, since thousands of Services may share one endpoint. There is room, so that nothing is hashed again.
            endpoints.each_address(&mut |address| {
                if !has_address(&addresses, services, address) {
                    insert(&mut addresses, of_address(address), service.index, &|_| 0);
                }
            });
        }
    }
    addresses
}
