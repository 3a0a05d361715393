//! A naive client: it keeps what it was told, refuses what it finds bad, and knows nothing of the server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use byname_xds::{DeltaRequest, DeltaResponse, StreamId, TypeIndex};

use crate::{fixture::Body, world::TestCaller};

pub(super) struct Client {
    pub(super) caller: TestCaller,
    pub(super) link: Option<Link>,
    pub(super) types: Vec<TypeIndex>,
    /// By type.
    pub(super) known: Vec<Known>,
    /// The first type that is linked; all after it are too.
    pub(super) first_linked: usize,
}

/// An open stream, with what is under way on it.
pub(super) struct Link {
    pub(super) server: usize,
    pub(super) stream: StreamId,
    pub(super) up: VecDeque<(TypeIndex, DeltaRequest)>,
    pub(super) down: VecDeque<DeltaResponse<Body>>,
    /// The types that have had a request.
    begun: BTreeSet<TypeIndex>,
    nonces: Vec<String>,
}

#[derive(Default)]
pub(super) struct Known {
    pub(super) named: BTreeSet<String>,
    pub(super) has_wildcard: bool,
    /// Versions by name.
    pub(super) has: BTreeMap<String, String>,
    /// Names of which a cluster came, and nothing yet for what follows it.
    pub(super) warming: BTreeSet<String>,
}

/// Whether a client refuses a body.
pub(super) fn is_bad(body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).unwrap().trim_end_matches('.');
    is_bad_value(text.rsplit(' ').next().unwrap().parse().unwrap())
}

pub(super) fn is_bad_value(value: u32) -> bool {
    value % 5 == 4
}

impl Link {
    pub(super) fn new(server: usize, stream: StreamId) -> Self {
        let (up, down, begun, nonces) = Default::default();
        Self { server, stream, up, down, begun, nonces }
    }
}

impl Known {
    fn wants(&self, name: &str) -> bool {
        self.has_wildcard || self.named.contains(name)
    }
}

impl Client {
    /// Opens a stream and asks again for all that it is subscribed to, with the versions that it has.
    pub(super) fn connect(&mut self, link: Link) {
        self.link = Some(link);
        for (index, resource_type) in self.types.clone().into_iter().enumerate() {
            let known = &mut self.known[index];
            // The server cannot know which clusters were warming on the old stream: a client then warms by a timeout.
            known.warming.clear();
            let wildcard = known.has_wildcard.then(|| "*".to_owned());
            let subscribe: Vec<String> = known.named.iter().cloned().chain(wildcard).collect();
            if !subscribe.is_empty() {
                let initial_resource_versions = known.has.clone().into_iter().collect();
                let request = DeltaRequest { subscribe, initial_resource_versions, ..DeltaRequest::default() };
                self.send(resource_type, request);
            }
        }
    }

    /// Changes subscriptions.
    pub(super) fn ask(
        &mut self,
        (index, resource_type): (usize, TypeIndex),
        subscribe: Vec<String>,
        unsubscribe: Vec<String>,
        old_nonce: Option<usize>,
    ) {
        let Some(link) = &self.link else { return };
        let known = &mut self.known[index];
        // A resource that comes under a new wildcard could be one from before that is unsubscribed by now: a client that changes to
        // a wildcard waits until nothing is under way.
        let mut under_way =
            link.up.iter().map(|(ty, _)| ty).chain(link.down.iter().map(|message| &message.resource_type));
        let is_quiet = !under_way.any(|ty| *ty == resource_type);
        let is_linked = index >= self.first_linked;
        let may_ask = |name: &String| *name != "*" || is_linked || known.has_wildcard || is_quiet;
        let subscribe: Vec<String> = subscribe.into_iter().filter(may_ask).collect();
        let is_legacy_wildcard =
            !is_linked && !link.begun.contains(&resource_type) && subscribe.is_empty() && unsubscribe.is_empty();
        for name in subscribe.iter().filter(|name| !unsubscribe.contains(name)) {
            match name.as_str() {
                "*" if !is_linked => known.has_wildcard = true,
                name => _ = known.named.insert(name.to_owned()),
            }
        }
        known.has_wildcard |= is_legacy_wildcard;
        for name in &unsubscribe {
            match name.as_str() {
                "*" if !is_linked => known.has_wildcard = false,
                name => _ = known.named.remove(name),
            }
        }
        let Known { named, has_wildcard, has, warming } = known;
        has.retain(|name, _| *has_wildcard || named.contains(name));
        // Who subscribes again has forgotten what it had.
        has.retain(|name, _| !subscribe.contains(name) || unsubscribe.contains(name));
        warming.retain(|name| named.contains(name));
        let nonces = &link.nonces;
        let old_nonce = old_nonce.filter(|_| !nonces.is_empty()).map(|number| nonces[number % nonces.len()].clone());
        let response_nonce = old_nonce.unwrap_or_default();
        let error = (response_nonce.len() > 1).then(|| "too late".to_owned());
        self.send(
            resource_type,
            DeltaRequest { subscribe, unsubscribe, response_nonce, error, ..DeltaRequest::default() },
        );
    }

    /// Takes the next message, and answers it.
    pub(super) fn receive(&mut self, followers: &BTreeMap<TypeIndex, usize>) -> Option<DeltaResponse<Body>> {
        let message = self.link.as_mut()?.down.pop_front()?;
        let index = self.types.iter().position(|other| *other == message.resource_type)?;
        let response_nonce = message.nonce.to_string();
        if let Some(link) = &mut self.link {
            link.nonces.push(response_nonce.clone());
        }
        let is_refused = message.resources.iter().any(|resource| is_bad(&resource.body));
        let error = is_refused.then(|| "bad".to_owned());
        if index >= self.first_linked {
            let sent = message.resources.iter().map(|resource| &resource.name);
            let mentioned = sent.chain(&message.removed).map(ToString::to_string);
            self.known[index].named.extend(mentioned);
        }
        if !is_refused {
            self.apply(index, &message, followers.get(&message.resource_type).copied());
        }
        self.send(message.resource_type, DeltaRequest { response_nonce, error, ..DeltaRequest::default() });
        Some(message)
    }

    fn apply(&mut self, index: usize, message: &DeltaResponse<Body>, follower: Option<usize>) {
        for resource in &message.resources {
            let (name, known) = (resource.name.to_string(), &mut self.known[index]);
            if !known.wants(&name) {
                continue;
            }
            known.warming.remove(&name);
            known.has.insert(name.clone(), resource.version.to_string());
            if let Some(follower) = follower.map(|index| &mut self.known[index])
                && follower.named.contains(&name)
            {
                follower.warming.insert(name);
            }
        }
        for name in &message.removed {
            self.known[index].has.remove(&**name);
            self.known[index].warming.remove(&**name);
        }
    }

    fn send(&mut self, resource_type: TypeIndex, request: DeltaRequest) {
        if let Some(link) = &mut self.link {
            link.begun.insert(resource_type);
            link.up.push_back((resource_type, request));
        }
    }
}
