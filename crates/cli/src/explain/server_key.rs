//! What a filter that asks a server for Services has to ask it for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use byname_core::{Config, Defaults, NamespacedName, Request, Trace, trace::Step, wire};

/// More rounds than aliases and fallbacks can lead to.
const MAX_ROUNDS: usize = 64;

/// The keys for which a filter with these settings needs the answer of its server, in search order: those that it needs at once, then those
/// that the answers lead to, and so on. It has been told the namespaces. The table of `settings` has what the server would answer, and
/// `trace` is the resolution by that table.
pub(super) fn rounds(settings: &wire::Config, request: Request<'_>, trace: &Trace) -> Vec<Vec<String>> {
    let mut settings = settings.clone();
    let all = std::mem::take(&mut settings.table.services);
    let namespaces: BTreeSet<&str> = all.keys().filter_map(|key| Some(key.split_once('/')?.0)).collect();
    let is_denied = |key: &str| key.split_once('/').is_some_and(|(namespace, _)| !namespaces.contains(namespace));
    let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
    let (mut known, mut asked, mut rounds) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for _ in 0..MAX_ROUNDS {
        settings.table.services = known.clone();
        let Ok(config) = Config::from_wire(settings.clone(), &defaults) else { break };
        let mut unanswered = Trace::new(settings.table.version);
        let _ = config.resolve(request, Some(&mut unanswered));
        let keys = unanswered.steps.iter().filter_map(|step| match step {
            Step::Unanswered(key) => Some(key.to_string()),
            _ => None,
        });
        let keys: Vec<String> = keys.filter(|key| !is_denied(key) && asked.insert(key.clone())).collect();
        if keys.is_empty() {
            break;
        }
        let names = keys.iter().map(|key| match key.parse::<IpAddr>() {
            Ok(address) => owner(trace, address).map(ToString::to_string).unwrap_or_default(),
            Err(_) => key.clone(),
        });
        known.extend(names.filter_map(|name| all.get_key_value(&name)).map(|(name, one)| (name.clone(), one.clone())));
        rounds.push(keys);
    }
    rounds
}

/// The Service that has this address as a cluster IP.
fn owner(trace: &Trace, wanted: IpAddr) -> Option<&NamespacedName> {
    trace.steps.iter().find_map(|step| match step {
        Step::Address { address, service } if *address == wanted => service.as_ref(),
        _ => None,
    })
}

/// Whether a step is about this key.
pub(super) fn is_about(step: &Step, key: &str) -> bool {
    match step {
        Step::Address { address, .. } => address.to_string() == key,
        Step::Candidate { service, .. } | Step::Hop { service, .. } => {
            service.as_ref().is_some_and(|service| service.to_string() == key)
        }
        Step::Fallback { to, .. } => **to == *key,
        _ => false,
    }
}
