//! A difference as text for people.

use super::{
    against_dns::{DnsChangeKind, DnsDifference},
    difference::{ChangeKind, Difference, Meaning, NameChange, Names},
};
use crate::output::{ASIDE, ERROR, GOOD, NAME, WARNING, plain};

/// The changes as text: vanished names first, then changed ones, then new ones.
#[must_use]
pub fn text(difference: &Difference) -> String {
    let mut lines = Vec::new();
    for change in &difference.changes {
        let (style, word) = match change.kind {
            ChangeKind::Vanishes => (ERROR, "vanishes"),
            ChangeKind::Changes => (WARNING, "changes"),
            ChangeKind::Appears => (GOOD, "appears"),
        };
        lines.push(format!("{style}{word}{style:#}  {}", said(change.old.as_ref())));
        let resolves = change.new.as_ref().is_some_and(Meaning::leads_somewhere);
        lines.push(format!("  → {}{}", if resolves { "resolves to " } else { "" }, said(change.new.as_ref())));
        names(change, difference, &mut lines);
        lines.push(String::new());
    }
    let count = |kind: ChangeKind| -> usize {
        difference
            .changes
            .iter()
            .filter(|change| change.kind == kind)
            .map(|change| change.names.iter().map(|names| names.names.len()).sum::<usize>())
            .sum()
    };
    let asked = match difference.namespaces.len() {
        1 => format!("{} names compared from 1 namespace", difference.names),
        many => format!("{} names compared from {many} namespaces", difference.names),
    };
    lines.push(match difference.changes.is_empty() {
        true => format!("no differences in {asked}"),
        false => format!(
            "{} vanish, {} change, {} appear, of {asked}",
            count(ChangeKind::Vanishes),
            count(ChangeKind::Changes),
            count(ChangeKind::Appears),
        ),
    });
    lines.push(String::new());
    lines.join("\n")
}

fn said(meaning: Option<&Meaning>) -> String {
    let Some(meaning) = meaning else { return "name_not_found".to_owned() };
    if !meaning.leads_somewhere() {
        return meaning.reason.to_owned();
    }
    let port = meaning.port.map_or(String::new(), |port| format!(":{port}"));
    let name = if meaning.port_name.is_empty() { String::new() } else { format!(" ({})", plain(&meaning.port_name)) };
    let tls = if meaning.tls { " over TLS" } else { "" };
    let cluster = meaning.cluster.as_ref().map_or(String::new(), |cluster| format!(", cluster {}", plain(cluster)));
    format!(
        "{NAME}{}{port}{NAME:#}{name}{tls}{ASIDE}, reason {}{cluster}{ASIDE:#}",
        plain(&meaning.host),
        meaning.reason
    )
}

fn names(change: &NameChange, difference: &Difference, lines: &mut Vec<String>) {
    for Names { from, names } in &change.names {
        let callers = match from.len() {
            all if all == difference.namespaces.len() && all > 1 => "every namespace".to_owned(),
            _ => from.join(", "),
        };
        let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
        lines.push(format!("  {}  {ASIDE}from {}{ASIDE:#}", names.join(" "), plain(&callers)));
    }
}

/// Names of one line in a comparison with DNS: the same change of all Services is one change.
const NAMED: usize = 8;

/// The names that differ from what they are without byname, the worst first.
#[must_use]
pub fn text_against_dns(difference: &DnsDifference) -> String {
    let mut lines = Vec::new();
    let mut counts: Vec<(DnsChangeKind, usize)> = Vec::new();
    for change in &difference.changes {
        let (style, words) = match change.kind {
            DnsChangeKind::Refused => (ERROR, "is refused"),
            DnsChangeKind::Elsewhere => (WARNING, "goes elsewhere"),
            DnsChangeKind::Reached => (GOOD, "is reached"),
            DnsChangeKind::Host => (WARNING, "gets the Host of another name"),
            DnsChangeKind::FullHost => (ASIDE, "gets the full name of its Service as Host"),
        };
        lines.push(format!("{style}{words}{style:#}"));
        if !change.without.is_empty() {
            lines.push(format!("  without byname: {}", plain(&change.without)));
            lines.push(format!("  with byname:    {NAME}{}{NAME:#}", plain(&change.with)));
        }
        for Names { from, names } in &change.names {
            let callers = match from.len() {
                all if all == difference.namespaces.len() && all > 1 => "every namespace".to_owned(),
                _ => from.join(", "),
            };
            let named: Vec<String> = names.iter().take(NAMED).map(|name| plain(name)).collect();
            let more = names.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            lines.push(format!("  {}{more}  {ASIDE}from {}{ASIDE:#}", named.join(" "), plain(&callers)));
        }
        let names = change.names.iter().map(|names| names.names.len()).sum();
        match counts.iter_mut().find(|(kind, _)| *kind == change.kind) {
            Some((_, count)) => *count += names,
            None => counts.push((change.kind, names)),
        }
        lines.push(String::new());
    }
    let of = |kind: DnsChangeKind| counts.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count);
    let compared = match difference.namespaces.len() {
        1 => format!("{} names compared from 1 namespace", difference.names),
        many => format!("{} names compared from {many} namespaces", difference.names),
    };
    lines.push(match difference.changes.is_empty() {
        true => format!("no differences from DNS and kube-proxy in {compared}"),
        false => format!(
            "{} refused, {} elsewhere, {} reachable only with byname, {} with another Host, {} with their full name, of {compared}",
            of(DnsChangeKind::Refused),
            of(DnsChangeKind::Elsewhere),
            of(DnsChangeKind::Reached),
            of(DnsChangeKind::Host),
            of(DnsChangeKind::FullHost),
        ),
    });
    lines.push(String::new());
    lines.join("\n")
}
