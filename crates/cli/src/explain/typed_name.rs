//! The name as a person types or pastes it: a host, a URL, a gRPC target, a connection string or a name of kubectl's.

use std::net::Ipv6Addr;

use super::{
    requested_name::RequestedName,
    uri_scheme::{UriScheme, kind_of},
};

/// The port of a gRPC target without one, from gRPC's naming document.
const GRPC_PORT: u16 = 443;
/// Kinds of kubectl's `kind/name` that have no name in DNS.
const KINDS_WITHOUT_NAMES: [&str; 12] = [
    "pod",
    "pods",
    "po",
    "deployment",
    "deployments",
    "deploy",
    "statefulset",
    "statefulsets",
    "sts",
    "daemonset",
    "daemonsets",
    "ds",
];
/// Go's MySQL driver puts the address in parentheses: `user:password@tcp(db:3306)/name`.
const GO_ADDRESS: &str = "tcp(";
const EXAMPLE: &str = "pass the host that the client connects to, such as payments.prod:8080";

/// A name as typed: the name that the client requests, and notes on how the text was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedName {
    /// The requested name.
    pub requested: RequestedName,
    /// What the text says beyond the name, for people.
    pub notes: Vec<String>,
}

impl TypedName {
    /// Parses `payments`, `payments:8080`, `[fd00::1]:80`, a URL such as `https://payments/path`, a gRPC target such as
    /// `dns:///payments:50051`, a list of hosts, `svc/payments` or `shop/payments`. `https` is for names without a scheme.
    ///
    /// # Errors
    /// If the text has no host. The error says what to pass.
    pub fn parse(text: &str, https: bool, is_namespace: &dyn Fn(&str) -> bool) -> Result<Self, String> {
        let mut notes = Vec::new();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(format!("the name is empty; {EXAMPLE}"));
        }
        if trimmed.len() != text.len() {
            notes.push("white space around the name is ignored; remove it from the client's configuration".to_owned());
        }
        let (first, further) = split_urls(trimmed);
        let Split { scheme, has_slashes, rest } = Split::of(first);
        let kind = scheme.map(kind_of);
        let hosts = match (scheme, kind) {
            (Some(scheme), Some(UriScheme::Socket)) => {
                return Err(format!(
                    "{scheme}: has no host, and its connections do not pass through Envoy; pass the name of a Service"
                ));
            }
            (Some(scheme), Some(UriScheme::Grpc)) => grpc_endpoint(scheme, has_slashes, rest, &mut notes),
            (Some(_), _) => authority(rest),
            // A reference without a scheme, as in a page (RFC 3986).
            (None, _) if has_slashes => authority(rest),
            (None, _) => &kubernetes_name(rest, is_namespace, &mut notes)?,
        };
        let mut hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let host = hosts.next().unwrap_or_default();
        // In a URL the port may be empty (RFC 3986), and clients leave its colon out.
        let host = if has_slashes && kind != Some(UriScheme::Grpc) { without_empty_port(host) } else { host };
        let others: Vec<&str> = hosts.chain(further.iter().map(|url| authority(Split::of(url).rest))).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            notes.push(format!("only the first host is explained; explain the other hosts by themselves: {others}"));
        }
        let is_tls = match kind {
            Some(UriScheme::Http { is_tls }) => is_tls,
            Some(_) => false,
            None => https,
        };
        let mut requested = RequestedName::of_authority(&decoded(host, &mut notes), is_tls);
        if requested.name.is_empty() {
            // The text may hold a password, so the error does not repeat it.
            let host = if has_slashes { "host between // and the next /" } else { "host" };
            return Err(format!("the {} has no {host}; {EXAMPLE}", if scheme.is_some() { "address" } else { "name" }));
        }
        if let (Some(scheme), Some(kind)) = (scheme, kind) {
            take_default_port(scheme, kind, &mut requested, &mut notes);
        }
        Ok(Self { requested, notes })
    }
}

impl From<RequestedName> for TypedName {
    fn from(requested: RequestedName) -> Self {
        Self { requested, notes: Vec::new() }
    }
}

/// Splits a list of URLs, `http://a:1,http://b:2`, into the first one and the further ones.
fn split_urls(text: &str) -> (&str, Vec<&str>) {
    match text.split_once(',') {
        Some((first, rest)) if first.contains("://") && rest.contains("://") => {
            (first.trim(), rest.split(',').map(str::trim).collect())
        }
        _ => (text, Vec::new()),
    }
}

/// A text as its scheme and the rest.
struct Split<'t> {
    scheme: Option<&'t str>,
    /// Whether `//` follows the scheme.
    has_slashes: bool,
    rest: &'t str,
}

impl<'t> Split<'t> {
    fn of(text: &'t str) -> Self {
        let driver = text.strip_prefix("jdbc:").or_else(|| text.strip_prefix("r2dbc:"));
        let inner = driver.unwrap_or(text);
        if let Some((scheme, rest)) = inner.split_once("://")
            && !scheme.contains(['/', '?', '#', '@', ','])
        {
            // JDBC drivers put further words before the slashes: `mysql:loadbalance://`.
            return Self { scheme: scheme.split(':').next(), has_slashes: true, rest };
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Self { scheme: None, has_slashes: true, rest };
        }
        if text.rsplit_once('@').is_some_and(|(_, hosts)| hosts.starts_with(GO_ADDRESS)) {
            return Self { scheme: Some("mysql"), has_slashes: false, rest: text };
        }
        match inner.split_once(':') {
            // `oracle:thin:@db:1521:sid` and `oracle:thin:@//db:1521/service`.
            Some((scheme, rest)) if driver.is_some() => {
                let rest = rest.rsplit_once('@').map_or("", |(_, rest)| rest.trim_start_matches('/'));
                let end = rest.match_indices(':').nth(1).map_or(rest.len(), |(end, _)| end);
                Self { scheme: Some(scheme), has_slashes: false, rest: rest.get(..end).unwrap_or(rest) }
            }
            // gRPC needs no slashes: `dns:payments:50051`. But `dns:53` is the port of a host.
            Some((scheme, rest)) if is_opaque(scheme) && !rest.starts_with(|c: char| c.is_ascii_digit()) => {
                Self { scheme: Some(scheme), has_slashes: false, rest }
            }
            Some((scheme @ ("ipv4" | "ipv6"), rest)) if rest.contains(['.', ':']) => {
                Self { scheme: Some(scheme), has_slashes: false, rest }
            }
            _ => Self { scheme: None, has_slashes: false, rest: text },
        }
    }
}

fn is_opaque(scheme: &str) -> bool {
    matches!(kind_of(scheme), UriScheme::Grpc | UriScheme::Socket)
}

/// The hosts of a URL, without user, password, path and query.
fn authority(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#', ';']).next().unwrap_or_default();
    // Clients do not send user and password in the authority.
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    hosts.strip_prefix(GO_ADDRESS).and_then(|host| host.strip_suffix(')')).unwrap_or(hosts)
}

/// The host without the colon of an empty port, which is not a colon of an IPv6 address.
fn without_empty_port(host: &str) -> &str {
    let name = host.strip_suffix(':').filter(|name| !name.contains(':') || name.ends_with(']'));
    name.unwrap_or(host)
}

/// The endpoint of a gRPC target, `dns://server/endpoint`: the server is only asked for the endpoint's addresses.
fn grpc_endpoint<'t>(scheme: &str, has_slashes: bool, rest: &'t str, notes: &mut Vec<String>) -> &'t str {
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (server, endpoint) = match rest.split_once('/') {
        Some((server, endpoint)) if has_slashes => (server, endpoint),
        None if has_slashes => {
            notes.push(format!("gRPC takes {rest} for a DNS server and finds no name; write {scheme}:///{rest}"));
            return rest;
        }
        _ => ("", rest),
    };
    let endpoint = endpoint.trim_start_matches('/');
    match scheme.to_ascii_lowercase().as_str() {
        "xds" | "google-c2p" => notes.push(format!(
            "the client's xDS control plane resolves {scheme} names; the filter sees the request only if the client still \
             connects through Envoy"
        )),
        _ if !server.is_empty() => {
            notes.push(format!("{server} is the DNS server that the client asks; it is not part of the name"));
        }
        _ => {}
    }
    endpoint.split('/').next().unwrap_or_default()
}

/// The host of a text without a scheme: kubectl's `svc/web` and `shop/web`, or a host that a path follows.
fn kubernetes_name(text: &str, is_namespace: &dyn Fn(&str) -> bool, notes: &mut Vec<String>) -> Result<String, String> {
    let (before, after) = match text.split_once('/') {
        Some((before, after)) if !before.contains([':', '.', ',']) => (before, after),
        _ => return Ok(text.split(['/', '?', '#']).next().unwrap_or_default().to_owned()),
    };
    let (name, port) = after.split_once(':').map_or((after, None), |(name, port)| (name, Some(port)));
    let is_label =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_name = is_label(name);
    let joined = |host: String| port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    match before.to_ascii_lowercase().as_str() {
        "svc" | "service" | "services" if name.split('.').all(is_label) => {
            notes.push(format!("clients write {name} for the Service {text}"));
            Ok(joined(name.to_owned()))
        }
        namespace if is_name && is_namespace(namespace) => {
            notes.push(format!("clients write {name}.{namespace} for the Service {name} in namespace {namespace}"));
            Ok(joined(format!("{name}.{namespace}")))
        }
        kind if KINDS_WITHOUT_NAMES.contains(&kind) => Err(without_name(text)),
        namespace => {
            // The object of a kind in a namespace, such as shop/svc/web, is a form of neither kubectl nor DNS.
            let (kind, object) = after.split_once('/').unwrap_or_default();
            let is_service = matches!(kind, "svc" | "service" | "services") && is_label(object);
            if is_namespace(namespace) && is_service {
                return Err(format!(
                    "{text} is not a name; for the Service {object} in namespace {namespace}, pass {object}.{namespace}"
                ));
            }
            if is_namespace(namespace) && KINDS_WITHOUT_NAMES.contains(&kind) {
                return Err(without_name(text));
            }
            let service = if is_service { object } else { name };
            if (is_name || is_service) && !before.is_empty() {
                notes.push(format!(
                    "{text} is read as host and path: the input has no namespace {before}; for a Service in a namespace, write \
                     {service}.{before}"
                ));
            }
            Ok(before.to_owned())
        }
    }
}

/// The error for an object of a kind that has no name in DNS.
fn without_name(text: &str) -> String {
    format!(
        "{text}: only Services have names that clients use; pass the name of the Service in front of it (--pod names the client's pod)"
    )
}

/// The host as clients send it: gRPC targets hold addresses in percent-encoding, and people leave out the brackets.
fn decoded(host: &str, notes: &mut Vec<String>) -> String {
    let codes = [("%5B", "["), ("%5b", "["), ("%5D", "]"), ("%5d", "]"), ("%3A", ":"), ("%3a", ":")];
    let host = codes.into_iter().fold(host.to_owned(), |host, (code, character)| host.replace(code, character));
    if host.parse::<Ipv6Addr>().is_ok() {
        notes.push(format!("clients write an IPv6 address in brackets: [{host}]"));
        return format!("[{host}]");
    }
    host
}

/// Takes the port that the scheme has by default, and notes what the filter does not see.
fn take_default_port(scheme: &str, kind: UriScheme, requested: &mut RequestedName, notes: &mut Vec<String>) {
    match kind {
        // The client connects to this port, and sends the name without it.
        UriScheme::Grpc if requested.port.is_none() => {
            requested.destination_port = Some(GRPC_PORT);
            notes.push(format!("gRPC connects to port {GRPC_PORT}, because the name has no port"));
        }
        UriScheme::NotHttp { port } => {
            if requested.port.is_none() {
                requested.port = port.map(|port| port.to_string());
            }
            notes.push(format!(
                "{scheme} is not HTTP: the filter sees only HTTP requests, so Envoy sends this connection where its listeners \
                 say; above is what an HTTP request would get"
            ));
            if scheme.ends_with("+srv") {
                notes.push(format!(
                    "{scheme} asks DNS for the SRV records of {}, and connects to the hosts and ports in them",
                    requested.name
                ));
            } else if requested.port.is_none() {
                notes.push(format!("{scheme} has no default port, so port 80 is explained; add :PORT to the name"));
            }
        }
        UriScheme::Other if requested.port.is_none() => {
            notes.push(format!(
                "the default port of {scheme} is unknown, so port 80 is explained; add :PORT to the name"
            ));
        }
        _ => {}
    }
}
