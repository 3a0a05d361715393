//! The names that resolve differently in two states of a cluster.

mod against_dns;
mod difference;
mod names;
mod side;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{Balance, Chooser, Destination, FakeEnv, FieldErrors, Plan, Request, Resolution, Scheme};

pub use self::{
    against_dns::{DnsChange, DnsChangeKind, DnsDifference, against_dns},
    difference::{ChangeKind, Difference, Meaning, NameChange, Names},
    side::{Side, SideInput},
    text::{text, text_against_dns},
};

/// Compares two states. Names are resolved from the namespaces `from`; if it is empty, from all namespaces of either state.
///
/// # Errors
/// If one of `from` is not a valid namespace.
pub fn diff(old: &mut Side, new: &mut Side, from: &BTreeSet<String>) -> Result<Difference, FieldErrors> {
    let namespaces: BTreeSet<String> = match from.is_empty() {
        true => old.namespaces().union(&new.namespaces()).cloned().collect(),
        false => from.clone(),
    };
    let names = names::of(old, new);
    let all: Vec<&String> = namespaces.iter().collect();
    // Keyed by indices into `names` and `all`: there may be names times namespaces entries.
    let mut changes: BTreeMap<(ChangeKind, Meaning, Meaning), BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    let mut asker = Asker::default();
    for (place, namespace) in all.iter().enumerate() {
        old.ask_from(namespace)?;
        new.ask_from(namespace)?;
        for (index, name) in names.iter().enumerate().filter(|(_, name)| name.is_for(namespace)) {
            let (before, now) = (asker.meaning(old, &name.authority), asker.meaning(new, &name.authority));
            let kind = match (before.leads_somewhere(), now.leads_somewhere()) {
                _ if before == now => continue,
                (true, false) => ChangeKind::Vanishes,
                (false, true) => ChangeKind::Appears,
                (true, true) | (false, false) => ChangeKind::Changes,
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
        NameChange { kind, old: said(old), new: said(new), names: names.collect() }
    });
    let changes = changes.collect();
    Ok(Difference { changes, names: names.len(), namespaces })
}

/// Buffers for resolving names, allocated once.
#[derive(Default)]
struct Asker {
    balance: Balance,
    env: FakeEnv,
    plan: Plan,
}

impl Asker {
    /// The authority that the last name is sent on with; `None` if byname leaves it as it is.
    fn authority(&self) -> Option<&str> {
        self.plan.authority()
    }

    fn meaning(&mut self, side: &Side, authority: &str) -> Meaning {
        let request = Request::new(authority, Scheme::Http);
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
