//! A table that a server fills, against a table of everything: requests, changes, lost streams, time and configuration pushes in any order,
//! while messages are under way in both directions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use byname_core::{
    Config,
    limits::{MAX_UNUSED_SWEEPS, MAX_WAIT_MILLISECONDS, SWEEP_MILLISECONDS},
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{cases, samples, share};
use crate::{
    fixture::{ask, config, with_fields},
    stream::{Answer, ReadRequest, Sidecar, TYPES, version},
};

const KEYS: [&str; 6] = ["a/x", "a/y", "a/z", "b/x", "b/y", "b/z"];

/// Names that a pod in `a` asks for. The namespace `c` never has a Service.
const NAMES: [&str; 20] = [
    "x",
    "y",
    "z",
    "x.b",
    "y.b.svc",
    "z.a.svc.cluster.local",
    "x.c",
    "www.example.org",
    "db-0.y",
    "db-0.y.b",
    "_http._tcp.z",
    "x:81",
    "10.96.0.1",
    "10.96.0.2",
    "10.96.0.3",
    "10.0.0.1",
    "192.0.2.1",
    "10-0-0-1.a.pod",
    "10-0-0-2.b.pod",
    "10-96-0-1.a.pod",
];

const CLUSTER_IPS: [&str; 3] = ["10.96.0.1", "10.96.0.2", "10.96.0.3"];

/// What a Service is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Without an address in the cluster, or with one of these.
    Virtual(Option<usize>),
    WithoutEndpoints,
    Headless {
        is_ready: bool,
    },
    Alias(usize),
    External,
}

/// A Service, and whether it is steered by endpoint whatever the rest is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct NaiveService {
    kind: Kind,
    has_override: bool,
    port: u16,
}

impl NaiveService {
    fn wire(self) -> Value {
        let endpoints =
            |ready: bool| json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "db-0 db-1", "ready": ready}]);
        let ports = json!([{"name": "http", "port": self.port}]);
        let mut wire = match self.kind {
            Kind::Virtual(None) => json!({"ports": ports, "endpoints": endpoints(true)}),
            Kind::Virtual(Some(ip)) => {
                json!({"clusterIPs": CLUSTER_IPS[ip], "ports": ports, "endpoints": endpoints(true)})
            }
            Kind::WithoutEndpoints => json!({"ports": ports, "endpoints": []}),
            Kind::Headless { is_ready } => {
                json!({"clusterIPs": "None", "ports": ports, "endpoints": endpoints(is_ready)})
            }
            Kind::Alias(key) => {
                let (namespace, name) = KEYS[key].split_once('/').expect("a key");
                return json!({"type": "ExternalName", "externalName": format!("{name}.{namespace}.svc.cluster.local")});
            }
            Kind::External => return json!({"type": "ExternalName", "externalName": "a.example"}),
        };
        if self.has_override {
            wire["steering"] = json!({"by": "endpoint"});
        }
        wire
    }
}

/// The cluster as the server sees it.
type World = BTreeMap<&'static str, NaiveService>;

/// Puts a Service into the cluster. Its address is its own alone.
fn change(world: &mut World, key: usize, service: Option<NaiveService>) {
    if let Some(NaiveService { kind: Kind::Virtual(Some(ip)), .. }) = service {
        for other in world.values_mut().filter(|other| other.kind == Kind::Virtual(Some(ip))) {
            other.kind = Kind::Virtual(None);
        }
    }
    match service {
        Some(service) => world.insert(KEYS[key], service),
        None => world.remove(KEYS[key]),
    };
}

/// How the sidecar is configured besides its server.
fn fields(is_by_endpoint: bool) -> Value {
    json!({
        "caller": {"namespace": "a"},
        "steering": {"by": if is_by_endpoint { "endpoint" } else { "cluster" }},
        "externalNames": {"grants": [{"from": "a", "to": "b"}], "allow": [{"host": "a.example", "ports": [80]}]},
        "fallback": {"services": {"a/z": {"service": "b/z"}}, "baselines": {"a": "b"}},
    })
}

/// A sidecar's configuration with a table of everything.
fn whole(world: &World, is_by_endpoint: bool) -> Config {
    let services: BTreeMap<&str, Value> = world.iter().map(|(key, service)| (*key, service.wire())).collect();
    config(with_fields(fields(is_by_endpoint), json!({"table": {"services": services}})))
}

/// A server of delta xDS for one stream, as naive as can be.
#[derive(Default)]
struct Server {
    /// By type and name: the version that was told, empty for a missing one; `None` if the name is owed.
    told: BTreeMap<(String, String), Option<String>>,
    pending: BTreeSet<(String, String)>,
    /// By type: the message that is not acknowledged, and the names in it.
    unacknowledged: BTreeMap<String, (String, BTreeSet<String>)>,
    seen_types: BTreeSet<String>,
    messages: usize,
}

impl Server {
    fn value(world: &World, resource_type: &str, name: &str, is_by_endpoint: bool) -> Option<String> {
        let service = world.get(name);
        match resource_type {
            "Namespaces" => {
                let all: BTreeSet<&str> = world.keys().filter_map(|key| key.split('/').next()).collect();
                (name == "*").then(|| all.into_iter().collect::<Vec<_>>().join(" "))
            }
            "Endpoints" => service.map(|service| service.wire().to_string()),
            "Service" => service.map(|service| {
                let mut wire = service.wire();
                // Steered by endpoint, a Service is nothing without its endpoints.
                if (is_by_endpoint || service.has_override) && wire["type"].is_null() {
                    wire.as_object_mut().expect("an object").remove("endpoints");
                }
                wire.to_string()
            }),
            _ => {
                let has_it =
                    |service: &NaiveService| matches!(service.kind, Kind::Virtual(Some(ip)) if CLUSTER_IPS[ip] == name);
                let owner = world.iter().find(|(_, service)| has_it(service)).map(|(key, _)| (*key).to_owned());
                let has_pods =
                    |service: &NaiveService| matches!(service.kind, Kind::Virtual(_) | Kind::Headless { .. });
                let is_pod = ["10.0.0.1", "10.0.0.2"].contains(&name) && world.values().any(has_pods);
                owner.or(is_pod.then(String::new))
            }
        }
    }

    fn lead(world: &World, resource_type: &str, name: &str) -> Option<(String, String)> {
        match resource_type {
            "Address" => {
                let owner = Self::value(world, resource_type, name, false).filter(|owner| !owner.is_empty())?;
                Some(("Service".to_owned(), owner))
            }
            _ => match world.get(name)?.kind {
                Kind::Alias(key) => Some((resource_type.to_owned(), KEYS[key].to_owned())),
                _ => None,
            },
        }
    }

    fn subscribe(&mut self, key: (String, String), known: Option<String>) {
        self.pending.insert(key.clone());
        self.told.insert(key, known);
    }

    fn follow(&mut self, world: &World, resource_type: &str, name: &str) {
        let mut next = Self::lead(world, resource_type, name);
        while let Some(key) = next.take_if(|key| !self.told.contains_key(key)) {
            next = Self::lead(world, &key.0, &key.1);
            self.subscribe(key, None);
        }
    }

    fn request(&mut self, request: &ReadRequest, world: &World) {
        let resource_type = &request.resource_type;
        assert_eq!(request.error, None, "all that this server sends can be read");
        if self.unacknowledged.get(resource_type).is_some_and(|(nonce, _)| *nonce == request.nonce) {
            self.unacknowledged.remove(resource_type);
        }
        let is_first = self.seen_types.insert(resource_type.clone());
        for name in &request.unsubscribe {
            let is_under_way = self.unacknowledged.get(resource_type).is_some_and(|(_, names)| names.contains(name));
            if !is_under_way {
                self.told.remove(&(resource_type.clone(), name.clone()));
            }
        }
        for name in request.subscribe.iter().filter(|name| !request.unsubscribe.contains(name)) {
            let known = request.versions.get(name).filter(|_| is_first).cloned();
            if known.is_none() {
                self.follow(world, resource_type, name);
            }
            self.subscribe((resource_type.clone(), name.clone()), known);
        }
    }

    /// Everything that was told may have changed.
    fn look_again(&mut self) {
        self.pending.extend(self.told.keys().cloned());
    }

    /// The messages that may be sent now, each of at most so many resources.
    fn messages(&mut self, world: &World, is_by_endpoint: bool, most: usize) -> Vec<Answer> {
        let mut messages = Vec::new();
        for resource_type in TYPES {
            let services_wait = self.pending.iter().any(|(other, _)| other == "Service");
            if self.unacknowledged.contains_key(resource_type) || resource_type == "Address" && services_wait {
                continue;
            }
            let (mut answer, mut names) = (Answer::new(resource_type), BTreeSet::new());
            let due: Vec<_> = self.pending.iter().filter(|key| key.0 == resource_type).cloned().collect();
            for key in due {
                if names.len() == most {
                    break;
                }
                self.pending.remove(&key);
                let Some(told) = self.told.get_mut(&key) else { continue };
                let value = Self::value(world, resource_type, &key.1, is_by_endpoint);
                let now = value.as_ref().map(|value| version(value)).unwrap_or_default();
                if told.as_ref() == Some(&now) {
                    continue;
                }
                *told = Some(now);
                names.insert(key.1.clone());
                answer = match value {
                    Some(value) => answer.with(&key.1, value),
                    None => answer.without(&key.1),
                };
                self.follow(world, resource_type, &key.1);
            }
            if !names.is_empty() {
                self.messages += 1;
                answer.nonce = self.messages.to_string();
                self.unacknowledged.insert(resource_type.to_owned(), (answer.nonce.clone(), names));
                messages.push(answer);
            }
        }
        messages
    }
}

#[derive(Clone, Debug)]
enum Event {
    Ask(usize),
    Leave(Index),
    Change(usize, Option<NaiveService>),
    /// What waits for the stream is opened, or not.
    Open(bool),
    Lose,
    /// So many messages arrive.
    ToServer(usize),
    ToSidecar(usize),
    /// The server sends messages with at most so many resources.
    Send(usize),
    Wait(u64),
    Sweep,
    Push(bool),
    /// All messages arrive.
    Settle,
}

struct Run {
    sidecar: Sidecar,
    world: World,
    is_by_endpoint: bool,
    /// `None` while there is no stream.
    server: Option<Server>,
    opens: usize,
    to_server: VecDeque<ReadRequest>,
    to_sidecar: VecDeque<Answer>,
    asked: BTreeMap<u32, usize>,
    checked: BTreeSet<u32>,
    /// Whether the cluster has been the same from the start.
    is_still: bool,
    unanswered: usize,
}

impl Run {
    fn new(services: Vec<(usize, NaiveService)>, is_by_endpoint: bool) -> Self {
        let mut world = World::new();
        services.into_iter().for_each(|(key, service)| change(&mut world, key, Some(service)));
        Self {
            sidecar: Sidecar::new(fields(is_by_endpoint)),
            world,
            is_by_endpoint,
            server: None,
            opens: 0,
            to_server: VecDeque::new(),
            to_sidecar: VecDeque::new(),
            asked: BTreeMap::new(),
            checked: BTreeSet::new(),
            is_still: true,
            unanswered: 0,
        }
    }

    fn is_opening(&self) -> bool {
        self.sidecar.opens > self.opens
    }

    fn lose(&mut self) {
        (self.server, self.opens) = (None, self.sidecar.opens);
        self.to_server.clear();
        self.to_sidecar.clear();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Ask(name) => {
                let id = self.sidecar.request(NAMES[name]);
                self.asked.insert(id, name);
            }
            Event::Leave(which) => {
                if !self.asked.is_empty() {
                    let id = *self.asked.keys().nth(which.index(self.asked.len())).expect("one of them");
                    if self.sidecar.waiting.contains_key(&id) {
                        self.sidecar.leave(id);
                        self.asked.remove(&id);
                    }
                }
            }
            Event::Change(key, service) => {
                self.is_still = false;
                change(&mut self.world, key, service);
                if let Some(server) = &mut self.server {
                    server.look_again();
                }
            }
            Event::Open(true) if self.is_opening() => {
                self.opens = self.sidecar.opens;
                self.server = Some(Server::default());
                self.sidecar.opened();
            }
            Event::Open(false) if self.is_opening() => {
                self.lose();
                self.sidecar.closed();
            }
            Event::Open(_) => {}
            Event::Lose if self.server.is_some() => {
                self.lose();
                self.sidecar.random = self.sidecar.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                self.sidecar.closed();
            }
            Event::Lose => {}
            Event::ToServer(count) => {
                for _ in 0..count {
                    if let (Some(server), Some(request)) = (&mut self.server, self.to_server.pop_front()) {
                        server.request(&request, &self.world);
                    }
                }
            }
            Event::ToSidecar(count) => {
                for _ in 0..count {
                    if let Some(answer) = self.to_sidecar.pop_front() {
                        self.sidecar.answer(&answer);
                    }
                }
            }
            Event::Send(most) => {
                if let Some(server) = &mut self.server {
                    self.to_sidecar.extend(server.messages(&self.world, self.is_by_endpoint, most));
                }
            }
            Event::Wait(milliseconds) => {
                let ticks = self.sidecar.wait(milliseconds);
                assert!(ticks <= 20 + milliseconds as usize / 100, "{ticks} ticks in {milliseconds} ms");
            }
            // What nobody uses is unsubscribed.
            Event::Sweep => _ = self.sidecar.wait(SWEEP_MILLISECONDS * (u64::from(MAX_UNUSED_SWEEPS) + 1)),
            Event::Settle => self.settle(),
            Event::Push(is_by_endpoint) => {
                self.is_by_endpoint = is_by_endpoint;
                self.lose();
                self.sidecar.push(fields(is_by_endpoint));
            }
        }
        self.to_server.extend(std::mem::take(&mut self.sidecar.sent));
        if self.sidecar.resets > 0 {
            // The stream may be about to be opened again.
            let opens = self.opens;
            self.sidecar.resets = 0;
            self.lose();
            self.opens = opens;
        }
        self.check();
    }

    /// What holds at all times.
    fn check(&mut self) {
        let decided = self.sidecar.decided.iter().filter(|(id, _)| !self.checked.contains(id));
        let decided: Vec<(u32, String, u64)> =
            decided.map(|(id, (outcome, waited))| (*id, outcome.clone(), *waited)).collect();
        let is_checked = self.is_still && !decided.is_empty();
        let whole = is_checked.then(|| whole(&self.world, self.is_by_endpoint));
        for (id, outcome, waited) in decided {
            self.checked.insert(id);
            assert!(waited <= MAX_WAIT_MILLISECONDS, "{waited} ms");
            self.unanswered += usize::from(outcome == "pass unanswered");
            // An answer is right, or there is none.
            if let Some(whole) = whole.as_ref().filter(|_| outcome != "pass unanswered") {
                let name = NAMES[self.asked[&id]];
                assert_eq!(outcome, ask(whole, name), "{name} in {:#?}", self.world);
            }
        }
        let over = self.sidecar.waiting.values().find(|(_, since)| self.sidecar.now - since >= MAX_WAIT_MILLISECONDS);
        assert_eq!(over, None, "nobody waits beyond the bound");
        assert_eq!(self.sidecar.discovery().0.waiting(), self.sidecar.waiting.len());
        assert!(self.sidecar.keys() <= KEYS.len() + NAMES.len() * 3);
    }

    /// Delivers all messages, without time.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.event(Event::Open(true));
            self.event(Event::Send(100));
            if self.to_server.is_empty() && self.to_sidecar.is_empty() {
                return;
            }
            self.event(Event::ToServer(100));
            self.event(Event::ToSidecar(100));
        }
        panic!("messages without an end: {:?}", self.sidecar.sent);
    }

    /// Everything is answered in the end, as by a table of everything.
    fn finish(&mut self) {
        // While messages are under way, the server would count as silent, and a stream that nobody needs is not opened again.
        self.settle();
        // One name needs the server, wherever the stream is in its pauses.
        self.event(Event::Ask(0));
        self.event(Event::Wait(31_000));
        self.settle();
        let whole = whole(&self.world, self.is_by_endpoint);
        for (place, name) in NAMES.iter().enumerate() {
            self.event(Event::Ask(place));
            let id = *self.asked.keys().last().expect("it was asked");
            self.settle();
            assert_eq!(self.sidecar.outcome(id), ask(&whole, name), "{name} in {:#?}", self.world);
        }
        // Both sides agree on what is subscribed.
        let keys = self.sidecar.keys();
        let subscribed = |server: &Server| server.told.keys().filter(|key| key.0 != "Namespaces").cloned().collect();
        let subscribed: BTreeSet<(String, String)> = self.server.as_ref().map(subscribed).unwrap_or_default();
        assert_eq!(subscribed.len(), keys, "{subscribed:?}");
    }
}

fn service() -> impl Strategy<Value = NaiveService> {
    let kind = prop_oneof![
        3 => prop::option::of(0..CLUSTER_IPS.len()).prop_map(Kind::Virtual),
        1 => Just(Kind::WithoutEndpoints),
        1 => any::<bool>().prop_map(|is_ready| Kind::Headless { is_ready }),
        2 => (0..KEYS.len()).prop_map(Kind::Alias),
        1 => Just(Kind::External),
    ];
    let port = prop_oneof![5 => Just(80_u16), 1 => Just(81)];
    (kind, prop::bool::weighted(0.2), port).prop_map(|(kind, has_override, port)| NaiveService {
        kind,
        has_override,
        port,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..NAMES.len()).prop_map(Event::Ask),
        1 => any::<Index>().prop_map(Event::Leave),
        6 => (0..KEYS.len(), prop::option::weighted(0.7, service())).prop_map(|(key, service)| Event::Change(key, service)),
        4 => prop::bool::weighted(0.8).prop_map(Event::Open),
        1 => Just(Event::Lose),
        6 => (1..4_usize).prop_map(Event::ToServer),
        6 => (1..4_usize).prop_map(Event::ToSidecar),
        6 => (1..4_usize).prop_map(Event::Send),
        3 => prop::sample::select(vec![0, 1, 20, 100, 299, 301, 600, 6_000]).prop_map(Event::Wait),
        1 => Just(Event::Sweep),
        1 => any::<bool>().prop_map(Event::Push),
        2 => Just(Event::Settle),
    ]
}

fn run() -> impl Strategy<Value = (Vec<(usize, NaiveService)>, bool, Vec<Event>)> {
    let services = prop::collection::vec((0..KEYS.len(), service()), 0..8);
    let events = (prop::collection::vec(event(), 0..80), any::<bool>()).prop_map(|(mut events, is_still)| {
        events.retain(|event| !(is_still && matches!(event, Event::Change(..))));
        events
    });
    (services, any::<bool>(), events)
}

#[test]
fn generator_draws_requests_that_are_answered_and_that_are_not() {
    let runs: Vec<(usize, usize)> = samples(run())
        .into_iter()
        .take(300)
        .map(|(services, is_by_endpoint, events)| {
            let mut run = Run::new(services, is_by_endpoint);
            events.into_iter().for_each(|event| run.event(event));
            (run.sidecar.decided.len() - run.unanswered, run.unanswered)
        })
        .collect();
    let (answered, unanswered) = (share(&runs, |run| run.0 > 0), share(&runs, |run| run.1 > 0));
    println!("runs with requests that are answered: {answered:.3}, and not: {unanswered:.3}");
    assert!(answered > 0.25 && unanswered > 0.25, "{answered:.3} and {unanswered:.3}");
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_table_on_demand_answers_as_one_of_everything((services, is_by_endpoint, events) in run()) {
        let mut run = Run::new(services, is_by_endpoint);
        events.into_iter().for_each(|event| run.event(event));
        run.finish();
    }
}
