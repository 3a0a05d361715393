//! Requests to the API.

use std::{collections::BTreeMap, io};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpStream,
};

use super::{
    resources::{self, Resource},
    state::ObjectKey,
};

pub(super) struct ApiRequest {
    pub(super) method: String,
    /// The path and the query.
    pub(super) target: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) content_type: String,
    pub(super) accept_encoding: String,
    pub(super) body: Vec<u8>,
    /// The requested kind, if the API has it.
    pub(super) resource: Option<&'static Resource>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl ApiRequest {
    /// Reads the next request; `None` if the connection has ended.
    pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(None);
            }
        }
        let headers: BTreeMap<String, &str> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let header = |name: &str| headers.get(name).copied().unwrap_or_default();
        // kubectl sends its token only over TLS.
        let is_kubectl = header("user-agent").starts_with("kubectl");
        assert!(is_kubectl || header("authorization") == "Bearer secret", "{head}");
        let mut body = vec![0; header("content-length").parse().unwrap_or_default()];
        stream.read_exact(&mut body).await?;
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let (content_type, accept_encoding) = (header("content-type").to_owned(), header("accept-encoding").to_owned());
        Ok(Some(Self { content_type, accept_encoding, body, ..Self::parse(method, target) }))
    }

    fn parse(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decoded = |text: &str| text.replace("%3D", "=").replace("%2C", ",");
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match &parts[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => ("", "", &[][..]),
        };
        let (namespace, plural, name) = match rest {
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
            [plural] => (None, *plural, None),
            [plural, name] => (None, *plural, Some(*name)),
            _ => (None, "", None),
        };
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            path: path.to_owned(),
            query,
            content_type: String::new(),
            accept_encoding: String::new(),
            body: Vec::new(),
            resource: resources::of_path(group, version, plural),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        }
    }

    pub(super) fn plural(&self) -> &'static str {
        self.resource.map_or("", |resource| resource.plural)
    }

    /// Whether a list or a watch includes the object of this key.
    pub(super) fn wants(&self, (plural, namespace, name): &ObjectKey) -> bool {
        let selected = self.query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
        *plural == self.plural()
            && self.namespace.as_ref().is_none_or(|own| own == namespace)
            && selected.is_none_or(|own| own == name)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }
}
