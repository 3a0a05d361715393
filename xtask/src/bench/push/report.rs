//! The report of pushes: a table and JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{
        contestant::Contestant,
        numbers::{quartiles, round, table},
    },
    CALM, Push,
    client::{CONNECTIONS, PACE},
    milliseconds,
    tables::PushedChange,
};

/// The pushes of each kind, in the order in which they were made.
fn rows(pushes: &[Push]) -> Vec<(Contestant, usize, PushedChange, Vec<&Push>)> {
    let mut rows: Vec<(Contestant, usize, PushedChange, Vec<&Push>)> = Vec::new();
    for push in pushes {
        let kind = (push.contestant, push.services, push.change);
        match rows.iter_mut().find(|(contestant, services, change, _)| (*contestant, *services, *change) == kind) {
            Some((.., pushes)) => pushes.push(push),
            None => rows.push((kind.0, kind.1, kind.2, vec![push])),
        }
    }
    rows
}

pub(in super::super) fn print(pushes: &[Push]) {
    let headings = [
        "Services",
        "contestant",
        "pushed anew",
        "bytes",
        "live ms",
        "quartiles",
        "worst ms",
        "quartiles",
        "before ms",
        "late ms",
    ];
    let mut table = table(headings, &[1, 2]);
    for (contestant, services, change, pushes) in rows(pushes) {
        let of = |time: fn(&Push) -> Duration| quartiles(pushes.iter().map(|push| milliseconds(time(push))).collect());
        let [low, live, high] = of(|push| push.live);
        let [low_worst, worst, high_worst] = of(|push| push.worst);
        let [_, before, _] = of(|push| push.worst_before);
        let [_, late, _] = of(|push| push.late);
        table.add_row([
            services.to_string(),
            contestant.name().to_owned(),
            change.name().to_owned(),
            pushes.first().map(|push| push.bytes).unwrap_or_default().to_string(),
            format!("{live:.0}"),
            format!("{low:.0} .. {high:.0}"),
            format!("{worst:.1}"),
            format!("{low_worst:.1} .. {high_worst:.1}"),
            format!("{before:.1}"),
            format!("{late:.1}"),
        ]);
    }
    println!(
        "Pushes, two workers: until every connection sees it, and the longest answer meanwhile, beside the longest"
    );
    println!("of {} ms before, and how late the clients' own thread was. A push is the whole file.", CALM.as_millis());
    println!("{table}\n");
}

pub(in super::super) fn json(pushes: &[Push]) -> Value {
    let result = |(contestant, services, change, pushes): (Contestant, usize, PushedChange, Vec<&Push>)| {
        let of =
            |time: fn(&Push) -> Duration| pushes.iter().map(|push| round(milliseconds(time(push)))).collect::<Vec<_>>();
        json!({
            "contestant": contestant.name(),
            "services": services,
            "change": change.name(),
            "bytes": pushes.first().map(|push| push.bytes),
            "liveMs": of(|push| push.live),
            "worstMs": of(|push| push.worst),
            "worstBeforeMs": of(|push| push.worst_before),
            "clientsLateMs": of(|push| push.late),
        })
    };
    json!({
        "workers": 2,
        "requestsPerSecond": 1.0 / PACE.as_secs_f64(),
        "connections": CONNECTIONS,
        "results": rows(pushes).into_iter().map(result).collect::<Vec<_>>(),
    })
}
