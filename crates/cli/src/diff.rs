//! Which names change their meaning from one state of a cluster to another.

mod names;
mod side;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Balance, Chooser, Destination, FakeEnv, FieldErrors, Plan, Request, Resolution, Scheme};
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
    /// The names, those together that change so from the same namespaces.
    pub names: Vec<Names>,
}

/// Names that change from the same namespaces.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Names {
    /// The namespaces.
    pub from: Vec<String>,
    /// The names with their ports.
    pub names: Vec<String>,
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
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meaning {
    /// Why, by the name that counters and headers have for it.
    pub reason: &'static str,
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
pub fn diff(old: &mut Side, new: &mut Side, from: &BTreeSet<String>) -> Result<Difference, FieldErrors> {
    let namespaces: BTreeSet<String> = match from.is_empty() {
        true => old.namespaces().union(&new.namespaces()).cloned().collect(),
        false => from.clone(),
    };
    let names = names::of(old, new);
    let all: Vec<&String> = namespaces.iter().collect();
    // By their places in these lists: there are as many as names times namespaces.
    let mut changes: BTreeMap<(Kind, Meaning, Meaning), BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    let mut asker = Asker::default();
    for (place, namespace) in all.iter().enumerate() {
        old.ask_from(namespace)?;
        new.ask_from(namespace)?;
        for (index, name) in names.iter().enumerate().filter(|(_, name)| name.is_for(namespace)) {
            let (before, now) = (asker.meaning(old, &name.authority), asker.meaning(new, &name.authority));
            let kind = match (before.leads_somewhere(), now.leads_somewhere()) {
                _ if before == now => continue,
                (true, false) => Kind::Vanishes,
                (false, true) => Kind::Appears,
                (true, true) | (false, false) => Kind::Changes,
            };
            changes.entry((kind, before, now)).or_default().entry(index).or_default().push(place);
        }
    }
    let said = |meaning: Meaning| (meaning.leads_somewhere() || meaning.reason != "name_not_found").then_some(meaning);
    let changes = changes.into_iter().map(|((kind, old, new), changed)| {
        let mut by_callers: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
        for (index, from) in changed {
            by_callers.entry(from).or_default().extend(names.get(index).map(|name| name.authority.clone()));
        }
        let called = |from: Vec<usize>| from.into_iter().filter_map(|place| all.get(place).copied().cloned()).collect();
        let names = by_callers.into_iter().map(|(from, names)| Names { from: called(from), names });
        Change { kind, old: said(old), new: said(new), names: names.collect() }
    });
    let changes = changes.collect();
    Ok(Difference { changes, names: names.len(), namespaces })
}

/// What asking takes, made once.
#[derive(Default)]
struct Asker {
    balance: Balance,
    env: FakeEnv,
    plan: Plan,
}

impl Asker {
    fn meaning(&mut self, side: &Side, authority: &str) -> Meaning {
        let request = Request { authority: authority.as_bytes(), scheme: Scheme::Http };
        let mut chooser = Chooser { balance: &mut self.balance, env: &mut self.env };
        let resolution = side.config.resolve(request, None);
        side.config.plan(&resolution, request, &mut chooser, &mut self.plan, None);
        let mut meaning = Meaning { reason: resolution.reason().as_str(), ..Meaning::default() };
        if let Resolution::Route(route) = &resolution {
            route.destination.write_host(side.zone(), &mut meaning.host);
            meaning.port = Some(route.port);
            route.port_name.clone_into(&mut meaning.port_name);
            meaning.tls = route.tls && matches!(route.destination, Destination::External(_));
            meaning.cluster = self.plan.cluster().map(str::to_owned);
        }
        meaning
    }
}
