//! What a stream costs in memory, and that a change costs nothing to streams which do not watch it.
//!
//! The test counts allocations, and is a binary of its own because it replaces the allocator.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot continue fails by a panic")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::Duration,
};

use byname_xds::{
    DeltaRequest, DeltaResponse, Limits, OpeningCost, ResourceSource, ResourceType, ResourceTypes, Server,
    ServerAction, ServerEvent, StreamId, TypeIndex,
};

thread_local! {
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(allocations: usize, bytes: isize) {
    ALLOCATIONS.with(|count| count.set(count.get() + allocations));
    LIVE_BYTES.with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call goes to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -layout.size().cast_signed());
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(1, bytes.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every resource exists. A number is its content.
struct Numbers(u64);

impl ResourceSource for Numbers {
    type Caller = Arc<str>;
    type Class = ();
    type Body = Arc<[u8]>;

    fn class(&self, _: TypeIndex, _: &str, _: &Arc<str>) -> Option<()> {
        Some(())
    }

    fn encode(&self, _: TypeIndex, name: &str, (): &()) -> Option<Arc<[u8]>> {
        Some(self.bytes(name))
    }
}

impl Numbers {
    fn bytes(&self, name: &str) -> Arc<[u8]> {
        format!("{name} {:500}", self.0).into_bytes().into()
    }
}

/// A server with clusters and endpoints, whose clients acknowledge at once.
struct Fleet {
    server: Server<Numbers>,
    numbers: Numbers,
    now: Duration,
}

const URLS: [&str; 2] = [
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
];

impl Fleet {
    fn new() -> Self {
        let mut types = ResourceTypes::default();
        let clusters = types.add(ResourceType::new(URLS[0], Duration::from_secs(1)));
        types.add(ResourceType::new(URLS[1], Duration::from_millis(50)).following(clusters));
        let mut fleet =
            Self { server: Server::new(types, Limits::default()), numbers: Numbers(0), now: Duration::ZERO };
        fleet.handle(ServerEvent::Synced);
        fleet
    }

    /// Handles an event and all ACKs that it leads to, and returns the number of messages.
    fn handle(&mut self, event: ServerEvent<Arc<str>>) -> usize {
        let mut actions = self.server.handle(self.now, event, &self.numbers);
        let mut messages = 0;
        while let Some(action) = actions.pop() {
            let ServerAction::Send { stream, message: DeltaResponse { resource_type, nonce, .. } } = action else {
                panic!("nothing is closed or refused");
            };
            messages += 1;
            let type_url = self.server.types().url(resource_type).to_owned();
            let request = DeltaRequest { type_url, response_nonce: nonce.to_string(), ..DeltaRequest::default() };
            actions.extend(self.server.handle(self.now, ServerEvent::Requested { stream, request }, &self.numbers));
        }
        messages
    }

    /// Opens streams that subscribe to 30 names each, with clusters and endpoints, beginning at their own `first` name.
    fn open(&mut self, streams: std::ops::Range<u64>, first: impl Fn(u64) -> u64) {
        for stream in streams {
            self.now += Duration::from_millis(5);
            let (caller, random) = (Arc::from("shop"), 0);
            self.handle(ServerEvent::Opened {
                stream: StreamId(stream),
                caller,
                owner: None,
                random,
                cost: OpeningCost::Whole,
            });
            for url in URLS {
                let names = (0..30).map(|number| name(first(stream) + number)).collect();
                let request = DeltaRequest { type_url: url.to_owned(), subscribe: names, ..DeltaRequest::default() };
                self.handle(ServerEvent::Requested { stream: StreamId(stream), request });
            }
        }
    }
}

fn name(number: u64) -> String {
    format!("outbound|80||service-{number}.shop.svc.cluster.local")
}

/// The bytes that a stream adds, on average over 400 of them.
fn stream_bytes(first: impl Fn(u64) -> u64) -> isize {
    let mut fleet = Fleet::new();
    fleet.open(0..1, &first);
    let before = LIVE_BYTES.get();
    fleet.open(1..401, first);
    (LIVE_BYTES.get() - before) / 400
}

#[test]
fn a_stream_of_30_names_takes_less_than_20_kb() {
    let bytes = stream_bytes(|_| 0);
    println!("a stream with 30 clusters and their endpoints: {bytes} bytes");
    assert!(bytes < 20_000, "{bytes} bytes");
}

#[test]
fn a_name_takes_less_than_a_kb_beside_its_bytes() {
    let name_bytes = (stream_bytes(|stream| stream * 30) - stream_bytes(|_| 0)) / 60;
    let encoded_bytes = Numbers(0).bytes(&name(7)).len().cast_signed();
    println!("a name that no other stream watches: {name_bytes} bytes, {encoded_bytes} of them encoded");
    assert!(name_bytes < encoded_bytes + 1_000, "{name_bytes} bytes");
}

#[test]
fn a_change_costs_nothing_to_those_who_do_not_watch_it() {
    let allocations = |streams: u64| {
        let mut fleet = Fleet::new();
        // The first ten streams watch the first names, all others names of their own.
        fleet.open(0..streams, |stream| if stream < 10 { 0 } else { stream * 30 });
        fleet.numbers = Numbers(1);
        let resource_type = fleet.server.types().find(URLS[1]).expect("a type of the server");
        let before = ALLOCATIONS.get();
        fleet.handle(ServerEvent::Changed { resource_type, name: name(7), since: Duration::ZERO });
        fleet.now += Duration::from_millis(50);
        assert_eq!(fleet.handle(ServerEvent::Woken), 10);
        ALLOCATIONS.get() - before
    };
    let (few, many) = (allocations(10), allocations(1_000));
    println!("a change with 10 subscribers: {few} allocations among 10 streams, {many} among 1,000");
    assert!(many <= few + few / 10, "{many} allocations, {few} with few streams");
}
