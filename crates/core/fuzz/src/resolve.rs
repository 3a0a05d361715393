//! The table against the naive search, which the properties of the core's tests use too.

use arbitrary::{Result, Unstructured};

use crate::{
    fixture::ask,
    naive::{ENDS, NaiveCluster, NaiveEndpoint, NaiveKind, NaiveService, OUTSIDE, WORDS},
};

/// Enough for a chain with one alias more than the bound.
const MAX_SERVICES: usize = 24;

/// Both searches give the same answer for a cluster and a name.
pub fn resolve(bytes: &[u8]) {
    let Ok((cluster, asked)) = read(&mut Unstructured::new(bytes)) else { return };
    assert_eq!(ask(&cluster.config(), &asked), cluster.answer(&asked), "{asked} of {cluster:#?}");
}

fn read(bytes: &mut Unstructured<'_>) -> Result<(NaiveCluster, String)> {
    let labels = bytes.int_in_range(1..=6u8)?;
    let mut asked = words(bytes, labels)?;
    asked.push_str(bytes.choose(&ENDS)?);
    let (ndots, musl, follows) = (bytes.int_in_range(0..=6u8)?, bytes.arbitrary()?, bytes.arbitrary()?);
    let mut services = Vec::new();
    while services.len() < MAX_SERVICES && !bytes.is_empty() {
        services.push(service(bytes)?);
    }
    Ok((NaiveCluster::new(services, ndots, musl, follows), asked))
}

fn service(bytes: &mut Unstructured<'_>) -> Result<NaiveService> {
    let (namespace, name) = (word(bytes)?, word(bytes)?);
    let (kind, endpoints) = match bytes.int_in_range(0..=7u8)? {
        0 | 1 => (NaiveKind::Virtual, endpoints(bytes)?),
        2 | 3 => (NaiveKind::Headless, endpoints(bytes)?),
        kind => (NaiveKind::Alias { target: target(bytes, kind)?, port: port(bytes)? }, vec![]),
    };
    Ok(NaiveService { has_udp: name == "b", namespace, name, kind, endpoints })
}

fn target(bytes: &mut Unstructured<'_>, kind: u8) -> Result<String> {
    Ok(match kind {
        4 => (*bytes.choose(&OUTSIDE)?).to_owned(),
        5 => words(bytes, 2)? + ".pod.cluster.local",
        6 => words(bytes, 2)? + ".svc.cluster.local",
        _ => {
            let labels = bytes.int_in_range(1..=5u8)?;
            words(bytes, labels)? + ".svc.cluster.local"
        }
    })
}

fn port(bytes: &mut Unstructured<'_>) -> Result<Option<u16>> {
    Ok(match bytes.int_in_range(0..=3u8)? {
        0 => Some(80),
        1 => Some(81),
        _ => None,
    })
}

fn endpoints(bytes: &mut Unstructured<'_>) -> Result<Vec<NaiveEndpoint>> {
    let mut endpoints = Vec::new();
    for _ in 0..bytes.int_in_range(0..=3u8)? {
        let hostname = if bytes.arbitrary()? { Some(word(bytes)?) } else { None };
        let address = [10, 0, 0, bytes.int_in_range(0..=3u8)?];
        endpoints.push(NaiveEndpoint { hostname, address, ready: bytes.arbitrary()? });
    }
    Ok(endpoints)
}

fn words(bytes: &mut Unstructured<'_>, count: u8) -> Result<String> {
    let words: Result<Vec<String>> = (0..count).map(|_| word(bytes)).collect();
    Ok(words?.join("."))
}

fn word(bytes: &mut Unstructured<'_>) -> Result<String> {
    Ok((*bytes.choose(&WORDS)?).to_owned())
}
