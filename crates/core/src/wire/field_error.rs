//! Errors of a configuration, each with the field's path, the value, what is wrong with it and what to do.
//!
//! The types follow Kubernetes' field errors (`k8s.io/apimachinery/pkg/util/validation/field`).

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use super::field_path::{FieldPath, FieldPathRef};
use crate::{
    limits::{MAX_LISTED_ERRORS, MAX_QUOTED_CHARS, MAX_SYNTAX_ERROR_CHARS},
    text::quoted,
};

/// What is wrong with a value. [`FieldErrorType::reason`] and [`FieldErrorType::fix`] give the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldErrorType {
    /// The JSON cannot be read as a configuration.
    Malformed,
    /// `version` is not one that this build reads.
    UnsupportedVersion,
    /// More entries than the limit given.
    TooMany(usize),
    /// More bytes than the limit given.
    TooLong(usize),
    /// A number above the limit given.
    TooLarge(u32),
    /// Not one lower-case DNS label (RFC 1123).
    InvalidLabel,
    /// Not a DNS name.
    InvalidName,
    /// A name that ends in a number, so that resolvers read it as an IPv4 address.
    LooksLikeIpv4,
    /// Not an IP address.
    InvalidAddress,
    /// An address that no Service can have: loopback, link-local, multicast or unspecified.
    SpecialAddress,
    /// Port 0.
    InvalidPort,
    /// Neither the configuration nor the node names the caller's namespace.
    NamespaceRequired,
    /// Not `namespace/name`.
    InvalidNamespacedName,
    /// An entry that occurs twice.
    Duplicate,
    /// A cluster IP of another Service in the table.
    DuplicateClusterIp,
    /// `type: ExternalName` without an `externalName`.
    ExternalNameRequired,
    /// A field of ExternalName Services on another type of Service.
    ExternalNameOnly,
    /// A field that an ExternalName Service cannot have.
    NotForExternalName,
    /// `alias.tls` with a target inside the cluster.
    TlsInsideCluster,
    /// `hostnames` without exactly one entry for each address.
    HostnameCount,
    /// An unnamed port beside other ports.
    PortNameRequired,
    /// An entry of `externalNames.allow` that is neither a host nor `*.` and a domain.
    InvalidHostPattern,
    /// A field that must not be empty.
    Required,
    /// A template with an unknown or unclosed placeholder.
    InvalidTemplate,
    /// Not the name of a header that the filter may set.
    InvalidHeaderName,
    /// A byte that no header value may hold.
    InvalidHeaderValue,
    /// The header that asks for a trace is the control header.
    SameHeader,
    /// One upstream cluster for both plaintext and TLS.
    SameCluster,
    /// A number outside 1 to the bound given.
    OutOfRange(u32),
    /// Neither or both of two fields, of which exactly one must be set.
    ExactlyOneOf(&'static str),
    /// Not the name of a request header.
    InvalidRequestHeader,
    /// A fallback from a Service to itself.
    FallbackToItself,
    /// A fallback into another namespace without a grant.
    FallbackNotGranted,
    /// A fallback to a host and port that `externalNames.allow` does not list.
    FallbackNotListed,
    /// A field that a fallback to a Service cannot have.
    NotForServiceFallback,
    /// `steering.subset` beside `subsets`.
    BesideSubsets,
    /// A load balancer beside `sessionAffinity: ClientIP`.
    BesideAffinity,
    /// More ports times groups of endpoints times subsets than the bound.
    TooManyShares,
    /// An entry of `otherPorts` that is not a port's name and protocol.
    InvalidOtherPort,
    /// A Service that is steered by endpoint but has no endpoints in the table.
    EndpointsRequired,
    /// A packed table that is torn, or not as long as it says.
    InvalidPacking,
    /// An entry of `server.preload` that is not a namespace and `/*`.
    InvalidPreload,
    /// An entry of `modeExceptions` that is neither a namespace nor `namespace/name`.
    InvalidModeException,
    /// A required feature that this build does not know.
    UnknownFeature,
}

impl FieldErrorType {
    /// What is wrong, to follow the path and the value.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "cannot be read",
            Self::UnsupportedVersion => "is not a configuration version that byname reads",
            Self::TooMany(_) => "entries are more than the limit of",
            Self::TooLong(_) => "bytes are more than the limit of",
            Self::TooLarge(_) => "is more than",
            Self::InvalidLabel => "is not a lower-case DNS label",
            Self::InvalidName => "is not a DNS name",
            Self::LooksLikeIpv4 => "reads as an IPv4 address to resolvers",
            Self::InvalidAddress => "is not an IP address",
            Self::SpecialAddress => "is loopback, link-local, multicast or unspecified",
            Self::InvalidPort => "is not a port",
            Self::NamespaceRequired => "is not set, and the node's metadata has no NAMESPACE",
            Self::InvalidNamespacedName => "is not namespace/name",
            Self::Duplicate => "is given twice",
            Self::DuplicateClusterIp => "is already the cluster IP of another Service",
            Self::ExternalNameRequired => "has type ExternalName but no externalName",
            Self::ExternalNameOnly => "is only allowed on Services of type ExternalName",
            Self::NotForExternalName => "is not allowed on a Service of type ExternalName",
            Self::TlsInsideCluster => "is inside the cluster, where alias.tls is not allowed",
            Self::HostnameCount => "does not hold one hostname for each address",
            Self::PortNameRequired => "has no name, but the Service has several ports",
            Self::InvalidHostPattern => "is not a host pattern",
            Self::Required => "is empty",
            Self::InvalidTemplate => "is not a cluster name template",
            Self::InvalidHeaderName => "is not a header that byname may use",
            Self::InvalidHeaderValue => "contains a byte that no header value may contain",
            Self::SameHeader => "is the control header",
            Self::SameCluster => "is also the cluster for plaintext",
            Self::OutOfRange(_) => "is outside 1 to",
            Self::ExactlyOneOf(_) => "must set exactly one of",
            Self::InvalidRequestHeader => "is not the name of a request header",
            Self::FallbackToItself => "is its own fallback",
            Self::FallbackNotGranted => "is in another namespace, without a grant",
            Self::FallbackNotListed => "is not listed in externalNames.allow with this port",
            Self::NotForServiceFallback => "is not allowed with a fallback to a Service",
            Self::BesideSubsets => "is not allowed together with subsets",
            Self::BesideAffinity => "has no effect together with sessionAffinity: ClientIP",
            Self::TooManyShares => "is ports times groups of endpoints times subsets, and exceeds 65536",
            Self::InvalidOtherPort => "is not a port's name and protocol",
            Self::EndpointsRequired => "is steered by endpoint, but has no endpoints in the table",
            Self::InvalidPreload => "is not a namespace followed by /*",
            Self::InvalidModeException => "is not a namespace or a Service",
            Self::UnknownFeature => "is a feature that this module does not know",
            Self::InvalidPacking => "is not deflated text in base64 of the length in `bytes`",
        }
    }

    /// What to do.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::Malformed => "docs/configuration.md lists every field",
            Self::UnsupportedVersion => "write \"version\": 1",
            Self::TooMany(_) => "remove some, or split the table by what each namespace may see",
            Self::TooLong(_) => "shorten it",
            Self::TooLarge(_) => "use a smaller number",
            Self::InvalidLabel => "use a-z, 0-9 and '-' (not first or last), at most 63 bytes",
            Self::InvalidName => "use labels of a-z, 0-9, '-' and '_' joined by dots, at most 253 bytes",
            Self::LooksLikeIpv4 => "write a name; addresses belong in a Service's endpoints",
            Self::InvalidAddress => "write an IPv4 or IPv6 address without brackets, port or zone",
            Self::SpecialAddress => "use an address that other machines can reach",
            Self::InvalidPort => "use 1 to 65535",
            Self::NamespaceRequired => "set caller.namespace, or NAMESPACE in the node's metadata",
            Self::InvalidNamespacedName => "write it as \"namespace/name\"",
            Self::Duplicate => "keep one of them",
            Self::DuplicateClusterIp => "remove it from one of the two Services",
            Self::ExternalNameRequired => "add externalName, or change the type",
            Self::ExternalNameOnly => "set type: ExternalName, or remove the field",
            Self::NotForExternalName => "leave it out",
            Self::TlsInsideCluster => "remove tls: the upstream cluster of the target Service decides its TLS",
            Self::HostnameCount => {
                "write one hostname for each address, or move endpoints without a hostname to a group of their own"
            }
            Self::PortNameRequired => "name every port of a Service that has several",
            Self::InvalidHostPattern => "write a full name, or \"*.\" followed by a domain",
            Self::Required => "set it, or remove the field",
            Self::InvalidTemplate => {
                "use text and {host} {service} {namespace} {port} {portName} {subset} {endpoint}, at most 256 bytes"
            }
            Self::InvalidHeaderName => {
                "use lowercase a-z, 0-9 and '-', no ':', at most 64 bytes, and no header that other programs use"
            }
            Self::InvalidHeaderValue => "use visible ASCII",
            Self::SameHeader => "choose another header: the control header is removed before the filter sees it",
            Self::SameCluster => "name a separate cluster for TLS, because TLS is a setting of the cluster",
            Self::OutOfRange(_) => "use a number in that range",
            Self::ExactlyOneOf(_) => "keep one",
            Self::InvalidRequestHeader => "use lowercase a-z, 0-9 and '-', at most 64 bytes",
            Self::FallbackToItself => "name another one",
            Self::FallbackNotGranted => "add a grant to externalNames.grants, or name a Service of the same namespace",
            Self::FallbackNotListed => "add the host with the port to externalNames.allow",
            Self::NotForServiceFallback => "remove it: the upstream cluster of that Service decides its TLS",
            Self::BesideSubsets => "remove one of the two",
            Self::BesideAffinity => "remove one of the two",
            Self::TooManyShares => {
                "put endpoints that differ only in their addresses into one group, or use fewer subsets"
            }
            Self::InvalidOtherPort => "write it as name/UDP, name/SCTP or name/TCP",
            Self::EndpointsRequired => "add its endpoints, or steer it by cluster",
            Self::InvalidPreload => "write it as namespace/*",
            Self::InvalidModeException => "write a namespace or namespace/name",
            Self::UnknownFeature => "update the module, or compile without the feature",
            Self::InvalidPacking => "pack it with byname compile",
        }
    }
}

/// One refused value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field.
    pub path: FieldPath,
    /// The value, quoted and cut; empty where there is none.
    pub found: String,
    /// What is wrong with the value.
    pub error_type: FieldErrorType,
}

impl FieldError {
    /// An error of the JSON parser, in its own words.
    pub(super) fn malformed(path: FieldPath, error: &dyn fmt::Display) -> Self {
        Self { path, found: quoted(error, MAX_SYNTAX_ERROR_CHARS), error_type: FieldErrorType::Malformed }
    }

    /// What is wrong: the value and the reason, without the path and what to do.
    #[must_use]
    pub fn problem(&self) -> String {
        let reason = self.error_type.reason();
        let mut problem = match (self.error_type, self.found.as_str()) {
            (FieldErrorType::Malformed, found) => format!("{reason}: {found}"),
            (_, "") => reason.to_owned(),
            (FieldErrorType::TooMany(_) | FieldErrorType::TooLong(_) | FieldErrorType::TooLarge(_), found) => {
                format!("{found} {reason}")
            }
            (_, found) => format!("\"{found}\" {reason}"),
        };
        // Writing to a String cannot fail.
        let _ = match self.error_type {
            FieldErrorType::TooMany(limit) | FieldErrorType::TooLong(limit) => write!(problem, " {limit}"),
            FieldErrorType::TooLarge(limit) | FieldErrorType::OutOfRange(limit) => write!(problem, " {limit}"),
            FieldErrorType::ExactlyOneOf(fields) => write!(problem, " {fields}"),
            _ => Ok(()),
        };
        problem
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_value = !self.found.is_empty() && self.error_type != FieldErrorType::Malformed;
        let separator = if is_value { ":" } else { "" };
        write!(f, "{}{separator} {}; {}", self.path, self.problem(), self.error_type.fix())
    }
}

/// Every error of a configuration. Never empty where a function returns it as its error.
///
/// The first [`MAX_LISTED_ERRORS`] errors are kept and the others counted, so a wrong table of any size gives a bounded error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    listed: Vec<FieldError>,
    unlisted: usize,
}

impl FieldErrors {
    /// The errors that are kept.
    #[must_use]
    pub fn listed(&self) -> &[FieldError] {
        &self.listed
    }

    /// The number of errors, kept or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }

    /// Whether there is no error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn push(&mut self, error: FieldError) {
        if self.listed.len() < MAX_LISTED_ERRORS {
            self.listed.push(error);
        } else {
            self.unlisted += 1;
        }
    }

    /// One error about the value `found` at a path.
    pub(crate) fn of(at: &FieldPathRef<'_>, found: impl fmt::Display, error_type: FieldErrorType) -> Self {
        let mut errors = Self::default();
        errors.add(at, found, error_type);
        errors
    }

    /// Adds an error about the value `found` at a path.
    pub(crate) fn add(&mut self, at: &FieldPathRef<'_>, found: impl fmt::Display, error_type: FieldErrorType) {
        self.add_any(at, &found, error_type);
    }

    /// Not generic: a hundred callers share one copy.
    #[inline(never)]
    fn add_any(&mut self, at: &FieldPathRef<'_>, found: &dyn fmt::Display, error_type: FieldErrorType) {
        self.push(FieldError { path: at.to_path(), found: quoted(found, MAX_QUOTED_CHARS), error_type });
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.unlisted += other.unlisted;
        other.listed.into_iter().for_each(|error| self.push(error));
    }

    /// `Ok(value)` where there is no error.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.listed.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.unlisted > 0 {
            write!(f, "\nand {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl core::error::Error for FieldErrors {}

impl From<FieldError> for FieldErrors {
    fn from(error: FieldError) -> Self {
        Self { listed: alloc::vec![error], unlisted: 0 }
    }
}
