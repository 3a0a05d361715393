//! What is wrong with a configuration: errors of meaning, each with the place, the input, the reason and the way out.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::limits::{MAX_KEY_CHARS, MAX_QUOTED_CHARS, MAX_REPORTED_PROBLEMS, MAX_SYNTAX_ERROR_CHARS};

/// Why a value was refused. [`Fault::reason`] and [`Fault::fix`] give the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The JSON cannot be read as the wire form at all.
    Syntax,
    /// `version` is not one that this build reads.
    Version,
    /// More entries or bytes than the bound given.
    TooMany(usize),
    /// Not one lowercase DNS label, RFC 1123.
    Label,
    /// Not a DNS name.
    Name,
    /// A name is all digits at its end, so that resolvers read it as an IPv4 address.
    LooksLikeIpv4,
    /// Not an IP address.
    Address,
    /// Not an address that a Service may have: loopback, link-local, multicast or unspecified.
    SpecialAddress,
    /// A port is 0.
    Port,
    /// The namespace is given nowhere.
    NoNamespace,
    /// The key of a Service is not `namespace/name`.
    ServiceKey,
    /// The same entry is there twice.
    Twice,
    /// The cluster IP belongs to another Service of the table.
    ClusterIpTaken,
    /// `type: ExternalName` without an `externalName`.
    NoExternalName,
    /// A field that only an ExternalName Service has.
    OnlyExternalName,
    /// A field that an ExternalName Service cannot have.
    NotOnExternalName,
    /// `alias.tls` with a target that is inside the cluster.
    TlsInsideCluster,
    /// `hostnames` does not hold one entry for each address.
    HostnameCount,
    /// More than one port of a Service, and one has no name.
    UnnamedPort,
    /// A pattern of `externalNames.allow` is not a host or `*.` and a domain.
    HostPattern,
    /// A list that has to name something is empty.
    Empty,
    /// A template with an unknown or unclosed placeholder.
    Template,
    /// Not a header name that a filter may set.
    HeaderName,
    /// A byte that cannot stand in a header value.
    HeaderValue,
    /// The header that asks for a trace is the control header.
    SameHeader,
    /// What is sent in clear text and what is sent over TLS have one upstream cluster.
    SameCluster,
    /// Not a number from 1 to the one given.
    NotUpTo(u32),
    /// Neither or both of two fields, of which one has to be there.
    OneOf(&'static str),
    /// Not the name of a request header.
    RequestHeader,
    /// A fallback that leads to what it stands in for.
    OwnFallback,
    /// A fallback into a namespace that is not granted.
    FallbackNotGranted,
    /// A fallback to a host and port that are not listed.
    FallbackNotListed,
    /// A field that a fallback to a Service cannot have.
    NotOnServiceFallback,
    /// `steering.subset` beside `subsets`.
    BesideSubsets,
    /// A load balancer beside `sessionAffinity: ClientIP`.
    BesideAffinity,
    /// Ports times groups of endpoints times subsets are more than the bound.
    TooManyShares,
    /// A Service that is steered by endpoint, and whose endpoints are not in the table.
    EndpointsUnknown,
}

impl Fault {
    /// What is wrong, after the place and the input.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "cannot be read",
            Self::Version => "is not a version of the configuration that this module reads",
            Self::TooMany(_) => "is more than the bound",
            Self::Label => "is not one lowercase DNS label",
            Self::Name => "is not a DNS name",
            Self::LooksLikeIpv4 => "is read as an IPv4 address by resolvers",
            Self::Address => "is not an IP address",
            Self::SpecialAddress => "is loopback, link-local, multicast or unspecified",
            Self::Port => "is not a port",
            Self::NoNamespace => "is not set, and the node's metadata has no NAMESPACE",
            Self::ServiceKey => "does not name a Service",
            Self::Twice => "is given twice",
            Self::ClusterIpTaken => "is the cluster IP of another Service too",
            Self::NoExternalName => "is an ExternalName Service without an externalName",
            Self::OnlyExternalName => "is for Services of type ExternalName alone",
            Self::NotOnExternalName => "has no meaning on a Service of type ExternalName",
            Self::TlsInsideCluster => "is inside the cluster, where alias.tls has no meaning",
            Self::HostnameCount => "does not hold one hostname for each address",
            Self::UnnamedPort => "has no name beside other ports",
            Self::HostPattern => "is not a host pattern",
            Self::Empty => "is empty",
            Self::Template => "is not a cluster name template",
            Self::HeaderName => "is not a header name that can steer",
            Self::HeaderValue => "holds a byte that no header value may hold",
            Self::SameHeader => "is the control header",
            Self::SameCluster => "is the cluster for clear text too",
            Self::NotUpTo(_) => "is not from 1 to",
            Self::OneOf(_) => "has none of what it needs, or too much: exactly one of",
            Self::RequestHeader => "is not the name of a request header",
            Self::OwnFallback => "stands in for itself",
            Self::FallbackNotGranted => "is in another namespace, which is not granted",
            Self::FallbackNotListed => "is not listed with this port",
            Self::NotOnServiceFallback => "has no meaning with a Service",
            Self::BesideSubsets => "has no meaning beside subsets",
            Self::BesideAffinity => "has no effect beside sessionAffinity: ClientIP",
            Self::TooManyShares => "is more than 65536, and it is ports times groups of endpoints times subsets",
            Self::EndpointsUnknown => "is steered by endpoint, and its endpoints are not in the table",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::Syntax => "see docs/configuration.md for the fields and their forms",
            Self::Version => "write \"version\": 1",
            Self::TooMany(_) => "shorten it, or split the table by what each namespace may see",
            Self::Label => "use a-z, 0-9 and '-', not at an end, at most 63 bytes",
            Self::Name => "use labels of a-z, 0-9, '-' and '_' joined by dots, at most 253 bytes",
            Self::LooksLikeIpv4 => "write a name; an address belongs into a Service's endpoints",
            Self::Address => "write an IPv4 or IPv6 address without brackets, port or zone",
            Self::SpecialAddress => "use an address that other machines can reach",
            Self::Port => "use 1 to 65535",
            Self::NoNamespace => "set caller.namespace, or NAMESPACE in the node's metadata",
            Self::ServiceKey => "write it as \"namespace/name\"",
            Self::Twice => "keep one of them",
            Self::ClusterIpTaken => "take it from one of the two Services",
            Self::NoExternalName => "add externalName, or leave out the type",
            Self::OnlyExternalName => "set type: ExternalName, or leave it out",
            Self::NotOnExternalName => "leave it out",
            Self::TlsInsideCluster => "leave tls out; the upstream cluster of the target Service decides its TLS",
            Self::HostnameCount => {
                "give as many hostnames as addresses, or put endpoints without one into a group of their own"
            }
            Self::UnnamedPort => "name every port of a Service that has several",
            Self::HostPattern => "write a full name, or \"*.\" followed by a domain",
            Self::Empty => "name at least one, or leave it out",
            Self::Template => {
                "use text and {host} {service} {namespace} {port} {portName} {subset} {endpoint}, at most 256 bytes"
            }
            Self::HeaderName => {
                "use lowercase a-z, 0-9 and '-', no ':', at most 64 bytes, and no header that means something to others"
            }
            Self::HeaderValue => "use visible ASCII",
            Self::SameHeader => "choose another header: the control header is taken off before the filter sees it",
            Self::SameCluster => "give TLS a cluster of its own: TLS belongs to the cluster",
            Self::NotUpTo(_) => "write a number in these bounds",
            Self::OneOf(_) => "keep one",
            Self::RequestHeader => "use lowercase a-z, 0-9 and '-', at most 64 bytes",
            Self::OwnFallback => "name another Service",
            Self::FallbackNotGranted => "grant it in externalNames.grants, or name a Service of the same namespace",
            Self::FallbackNotListed => "list the host with the port in externalNames.allow",
            Self::NotOnServiceFallback => "leave it out; the upstream cluster of that Service decides its TLS",
            Self::BesideSubsets => "leave it out, or leave out subsets",
            Self::BesideAffinity => "leave out one of the two",
            Self::TooManyShares => {
                "put endpoints that share all but their addresses into one group, or have fewer subsets"
            }
            Self::EndpointsUnknown => "give its endpoints, or steer it by cluster",
        }
    }
}

/// One refused value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, as a path: `table.services["shop/payments"].ports[0].port`.
    pub at: String,
    /// What stood there, quoted and shortened; empty where nothing did.
    pub found: String,
    /// Why it was refused.
    pub fault: Fault,
}

impl Problem {
    /// Input that cannot be read: `error` says why, in the words of whatever read it.
    pub(crate) fn syntax(at: String, error: &dyn fmt::Display) -> Self {
        Self { at, found: quoted(error, MAX_SYNTAX_ERROR_CHARS), fault: Fault::Syntax }
    }
}

/// `value` on one line, cut after `most` characters.
#[inline(never)]
pub(crate) fn quoted(value: &dyn fmt::Display, most: usize) -> String {
    let value = value.to_string();
    let mut quoted: String = value.chars().take(most).flat_map(char::escape_default).collect();
    if value.chars().nth(most).is_some() {
        quoted.push('…');
    }
    quoted
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at)?;
        match (self.fault, self.found.as_str()) {
            (Fault::Syntax, found) => write!(f, " cannot be read: {found}")?,
            (_, "") => write!(f, " {}", self.fault.reason())?,
            (_, found) => write!(f, ": \"{found}\" {}", self.fault.reason())?,
        }
        match self.fault {
            Fault::TooMany(bound) => write!(f, " of {bound}")?,
            Fault::NotUpTo(bound) => write!(f, " {bound}")?,
            Fault::OneOf(fields) => write!(f, " {fields}")?,
            _ => {}
        }
        write!(f, "; {}", self.fault.fix())
    }
}

/// All that is wrong with a configuration. Never empty where it is returned as an error.
///
/// The first [`MAX_REPORTED_PROBLEMS`] are kept, the others counted, so that a wrong table of any size gives a bounded error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// The problems that are spelt out.
    #[must_use]
    pub fn listed(&self) -> &[Problem] {
        &self.listed
    }

    /// How many there are, listed or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.listed.len() < MAX_REPORTED_PROBLEMS {
            self.listed.push(problem);
        } else {
            self.unlisted += 1;
        }
    }

    /// One more: `found` at this place is wrong.
    pub(crate) fn add(&mut self, at: &Place<'_>, found: impl fmt::Display, fault: Fault) {
        self.add_any(at, &found, fault);
    }

    /// One function for all types: there are a hundred places that call it.
    #[inline(never)]
    fn add_any(&mut self, at: &Place<'_>, found: &dyn fmt::Display, fault: Fault) {
        self.push(at.problem(found, fault));
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.unlisted += other.unlisted;
        other.listed.into_iter().for_each(|problem| self.push(problem));
    }

    /// `value`, or every problem if there is one.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.unlisted > 0 {
            write!(f, "\nand {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { listed: alloc::vec![problem], unlisted: 0 }
    }
}

/// Where in a configuration something stands: a path that is only written out when it is needed.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(crate) fn root(field: &'a str) -> Self {
        Self { parent: None, part: Part::Field(field) }
    }

    pub(crate) fn field(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Field(field) }
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), part: Part::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), part: Part::Index(index) }
    }

    pub(crate) fn problem(&self, found: &dyn fmt::Display, fault: Fault) -> Problem {
        Problem { at: self.path(), found: quoted(found, MAX_QUOTED_CHARS), fault }
    }

    fn path(&self) -> String {
        let before = self.parent.map(Place::path);
        match (self.part, before) {
            (Part::Field(field), None) => field.to_owned(),
            (Part::Field(field), Some(before)) => before + "." + field,
            (Part::Key(key), before) => format!("{}[\"{}\"]", before.unwrap_or_default(), quoted(&key, MAX_KEY_CHARS)),
            (Part::Index(index), before) => format!("{}[{index}]", before.unwrap_or_default()),
        }
    }
}
