//! The stream to a server that fills the table when requests need it, and the requests that wait for its answers.
//!
//! The core's `Discovery` decides; this file carries out its actions, and passes it what happens. Envoy resets the stream at each
//! configuration push, because the stream belongs to the root context of a push. Answers, waiting requests and the wish for a stream
//! go on in the next one.
//!
//! No value of the module is borrowed during a host call here: Envoy calls back from within some of them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use byname_core::{
    Config, Counts, Discovery, Request, StreamAction, StreamNode, Table,
    limits::{MAX_MESSAGE_BYTES, MAX_WAIT_MILLISECONDS},
    wire::SCHEMA,
};
use log::Level;

use crate::{
    active_config::ActiveConfig,
    balance::random,
    contexts,
    host::{self, GrpcStream},
    pending, request_log, stats, ticks,
};

const SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
const METHOD: &str = "DeltaAggregatedResources";
/// The shortest period of ticks: a wait may last so much longer than it should.
const SHORTEST_PERIOD_MILLISECONDS: u32 = 10;
const LONGEST_PERIOD_MILLISECONDS: u64 = 600_000;

thread_local! {
    /// The requests that are paused.
    static PAUSED: RefCell<Vec<Paused>> = const { RefCell::new(Vec::new()) };
    /// The host does not let a paused request go on, so none is paused any more.
    static CANNOT_RESUME: Cell<bool> = const { Cell::new(false) };
}

/// A request that is paused.
struct Paused {
    stream: u32,
    /// When it was first paused, in milliseconds.
    since: u64,
    /// Decides it.
    resume: Resume,
}

/// Decides a request, by its context, that was paused since a time, and lets it go on if it is to. An error says that the host does not let
/// it go on, and that it has got a local reply.
pub(crate) type Resume = fn(u32, u64) -> host::Result<()>;

/// Uses what is paused. Nothing in here re-enters, so it is free. If it were not, the default would be returned.
fn with_paused<T: Default>(use_it: impl FnOnce(&mut Vec<Paused>) -> T) -> T {
    PAUSED.with(|paused| paused.try_borrow_mut().map(|mut paused| use_it(&mut paused)).unwrap_or_default())
}

/// Takes a request out of what is paused.
fn take_paused(stream: u32) -> Option<Paused> {
    with_paused(|paused| {
        let place = paused.iter().position(|paused| paused.stream == stream)?;
        Some(paused.swap_remove(place))
    })
}

/// Milliseconds of a clock that never goes back; 0 without a clock.
fn now() -> u64 {
    host::now().unwrap_or_default() / 1_000_000
}

/// Begins with a configuration that was just pushed, in the place of an earlier one.
#[inline(never)]
pub(crate) fn begin(live: &Rc<ActiveConfig>, earlier: Option<&ActiveConfig>) {
    let now = now();
    if let Some(earlier) = earlier {
        if let Some(stream) = earlier.stream.take().filter(|stream| enter(*stream)) {
            host::cancel_grpc(stream);
            let _ = host::set_effective_context(live.root.get());
        }
        if let (Some(mut config), Some(mut before)) = (live.config_mut(), earlier.config_mut()) {
            config.go_on(&mut before, now);
        }
        live.shown.set(earlier.shown.take());
    }
    show(live);
    // A request waits only once a tick has come, so that its wait ends.
    if has_server(live) || is_any_paused() {
        ticks::within(live.root.get(), SHORTEST_PERIOD_MILLISECONDS, now);
    }
}

#[inline(never)]
fn has_server(live: &ActiveConfig) -> bool {
    live.config().is_ok_and(|config| config.discovery().is_some())
}

#[inline(always)]
fn is_any_paused() -> bool {
    with_paused(|paused| !paused.is_empty())
}

/// Asks the server for what a request needs. Returns whether the request waits: else it is decided as it is. `since` is when it was first
/// paused, if it was. `resume` decides it later.
#[inline(never)]
pub(crate) fn wait<'r>(
    stream: u32,
    live: &ActiveConfig,
    since: Option<u64>,
    request: impl FnOnce(&Config) -> Request<'r>,
    resume: Resume,
) -> bool {
    let now = now();
    let mut actions = Vec::new();
    let asked = live.config_mut().is_some_and(|mut config| {
        let request = request(&config);
        config.ask(request, (stream, since), now, &mut actions)
    });
    let is_over = run(live, actions, Some(stream));
    let waits = asked && !is_over && now > 0 && ticks::has_ticked() && !CANNOT_RESUME.get();
    if waits {
        with_paused(|paused| paused.push(Paused { stream, since: since.unwrap_or(now), resume }));
    } else if asked {
        discover(live, &mut |discovery, _, _| discovery.decline(stream, since.is_none()));
    }
    schedule(live);
    let _ = host::set_effective_context(stream);
    waits
}

/// A message has come.
pub(crate) fn received(stream: GrpcStream, bytes: u32) {
    let Some(live) = live_of(stream) else {
        // Of an earlier root context.
        host::cancel_grpc(stream);
        return;
    };
    let now = now();
    // `usize` is 32 bits wide here.
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let message = if bytes <= MAX_MESSAGE_BYTES { host::grpc_message(bytes).ok() } else { None };
    let actions = discover(&live, &mut |discovery, table, actions| match &message {
        Some(message) => discovery.received(now, random(), message, table, actions),
        None => discovery.reset(now, random(), table, actions),
    });
    run(&live, actions, None);
    schedule(&live);
}

/// A stream has ended with this gRPC status.
pub(crate) fn closed(stream: GrpcStream, status: u32) {
    host::close_grpc(stream.token);
    let Some(live) = live_of(stream) else { return };
    let actions = end(&live, &format!("ended with gRPC status {status}"));
    run(&live, actions, None);
    schedule(&live);
}

/// Says what is wrong with the stream: Envoy writes nothing of it.
#[inline(never)]
fn warn(what: &str) {
    request_log::write(Level::Warn, || {
        format!(
            "byname: the stream to the server {what}: check that Envoy has the cluster of `server`, with an endpoint, the log of \
             byname serve, and that allowed_capabilities has proxy_grpc_stream and all others of envoy/stream.yaml"
        )
    });
}

/// Time has passed in this root context.
pub(crate) fn tick(root: u32) {
    let now = now();
    let live = contexts::find_serving(&mut |live| live.root.get() == root);
    if let Some(live) = &live {
        if !pending::is_reading(root) && live.stream.get().is_some_and(|stream| stream.root != root) {
            // What was pushed was read and refused. The stream ends with the root context of the earlier push, and nobody says so.
            run(live, end(live, "has gone"), None);
        }
        let actions = discover(live, &mut |discovery, table, actions| discovery.tick(now, random(), table, actions));
        run(live, actions, None);
    }
    // A wait ends even where nothing is left that knows of it.
    let is_over = |paused: &&Paused| now == 0 || paused.since.saturating_add(MAX_WAIT_MILLISECONDS) <= now;
    let over: Vec<u32> = with_paused(|paused| paused.iter().filter(is_over).map(|paused| paused.stream).collect());
    let is_any_over = !over.is_empty();
    over.into_iter().for_each(resume);
    match live.filter(|live| has_server(live)) {
        Some(live) => schedule(&live),
        None if pending::is_reading(root) => {}
        None => {
            let period = if is_any_paused() { SHORTEST_PERIOD_MILLISECONDS } else { 0 };
            // Bootstraps of filters that ask no server do not allow this call, and a tick comes in its root context.
            if is_any_over {
                let _ = host::set_effective_context(root);
            }
            let _ = ticks::every(root, period);
        }
    }
}

/// Forgets a request or a root context that was deleted.
pub(crate) fn forget(context: u32) {
    // Nearly every context that is deleted was never paused.
    if is_any_paused() {
        forget_paused(context);
    }
}

#[cold]
#[inline(never)]
fn forget_paused(context: u32) {
    if take_paused(context).is_some() {
        contexts::find_serving(&mut |live| {
            discover(live, &mut |discovery, _, _| discovery.done(context));
            false
        });
    }
}

fn live_of(stream: GrpcStream) -> Option<Rc<ActiveConfig>> {
    contexts::find_serving(&mut |live| live.stream.get() == Some(stream))
}

/// Lets something happen to the discovery of a configuration, and returns what is to be done.
#[inline(never)]
fn discover(
    live: &ActiveConfig,
    event: &mut dyn FnMut(&mut Discovery, &mut Table, &mut Vec<StreamAction>),
) -> Vec<StreamAction> {
    let mut actions = Vec::new();
    if let Some(mut config) = live.config_mut()
        && let Some((discovery, table)) = config.discover()
    {
        event(discovery, table, &mut actions);
    }
    actions
}

/// Carries out actions. Returns whether the request `current`, whose headers are handled now, was to be resumed.
#[inline(never)]
fn run(live: &ActiveConfig, actions: Vec<StreamAction>, current: Option<u32>) -> bool {
    let mut is_over = false;
    for action in actions {
        // What follows of an action comes before the next one. It opens no stream, so this ends.
        let next = match action {
            StreamAction::Resume(stream) if Some(stream) == current => {
                is_over = true;
                continue;
            }
            StreamAction::Resume(stream) => {
                resume(stream);
                continue;
            }
            StreamAction::Open => open(live),
            StreamAction::Send(message) => match live.stream.get() {
                Some(stream) if !enter(stream) || host::send_grpc(stream, &message).is_err() => {
                    end(live, "takes no message")
                }
                _ => continue,
            },
            StreamAction::Reset => {
                if let Some(stream) = live.stream.take().filter(|stream| enter(*stream)) {
                    host::cancel_grpc(stream);
                }
                warn("gave no readable answer");
                continue;
            }
        };
        is_over |= run(live, next, current);
    }
    is_over
}

/// Makes the next host calls those of the stream's root context. Returns whether it is still there.
fn enter(stream: GrpcStream) -> bool {
    host::set_effective_context(stream.root).is_ok()
}

/// The stream has ended, or could not be opened. Returns what is to be done then. `how` is said if it was of no use.
#[inline(never)]
fn end(live: &ActiveConfig, how: &str) -> Vec<StreamAction> {
    live.stream.set(None);
    discover(live, &mut |discovery, table, actions| {
        discovery.closed(now(), random(), table, actions);
        if !discovery.is_hopeful() {
            warn(how);
        }
    })
}

/// Opens the stream, and returns what is to be done then.
#[inline(never)]
fn open(live: &ActiveConfig) -> Vec<StreamAction> {
    let cluster = live.config().ok().and_then(|config| Some(config.discovery()?.cluster().to_owned()));
    let root = live.root.get();
    let _ = host::set_effective_context(root);
    let Ok(stream) = host::open_grpc_stream(root, &cluster.unwrap_or_default(), SERVICE, METHOD) else {
        return end(live, "cannot be opened");
    };
    live.stream.set(Some(stream));
    let property = |path| host::property(path).unwrap_or_default();
    let (id, cluster) = (property("xds\0node\0id"), property("xds\0node\0cluster"));
    let mut actions = Vec::new();
    if let Some(mut config) = live.config_mut() {
        let own = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
        let caller = &config.caller;
        let (namespace, zone, node) = (own(Some(caller.namespace())), own(caller.zone()), own(caller.node()));
        let metadata = [("NAMESPACE", &*namespace), ("NODE_NAME", &*node), ("BYNAME_SCHEMA", SCHEMA.as_bytes())];
        let node = StreamNode { id: &id, cluster: &cluster, zone: &zone, metadata: &metadata };
        if let Some((discovery, table)) = config.discover() {
            discovery.opened(now(), &node, table, &mut actions);
        }
    }
    actions
}

/// Decides a request that was paused.
fn resume(stream: u32) {
    let Some(Paused { since, resume, .. }) = take_paused(stream) else { return };
    // Else its client has left.
    if host::set_effective_context(stream).is_ok() && resume(stream, since).is_err() {
        // An older bootstrap does not allow it.
        CANNOT_RESUME.set(true);
    }
}

/// How long a request has waited that was first paused then.
pub(crate) fn waited(since: u64) -> u64 {
    now().saturating_sub(since)
}

/// Shows by the metrics what has become of the stream. Without a server there is none, and nothing more is counted.
#[inline(never)]
fn show(live: &ActiveConfig) {
    let Ok(config) = live.config() else { return };
    let counts = config.discovery().map(|discovery| {
        let Counts { waits, timeouts, streams, rejections, failures } = discovery.counts();
        // `usize` is 32 bits wide here.
        let keys = u32::try_from(config.table.keys()).unwrap_or(u32::MAX);
        // 32 bits of seconds last until 2106.
        let lost_at = u32::try_from(discovery.lost_at() / 1000).unwrap_or(u32::MAX);
        [waits, timeouts, streams, rejections, failures, u32::from(discovery.is_open()), keys, lost_at]
    });
    stats::show_stream(&live.shown, counts.unwrap_or_default());
}

/// Asks for the next tick.
fn schedule(live: &ActiveConfig) {
    let root = live.root.get();
    if pending::is_reading(root) {
        // Ticks come soon, and another is asked for then.
        return;
    }
    show(live);
    let now = now();
    let next = live.config().ok().and_then(|config| config.discovery()?.next_tick(now, &config.table));
    let longest = if is_any_paused() { MAX_WAIT_MILLISECONDS } else { LONGEST_PERIOD_MILLISECONDS };
    let next = next.or_else(|| is_any_paused().then_some(longest));
    let _ = host::set_effective_context(root);
    match next {
        // Far less than 2^32.
        Some(next) => ticks::within(root, next.clamp(SHORTEST_PERIOD_MILLISECONDS.into(), longest) as u32, now),
        None => drop(ticks::every(root, 0)),
    }
}
