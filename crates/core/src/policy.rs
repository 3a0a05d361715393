//! Where aliases may lead, and what becomes of names that mean nothing.
//!
//! An ExternalName Service lets whoever may write it send other programs' requests, with their credentials, to a name of
//! its choice: a confused deputy (CVE-2021-25740). So an alias leads to Services of its own namespace, to those of another
//! one that was granted to it, and to external hosts that are listed with their ports; some targets are refused whatever
//! the list says.

use alloc::{boxed::Box, format, vec::Vec};

use crate::{
    caller::Whereabouts,
    fallback::{self, Fallbacks},
    limits::{MAX_ALLOWED_HOSTS, MAX_ALLOWED_PORTS, MAX_GRANTS},
    name::{Name, below, is_label},
    problem::{Fault, Place, Problems},
    sorted::Sorted,
    wire::{self, By, UnknownNames},
};

/// Names that lead to the machine itself, or to the metadata service that hands out its credentials.
const REFUSED_NAMES: &[&str] = &[
    "metadata",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "metadata.packet.net",
    "instance-data",
    "rancher-metadata",
];

/// Names that lead there with every name below them (RFC 6761 section 6.3 for `localhost`).
const REFUSED_WITH_BELOW: &[&str] = &[
    "localhost",
    "localdomain",
    "localhost4",
    "localdomain4",
    "localhost6",
    "localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "metadata.google.internal",
    "metadata.goog",
];

/// `instance-data.ec2.internal` and `instance-data.REGION.compute.internal` of AWS.
const REFUSED_FROM_TO: (&str, &str) = ("instance-data.", ".internal");

/// Whether an alias may never lead to `target`, a lowercase name without a dot at its end, whatever is listed.
#[must_use]
pub fn is_refused_target(target: &str) -> bool {
    REFUSED_NAMES.contains(&target)
        || REFUSED_WITH_BELOW.iter().any(|name| below(target, name).is_some())
        || (target.starts_with(REFUSED_FROM_TO.0) && target.ends_with(REFUSED_FROM_TO.1))
}

/// The rules that a table resolves by, beside what it knows.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The cluster domain.
    pub(crate) zone: Box<str>,
    pub(crate) unknown_names: UnknownNames,
    pub(crate) single_machine: bool,
    /// Where the caller is, for whom endpoints are chosen.
    pub(crate) caller: Whereabouts,
    /// How requests are steered where a Service says nothing else.
    pub(crate) by: By,
    /// What stands in for Services.
    pub(crate) fallbacks: Fallbacks,
    exact: Sorted<Box<[u16]>>,
    below: Sorted<Box<[u16]>>,
    /// By `from/to`.
    grants: Sorted<()>,
}

impl Policy {
    #[inline(never)]
    pub(crate) fn compile<S>(
        wire: &wire::Config<S>,
        zone: Box<str>,
        caller: Whereabouts,
        problems: &mut Problems,
    ) -> Self {
        let mut policy = Self {
            zone,
            unknown_names: wire.unknown_names,
            single_machine: wire.table.single_machine,
            caller,
            by: wire.steering.by,
            fallbacks: Fallbacks::default(),
            exact: Sorted::default(),
            below: Sorted::default(),
            grants: Sorted::default(),
        };
        let at = Place::root("externalNames");
        policy.compile_allow(&wire.external_names.allow, &at.field("allow"), problems);
        policy.compile_grants(&wire.external_names.grants, &at.field("grants"), problems);
        let may = fallback::Allowed {
            zone: &policy.zone,
            is_granted: &|from, to| policy.grants(from, to),
            ports: &|host| policy.allowed_ports(host),
        };
        policy.fallbacks = fallback::compile(&wire.fallback, may, problems);
        policy
    }

    #[inline(never)]
    fn compile_allow(&mut self, wire: &[wire::Allow], at: &Place<'_>, problems: &mut Problems) {
        if wire.len() > MAX_ALLOWED_HOSTS {
            problems.add(at, wire.len(), Fault::TooMany(MAX_ALLOWED_HOSTS));
            return;
        }
        for (index, entry) in wire.iter().enumerate() {
            let at = at.index(index);
            let in_ports = at.field("ports");
            if entry.ports.is_empty() {
                problems.add(&in_ports, "", Fault::Empty);
            }
            if entry.ports.len() > MAX_ALLOWED_PORTS {
                problems.add(&in_ports, entry.ports.len(), Fault::TooMany(MAX_ALLOWED_PORTS));
            }
            for (index, _) in entry.ports.iter().enumerate().filter(|(_, port)| **port == 0) {
                problems.add(&in_ports.index(index), 0, Fault::Port);
            }
            let (list, host) = match entry.host.strip_prefix("*.") {
                Some(domain) => (&mut self.below, domain),
                None => (&mut self.exact, &*entry.host),
            };
            match Name::parse_absolute(host) {
                Ok(name) if !name.looks_like_ipv4() => {
                    if !list.insert(name.as_str(), entry.ports.as_slice().into()) {
                        problems.add(&at.field("host"), &entry.host, Fault::Twice);
                    }
                }
                _ => problems.add(&at.field("host"), &entry.host, Fault::HostPattern),
            }
        }
    }

    #[inline(never)]
    fn compile_grants(&mut self, wire: &[wire::Grant], at: &Place<'_>, problems: &mut Problems) {
        if wire.len() > MAX_GRANTS {
            problems.add(at, wire.len(), Fault::TooMany(MAX_GRANTS));
            return;
        }
        for (index, grant) in wire.iter().enumerate() {
            let at = at.index(index);
            for (field, namespace) in [("from", &grant.from), ("to", &grant.to)] {
                if !is_label(namespace) {
                    problems.add(&at.field(field), namespace, Fault::Label);
                }
            }
            // One that is given twice is none the less given.
            self.grants.insert(&format!("{}/{}", grant.from, grant.to), ());
        }
    }

    /// Whether an alias in the namespace `from` may lead to a Service in `to`.
    pub(crate) fn grants(&self, from: &str, to: &str) -> bool {
        from == to || self.grants.get(&[from, "/", to]).is_some()
    }

    /// The ports on which `target`, an external name, is allowed; none where it is not.
    pub(crate) fn allowed_ports(&self, target: &str) -> Vec<u16> {
        if is_refused_target(target) {
            return Vec::new();
        }
        let mut ports: Vec<u16> = self.exact.get(&[target]).into_iter().flatten().copied().collect();
        let mut rest = target;
        while let Some((_, domain)) = rest.split_once('.') {
            ports.extend(self.below.get(&[domain]).into_iter().flatten());
            rest = domain;
        }
        ports
    }
}
