//! The ports of a bootstrap, which is written to run as it stands, exchanged for ones that are free.

use std::{collections::BTreeMap, net::TcpListener};

use anyhow::{Context, Result};

const FIELD: &str = "port_value: ";

/// Exchanges every `port_value: N` of `text`: for the port that `known` gives for N, or else for a free one, which
/// `known` then holds too.
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

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port is free on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
