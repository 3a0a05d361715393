//! Which names change their meaning from one state of a cluster to another.

mod names;
mod side;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Balance, Chooser, Destination, Plan, Problems, Request, Resolution, Scheme, Scripted};
use schemars::JsonSchema;
use serde::Serialize;

pub use self::{side::Side, text::text};

/// What differs between two states.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What changes, by what it was and what it becomes.
    pub changes: Vec<Change>,
    /// The namespaces from which all names were asked.
    pub namespaces: BTreeSet<String>,
    /// How many pairs of a name and a port were asked, from one namespace or more.
    pub names: usize,
}

/// Names that change in the same way.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whether they appear, vanish or lead elsewhere.
    pub kind: Kind,
    /// What they meant; left out where that was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Meaning>,
    /// What they mean now; left out where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Meaning>,
    /// The names with their ports, and the namespaces from which each changes so.
    pub names: BTreeMap<String, BTreeSet<String>>,
}

/// What becomes of names.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// They led somewhere and do not any more.
    Vanishes,
    /// They lead elsewhere.
    Changes,
    /// They led nowhere and do now.
    Appears,
}

/// What a name means to a caller.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meaning {
    /// Why, by the name that counters and headers have for it.
    pub reason: String,
    /// The whole name of where it leads; empty where a request is passed or refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The port there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// Whether an external host is spoken to over TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// The upstream cluster, where the filter chooses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Meaning {
    fn leads_somewhere(&self) -> bool {
        !self.host.is_empty()
    }
}

/// Compares two states. `from` are the namespaces that names are asked from; empty: all that either has.
///
/// # Errors
/// Where one of them cannot be a namespace.
pub fn diff(old: &mut Side, new: &mut Side, from: &BTreeSet<String>) -> Result<Difference, Problems> {
    let namespaces: BTreeSet<String> = match from.is_empty() {
        true => old.namespaces().union(&new.namespaces()).cloned().collect(),
        false => from.clone(),
    };
    let names = names::of(old, new);
    let mut changes: BTreeMap<(Kind, Meaning, Meaning), BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for namespace in &namespaces {
        old.ask_from(namespace)?;
        new.ask_from(namespace)?;
        for name in names.iter().filter(|name| name.is_for(namespace)) {
            let (before, now) = (meaning(old, &name.authority), meaning(new, &name.authority));
            let kind = match (before.leads_somewhere(), now.leads_somewhere()) {
                _ if before == now => continue,
                (true, false) => Kind::Vanishes,
                (false, true) => Kind::Appears,
                (true, true) | (false, false) => Kind::Changes,
            };
            let names = changes.entry((kind, before, now)).or_default();
            names.entry(name.authority.clone()).or_default().insert(namespace.clone());
        }
    }
    let said = |meaning: Meaning| (meaning.leads_somewhere() || meaning.reason != "name_not_found").then_some(meaning);
    let changes =
        changes.into_iter().map(|((kind, old, new), names)| Change { kind, old: said(old), new: said(new), names });
    Ok(Difference { changes: changes.collect(), names: names.len(), namespaces })
}

fn meaning(side: &Side, authority: &str) -> Meaning {
    let request = Request { authority: authority.as_bytes(), scheme: Scheme::Http };
    let (mut balance, mut ambient, mut plan) = (Balance::default(), Scripted::default(), Plan::default());
    let mut chooser = Chooser { balance: &mut balance, ambient: &mut ambient };
    let resolution = side.config.decide(request, &mut chooser, &mut plan);
    let mut meaning = Meaning {
        reason: resolution.reason().to_string(),
        host: String::new(),
        port: None,
        port_name: String::new(),
        tls: false,
        cluster: None,
    };
    if let Resolution::Route(route) = &resolution {
        route.destination.write_host(side.zone(), &mut meaning.host);
        meaning.port = Some(route.port);
        route.port_name.clone_into(&mut meaning.port_name);
        meaning.tls = route.tls && matches!(route.destination, Destination::External(_));
        meaning.cluster = plan.cluster().map(str::to_owned);
    }
    meaning
}
