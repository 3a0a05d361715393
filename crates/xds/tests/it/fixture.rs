//! A server with five types, driven by hand.

use std::{collections::HashMap, sync::Arc, time::Duration};

use byname_xds::{
    CloseReason, DeltaRequest, DeltaResponse, Limits, OpeningCost, ResourceType, ResourceTypes, Server, ServerAction,
    ServerEvent, StreamId, TypeIndex,
};

use crate::world::{Item, TestCaller, World};

pub(crate) const EXTENSIONS: &str = "type.test/extension";
pub(crate) const CLUSTERS: &str = "type.test/cluster";
pub(crate) const ENDPOINTS: &str = "type.test/endpoints";

pub(crate) type Body = Arc<[u8]>;

/// The types as `byname` has them: an extension configuration that is never removed, clusters and their endpoints; and Services and
/// addresses, which lead to Services.
pub(crate) struct Types {
    pub(crate) all: ResourceTypes,
    pub(crate) extensions: TypeIndex,
    pub(crate) clusters: TypeIndex,
    pub(crate) endpoints: TypeIndex,
    pub(crate) services: TypeIndex,
    pub(crate) addresses: TypeIndex,
}

pub(crate) fn types() -> Types {
    let (names, readiness) = (Duration::from_secs(1), Duration::from_millis(50));
    let mut all = ResourceTypes::default();
    let extensions = all.add(ResourceType::new(EXTENSIONS, names).wildcard(["byname"]).never_removed());
    let clusters = ResourceType::new(CLUSTERS, names).in_window_of(extensions).removed_after(extensions);
    let clusters = all.add(clusters);
    let endpoints = all.add(ResourceType::new(ENDPOINTS, readiness).following(clusters));
    let services = all.add(ResourceType::new("type.test/service", readiness).linked());
    let addresses = all.add(ResourceType::new("type.test/address", readiness).linked().in_window_of(services));
    Types { all, extensions, clusters, endpoints, services, addresses }
}

pub(crate) struct Fixture {
    pub(crate) server: Server<World>,
    pub(crate) world: World,
    pub(crate) now: Duration,
    pub(crate) extensions: TypeIndex,
    pub(crate) clusters: TypeIndex,
    pub(crate) endpoints: TypeIndex,
    pub(crate) services: TypeIndex,
    pub(crate) addresses: TypeIndex,
}

/// What a message says, short: `a b -c` is resources a and b, and c removed.
pub(crate) fn told(message: &DeltaResponse<Body>) -> String {
    let resources = message.resources.iter().map(|resource| resource.name.to_string());
    let removed = message.removed.iter().map(|name| format!("-{name}"));
    resources.chain(removed).collect::<Vec<_>>().join(" ")
}

pub(crate) fn message(actions: &[ServerAction<Body>]) -> &DeltaResponse<Body> {
    match actions {
        [ServerAction::Send { message, .. }] => message,
        _ => panic!("one message was expected: {actions:?}"),
    }
}

pub(crate) fn closed(actions: &[ServerAction<Body>]) -> &CloseReason {
    match actions.last() {
        Some(ServerAction::Close { reason, .. }) => reason,
        _ => panic!("the stream stays open: {actions:?}"),
    }
}

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

impl Fixture {
    /// A synced server with a stream 1, of a caller in the namespace shop and the zone a.
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let Types { all, extensions, clusters, endpoints, services, addresses } = types();
        let (server, world, now) = (Server::new(all, limits), World::default(), Duration::ZERO);
        let mut fixture = Self { server, world, now, extensions, clusters, endpoints, services, addresses };
        fixture.handle(ServerEvent::Synced);
        fixture.open(1, "shop", "a");
        fixture
    }

    pub(crate) fn handle(&mut self, event: ServerEvent<TestCaller>) -> Vec<ServerAction<Body>> {
        self.server.handle(self.now, event, &self.world)
    }

    pub(crate) fn open(&mut self, stream: u64, namespace: &'static str, zone: &'static str) -> Vec<ServerAction<Body>> {
        let caller = TestCaller { namespace, zone };
        self.handle(ServerEvent::Opened {
            stream: StreamId(stream),
            caller,
            owner: None,
            random: u32::MAX / 2,
            cost: OpeningCost::Whole,
        })
    }

    /// Sets a resource, and tells the server.
    pub(crate) fn set(&mut self, resource_type: TypeIndex, name: &str, value: u32) -> Vec<ServerAction<Body>> {
        self.set_item(resource_type, name, Item { value, ..Item::default() })
    }

    pub(crate) fn set_item(&mut self, resource_type: TypeIndex, name: &str, item: Item) -> Vec<ServerAction<Body>> {
        self.world.set(resource_type, name, item);
        self.handle(ServerEvent::Changed { resource_type, name: name.to_owned(), since: self.now })
    }

    /// Sets a resource that leads to a Service.
    pub(crate) fn lead(
        &mut self,
        resource_type: TypeIndex,
        name: &str,
        service: &'static str,
    ) -> Vec<ServerAction<Body>> {
        let leads_to = Some((self.services, service));
        self.set_item(resource_type, name, Item { leads_to, ..Item::default() })
    }

    pub(crate) fn show(
        &mut self,
        resource_type: TypeIndex,
        name: &str,
        namespaces: &[&'static str],
    ) -> Vec<ServerAction<Body>> {
        let seen_by = Some(namespaces.iter().copied().collect());
        self.set_item(resource_type, name, Item { seen_by, ..Item::default() })
    }

    pub(crate) fn remove(&mut self, resource_type: TypeIndex, name: &str) -> Vec<ServerAction<Body>> {
        self.world.remove(resource_type, name);
        self.handle(ServerEvent::Changed { resource_type, name: name.to_owned(), since: self.now })
    }

    pub(crate) fn request(
        &mut self,
        stream: u64,
        resource_type: TypeIndex,
        request: DeltaRequest,
    ) -> Vec<ServerAction<Body>> {
        let type_url = self.server.types().url(resource_type).to_owned();
        self.handle(ServerEvent::Requested { stream: StreamId(stream), request: DeltaRequest { type_url, ..request } })
    }

    pub(crate) fn subscribe(
        &mut self,
        stream: u64,
        resource_type: TypeIndex,
        names: &[&str],
    ) -> Vec<ServerAction<Body>> {
        self.request(stream, resource_type, DeltaRequest { subscribe: strings(names), ..DeltaRequest::default() })
    }

    pub(crate) fn unsubscribe(
        &mut self,
        stream: u64,
        resource_type: TypeIndex,
        names: &[&str],
    ) -> Vec<ServerAction<Body>> {
        self.request(stream, resource_type, DeltaRequest { unsubscribe: strings(names), ..DeltaRequest::default() })
    }

    /// Subscribes with the versions that an earlier stream had.
    pub(crate) fn resume(
        &mut self,
        stream: u64,
        resource_type: TypeIndex,
        names: &[&str],
        known: &[(&str, String)],
    ) -> Vec<ServerAction<Body>> {
        let initial_resource_versions: HashMap<String, String> =
            known.iter().map(|(name, version)| ((*name).to_owned(), version.clone())).collect();
        let request = DeltaRequest { subscribe: strings(names), initial_resource_versions, ..DeltaRequest::default() };
        self.request(stream, resource_type, request)
    }

    pub(crate) fn ack(&mut self, stream: u64, message: &DeltaResponse<Body>) -> Vec<ServerAction<Body>> {
        let response_nonce = message.nonce.to_string();
        self.request(stream, message.resource_type, DeltaRequest { response_nonce, ..DeltaRequest::default() })
    }

    pub(crate) fn nack(&mut self, stream: u64, message: &DeltaResponse<Body>, error: &str) -> Vec<ServerAction<Body>> {
        let (response_nonce, error) = (message.nonce.to_string(), Some(error.to_owned()));
        self.request(stream, message.resource_type, DeltaRequest { response_nonce, error, ..DeltaRequest::default() })
    }

    /// Subscribes, and ACKs the answer.
    pub(crate) fn settle(&mut self, stream: u64, resource_type: TypeIndex, names: &[&str]) {
        let actions = self.subscribe(stream, resource_type, names);
        let answer = message(&actions).clone();
        assert_eq!(self.ack(stream, &answer), []);
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, milliseconds: u64) -> Vec<ServerAction<Body>> {
        self.now += Duration::from_millis(milliseconds);
        self.handle(ServerEvent::Woken)
    }
}
