//! An explanation as text for people.

use comfy_table::{ContentArrangement, Table, presets};

use super::{
    endpoints::ExplainedEndpoint,
    explanation::{Explanation, ResolutionKind},
};
use crate::{
    cluster_dns::DnsAnswer,
    output::{ASIDE, ERROR, GOOD, NAME, WARNING, plain, wrapped},
};

/// The last column of the endpoints is this wide at least, or has lines of its own.
const MIN_WHY_COLUMNS: usize = 24;

/// How an explanation is laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextLayout {
    /// Whether the table of endpoints has nodes and zones.
    pub is_wide: bool,
    /// The number of columns to wrap lines at; `None` for whole lines.
    pub columns: Option<usize>,
}

/// Lines of text, wrapped.
struct Lines {
    lines: Vec<String>,
    layout: TextLayout,
}

impl Lines {
    /// Adds a line with this hanging indent.
    fn push(&mut self, hang: usize, line: &str) {
        self.lines.push(wrapped(line, hang, self.layout.columns));
    }

    fn push_empty(&mut self) {
        self.lines.push(String::new());
    }
}

/// The whole explanation as text: the answer first, then the steps that led to it.
#[must_use]
pub fn text(explanation: &Explanation, layout: TextLayout) -> String {
    let mut lines = Lines { lines: Vec::new(), layout };
    headline(explanation, &mut lines);
    names(explanation, &mut lines);
    endpoints(explanation, &mut lines);
    upstream(explanation, &mut lines);
    dns(explanation, &mut lines);
    outside(explanation, &mut lines);
    for note in &explanation.notes {
        lines.push(6, &format!("{WARNING}note{WARNING:#}  {}", plain(note)));
    }
    lines.push_empty();
    lines.lines.join("\n")
}

fn headline(explanation: &Explanation, lines: &mut Lines) {
    let Explanation { asked, caller, .. } = explanation;
    let who = match &caller.pod {
        Some(pod) => format!("pod {}", plain(pod)),
        None => format!("namespace {}", plain(&caller.namespace)),
    };
    let place: Vec<String> = [("node", &caller.node), ("zone", &caller.zone)]
        .into_iter()
        .filter_map(|(what, it)| Some(format!(", {what} {}", plain(it.as_deref()?))))
        .collect();
    lines.push(4, &format!("{NAME}{}{NAME:#} from {who}{}", plain(&asked.authority()), place.concat()));
    let reason = &explanation.reason;
    let (style, answer) = match explanation.resolution {
        ResolutionKind::Route if explanation.reachable => (GOOD, "reachable".to_owned()),
        ResolutionKind::Route => (ERROR, "not reachable, because Envoy has no endpoint".to_owned()),
        ResolutionKind::Pass => {
            let authority = explanation.upstream.as_ref().and_then(|upstream| upstream.authority.as_ref());
            let how = authority.map_or("as it came".to_owned(), |authority| format!("as {}", plain(authority)));
            let why = match explanation.steps.iter().any(|step| step.may_exist) {
                true => "the name may exist: the table lacks the endpoints of its Service",
                false => why_passed(reason),
            };
            (WARNING, format!("passed on {how}: {why} ({reason})"))
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
    lines.push(4, &format!("{style}{answer}{style:#}{}", target.unwrap_or_default()));
    let observed = match explanation.observed_percent {
        None => None,
        Some(100) => {
            Some("the filter only observes: the request goes on unchanged, and this is what byname would do".to_owned())
        }
        Some(percent) => Some(format!(
            "the filter only observes {percent} % of such requests: they go on unchanged, and this is what byname would do"
        )),
    };
    if let Some(observed) = observed {
        lines.push(4, &format!("{WARNING}{observed}{WARNING:#}"));
    }
    lines.push_empty();
}

/// Why the filter passes a request on, in words.
fn why_passed(reason: &str) -> &'static str {
    match reason {
        "ip_literal" => "no Service has this address",
        "public_name" => "the client's resolver asks public DNS first",
        "port_not_found" => "the Service has no such port",
        "external" => "the alias resolves to a host outside the table",
        _ => "the table has no such name",
    }
}

fn heading(title: &str, aside: &str, lines: &mut Lines) {
    lines.push(title.len() + 2, &format!("{NAME}{title}{NAME:#}  {ASIDE}{}{ASIDE:#}", plain(aside)));
}

fn names(explanation: &Explanation, lines: &mut Lines) {
    let caller = &explanation.caller;
    heading("Steps", &format!("ndots {}, search {}", caller.ndots, caller.searches.join(" ")), lines);
    for step in &explanation.steps {
        let (style, mark) = match step.found {
            true => (GOOD, '+'),
            // Most searches miss a few names before the one that exists.
            false if step.is_normal_miss => (ASIDE, '-'),
            false => (ERROR, '-'),
        };
        lines.push(4, &format!("  {style}{mark}{style:#} {}", plain(&step.text)));
    }
    lines.push_empty();
}

fn endpoints(explanation: &Explanation, lines: &mut Lines) {
    let Some(endpoints) = &explanation.endpoints else { return };
    let serving = endpoints.iter().filter(|endpoint| endpoint.serves).count();
    heading("Endpoints", &format!("{serving} of {} can serve", endpoints.len()), lines);
    if !endpoints.is_empty() {
        endpoint_table(endpoints, lines);
    }
    lines.push_empty();
}

/// A column: its header, whether it is shown, and the text of its cells.
type Column<'c> = (&'c str, bool, &'c dyn Fn(&ExplainedEndpoint) -> String);

/// A table with a row for each endpoint. Columns without any text are left out.
fn endpoint_table(endpoints: &[ExplainedEndpoint], lines: &mut Lines) {
    let is_wide = lines.layout.is_wide;
    let text = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
    let columns: [Column<'_>; 8] = [
        ("", true, &|endpoint| if endpoint.serves { "+" } else { "-" }.to_owned()),
        ("ADDRESS", true, &address),
        ("POD", true, &|endpoint| text(&endpoint.pod)),
        ("NODE", is_wide, &|endpoint| text(&endpoint.node)),
        ("ZONE", is_wide, &|endpoint| text(&endpoint.zone)),
        ("HINTS", true, &|endpoint| plain(&endpoint.hints.join(" "))),
        ("CONDITIONS", true, &conditions),
        ("WHY", true, &|endpoint| plain(&endpoint.because)),
    ];
    let mut headers = Vec::new();
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); endpoints.len()];
    for (header, _, cell) in columns.into_iter().filter(|(_, is_shown, _)| *is_shown) {
        let cells: Vec<String> = endpoints.iter().map(cell).collect();
        if cells.iter().all(String::is_empty) {
            continue;
        }
        headers.push(header);
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    // The last column is the only one of several words that may be wrapped.
    let (whole, hang) = aligned(&headers, &rows);
    if lines.layout.columns.is_none_or(|columns| columns >= hang + MIN_WHY_COLUMNS) {
        whole.iter().for_each(|row| lines.push(hang, row));
        return;
    }
    // Each reason has its own line on a narrow terminal.
    headers.pop();
    let reasons: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
    let mut narrow = aligned(&headers, &rows).0.into_iter();
    narrow.next().iter().for_each(|header| lines.push(0, header));
    for (row, reason) in narrow.zip(reasons) {
        lines.push(0, &row);
        lines.push(7, &format!("       {reason}"));
    }
}

/// The lines of a table, the headers first, and the column at which its last cells begin.
fn aligned(headers: &[&str], rows: &[Vec<String>]) -> (Vec<String>, usize) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headers.iter().copied()).add_rows(rows.iter().cloned());
    let lines = table.lines().map(|line| format!(" {}", line.trim_end())).collect();
    // A space stands before the table, and one before and behind each cell.
    let widths = table.column_max_content_widths();
    let before = widths.iter().rev().skip(1).map(|width| usize::from(*width) + 2).sum::<usize>();
    (lines, 1 + before + 1)
}

fn address(endpoint: &ExplainedEndpoint) -> String {
    let port = endpoint.port.map_or(String::new(), |port| format!(":{port}"));
    match endpoint.address.contains(':') {
        true => plain(&format!("[{}]{port}", endpoint.address)),
        false => plain(&format!("{}{port}", endpoint.address)),
    }
}

fn conditions(endpoint: &ExplainedEndpoint) -> String {
    let ExplainedEndpoint { ready, serving, terminating, .. } = endpoint;
    let words = [(ready, "ready"), (serving, "serving"), (terminating, "terminating")];
    let words: Vec<&str> = words.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
    words.join(" ")
}

fn upstream(explanation: &Explanation, lines: &mut Lines) {
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
        lines.push(12, &format!("  {what:<10}{said}"));
    }
    lines.push_empty();
}

fn dns(explanation: &Explanation, lines: &mut Lines) {
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
        lines.push(4, &format!("  {} → {}", plain(&query.name), plain(&format!("{aliases}{answer}"))));
    }
    lines.push_empty();
}

fn outside(explanation: &Explanation, lines: &mut Lines) {
    if explanation.outside.is_empty() {
        return;
    }
    heading("From outside", "ways to reach the same port from outside the cluster", lines);
    for way in &explanation.outside {
        let (style, mark) = match &way.address {
            Some(_) => (GOOD, '+'),
            // No Service is reachable from outside by its cluster IP alone.
            None if way.kind == "ClusterIP" => (ASIDE, '-'),
            None => (ERROR, '-'),
        };
        let address = way.address.as_ref().map_or(String::new(), |address| format!("{}  ", plain(address)));
        let because = plain(&way.because);
        lines.push(18, &format!("  {style}{mark}{style:#} {:<13} {address}{ASIDE}{because}{ASIDE:#}", way.kind));
    }
    lines.push_empty();
}
