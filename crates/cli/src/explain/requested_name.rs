//! The requested name, as clients write it.

use byname_core::Scheme;
use schemars::JsonSchema;
use serde::Serialize;

/// A name and a port, as a client has them in its configuration.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[schemars(rename = "Asked")]
pub struct RequestedName {
    /// The name.
    pub name: String,
    /// The port; omitted if it is the scheme's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// `http` or `https`.
    pub scheme: String,
    /// The port that the client connected to, where its traffic is redirected to Envoy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
}

impl RequestedName {
    /// Parses `payments`, `payments:8080`, `[fd00::1]:80` or a URL such as `https://payments/path`.
    #[must_use]
    pub fn parse(text: &str, https: bool) -> Self {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => {
                let is_tls = ["https", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                // Clients do not send user and password in the authority.
                (is_tls, authority.rsplit_once('@').map_or(authority, |(_, host)| host))
            }
            None => (https, text),
        };
        let scheme = if scheme { "https" } else { "http" }.to_owned();
        // The last colon, unless it is inside an IPv6 address's brackets.
        let port = rest
            .rsplit_once(':')
            .filter(|(name, port)| !port.contains(']') && (!name.contains(':') || name.ends_with(']')));
        let of =
            |name: &str| Self { name: name.to_owned(), port: None, scheme: scheme.clone(), destination_port: None };
        match port {
            Some((name, port)) => Self { port: Some(port.to_owned()), ..of(name) },
            None => of(rest),
        }
    }

    /// The authority that a client sends.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.port {
            Some(port) => format!("{}:{port}", self.name),
            None => self.name.clone(),
        }
    }

    /// The request's scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        Scheme::from_bytes(self.scheme.as_bytes())
    }
}
