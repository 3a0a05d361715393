//! The functions of the proxy-wasm ABI 0.2.1 that the module imports, as the small host implements them.

use anyhow::Result;
use wasmi::{Caller, Engine, Error, Extern, Linker, Memory};

use crate::host_state::{HostState, LocalResponse, NANOSECONDS};

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const REQUEST_HEADERS: u32 = 0;
const GRPC_MESSAGE: u32 = 5;
const PLUGIN_CONFIGURATION: u32 = 7;

type HostCaller<'a> = Caller<'a, HostState>;
type CallStatus = std::result::Result<u32, Error>;

/// Records a call, and returns its status if the function is to fail.
macro_rules! enter {
    ($host:ident, $name:literal, $($note:tt)*) => {
        $host.data_mut().calls.push(format!("{}({})", $name, format_args!($($note)*)));
        if let Some(status) = $host.data().failing.get(concat!("proxy_", $name)) {
            return Ok(*status);
        }
    };
}

pub(crate) fn linker(engine: &Engine) -> Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("env", "proxy_log", log)?
        .func_wrap("env", "proxy_get_property", get_property)?
        .func_wrap("env", "proxy_set_property", set_property)?
        .func_wrap("env", "proxy_get_current_time_nanoseconds", get_current_time_nanoseconds)?
        .func_wrap("env", "proxy_set_tick_period_milliseconds", set_tick_period_milliseconds)?
        .func_wrap("env", "proxy_get_buffer_bytes", get_buffer_bytes)?
        .func_wrap("env", "proxy_get_header_map_pairs", get_header_map_pairs)?
        .func_wrap("env", "proxy_replace_header_map_value", replace_header_map_value)?
        .func_wrap("env", "proxy_remove_header_map_value", remove_header_map_value)?
        .func_wrap("env", "proxy_send_local_response", send_local_response)?
        .func_wrap("env", "proxy_get_shared_data", get_shared_data)?
        .func_wrap("env", "proxy_set_shared_data", set_shared_data)?
        .func_wrap("env", "proxy_define_metric", define_metric)?
        .func_wrap("env", "proxy_increment_metric", increment_metric)?
        .func_wrap("env", "proxy_record_metric", record_metric)?
        .func_wrap("env", "proxy_grpc_stream", grpc_stream)?
        .func_wrap("env", "proxy_grpc_send", grpc_send)?
        .func_wrap("env", "proxy_grpc_close", grpc_close)?
        .func_wrap("env", "proxy_grpc_cancel", grpc_cancel)?
        .func_wrap("env", "proxy_set_effective_context", set_effective_context)?
        .func_wrap("env", "proxy_continue_stream", continue_stream)?
        .func_wrap("env", "proxy_call_foreign_function", call_foreign_function)?;
    Ok(linker)
}

fn log(mut host: HostCaller<'_>, _level: u32, text: u32, bytes: u32) -> CallStatus {
    let text = read_text(&host, text, bytes)?;
    enter!(host, "log", "");
    host.data_mut().log.push(text);
    Ok(OK)
}

fn get_property(mut host: HostCaller<'_>, path: u32, bytes: u32, value: u32, value_bytes: u32) -> CallStatus {
    let path = read_text(&host, path, bytes)?.replace('\0', ".");
    enter!(host, "get_property", "{path}");
    match host.data().properties.get(&path).cloned() {
        Some(property) => give(&mut host, &property, value, value_bytes),
        None => Ok(NOT_FOUND),
    }
}

fn set_property(mut host: HostCaller<'_>, path: u32, bytes: u32, value: u32, value_bytes: u32) -> CallStatus {
    let path = read_text(&host, path, bytes)?;
    let value = read(&host, value, value_bytes)?;
    enter!(host, "set_property", "{path}");
    host.data_mut().properties.insert(path, value);
    Ok(OK)
}

fn get_current_time_nanoseconds(mut host: HostCaller<'_>, time: u32) -> CallStatus {
    enter!(host, "get_current_time_nanoseconds", "");
    let now = host.data().now.to_le_bytes();
    write(&mut host, time, &now)?;
    Ok(OK)
}

fn set_tick_period_milliseconds(mut host: HostCaller<'_>, period: u32) -> CallStatus {
    enter!(host, "set_tick_period_milliseconds", "{period}");
    let state = host.data_mut();
    state.tick_period = period;
    if period == 0 {
        state.timers.remove(&state.effective);
    } else {
        // A period begins anew, as in Envoy.
        state.timers.insert(state.effective, (period, state.now + u64::from(period) * NANOSECONDS));
    }
    Ok(OK)
}

fn get_buffer_bytes(
    mut host: HostCaller<'_>,
    buffer: u32,
    start: u32,
    most: u32,
    value: u32,
    value_bytes: u32,
) -> CallStatus {
    enter!(host, "get_buffer_bytes", "{start}, {most}");
    let (start, most) = (start as usize, most as usize);
    let HostState { configuration, grpc_message, most_bytes, .. } = host.data();
    let bytes = match buffer {
        PLUGIN_CONFIGURATION => configuration,
        GRPC_MESSAGE => grpc_message,
        _ => panic!("the module reads only these buffers"),
    };
    let most = most.min(most_bytes.unwrap_or(most));
    let end = start.saturating_add(most).min(bytes.len());
    let piece = bytes.get(start..end).unwrap_or_default().to_vec();
    give(&mut host, &piece, value, value_bytes)
}

fn get_shared_data(
    mut host: HostCaller<'_>,
    key: u32,
    key_bytes: u32,
    value: u32,
    value_bytes: u32,
    version: u32,
) -> CallStatus {
    let key = read_text(&host, key, key_bytes)?;
    enter!(host, "get_shared_data", "{key}");
    match host.data().shared_data.get(&key).cloned() {
        Some(shared) => {
            write(&mut host, version, &1_u32.to_le_bytes())?;
            give(&mut host, &shared, value, value_bytes)
        }
        None => Ok(NOT_FOUND),
    }
}

fn set_shared_data(
    mut host: HostCaller<'_>,
    key: u32,
    key_bytes: u32,
    value: u32,
    value_bytes: u32,
    version: u32,
) -> CallStatus {
    const CAS_MISMATCH: u32 = 8;
    let key = read_text(&host, key, key_bytes)?;
    let value = read(&host, value, value_bytes)?;
    enter!(host, "set_shared_data", "{key}: {}", value.escape_ascii());
    assert!([0, u32::MAX].contains(&version), "the module remembers no version");
    if version == u32::MAX && host.data().shared_data.contains_key(&key) {
        return Ok(CAS_MISMATCH);
    }
    host.data_mut().shared_data.insert(key, value);
    Ok(OK)
}

fn get_header_map_pairs(mut host: HostCaller<'_>, map: u32, value: u32, value_bytes: u32) -> CallStatus {
    enter!(host, "get_header_map_pairs", "");
    assert_eq!(map, REQUEST_HEADERS, "the module uses only this map");
    let bytes = host.data().raw_headers.clone().unwrap_or_else(|| serialize(&host.data().headers));
    give(&mut host, &bytes, value, value_bytes)
}

fn replace_header_map_value(
    mut host: HostCaller<'_>,
    map: u32,
    name: u32,
    name_bytes: u32,
    value: u32,
    value_bytes: u32,
) -> CallStatus {
    let name = read_text(&host, name, name_bytes)?;
    let value = read(&host, value, value_bytes)?;
    enter!(host, "replace_header_map_value", "{name}: {}", value.escape_ascii());
    assert_eq!(map, REQUEST_HEADERS, "the module uses only this map");
    let headers = &mut host.data_mut().headers;
    headers.retain(|(other, _)| other != name.as_bytes());
    headers.push((name.into_bytes(), value));
    Ok(OK)
}

fn remove_header_map_value(mut host: HostCaller<'_>, map: u32, name: u32, name_bytes: u32) -> CallStatus {
    let name = read_text(&host, name, name_bytes)?;
    enter!(host, "remove_header_map_value", "{name}");
    assert_eq!(map, REQUEST_HEADERS, "the module uses only this map");
    host.data_mut().headers.retain(|(other, _)| other != name.as_bytes());
    Ok(OK)
}

#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
fn send_local_response(
    mut host: HostCaller<'_>,
    status: u32,
    details: u32,
    details_bytes: u32,
    body: u32,
    body_bytes: u32,
    headers: u32,
    headers_bytes: u32,
    grpc_status: i32,
) -> CallStatus {
    let details = read_text(&host, details, details_bytes)?;
    let body = read_text(&host, body, body_bytes)?;
    let headers = deserialize(&read(&host, headers, headers_bytes)?);
    enter!(host, "send_local_response", "{status}");
    host.data_mut().response = Some(LocalResponse { status, grpc_status, details, headers, body });
    Ok(OK)
}

fn define_metric(mut host: HostCaller<'_>, _kind: u32, name: u32, name_bytes: u32, id: u32) -> CallStatus {
    let name = read_text(&host, name, name_bytes)?;
    enter!(host, "define_metric", "{name}");
    host.data_mut().metrics.push((name, 0));
    let newest = u32::try_from(host.data().metrics.len()).unwrap_or(u32::MAX);
    write(&mut host, id, &newest.to_le_bytes())?;
    Ok(OK)
}

fn increment_metric(mut host: HostCaller<'_>, id: u32, by: i64) -> CallStatus {
    let name = metric(&mut host, id).map(|(name, _)| name.clone()).unwrap_or_default();
    enter!(host, "increment_metric", "{name}");
    Ok(metric(&mut host, id).map_or(NOT_FOUND, |(_, value)| {
        *value += by;
        OK
    }))
}

fn record_metric(mut host: HostCaller<'_>, id: u32, new: u64) -> CallStatus {
    let name = metric(&mut host, id).map(|(name, _)| name.clone()).unwrap_or_default();
    enter!(host, "record_metric", "{name}");
    Ok(metric(&mut host, id).map_or(NOT_FOUND, |(_, value)| {
        *value = i64::try_from(new).unwrap_or(i64::MAX);
        OK
    }))
}

fn metric<'h>(host: &'h mut HostCaller<'_>, id: u32) -> Option<&'h mut (String, i64)> {
    host.data_mut().metrics.get_mut((id as usize).checked_sub(1)?)
}

#[expect(clippy::too_many_arguments, reason = "the ABI has them")]
fn grpc_stream(
    mut host: HostCaller<'_>,
    service: u32,
    service_bytes: u32,
    name: u32,
    name_bytes: u32,
    method: u32,
    method_bytes: u32,
    metadata: u32,
    metadata_bytes: u32,
    token: u32,
) -> CallStatus {
    let service = read(&host, service, service_bytes)?;
    let (name, method) = (read_text(&host, name, name_bytes)?, read_text(&host, method, method_bytes)?);
    let metadata = deserialize(&read(&host, metadata, metadata_bytes)?);
    enter!(host, "grpc_stream", "{}, {name}/{method}", service.escape_ascii());
    assert_eq!(metadata, [], "the module sends no metadata");
    host.data_mut().grpc_streams += 1;
    let newest = host.data().grpc_streams;
    write(&mut host, token, &newest.to_le_bytes())?;
    Ok(OK)
}

fn grpc_send(mut host: HostCaller<'_>, token: u32, message: u32, bytes: u32, end: u32) -> CallStatus {
    let message = read(&host, message, bytes)?;
    enter!(host, "grpc_send", "{token}");
    assert_eq!(end, 0, "the module ends no stream by a message");
    host.data_mut().grpc_sent.push((token, message));
    Ok(OK)
}

fn grpc_close(mut host: HostCaller<'_>, token: u32) -> CallStatus {
    enter!(host, "grpc_close", "{token}");
    Ok(OK)
}

fn grpc_cancel(mut host: HostCaller<'_>, token: u32) -> CallStatus {
    enter!(host, "grpc_cancel", "{token}");
    Ok(OK)
}

fn set_effective_context(mut host: HostCaller<'_>, context: u32) -> CallStatus {
    enter!(host, "set_effective_context", "{context}");
    let state = host.data_mut();
    if state.deleted.contains(&context) {
        return Ok(NOT_FOUND);
    }
    if let Some(headers) = state.paused.get(&context) {
        state.headers.clone_from(headers);
    }
    state.effective = context;
    Ok(OK)
}

fn continue_stream(mut host: HostCaller<'_>, direction: u32) -> CallStatus {
    enter!(host, "continue_stream", "{direction}");
    let state = host.data_mut();
    state.continued.push(state.effective);
    Ok(OK)
}

fn call_foreign_function(
    mut host: HostCaller<'_>,
    name: u32,
    name_bytes: u32,
    arguments: u32,
    arguments_bytes: u32,
    value: u32,
    value_bytes: u32,
) -> CallStatus {
    let name = read_text(&host, name, name_bytes)?;
    let arguments = read(&host, arguments, arguments_bytes)?;
    enter!(host, "call_foreign_function", "{name}: {}", arguments.escape_ascii());
    give(&mut host, &[], value, value_bytes)
}

fn memory(host: &HostCaller<'_>) -> std::result::Result<Memory, Error> {
    host.get_export("memory").and_then(Extern::into_memory).ok_or_else(|| Error::new("the module exports no memory"))
}

fn read(host: &HostCaller<'_>, at: u32, bytes: u32) -> std::result::Result<Vec<u8>, Error> {
    let mut read = vec![0; bytes as usize];
    memory(host)?.read(host, at as usize, &mut read).map_err(|error| Error::new(error.to_string()))?;
    Ok(read)
}

fn read_text(host: &HostCaller<'_>, at: u32, bytes: u32) -> std::result::Result<String, Error> {
    String::from_utf8(read(host, at, bytes)?).map_err(|error| Error::new(error.to_string()))
}

fn write(host: &mut HostCaller<'_>, at: u32, bytes: &[u8]) -> std::result::Result<(), Error> {
    memory(host)?.write(host, at as usize, bytes).map_err(|error| Error::new(error.to_string()))
}

/// Passes bytes as Envoy does: in memory from the module's own allocator, and without an allocation if there are none.
fn give(host: &mut HostCaller<'_>, bytes: &[u8], at: u32, bytes_at: u32) -> CallStatus {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut room = 0;
    if length > 0 {
        let malloc = host.get_export("malloc").and_then(Extern::into_func);
        let malloc = malloc.ok_or_else(|| Error::new("the module exports no malloc"))?.typed::<u32, u32>(&*host)?;
        room = malloc.call(&mut *host, length)?;
        write(host, room, bytes)?;
        host.data_mut().returned_at = room;
    }
    write(host, at, &room.to_le_bytes())?;
    write(host, bytes_at, &length.to_le_bytes())?;
    Ok(OK)
}

/// The ABI's encoding of a header map.
#[must_use]
pub fn serialize(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(text);
        bytes.push(0);
    }
    bytes
}

fn deserialize(bytes: &[u8]) -> Vec<(String, String)> {
    let number = |index: usize| {
        let word = bytes.get(index * 4..index * 4 + 4).and_then(|word| word.try_into().ok());
        word.map_or(0, u32::from_le_bytes) as usize
    };
    let count = number(0);
    let mut at = 4 + count * 8;
    let mut text = |length: usize| {
        let text = String::from_utf8_lossy(bytes.get(at..at + length).unwrap_or_default()).into_owned();
        at += length + 1;
        text
    };
    (0..count).map(|index| (text(number(1 + index * 2)), text(number(2 + index * 2)))).collect()
}
