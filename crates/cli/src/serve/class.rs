//! Who a stream belongs to, and which callers get the same bytes.

use std::{collections::BTreeSet, sync::Arc};

use byname_core::wire;
use prost_types::value::Kind;

use super::{
    authentication::{Denial, DenialReason},
    discovery::Node,
    identity::Identity,
};

/// Bytes of a text by which an Envoy describes itself.
const TEXT_BYTES: usize = 253;

/// The zone or the node of callers that are in none that a Service knows. No zone or node of Kubernetes has this character in its name.
const ELSEWHERE: &str = "?";

/// Zones, or nodes.
pub(super) type Places = BTreeSet<Box<str>>;

/// The pod behind a stream: who it is, and what its Envoy says of itself. Zone and node steer; they reveal nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamCaller {
    /// The id of the Envoy.
    pub(super) id: String,
    /// Verified, unless the listener trusts anyone.
    pub(super) namespace: Option<String>,
    /// `None` where nobody has verified it.
    pub(super) service_account: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) node: Option<String>,
    pub(super) schema: ModuleSchema,
    pub(super) listener: ListenerSettings,
}

/// What the listener of an Envoy asks of the filter, where the server's configuration says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListenerSettings {
    /// The Envoy passes nothing on, so the filter answers for unknown names: it can say what it looked for.
    pub(super) refuses_unknown_names: bool,
    /// The port that traffic is redirected to, if it is: a request without a port is for the port where it was going.
    pub(super) port: Option<u16>,
}

/// The fields of the filter's configuration that a module knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ModuleSchema {
    /// Those of the oldest modules that this server supports.
    #[default]
    Oldest,
    /// All that this server sends.
    Current,
}

impl ModuleSchema {
    /// Reads `VERSION.MINOR`, the newest schema that a module reads. A module that does not say so is among the oldest.
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.parse::<u32>().ok();
        let Some((version, minor)) = text.split_once('.') else { return Self::Oldest };
        let is_current = number(version) == Some(wire::VERSION) && number(minor) >= Some(wire::MINOR);
        if is_current { Self::Current } else { Self::Oldest }
    }
}

/// The text, unless it is empty or longer than any name of Kubernetes: a stream keeps it.
fn usable(text: &str) -> Option<String> {
    (1..=TEXT_BYTES).contains(&text.len()).then(|| text.to_owned())
}

/// Callers that get the same variant of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallerClass {
    /// `None` where the zone makes no difference.
    pub(super) zone: Option<String>,
    /// `None` where the node makes no difference.
    pub(super) node: Option<String>,
    /// The oldest where the module makes no difference.
    pub(super) schema: ModuleSchema,
    /// The default where it makes no difference.
    pub(super) listener: ListenerSettings,
    /// A namespace that sees the same Services as that of each caller of the class; `None` for those that all namespaces see, and where that
    /// makes no difference.
    pub(super) view: Option<Arc<str>>,
    /// Whether an address is that of an endpoint for the callers of the class, who do not see the Service that has it as a cluster IP.
    pub(super) is_endpoint: bool,
}

impl StreamCaller {
    /// The caller with this verified identity, if the listener verifies identities, whose Envoy describes itself as `node`, with the
    /// same fields as the filter reads.
    ///
    /// # Errors
    /// If the Envoy says that it is of another namespace.
    pub(super) fn of(node: Node, identity: Option<Identity>) -> Result<Self, Denial> {
        let metadata = node.metadata.unwrap_or_default();
        let text = |name: &str| match metadata.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) => usable(text),
            _ => None,
        };
        let id = node.id.get(..node.id.floor_char_boundary(TEXT_BYTES)).unwrap_or_default().to_owned();
        let claimed = text("NAMESPACE");
        let namespace = match (&identity, claimed) {
            (Some(identity), Some(claimed)) if claimed != identity.namespace => {
                return Err(Denial {
                    reason: DenialReason::OtherNamespace,
                    text: format!(
                        "node {}: its metadata has the NAMESPACE {}, but the client is {identity}; write the bootstrap with \
                         --namespace {}",
                        id.escape_debug(),
                        claimed.escape_debug(),
                        identity.namespace
                    ),
                });
            }
            (Some(identity), _) => Some(identity.namespace.clone()),
            (None, claimed) => claimed,
        };
        Ok(Self {
            namespace,
            service_account: identity.map(|identity| identity.service_account),
            node: text("NODE_NAME"),
            schema: text("BYNAME_SCHEMA").map(|text| ModuleSchema::parse(&text)).unwrap_or_default(),
            listener: ListenerSettings {
                refuses_unknown_names: text("BYNAME_UNKNOWN_NAMES").is_some_and(|text| text == "refuse"),
                port: text("BYNAME_LISTENER_PORT").and_then(|text| text.parse().ok()),
            },
            zone: node.locality.and_then(|locality| usable(&locality.zone)),
            id,
        })
    }

    /// The port that makes a class of its own, if the caller asks for one. The oldest modules do not know what a listener may ask for.
    pub(super) fn listener_port(&self) -> Option<u16> {
        self.listener.port.filter(|_| self.schema != ModuleSchema::Oldest)
    }

    /// The namespace whose Services the caller sees; empty for one that sees what everyone sees.
    pub(super) fn viewer(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The caller's class for a resource that differs by these zones and by these nodes; `None` where it does not.
    ///
    /// Callers name their zones and nodes as they like. All whose zone or node is not among these get the same.
    pub(super) fn class(&self, zones: Option<&Places>, nodes: Option<&Places>) -> CallerClass {
        let place = |own: &Option<String>, places: Option<&Places>| {
            let (own, places) = (own.as_deref()?, places?);
            Some(if places.contains(own) { own.to_owned() } else { ELSEWHERE.to_owned() })
        };
        let (zone, node) = (place(&self.zone, zones), place(&self.node, nodes));
        CallerClass { zone, node, ..CallerClass::default() }
    }

    /// The caller's class for the filter, with what it sees.
    pub(super) fn filter_class(&self, view: Option<Arc<str>>) -> CallerClass {
        // The oldest modules do not know what a listener may ask for.
        let listener = match self.schema {
            ModuleSchema::Oldest => ListenerSettings::default(),
            ModuleSchema::Current => self.listener,
        };
        CallerClass { schema: self.schema, listener, view, ..CallerClass::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::discovery::Locality, *};

    #[test]
    fn what_an_envoy_says_of_itself_is_bounded() {
        let text = |bytes: usize| "a".repeat(bytes);
        let of = |bytes| {
            let value = |text| prost_types::Value { kind: Some(Kind::StringValue(text)) };
            let fields = [("NODE_NAME".to_owned(), value(text(bytes)))].into();
            let locality = Some(Locality { zone: text(bytes) });
            StreamCaller::of(Node { id: text(bytes), metadata: Some(prost_types::Struct { fields }), locality }, None)
                .unwrap_or_else(|denial| panic!("{}", denial.text))
        };
        let StreamCaller { id, zone, node, .. } = of(TEXT_BYTES);
        assert_eq!([Some(id), zone, node], [Some(text(TEXT_BYTES)), Some(text(TEXT_BYTES)), Some(text(TEXT_BYTES))]);
        let StreamCaller { id, zone, node, .. } = of(TEXT_BYTES + 1);
        assert_eq!((id.len(), zone, node), (TEXT_BYTES, None, None));
    }

    #[test]
    fn unknown_zones_and_nodes_make_no_class_of_their_own() {
        let caller =
            |zone: &str, node: &str| StreamCaller { zone: usable(zone), node: usable(node), ..StreamCaller::default() };
        let places = |names: &[&str]| -> Places { names.iter().map(|name| (*name).into()).collect() };
        let (zones, nodes) = (places(&["a", "b"]), places(&["n1"]));
        let class = |zone, node| caller(zone, node).class(Some(&zones), Some(&nodes));
        assert_eq!(class("a", "n1").zone.as_deref(), Some("a"));
        assert_eq!(class("x", "n2"), class("y", "n3"), "elsewhere");
        assert_ne!(class("x", "n2"), class("", ""), "a caller that says nothing is nowhere");
        assert_ne!(class("x", "n1"), class("x", "n2"));
        assert_eq!(caller("a", "n1").class(None, None), caller("b", "").class(None, None));
    }

    #[test]
    fn a_module_that_does_not_say_all_this_server_sends_gets_the_oldest_form() {
        for text in ["1.1", "1.2", "1.4294967295"] {
            assert_eq!(ModuleSchema::parse(text), ModuleSchema::Current, "{text}");
        }
        for text in ["1.0", "", "1", "1.", "0.9", "2.0", "1.1.1", "one"] {
            assert_eq!(ModuleSchema::parse(text), ModuleSchema::Oldest, "{text}");
        }
    }
}
