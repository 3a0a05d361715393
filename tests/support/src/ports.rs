//! Replaces the ports of a bootstrap with free ports.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};

const FIELD: &str = "port_value: ";

/// Replaces every `port_value: N` in `text` with the port that `known` has for N, or with a free port that is added to
/// `known`.
pub(crate) fn exchange(text: &str, known: &mut BTreeMap<u16, u16>) -> Result<String> {
    let mut parts = text.split(FIELD);
    let mut exchanged = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let number: u16 = number.parse().with_context(|| format!("no port follows `{FIELD}` before {rest:.20}"))?;
        let port = match known.get(&number) {
            Some(port) => *port,
            None => {
                let port = free_port()?;
                known.insert(number, port);
                port
            }
        };
        exchanged += &format!("{FIELD}{port}{rest}");
    }
    Ok(exchanged)
}

/// Below the ephemeral ports of all systems, so that no outgoing connection takes a port before Envoy binds it.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that nothing listens on. Ports repeat only after thousands of calls.
///
/// # Errors
/// If none is free.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Start at a different port in each process.
    let start = std::process::id().wrapping_mul(397);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port from 20000 to 31999 is free on 127.0.0.1")
}
