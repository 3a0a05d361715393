//! What ExternalName Services may resolve to.
//!
//! By default an alias resolves to whatever its caller may ask for by itself: the caller gains nothing by the alias. An Envoy
//! that asks on behalf of others lends them what it may reach itself, so an alias makes it a confused deputy (CVE-2021-25740):
//! in the mode `listed` an alias resolves to Services of its own namespace, to those of another namespace that was granted to
//! it, and to external hosts that are listed with their ports. Some targets are refused whatever the configuration says.

use alloc::{boxed::Box, format, vec::Vec};

use crate::{
    collections::SortedMap,
    limits::{MAX_ALLOWED_HOSTS, MAX_ALLOWED_PORTS, MAX_GRANTS},
    names::{Name, below, is_label},
    wire::{self, ExternalNamesMode, FieldErrorType, FieldErrors, FieldPathRef},
};

/// Names that lead to the machine itself, or to the metadata service that hands out the machine's credentials.
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

/// Names that lead there together with every name below them (RFC 6761 section 6.3 for `localhost`).
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

/// AWS: `instance-data.ec2.internal` and `instance-data.REGION.compute.internal`.
const REFUSED_FROM_TO: (&str, &str) = ("instance-data.", ".internal");

/// Whether no alias may ever lead to `target`, a lower-case name without a dot at its end, whatever the configuration lists.
#[must_use]
pub fn is_refused_target(target: &str) -> bool {
    REFUSED_NAMES.contains(&target)
        || REFUSED_WITH_BELOW.iter().any(|name| below(target, name).is_some())
        || (target.starts_with(REFUSED_FROM_TO.0) && target.ends_with(REFUSED_FROM_TO.1))
}

/// The targets that aliases and fallbacks may reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExternalNames {
    /// Ports by external host.
    exact: SortedMap<Box<[u16]>>,
    /// Ports by the domain that external hosts are below.
    below: SortedMap<Box<[u16]>>,
    /// By `from/to`.
    grants: SortedMap<()>,
    mode: ExternalNamesMode,
}

impl ExternalNames {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::ExternalNames, errors: &mut FieldErrors) -> Self {
        // A configuration that was written for grants keeps them: an upgrade opens nothing.
        let has_grants = !wire.grants.is_empty();
        let default = if has_grants { ExternalNamesMode::Listed } else { ExternalNamesMode::Follow };
        let mut external_names = Self { mode: wire.mode.unwrap_or(default), ..Self::default() };
        let at = FieldPathRef::root("externalNames");
        external_names.compile_allow(&wire.allow, &at.field("allow"), errors);
        external_names.compile_grants(&wire.grants, &at.field("grants"), errors);
        external_names
    }

    #[inline(never)]
    fn compile_allow(&mut self, wire: &[wire::Allow], at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
        if wire.len() > MAX_ALLOWED_HOSTS {
            errors.add(at, wire.len(), FieldErrorType::TooMany(MAX_ALLOWED_HOSTS));
            return;
        }
        for (index, entry) in wire.iter().enumerate() {
            let at = at.index(index);
            let in_ports = at.field("ports");
            if entry.ports.is_empty() {
                errors.add(&in_ports, "", FieldErrorType::Required);
            }
            if entry.ports.len() > MAX_ALLOWED_PORTS {
                errors.add(&in_ports, entry.ports.len(), FieldErrorType::TooMany(MAX_ALLOWED_PORTS));
            }
            for (index, _) in entry.ports.iter().enumerate().filter(|(_, port)| **port == 0) {
                errors.add(&in_ports.index(index), 0, FieldErrorType::InvalidPort);
            }
            let (list, host) = match entry.host.strip_prefix("*.") {
                Some(domain) => (&mut self.below, domain),
                None => (&mut self.exact, &*entry.host),
            };
            match Name::parse_absolute(host) {
                Ok(name) if !name.looks_like_ipv4() => {
                    if !list.insert(name.as_str(), entry.ports.as_slice().into()) {
                        errors.add(&at.field("host"), &entry.host, FieldErrorType::Duplicate);
                    }
                }
                _ => errors.add(&at.field("host"), &entry.host, FieldErrorType::InvalidHostPattern),
            }
        }
    }

    #[inline(never)]
    fn compile_grants(&mut self, wire: &[wire::Grant], at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
        if wire.len() > MAX_GRANTS {
            errors.add(at, wire.len(), FieldErrorType::TooMany(MAX_GRANTS));
            return;
        }
        for (index, grant) in wire.iter().enumerate() {
            let at = at.index(index);
            for (field, namespace) in [("from", &grant.from), ("to", &grant.to)] {
                if !is_label(namespace) {
                    errors.add(&at.field(field), namespace, FieldErrorType::InvalidLabel);
                }
            }
            // A duplicate grant changes nothing.
            self.grants.insert(&format!("{}/{}", grant.from, grant.to), ());
        }
    }

    /// Whether an alias or a fallback in the namespace `from` may resolve to a Service in the namespace `to`.
    pub(crate) fn grants(&self, from: &str, to: &str) -> bool {
        from == to || self.follows() || self.grants.get(&[from, "/", to]).is_some()
    }

    /// Whether an alias may resolve to whatever its caller may ask for.
    pub(crate) fn follows(&self) -> bool {
        self.mode == ExternalNamesMode::Follow
    }

    /// The ports on which the external host `target` is allowed.
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
