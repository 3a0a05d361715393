//! A sidecar's state as text for people.

use std::time::SystemTime;

use super::{
    comparison::{Comparison, ServiceDifference},
    held::HeldConfiguration,
    state::SidecarState,
    stream_state::StreamState,
};
use crate::output::{ASIDE, ERROR, GOOD, NAME, WARNING, age, count, plain, some};

/// Services that are named for each difference.
const NAMED: usize = 5;

/// The state of the sidecar called `called`, over several lines. `comparison` is with the cluster now, if it is known.
#[must_use]
pub fn text(called: &str, state: &SidecarState, comparison: Option<&Comparison>, now: SystemTime) -> String {
    let mut lines = vec![format!("{NAME}{}{NAME:#}  {ASIDE}{}{ASIDE:#}", plain(called), envoy(state))];
    let mut push = |label: &str, text: &str| lines.push(format!("  {label:<10}{text}"));
    match &state.held {
        None => push("table", &format!("{ERROR}none{ERROR:#}: no listener of this Envoy has byname's filter")),
        Some(held) => {
            let served = match (state.served(), held.wire()) {
                // Counters are of the configuration, and not of what the server told.
                _ if let Some(server) = held.server() => {
                    format!("the Services that requests need, from the server {}", plain(server))
                }
                (Some(version), _) => {
                    let gauge = |name: &str| state.counters.get(name).unwrap_or_default() as usize;
                    let services = count(gauge("table.services"), "Service", "Services");
                    let endpoints = match gauge("table.endpoints") {
                        // An address in a pushed table stands for endpoints.
                        some if some > 0 && !held.is_pushed() => count(some, "endpoint", "endpoints"),
                        // Envoy's own clusters have them.
                        _ => "without endpoints".to_owned(),
                    };
                    format!("version {version}, {services}, {endpoints}")
                }
                (None, Some(wire)) => {
                    let services = count(wire.table.services.len(), "Service", "Services");
                    format!(
                        "version {}, {services}; {WARNING}the filter shows no statistics{WARNING:#}",
                        wire.table.version
                    )
                }
                (None, None) => format!("{ERROR}none{ERROR:#}"),
            };
            push("table", &format!("{served}{}", accepted(state, now)));
        }
    }
    if let Some(stream) = state.stream() {
        push("stream", &stream_text(&stream, now));
    }
    push("cluster", &compared(state, comparison));
    if let Some(comparison) = comparison {
        for line in differences(comparison) {
            push("", &line);
        }
        if !comparison.perhaps_hidden.is_empty() {
            let services = listed(comparison.perhaps_hidden.iter());
            push("", &format!("not compared: {services}; the server may hide such Services (--default-export)"));
        }
        if state.held.as_ref().is_some_and(HeldConfiguration::is_pushed) {
            push(
                "",
                "not compared: endpoints, which Envoy's clusters have; byname explain --live compares those of a name",
            );
        }
    }
    for line in refused(state) {
        push("refused", &line);
    }
    if let Some(observed) = observed(state) {
        push("observed", &observed);
    }
    let reasons = state.reasons();
    if !reasons.is_empty() {
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        push("requests", &reasons.join(", "));
    }
    let own = |name: &str| state.counters.get(name).unwrap_or_default();
    let (out, back) = (own("endpoint_ejections"), own("endpoint_returns"));
    if out > 0 {
        push("ejected", &format!("{out} ejections and {back} returns, counted by each worker"));
    }
    for (name, [one, many], way) in [
        (
            "host_errors",
            ["call that Envoy refused", "calls that Envoy refused"],
            "compare capability_restriction_config with the shipped bootstraps",
        ),
        (
            "fields_left_out",
            ["field of a newer byname", "fields of a newer byname"],
            "this module does not know what they mean; update it",
        ),
        (
            "table.left_out",
            [
                "Service that the filter left out of its first table",
                "Services that the filter left out of its first table",
            ],
            "the log says why",
        ),
        (
            "table.addresses_dropped",
            [
                "endpoint address that no pod has, which the filter dropped",
                "endpoint addresses that no pod has, which the filter dropped",
            ],
            "the log says which kinds",
        ),
    ] {
        if own(name) > 0 {
            let count = count(usize::try_from(own(name)).unwrap_or(usize::MAX), one, many);
            push("problems", &format!("{WARNING}{count}{WARNING:#}; {way}"));
        }
    }
    if state.counters.reloads > 0 {
        push(
            "problems",
            &format!(
                "{ERROR}{}{ERROR:#}; please report the line that Envoy logs",
                count(
                    usize::try_from(state.counters.reloads).unwrap_or(usize::MAX),
                    "crash of the module",
                    "crashes of the module"
                )
            ),
        );
    }
    lines.join("\n") + "\n"
}

fn envoy(state: &SidecarState) -> String {
    let live = if state.envoy_state == "LIVE" { String::new() } else { format!(", {}", plain(&state.envoy_state)) };
    format!("Envoy {}{live}", plain(&state.envoy))
}

/// When Envoy accepted the table, as in `, accepted 12 s ago`; empty if it does not say.
#[must_use]
pub fn accepted(state: &SidecarState, now: SystemTime) -> String {
    let at = state.counters.accepted_at;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    match (at, u64::try_from(since)) {
        (0, _) | (_, Err(_)) => String::new(),
        (at, Ok(now)) => format!(", accepted {} ago", age(now.saturating_sub(at) / 1000)),
    }
}

fn stream_text(stream: &StreamState, now: SystemTime) -> String {
    match (stream.silence(now), stream.opened) {
        (Some(silence), _) => format!("{ERROR}no answer{ERROR:#} for {silence}; {}", stream.counts()),
        (None, 0) => "none open, because no request has needed a name yet".to_owned(),
        (None, _) => format!("{} open, {}", stream.open, stream.counts()),
    }
}

fn compared(state: &SidecarState, comparison: Option<&Comparison>) -> String {
    match (&state.held, comparison) {
        (None, _) => "unknown".to_owned(),
        (Some(_), None) if state.serves_older() => {
            format!("{ERROR}not compared{ERROR:#}: the filter refused what Envoy holds, and serves an older table")
        }
        (Some(held), None) if held.server().is_some() => {
            "not compared: Envoy does not show the Services that the filter has from the server".to_owned()
        }
        (Some(_), None) => "not compared; pass --context, or -f with a dump".to_owned(),
        (Some(_), Some(comparison)) if comparison.is_current() && !state.serves_older() => {
            format!("{GOOD}matches the table{GOOD:#}{}", hidden(comparison))
        }
        (Some(_), Some(comparison)) if state.serves_older() => {
            let differ = count(comparison.services.len(), "Service", "Services");
            format!(
                "{ERROR}differs{ERROR:#}: the filter serves an older table; the one that it refused differs in {differ}"
            )
        }
        (Some(_), Some(comparison)) => {
            let differ = match comparison.services.len() {
                1 => "1 Service differs".to_owned(),
                many => format!("{many} Services differ"),
            };
            format!(
                "{WARNING}{differ}{WARNING:#}{}: the cluster changed after this table was compiled",
                hidden(comparison)
            )
        }
    }
}

fn hidden(comparison: &Comparison) -> String {
    match comparison.hidden.len() {
        0 => String::new(),
        _ => format!(", without namespaces {}", some(&comparison.hidden)),
    }
}

fn differences(comparison: &Comparison) -> Vec<String> {
    let kinds = [
        (ServiceDifference::Missing, "only in the cluster"),
        (ServiceDifference::Gone, "only in the sidecar"),
        (ServiceDifference::Changed, "changed"),
        (ServiceDifference::Ports, "ports differ"),
        (ServiceDifference::Endpoints, "endpoints differ"),
        (ServiceDifference::EndpointNames, "hostnames or ports of endpoints differ"),
    ];
    let mut lines = Vec::new();
    for (kind, words) in kinds {
        let names: Vec<&String> =
            comparison.services.iter().filter(|(_, other)| **other == kind).map(|(name, _)| name).collect();
        if names.is_empty() {
            continue;
        }
        lines.push(format!("{words}: {}", listed(names.into_iter())));
    }
    lines
}

/// The first names, and how many more there are.
fn listed<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named: Vec<String> = names.take(NAMED).map(|name| plain(name)).collect();
    format!("{}{more}", named.join(", "))
}

/// What would be different about the requests that byname only observes; `None` if it observes none.
fn observed(state: &SidecarState) -> Option<String> {
    state.counters.get("observing").filter(|observing| *observing > 0)?;
    let by_difference = state.counters.observed();
    let (all, same) = (by_difference.values().sum::<u64>(), by_difference.get("none").copied().unwrap_or_default());
    let differ: Vec<String> = by_difference
        .iter()
        .filter(|(difference, _)| **difference != "none")
        .map(|(difference, count)| format!("{difference} {count}"))
        .collect();
    let differ = if differ.is_empty() { String::new() } else { format!(": {}", differ.join(", ")) };
    Some(format!("{} of {} would be different{differ}", all - same, count(all as usize, "request", "requests")))
}

fn refused(state: &SidecarState) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Err(reasons)) = state.held.as_ref().map(|held| &held.read) {
        lines.extend(reasons.iter().map(|reason| format!("{ERROR}{}{ERROR:#}", plain(reason))));
    }
    let pushes = state.refused_pushes();
    if pushes > 0 {
        let pushes = count(usize::try_from(pushes).unwrap_or(usize::MAX), "push", "pushes");
        lines.push(format!("{WARNING}{pushes}{WARNING:#} since Envoy started; the last known good table serves on"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{
        super::{counters::Counters, held::Node},
        *,
    };

    #[test]
    fn troubles_of_a_sidecar_have_a_line_each() {
        let own = [
            ("endpoint_ejections", 3),
            ("endpoint_returns", 2),
            ("host_errors", 1),
            ("fields_left_out", 4),
            ("table.left_out", 5),
            ("table.addresses_dropped", 6),
            ("configurations_refused", 7),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value)).into();
        let counters = Counters { own, rejected: 2, reloads: 8, ..Counters::default() };
        let (envoy, envoy_state) = ("1.40.0".to_owned(), "DRAINING".to_owned());
        let state = SidecarState { envoy, envoy_state, held: None, counters, node: Node::default() };
        let text = anstream::adapter::strip_str(&text("shop/web-0", &state, None, SystemTime::now())).to_string();
        let expected = "\
shop/web-0  Envoy 1.40.0, DRAINING
  table     none: no listener of this Envoy has byname's filter
  cluster   unknown
  refused   7 pushes since Envoy started; the last known good table serves on
  ejected   3 ejections and 2 returns, counted by each worker
  problems  1 call that Envoy refused; compare capability_restriction_config with the shipped bootstraps
  problems  4 fields of a newer byname; this module does not know what they mean; update it
  problems  5 Services that the filter left out of its first table; the log says why
  problems  6 endpoint addresses that no pod has, which the filter dropped; the log says which kinds
  problems  8 crashes of the module; please report the line that Envoy logs
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_streams_of_a_filter_that_asks_a_server_are_told() {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        let of = |own: &[(&str, u64)]| {
            let own = own.iter().map(|(name, value)| (format!("stream.{name}"), *value)).collect();
            let stream = StreamState::of(&Counters { own, ..Counters::default() });
            (anstream::adapter::strip_str(&stream_text(&stream, now)).to_string(), stream.silence(now).is_some())
        };
        let says = |text: &str| text.to_owned();
        assert_eq!(of(&[]), (says("none open, because no request has needed a name yet"), false));
        assert_eq!(
            of(&[("open", 2), ("opened", 3), ("keys", 62), ("waits", 9), ("timeouts", 1)]),
            (says("2 open, 62 Services and addresses; 9 requests waited for the server, 1 had no answer"), false)
        );
        // Envoy opens a stream to a server that is away, too.
        assert_eq!(
            of(&[("open", 1), ("opened", 2), ("keys", 1), ("waits", 1), ("lost_timestamp_seconds", 700)]),
            (says("no answer for 5 min; 1 Service or address; 1 request waited for the server, 0 had no answer"), true)
        );
    }
}
