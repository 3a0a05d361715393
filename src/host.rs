//! The only file that talks to the host.
//!
//! The SDK's own wrappers panic on unexpected statuses and on text that is not UTF-8. A panic poisons Envoy's worker for
//! every later request. So this file declares the host functions again, with the status as a plain number: every answer of
//! the host becomes a [`Status`], bytes stay bytes, and nothing in this file can panic.
//! The numbers of maps, buffers and levels are those of the proxy-wasm ABI 0.2.1.

#![expect(unsafe_code, reason = "host functions take and give raw memory; this file is where that ends")]

use std::{
    cell::{Cell, UnsafeCell},
    mem::ManuallyDrop,
    ops::ControlFlow,
    ptr, slice,
};

use byname_core::{limits::MAX_MESSAGE_BYTES, put_protobuf_bytes, put_protobuf_number};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, message_bytes: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_bytes: usize, value: *mut *mut u8, value_bytes: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_bytes: usize, value: *const u8, value_bytes: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        most_bytes: usize,
        value: *mut *mut u8,
        value_bytes: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, value: *mut *mut u8, value_bytes: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_bytes: usize,
        value: *const u8,
        value_bytes: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_bytes: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_bytes: usize,
        body: *const u8,
        body_bytes: usize,
        headers: *const u8,
        headers_bytes: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_bytes: usize,
        value: *mut *mut u8,
        value_bytes: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_bytes: usize,
        value: *const u8,
        value_bytes: usize,
        version: u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_bytes: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_grpc_stream(
        service: *const u8,
        service_bytes: usize,
        name: *const u8,
        name_bytes: usize,
        method: *const u8,
        method_bytes: usize,
        metadata: *const u8,
        metadata_bytes: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_send(token: u32, message: *const u8, message_bytes: usize, end_of_stream: u32) -> u32;
    fn proxy_grpc_close(token: u32) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(direction: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_bytes: usize,
        arguments: *const u8,
        arguments_bytes: usize,
        value: *mut *mut u8,
        value_bytes: *mut usize,
    ) -> u32;
}

const REQUEST_HEADERS: u32 = 0;
const GRPC_MESSAGE: u32 = 5;
const PLUGIN_CONFIGURATION: u32 = 7;
const REQUEST: u32 = 0;
const LOG_CRITICAL: u32 = 5;

/// A status of the host other than OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

/// There is no such value.
pub(crate) const NOT_FOUND: Status = Status(1);

/// A value of the module is in use. The host never answers so.
pub(crate) const IN_USE: Status = Status(u32::MAX);

pub(crate) type Result<T> = core::result::Result<T, Status>;

fn check(status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Calls a host function that returns bytes, and takes ownership of the bytes.
fn bytes_from(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data = ptr::null_mut();
    let mut bytes = 0;
    let status = call(&raw mut data, &raw mut bytes);
    taken(status, data, bytes)
}

/// The bytes that a host function returned with this status.
#[inline(never)]
fn taken(status: u32, data: *mut u8, bytes: usize) -> Result<Vec<u8>> {
    check(status)?;
    if data.is_null() || bytes == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got this memory from `allocate`, which gives out a vector of exactly the requested capacity and
    // forgets it. It gives out `ROOM` only within `request_headers`. The caller owns the memory after the call.
    Ok(unsafe { Vec::from_raw_parts(data, bytes, bytes) })
}

/// Gives the host memory for the bytes that it returns.
pub(crate) fn allocate(bytes: usize) -> *mut u8 {
    ROOM.with(|room| match room.state.get() {
        RoomState::Wanted if bytes <= ROOM_BYTES => {
            room.state.set(RoomState::Taken);
            room.bytes.get().cast()
        }
        _ => ManuallyDrop::new(Vec::<u8>::with_capacity(bytes)).as_mut_ptr(),
    })
}

/// Room for the headers of nearly every request.
const ROOM_BYTES: usize = 4_096;

thread_local! {
    static ROOM: Room =
        const { Room { state: Cell::new(RoomState::Free), bytes: UnsafeCell::new([0; ROOM_BYTES]) } };
}

/// Memory that one request after the other has its headers in, so that none allocates and frees memory for them.
struct Room {
    state: Cell<RoomState>,
    bytes: UnsafeCell<[u8; ROOM_BYTES]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomState {
    Free,
    /// The host is asked for headers, and may take the room for them.
    Wanted,
    /// Headers are in it.
    Taken,
}

/// A property of the host, by its path, with a NUL between two steps; `None` if it does not exist or cannot be read.
#[inline(never)]
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the pointers are valid for the length given, and the host keeps none of them.
    bytes_from(|value, bytes| unsafe { proxy_get_property(path.as_ptr(), path.len(), value, bytes) }).ok()
}

/// Stores a text in the stream's filter state, under `wasm.` and `name`.
pub(crate) fn set_property(name: &str, value: &str) -> Result<()> {
    // SAFETY: as above.
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

thread_local! {
    /// The last time that was told, and by how much the host's clock is behind.
    static CLOCK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Nanoseconds since 1970 at first. The time never goes back: where the host's clock is set back, it goes on from the last time told, so
/// that nothing lasts longer than it should.
pub(crate) fn now() -> Result<u64> {
    let mut time = 0;
    // SAFETY: as above.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    let (last, behind) = CLOCK.get();
    let behind = behind.max(last.saturating_sub(time));
    let now = time.saturating_add(behind);
    CLOCK.set((now, behind));
    Ok(now)
}

/// Lets the host call the root context every `milliseconds`, or never if 0.
///
/// # Errors
/// If the host does not let the module have ticks.
pub(crate) fn set_tick_period(milliseconds: u32) -> Result<()> {
    // SAFETY: only a number is passed.
    check(unsafe { proxy_set_tick_period_milliseconds(milliseconds) })
}

/// A value that all VMs of this process share; `None` if there is none.
///
/// # Errors
/// If the host does not let the module look.
pub(crate) fn shared_data(key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut version = 0;
    // SAFETY: as above.
    let value = bytes_from(|value, bytes| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), value, bytes, &raw mut version)
    });
    match value {
        Ok(value) => Ok(Some(value)),
        Err(NOT_FOUND) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Sets a value that all VMs of this process share.
///
/// # Errors
/// If the host does not let the module set it.
pub(crate) fn set_shared_data(key: &[u8], value: &[u8]) -> Result<()> {
    write_shared_data(key, value, 0)
}

/// Sets a value that all VMs of this process share, if there is none yet.
///
/// # Errors
/// If there is one, or the host does not let the module set it.
pub(crate) fn insert_shared_data(key: &[u8], value: &[u8]) -> Result<()> {
    // No value has this version.
    write_shared_data(key, value, u32::MAX)
}

/// Replaces the `version` of a value, or any if 0.
fn write_shared_data(key: &[u8], value: &[u8], version: u32) -> Result<()> {
    // SAFETY: as above.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) })
}

/// The plugin configuration, of `bytes` bytes, or fewer if the host has no more.
pub(crate) fn configuration(bytes: usize) -> Result<Vec<u8>> {
    buffer(PLUGIN_CONFIGURATION, bytes)
}

/// The message that a stream has brought, of `bytes` bytes.
pub(crate) fn grpc_message(bytes: usize) -> Result<Vec<u8>> {
    buffer(GRPC_MESSAGE, bytes)
}

/// A buffer of `bytes` bytes, or fewer if the host has no more.
fn buffer(which: u32, bytes: usize) -> Result<Vec<u8>> {
    let from = |start: usize| {
        let most = bytes.saturating_sub(start);
        // SAFETY: as above.
        bytes_from(|value, length| unsafe { proxy_get_buffer_bytes(which, start, most, value, length) })
    };
    let mut text = from(0)?;
    while text.len() < bytes {
        match from(text.len())? {
            more if more.is_empty() => break,
            more => text.extend(more),
        }
    }
    Ok(text)
}

/// The status of the response after the end of the stream; `None` if there was no response.
pub(crate) fn response_code() -> Option<u16> {
    u16::try_from(number("response\0code")?).ok().filter(|code| *code > 0)
}

/// Envoy's flags of the response, as bits.
pub(crate) fn response_flags() -> Option<u64> {
    number("response\0flags")
}

/// Envoy's details on the origin of the response.
pub(crate) fn response_details() -> Option<Vec<u8>> {
    property("response\0code_details")
}

/// A property that is a 64-bit integer.
fn number(path: &str) -> Option<u64> {
    let bytes = property(path)?;
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

/// The headers of a request, in the host's serialised form.
pub(crate) enum Headers {
    /// The number of bytes in [`ROOM`], which is taken until the value is dropped.
    InRoom(usize),
    /// More than fit there.
    Allocated(Vec<u8>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::Allocated(Vec::new())
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if matches!(self, Self::InRoom(_)) {
            ROOM.with(|room| room.state.set(RoomState::Free));
        }
    }
}

/// All request headers at once, because one host call costs as much as reading a single header.
pub(crate) fn request_headers() -> Result<Headers> {
    ROOM.with(|room| {
        let mut data = ptr::null_mut();
        let mut bytes = 0;
        let is_free = room.state.get() == RoomState::Free;
        if is_free {
            room.state.set(RoomState::Wanted);
        }
        // SAFETY: as above.
        let status = unsafe { proxy_get_header_map_pairs(REQUEST_HEADERS, &raw mut data, &raw mut bytes) };
        if is_free && status == 0 && ptr::eq(data, room.bytes.get().cast()) {
            room.state.set(RoomState::Taken);
            return Ok(Headers::InRoom(bytes.min(ROOM_BYTES)));
        }
        if is_free {
            room.state.set(RoomState::Free);
        }
        taken(status, data, bytes).map(Headers::Allocated)
    })
}

impl Headers {
    fn as_bytes(&self) -> &[u8] {
        match self {
            // SAFETY: the room has these bytes, and nothing writes into it while this value has it.
            Self::InRoom(bytes) => ROOM.with(|room| unsafe { slice::from_raw_parts(room.bytes.get().cast(), *bytes) }),
            Self::Allocated(bytes) => bytes,
        }
    }

    /// The first value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut found = None;
        self.each(|other, value| match other == name.as_bytes() {
            true => {
                found = Some(value);
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
        });
        found
    }

    /// Visits names and values in order, until the visitor stops. An inconsistent length ends the visit early.
    ///
    /// The format: the number of headers, then the lengths of each name and value, all as 32-bit little-endian numbers,
    /// then each name and value, both followed by a NUL that their lengths exclude.
    pub(crate) fn each<'h>(&'h self, mut show: impl FnMut(&'h [u8], &'h [u8]) -> ControlFlow<()>) {
        let (count, rest) = take_u32(self.as_bytes()).unwrap_or_default();
        let table_bytes = count.saturating_mul(8);
        let (lengths, mut data) = rest.split_at_checked(table_bytes).unwrap_or_default();
        for [a, b, c, d, value_bytes @ ..] in lengths.as_chunks::<8>().0 {
            let Some(name) = take_text(&mut data, [*a, *b, *c, *d]) else { return };
            let Some(value) = take_text(&mut data, *value_bytes) else { return };
            if show(name, value).is_break() {
                return;
            }
        }
    }
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Takes a text of this length, and its NUL.
#[inline(always)]
fn take_text<'a>(data: &mut &'a [u8], bytes: [u8; 4]) -> Option<&'a [u8]> {
    let (text, rest) = data.split_at_checked(usize::try_from(u32::from_le_bytes(bytes)).ok()?)?;
    *data = rest.get(1..)?;
    Some(text)
}

/// Sets a request header, and replaces every copy of it.
pub(crate) fn set_request_header(name: &str, value: &[u8]) -> Result<()> {
    // SAFETY: as above.
    check(unsafe {
        proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes every copy of a request header.
pub(crate) fn remove_request_header(name: &str) -> Result<()> {
    // SAFETY: as above.
    check(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
}

/// Sends a local reply. The host turns it into a gRPC response if the request is gRPC.
pub(crate) fn send_local_response(
    status: u16,
    grpc_status: u8,
    details: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<()> {
    let headers = serialize(headers);
    // SAFETY: as above.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            i32::from(grpc_status),
        )
    })
}

/// Headers in the form that [`Headers::each`] reads.
fn serialize(headers: &[(&str, &str)]) -> Vec<u8> {
    // Lengths are those of header names and values: far below 4 GiB.
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The kind of a metric.
#[derive(Clone, Copy)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// A metric's id in this VM.
#[derive(Clone, Copy)]
pub(crate) struct Metric(u32);

/// Defines a metric. Every call takes a new id in the VM, so each metric is defined once.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<Metric> {
    let mut id = 0;
    // SAFETY: as above.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(Metric(id))
}

/// Increments a counter.
pub(crate) fn increment(metric: Metric, by: u32) -> Result<()> {
    add(metric, by.into())
}

/// Adds to a counter or a gauge.
pub(crate) fn add(metric: Metric, number: i64) -> Result<()> {
    // SAFETY: only numbers are passed.
    check(unsafe { proxy_increment_metric(metric.0, number) })
}

/// Sets a gauge.
pub(crate) fn record(metric: Metric, value: u64) -> Result<()> {
    // SAFETY: only numbers are passed.
    check(unsafe { proxy_record_metric(metric.0, value) })
}

/// A gRPC stream of a root context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrpcStream {
    pub(crate) root: u32,
    /// Tokens of different root contexts may be the same.
    pub(crate) token: u32,
}

/// Opens a stream to a method of a gRPC service, at an Envoy cluster. The effective context is `root`.
pub(crate) fn open_grpc_stream(root: u32, cluster: &str, service: &str, method: &str) -> Result<GrpcStream> {
    // The message `envoy.config.core.v3.GrpcService`: `envoy_grpc` is field 1; `cluster_name`, `authority` and
    // `max_receive_message_length`, a `UInt32Value`, are fields 1, 2 and 4 of it.
    // Envoy takes the name of a cluster too, but one whose bytes happen to be a message crashes it. Without an authority Envoy sends
    // the cluster's name, and an Envoy in front of the server, as in Istio, refuses the bytes `|` of `outbound|9905||HOST`.
    // Without a longest message Envoy collects whatever a server sends, for it shows the filter whole messages.
    let authority = cluster.as_bytes().rsplit(|byte| *byte == b'|').next().unwrap_or_default();
    let mut envoy_grpc = Vec::new();
    put_protobuf_bytes(&mut envoy_grpc, 1, cluster.as_bytes());
    put_protobuf_bytes(&mut envoy_grpc, 2, authority);
    let mut longest = Vec::new();
    put_protobuf_number(&mut longest, 1, MAX_MESSAGE_BYTES as u64);
    put_protobuf_bytes(&mut envoy_grpc, 4, &longest);
    let mut target = Vec::new();
    put_protobuf_bytes(&mut target, 1, &envoy_grpc);
    let metadata = serialize(&[]);
    let mut token = 0;
    // SAFETY: as above.
    check(unsafe {
        proxy_grpc_stream(
            target.as_ptr(),
            target.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            metadata.as_ptr(),
            metadata.len(),
            &raw mut token,
        )
    })?;
    Ok(GrpcStream { root, token })
}

/// Sends a message. A stream that has ended meanwhile loses it without an error.
pub(crate) fn send_grpc(stream: GrpcStream, message: &[u8]) -> Result<()> {
    // SAFETY: as above.
    check(unsafe { proxy_grpc_send(stream.token, message.as_ptr(), message.len(), 0) })
}

/// Lets the host forget a stream that has ended.
pub(crate) fn close_grpc(token: u32) {
    // SAFETY: only a number is passed.
    let _ = unsafe { proxy_grpc_close(token) };
}

/// Ends a stream at once.
pub(crate) fn cancel_grpc(stream: GrpcStream) {
    // SAFETY: only a number is passed.
    let _ = unsafe { proxy_grpc_cancel(stream.token) };
}

/// Makes the next host calls those of another context.
///
/// # Errors
/// If there is no such context any more.
pub(crate) fn set_effective_context(context: u32) -> Result<()> {
    // SAFETY: only a number is passed.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Lets a request go on that was paused.
pub(crate) fn continue_request() -> Result<()> {
    // SAFETY: only a number is passed.
    check(unsafe { proxy_continue_stream(REQUEST) })
}

/// Sets filter state of the stream through Envoy's foreign function `set_envoy_filter_state`.
pub(crate) fn set_filter_state(key: &str, value: &str) -> Result<()> {
    // The message `SetEnvoyFilterStateArguments`: `path` is field 1, `value` is field 2. The default of `span`, the filter
    // chain, is left out.
    let mut arguments = Vec::with_capacity(key.len() + value.len() + 4);
    put_protobuf_bytes(&mut arguments, 1, key.as_bytes());
    put_protobuf_bytes(&mut arguments, 2, value.as_bytes());
    let name = "set_envoy_filter_state";
    // SAFETY: as above.
    bytes_from(|value, bytes| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), value, bytes)
    })
    .map(drop)
}

struct HostLogger;

impl log::Log for HostLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Trace => 0,
            log::Level::Debug => 1,
            log::Level::Info => 2,
            log::Level::Warn => 3,
            log::Level::Error => 4,
        };
        write_log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

fn write_log(level: u32, message: &str) {
    // A line that the host rejects is lost, because there is no other place for it.
    // SAFETY: as above.
    let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// Sends the log to the host, with the message of a panic, so that the log explains a crash (a WebAssembly trap).
pub(crate) fn install_logger() {
    // Fails if a logger is set already, which can only be this logger.
    let _ = log::set_logger(&HostLogger);
    log::set_max_level(log::LevelFilter::Info);
    std::panic::set_hook(Box::new(|panic| write_log(LOG_CRITICAL, &panic.to_string())));
}
