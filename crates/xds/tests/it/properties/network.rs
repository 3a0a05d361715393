//! Clients, replicas of the server, and what is under way between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use byname_xds::{
    DeltaRequest, DeltaResponse, Limits, OpeningCost, ResourceType, ResourceTypes, Server, ServerAction, ServerEvent,
    Size, StreamId, TypeIndex, Version,
};

use super::{
    client::{Client, Known, Link, is_bad_value},
    steps::{CLIENTS, NAMES, SERVERS, Step},
};
use crate::{
    fixture::Body,
    world::{Item, TestCaller, World},
};

const MESSAGE_BYTES: usize = 400;
/// The place of the types in [`types`].
const NEVER_REMOVED: usize = 0;
const FOLLOWED: usize = 1;
const FOLLOWING: usize = 2;
/// What wildcards stand for, by type.
const WILDCARDS: [&[&str]; 6] = [&["a"], &[], &[], &["a", "b"], &[], &[]];
/// The linked types: resources of both lead to resources of the first.
const LINKED: usize = 4;

fn types() -> (ResourceTypes, Vec<TypeIndex>) {
    let (names, readiness) = (Duration::from_secs(1), Duration::from_millis(50));
    let mut all = ResourceTypes::default();
    let extensions = all.add(ResourceType::new("type.test/0", names).wildcard(["a"]).never_removed());
    let clusters = ResourceType::new("type.test/1", names).in_window_of(extensions).removed_after(extensions);
    let clusters = all.add(clusters);
    let endpoints = all.add(ResourceType::new("type.test/2", readiness).following(clusters));
    let namespaces = all.add(ResourceType::new("type.test/3", Duration::ZERO).wildcard(["a", "b"]));
    let services = all.add(ResourceType::new("type.test/4", readiness).linked());
    let addresses = all.add(ResourceType::new("type.test/5", readiness).linked().in_window_of(services));
    (all, vec![extensions, clusters, endpoints, namespaces, services, addresses])
}

pub(super) struct Network {
    world: World,
    servers: Vec<Server<World>>,
    /// By server: changes that it has not heard of.
    unheard: Vec<VecDeque<(TypeIndex, String)>>,
    clients: Vec<Client>,
    types: Vec<TypeIndex>,
    now: Duration,
    streams: BTreeMap<StreamId, Observed>,
    /// The names that anything has led to.
    ever_led: BTreeSet<&'static str>,
    last_stream: u64,
    /// Streams whose client is gone.
    orphans: VecDeque<StreamId>,
    pub(super) seen: Seen,
    /// Set when all clients have all they can have: nothing of it may be sent again.
    is_known: bool,
}

/// A stream, as one sees it who reads all that passes.
struct Observed {
    server: usize,
    types: Vec<TypeIndex>,
    caller: TestCaller,
    unacknowledged: BTreeMap<TypeIndex, String>,
    /// The names of the linked types in messages that wait for their ACKs.
    under_way: BTreeSet<(TypeIndex, String)>,
    /// What each resource leads to, as the client was told last, unless it has unsubscribed from that since.
    led: BTreeMap<(TypeIndex, String), String>,
    named: BTreeSet<(TypeIndex, String)>,
    wildcards: BTreeSet<TypeIndex>,
    begun: BTreeSet<TypeIndex>,
    /// The last version that was refused, and whether alone.
    refused: BTreeMap<(TypeIndex, String), (Version, bool)>,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    resources: u32,
    removals: u32,
    batches: u32,
    refusals: u32,
    final_refusals: u32,
    closings: u32,
    changes: u32,
    stale_nonces: u32,
    resumptions: u32,
    leads: u32,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.resources += other.resources;
        self.removals += other.removals;
        self.batches += other.batches;
        self.refusals += other.refusals;
        self.final_refusals += other.final_refusals;
        self.closings += other.closings;
        self.changes += other.changes;
        self.stale_nonces += other.stale_nonces;
        self.resumptions += other.resumptions;
        self.leads += other.leads;
    }

    pub(super) fn is_everything_at_least(&self, least: u32) -> bool {
        let Self { resources, removals, batches, refusals, final_refusals, closings, changes, .. } = *self;
        let first = [resources, removals, batches, refusals, final_refusals, closings, changes];
        first.iter().chain(&[self.stale_nonces, self.resumptions, self.leads]).all(|count| *count >= least)
    }
}

impl Network {
    pub(super) fn new() -> Self {
        let limits = Limits { message_bytes: MESSAGE_BYTES, encodings_per_turn: 2, ..Limits::default() };
        let (all, types) = types();
        let callers = [("shop", "a"), ("shop", "b"), ("prod", "a")];
        let clients = callers.map(|(namespace, zone)| Client {
            caller: TestCaller { namespace, zone },
            link: None,
            types: types.clone(),
            known: types.iter().map(|_| Known::default()).collect(),
            first_linked: LINKED,
        });
        let mut network = Self {
            world: World::default(),
            servers: (0..SERVERS).map(|_| Server::new(all.clone(), limits.clone())).collect(),
            unheard: vec![VecDeque::new(); SERVERS],
            clients: clients.into(),
            types,
            now: Duration::ZERO,
            streams: BTreeMap::new(),
            ever_led: BTreeSet::new(),
            last_stream: 0,
            orphans: VecDeque::new(),
            seen: Seen::default(),
            is_known: false,
        };
        for (resource_type, name) in network.types.iter().flat_map(|ty| NAMES.map(|name| (*ty, name))) {
            network.world.set(resource_type, name, Item::default());
        }
        for server in 0..SERVERS {
            network.handle(server, ServerEvent::Synced);
        }
        for client in 0..CLIENTS {
            network.connect(client, client % SERVERS);
        }
        network
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Set { resource_type, name, value, namespaces, is_by_zone, bytes, leads_to } => {
                let visible = ["shop", "prod"].into_iter().enumerate().filter(|(bit, _)| namespaces >> bit & 1 == 1);
                let visible = visible.map(|(_, namespace)| namespace).collect();
                let seen_by = if namespaces == 3 { None } else { Some(visible) };
                let leads_to = leads_to.filter(|_| resource_type >= LINKED);
                let leads_to = leads_to.map(|name| (self.types[LINKED], NAMES[name]));
                self.ever_led.extend(leads_to.map(|(_, led)| led));
                let item = Item { value, seen_by, is_by_zone, bytes, leads_to };
                self.world.set(self.types[resource_type], NAMES[name], item);
                self.changed(resource_type, name);
            }
            Step::Remove { resource_type, name } => {
                self.world.remove(self.types[resource_type], NAMES[name]);
                self.changed(resource_type, name);
            }
            Step::Learn { server } => _ = self.learn(server),
            Step::Ask { client, resource_type, subscribe, unsubscribe, old_nonce } => {
                let named = |asked: Vec<usize>| -> Vec<String> {
                    asked.into_iter().map(|name| NAMES.get(name).unwrap_or(&"*").to_string()).collect()
                };
                let ty = (resource_type, self.types[resource_type]);
                self.clients[client].ask(ty, named(subscribe), named(unsubscribe), old_nonce);
            }
            Step::Up { client } => _ = self.up(client),
            Step::Down { client } => _ = self.down(client),
            Step::Reconnect { client, server } => self.connect(client, server),
            Step::Bury => _ = self.bury(),
            Step::Wait { milliseconds } => self.wait(Duration::from_millis(milliseconds)),
            Step::WatchesFail { server } => self.handle(server, ServerEvent::WatchesFailed),
            Step::WatchesRecover { server } => self.handle(server, ServerEvent::WatchesRecovered),
        }
    }

    fn changed(&mut self, resource_type: usize, name: usize) {
        self.seen.changes += 1;
        for unheard in &mut self.unheard {
            unheard.push_back((self.types[resource_type], NAMES[name].to_owned()));
        }
    }

    fn learn(&mut self, server: usize) -> bool {
        let Some((resource_type, name)) = self.unheard[server].pop_front() else { return false };
        self.handle(server, ServerEvent::Changed { resource_type, name, since: self.now });
        true
    }

    fn connect(&mut self, client: usize, server: usize) {
        self.last_stream += 1;
        let stream = StreamId(self.last_stream);
        let caller = self.clients[client].caller.clone();
        let observed = Observed {
            server,
            types: self.types.clone(),
            caller: caller.clone(),
            unacknowledged: BTreeMap::new(),
            under_way: BTreeSet::new(),
            led: BTreeMap::new(),
            named: BTreeSet::new(),
            wildcards: BTreeSet::new(),
            begun: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        self.streams.insert(stream, observed);
        let old = self.clients[client].link.take();
        self.orphans.extend(old.map(|link| link.stream));
        self.clients[client].connect(Link::new(server, stream));
        self.handle(
            server,
            ServerEvent::Opened {
                stream,
                caller,
                owner: None,
                random: (self.last_stream as u32).wrapping_mul(0x2000_0001),
                cost: OpeningCost::Whole,
            },
        );
    }

    fn bury(&mut self) -> bool {
        let Some(stream) = self.orphans.pop_front() else { return false };
        if let Some(observed) = self.streams.remove(&stream) {
            self.handle(observed.server, ServerEvent::Closed { stream });
        }
        true
    }

    fn up(&mut self, client: usize) -> bool {
        let Some(link) = &mut self.clients[client].link else { return false };
        let Some((resource_type, request)) = link.up.pop_front() else { return false };
        let (server, stream) = (link.server, link.stream);
        let request = DeltaRequest { type_url: self.servers[0].types().url(resource_type).to_owned(), ..request };
        self.seen.resumptions += u32::from(!request.initial_resource_versions.is_empty());
        if let Some(observed) = self.streams.get_mut(&stream) {
            let is_stale = observed.request(resource_type, &request);
            self.seen.stale_nonces += u32::from(is_stale);
        }
        self.handle(server, ServerEvent::Requested { stream, request });
        true
    }

    fn down(&mut self, client: usize) -> bool {
        let followers = BTreeMap::from([(self.types[FOLLOWED], FOLLOWING)]);
        let has = |client: &Client, ty: usize| client.known[ty].has.clone();
        let before: Vec<_> = (0..self.types.len()).map(|ty| has(&self.clients[client], ty)).collect();
        let Some(message) = self.clients[client].receive(&followers) else { return false };
        if self.is_known && message.resource_type != self.types[FOLLOWING] {
            let ty = self.types.iter().position(|ty| *ty == message.resource_type).unwrap();
            for resource in &message.resources {
                let known = before[ty].get(&*resource.name);
                assert_ne!(known, Some(&resource.version.to_string()), "known is sent again: {message:?}");
            }
        }
        true
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for server in 0..SERVERS {
            self.handle(server, ServerEvent::Woken);
        }
    }

    fn handle(&mut self, server: usize, event: ServerEvent<TestCaller>) {
        let actions = self.servers[server].handle(self.now, event, &self.world);
        for action in actions {
            self.act(server, action);
        }
        // A turn encodes few resources. Nothing waits longer than all have had a few turns.
        for _ in 0..100 {
            if self.servers[server].next_wake() != Some(Duration::ZERO) {
                break;
            }
            for action in self.servers[server].handle(self.now, ServerEvent::Woken, &self.world) {
                self.act(server, action);
            }
        }
        let wake = self.servers[server].next_wake();
        assert!(wake.is_none_or(|wake| wake > self.now), "what is due is left undone: {wake:?}");
        let size = self.servers[server].size();
        assert!(size.encoded <= size.names && size.changed <= size.names && size.names <= 26, "{size:?}");
    }

    fn act(&mut self, server: usize, action: ServerAction<Body>) {
        match action {
            ServerAction::Send { stream, message } => {
                self.check_message(server, stream, &message);
                let links = self.clients.iter_mut().filter_map(|client| client.link.as_mut());
                if let Some(link) = links.into_iter().find(|link| link.stream == stream) {
                    link.down.push_back(message);
                }
            }
            ServerAction::Close { stream, .. } => {
                self.seen.closings += 1;
                assert!(self.streams.remove(&stream).is_some(), "a stream is closed twice");
                for client in &mut self.clients {
                    client.link.take_if(|link| link.stream == stream);
                }
            }
            ServerAction::Report(rejection) => {
                let observed = self.streams.get_mut(&rejection.stream).expect("an open stream");
                let refused = (rejection.resource_type, rejection.is_final);
                *(if refused.1 { &mut self.seen.final_refusals } else { &mut self.seen.refusals }) += 1;
                for (name, version) in rejection.resources {
                    observed.refused.insert((refused.0, name.to_string()), (version, refused.1));
                }
            }
        }
    }

    /// What holds for each message.
    fn check_message(&mut self, server: usize, stream: StreamId, message: &DeltaResponse<Body>) {
        let observed = self.streams.get_mut(&stream).expect("nothing is sent on a closed stream");
        assert_eq!(observed.server, server);
        let ty = message.resource_type;
        let nonce = message.nonce.to_string();
        assert_eq!(observed.unacknowledged.insert(ty, nonce), None, "two messages wait for their ACK");

        let resources = message.resources.iter().map(|resource| &resource.name);
        let names: Vec<&str> = resources.chain(&message.removed).map(|name| &**name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name twice in {message:?}");
        let bytes: usize = message.resources.iter().map(|resource| resource.body.len()).sum();
        assert!(bytes <= MESSAGE_BYTES || names.len() == 1, "too large: {message:?}");

        let linked = self.types[LINKED];
        if ty >= linked {
            for name in &names {
                let is_led = ty == linked && self.ever_led.contains(name);
                let is_asked = observed.is_subscribed(ty, name);
                assert!(is_asked || is_led, "{name} was not asked for, and nothing leads there");
                self.seen.leads += u32::from(!is_asked);
                observed.named.insert((ty, (*name).to_owned()));
                observed.under_way.insert((ty, (*name).to_owned()));
            }
            for removed in &message.removed {
                observed.led.remove(&(ty, removed.to_string()));
            }
            for resource in &message.resources {
                let (key, led) = ((ty, resource.name.to_string()), led_by(&resource.body));
                match &*led {
                    "-" => _ = observed.led.remove(&key),
                    _ => _ = observed.led.insert(key, led),
                }
            }
        }
        for resource in &message.resources {
            let name = &*resource.name;
            assert!(observed.is_subscribed(ty, name), "{name} was not asked for");
            assert!(self.world.visible(ty, name, &observed.caller).is_some(), "{name} is not visible");
            assert_eq!(resource.version, Version::of(&resource.body));
            match observed.refused.get(&(ty, name.to_owned())) {
                Some((version, true)) => assert_ne!(*version, resource.version, "a refused version is sent again"),
                Some((version, false)) if *version == resource.version => {
                    assert_eq!(message.resources.len(), 1, "a suspect is not alone");
                }
                _ => {}
            }
        }
        assert!(message.removed.is_empty() || ty != self.types[NEVER_REMOVED], "{message:?}");
        self.seen.resources += message.resources.len() as u32;
        self.seen.removals += message.removed.len() as u32;
        self.seen.batches += u32::from(message.resources.len() > 1);
    }

    /// Lets everything arrive, until nothing is under way.
    pub(super) fn settle(&mut self) {
        while self.bury() {}
        for server in 0..SERVERS {
            self.handle(server, ServerEvent::WatchesRecovered);
        }
        for round in 0.. {
            assert!(round < 1_000, "the network does not come to rest");
            let mut is_moving = false;
            for client in 0..CLIENTS {
                if self.clients[client].link.is_none() {
                    self.connect(client, client % SERVERS);
                    is_moving = true;
                }
                is_moving |= self.up(client);
                is_moving |= self.down(client);
            }
            for server in 0..SERVERS {
                is_moving |= self.learn(server);
            }
            if is_moving {
                continue;
            }
            // Only changes are waited for, not the age of streams.
            let wakes = self.servers.iter().filter_map(Server::next_wake);
            let Some(wake) = wakes.min().filter(|wake| *wake <= self.now + Duration::from_secs(10)) else { break };
            self.wait(wake.saturating_sub(self.now));
        }
    }

    /// What holds once nothing is under way.
    pub(super) fn check_rest(&self) {
        for client in &self.clients {
            for (ty, resource_type) in self.types.iter().enumerate() {
                for name in NAMES {
                    self.check_name(client, ty, *resource_type, name);
                }
            }
            let observed =
                client.link.as_ref().and_then(|link| self.streams.get(&link.stream)).expect("all are connected");
            for led in observed.led.values() {
                assert!(client.known[LINKED].named.contains(led), "{led} did not come with what leads to it");
            }
        }
    }

    fn check_name(&self, client: &Client, ty: usize, resource_type: TypeIndex, name: &str) {
        let known = &client.known[ty];
        let has = known.has.get(name);
        let is_wanted = known.named.contains(name) || known.has_wildcard && WILDCARDS[ty].contains(&name);
        let is_good = |ty: usize| {
            let item = self.world.visible(self.types[ty], name, &client.caller);
            item.is_some_and(|item| !is_bad_value(item.value))
        };
        let version = self.world.version(resource_type, name, &client.caller).map(|version| version.to_string());
        let text = format!("type {ty} name {name} of {:?}", client.caller);
        match version {
            Some(version) if is_wanted && is_good(ty) => assert_eq!(has, Some(&version), "{text}"),
            Some(version) if is_wanted => assert_ne!(has, Some(&version), "{text}: refused"),
            _ if ty == NEVER_REMOVED => {}
            _ => assert_eq!(has, None, "{text}"),
        }
        if ty == FOLLOWING && is_good(FOLLOWED) && is_good(FOLLOWING) {
            assert!(!known.warming.contains(name), "{text} did not come after what it follows");
        }
    }

    /// Every client goes to the other replica, which must send nothing that the client has.
    pub(super) fn swap_servers(&mut self) {
        self.is_known = true;
        for client in 0..CLIENTS {
            let server = self.clients[client].link.as_ref().map_or(0, |link| link.server);
            self.connect(client, (server + 1) % SERVERS);
        }
    }

    pub(super) fn close_all(&mut self) {
        while self.bury() {}
        for (stream, observed) in std::mem::take(&mut self.streams) {
            self.handle(observed.server, ServerEvent::Closed { stream });
        }
        for server in &self.servers {
            assert_eq!((server.size(), server.next_wake()), (Size::default(), None), "something is left");
        }
    }
}

/// The name that a resource leads to, by its body.
fn led_by(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    text.split(' ').nth(3).unwrap().to_owned()
}

impl Observed {
    /// Takes a request that arrives, and returns whether its nonce is stale.
    fn request(&mut self, ty: TypeIndex, request: &DeltaRequest) -> bool {
        let nonce = &request.response_nonce;
        let is_stale = !nonce.is_empty() && self.unacknowledged.get(&ty) != Some(nonce);
        if !is_stale && !nonce.is_empty() {
            self.unacknowledged.remove(&ty);
            self.under_way.retain(|(other, _)| *other != ty);
        }
        let is_first = self.begun.insert(ty);
        let is_linked = ty >= self.types[LINKED];
        let is_wildcard = is_first && request.subscribe.is_empty() && request.unsubscribe.is_empty();
        if !is_linked && (is_wildcard || request.subscribe.iter().any(|name| name == "*")) {
            self.wildcards.insert(ty);
        }
        self.named.extend(request.subscribe.iter().map(|name| (ty, name.clone())));
        for name in &request.unsubscribe {
            // The client will find the name in a message that is under way.
            if self.under_way.contains(&(ty, name.clone())) {
                continue;
            }
            self.named.remove(&(ty, name.clone()));
            if ty == self.types[LINKED] {
                self.led.retain(|_, led| led != name);
            }
            if name == "*" {
                self.wildcards.remove(&ty);
            }
        }
        let mut refused = std::mem::take(&mut self.refused);
        refused.retain(|(ty, name), _| self.is_subscribed(*ty, name));
        self.refused = refused;
        is_stale
    }

    fn is_subscribed(&self, ty: TypeIndex, name: &str) -> bool {
        let index = self.types.iter().position(|other| *other == ty).unwrap();
        let by_wildcard = self.wildcards.contains(&ty) && WILDCARDS[index].contains(&name);
        by_wildcard || self.named.contains(&(ty, name.to_owned()))
    }
}
