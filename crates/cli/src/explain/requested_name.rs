//! The requested name, as clients write it.

use byname_core::Scheme;
use schemars::JsonSchema;
use serde::Serialize;

/// A name and a port, as a client has them in its configuration.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// The name and port of an authority, as a client sends it.
    #[must_use]
    pub fn of_authority(authority: &str, is_tls: bool) -> Self {
        // The last colon, unless it is inside an IPv6 address.
        let port = authority
            .rsplit_once(':')
            .filter(|(name, port)| !port.contains(']') && (!name.contains(':') || name.ends_with(']')));
        let (name, port) = port.map_or((authority, None), |(name, port)| (name, Some(port.to_owned())));
        let scheme = if is_tls { "https" } else { "http" };
        Self { name: name.to_owned(), port, scheme: scheme.to_owned(), destination_port: None }
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
