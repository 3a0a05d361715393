//! An explanation as text for people.

use comfy_table::{ContentArrangement, Table, presets};

use super::{
    dns::DnsAnswer,
    explanation::{Explanation, ResolutionKind},
};
use crate::output::{ASIDE, ERROR, GOOD, NAME, WARNING, plain};

/// The whole explanation as text: the answer first, then the steps that led to it.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    headline(explanation, &mut lines);
    names(explanation, &mut lines);
    endpoints(explanation, &mut lines);
    upstream(explanation, &mut lines);
    dns(explanation, &mut lines);
    outside(explanation, &mut lines);
    lines.extend(explanation.notes.iter().map(|note| format!("{WARNING}note{WARNING:#}  {}", plain(note))));
    lines.push(String::new());
    lines.join("\n")
}

fn headline(explanation: &Explanation, lines: &mut Vec<String>) {
    let Explanation { asked, caller, .. } = explanation;
    let who = match &caller.pod {
        Some(pod) => format!("pod {}", plain(pod)),
        None => format!("namespace {}", plain(&caller.namespace)),
    };
    let place: Vec<String> = [("node", &caller.node), ("zone", &caller.zone)]
        .into_iter()
        .filter_map(|(what, it)| Some(format!(", {what} {}", plain(it.as_deref()?))))
        .collect();
    lines.push(format!("{NAME}{}{NAME:#} from {who}{}", plain(&asked.authority()), place.concat()));
    let reason = &explanation.reason;
    let (style, answer) = match explanation.resolution {
        ResolutionKind::Route => (GOOD, "reachable".to_owned()),
        ResolutionKind::Pass => {
            let authority = explanation.upstream.as_ref().and_then(|upstream| upstream.authority.as_ref());
            let how = authority.map_or("unchanged".to_owned(), |authority| format!("as {}", plain(authority)));
            (WARNING, format!("not resolved: {reason}; the request is passed on {how}"))
        }
        ResolutionKind::Refuse => {
            let status = explanation.status.map_or(String::new(), |status| format!(" with status {status}"));
            (ERROR, format!("not reachable: {reason}; the filter sends a local reply{status}"))
        }
    };
    let target = explanation.destination.as_ref().map(|target| {
        let service = target.service.as_ref().map_or(String::new(), |service| format!("Service {}, ", plain(service)));
        let name = if target.port_name.is_empty() { String::new() } else { format!(" ({})", plain(&target.port_name)) };
        let target_port = match &target.target_port {
            Some(port) => format!(" → targetPort {}", plain(port)),
            None => String::new(),
        };
        let what = match target.kind.as_str() {
            "endpoint" => format!("endpoint {} of ", plain(&target.host)),
            "pod" => format!("pod {}, ", plain(&target.host)),
            "external" => format!("{} outside the cluster, ", plain(&target.host)),
            _ => String::new(),
        };
        let tls = if target.tls { " over TLS" } else { "" };
        let at = target.at.as_ref().map_or(String::new(), |at| format!("  {ASIDE}{}{ASIDE:#}", plain(at)));
        format!(": {what}{service}port {}{name}{target_port}{tls}{at}", target.port)
    });
    lines.push(format!("{style}{answer}{style:#}{}", target.unwrap_or_default()));
    lines.push(String::new());
}

fn heading(title: &str, aside: &str, lines: &mut Vec<String>) {
    lines.push(format!("{NAME}{title}{NAME:#}  {ASIDE}{}{ASIDE:#}", plain(aside)));
}

fn names(explanation: &Explanation, lines: &mut Vec<String>) {
    let caller = &explanation.caller;
    heading("Steps", &format!("ndots {}, search {}", caller.ndots, caller.searches.join(" ")), lines);
    for step in &explanation.steps {
        let (style, mark) = if step.found { (GOOD, '+') } else { (ERROR, '-') };
        lines.push(format!("  {style}{mark}{style:#} {}", plain(&step.text)));
    }
    lines.push(String::new());
}

fn endpoints(explanation: &Explanation, lines: &mut Vec<String>) {
    let Some(endpoints) = &explanation.endpoints else { return };
    let serving = endpoints.iter().filter(|endpoint| endpoint.serves).count();
    heading("Endpoints", &format!("{serving} of {} can serve", endpoints.len()), lines);
    if !endpoints.is_empty() {
        let mut table = new_table();
        table.set_header(["", "ADDRESS", "POD", "NODE", "ZONE", "HINTS", "CONDITIONS", "WHY"]);
        for endpoint in endpoints {
            let port = endpoint.port.map_or(String::new(), |port| format!(":{port}"));
            let address = if endpoint.address.contains(':') {
                format!("[{}]", endpoint.address)
            } else {
                endpoint.address.clone()
            };
            let conditions: Vec<&str> =
                [(endpoint.ready, "ready"), (endpoint.serving, "serving"), (endpoint.terminating, "terminating")]
                    .into_iter()
                    .filter_map(|(is, word)| is.then_some(word))
                    .collect();
            let cell = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
            table.add_row([
                if endpoint.serves { "+" } else { "-" }.to_owned(),
                plain(&format!("{address}{port}")),
                cell(&endpoint.pod),
                cell(&endpoint.node),
                cell(&endpoint.zone),
                plain(&endpoint.hints.join(" ")),
                conditions.join(" "),
                plain(&endpoint.because),
            ]);
        }
        push_table(&table, lines);
    }
    lines.push(String::new());
}

fn upstream(explanation: &Explanation, lines: &mut Vec<String>) {
    let Some(upstream) = &explanation.upstream else { return };
    heading("Upstream", "what the filter tells Envoy", lines);
    let rows = [("cluster", &upstream.cluster), ("endpoint", &upstream.endpoint), ("authority", &upstream.authority)];
    for (what, value) in rows {
        let said = match (what, value) {
            (_, Some(value)) => plain(value),
            ("cluster", None) => "chosen by Envoy's routes".to_owned(),
            ("authority", None) => "unchanged".to_owned(),
            _ => continue,
        };
        lines.push(format!("  {what:<10}{said}"));
    }
    lines.push(String::new());
}

fn dns(explanation: &Explanation, lines: &mut Vec<String>) {
    if explanation.dns.is_empty() {
        return;
    }
    heading("DNS", "the caller's DNS queries and the cluster's answers", lines);
    for query in &explanation.dns {
        let answer = match query.answer {
            DnsAnswer::Addresses => query.addresses.join(" "),
            DnsAnswer::Unassigned => "an address that the API server will assign".to_owned(),
            DnsAnswer::NoData => "no address".to_owned(),
            DnsAnswer::NoSuchName => "no such name".to_owned(),
            DnsAnswer::Unknown => "unknown: its endpoints are not in the input".to_owned(),
            DnsAnswer::Circle => "CNAME loop".to_owned(),
            DnsAnswer::OtherServers => "outside the cluster domain: upstream DNS answers".to_owned(),
        };
        let aliases: String = query.aliases.iter().map(|alias| format!("{alias} → ")).collect();
        lines.push(format!("  {} → {}", plain(&query.name), plain(&format!("{aliases}{answer}"))));
    }
    lines.push(String::new());
}

fn outside(explanation: &Explanation, lines: &mut Vec<String>) {
    if explanation.outside.is_empty() {
        return;
    }
    heading("From outside", "ways to reach the same port from outside the cluster", lines);
    for way in &explanation.outside {
        let (style, mark) = if way.address.is_some() { (GOOD, '+') } else { (ERROR, '-') };
        let address = way.address.as_ref().map_or(String::new(), |address| format!("{}  ", plain(address)));
        lines.push(format!(
            "  {style}{mark}{style:#} {:<13} {address}{ASIDE}{}{ASIDE:#}",
            way.kind,
            plain(&way.because)
        ));
    }
    lines.push(String::new());
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn push_table(table: &Table, lines: &mut Vec<String>) {
    lines.extend(table.lines().map(|line| format!(" {}", line.trim_end())));
}
