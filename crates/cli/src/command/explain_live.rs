//! `byname explain --live`: a name by the table that a running sidecar holds, beside the cluster now.

use std::{collections::BTreeSet, net::SocketAddr, time::SystemTime};

use anyhow::{Context, bail};
use byname_core::wire;
use serde_json::json;

use super::{
    args::Input,
    live::Needs,
    name_args::NameArgs,
    sidecars::{AdminArgs, AskedSidecar, pod_names},
    status::{FINE, NO},
};
use crate::{
    caller::CallerSettings,
    compile::Compiled,
    explain::{self, Explanation, ResolutionKind, TextLayout, TypedName},
    kubernetes::{ClusterState, NamespacedName},
    output::{self, ASIDE, GOOD, NAME, WARNING, plain},
    sidecar::{self, Admin, Comparison, HeldConfiguration, SidecarState, UpstreamHost},
    snapshot::LiveCluster,
};

/// What the user asks.
pub(super) struct LiveQuestion<'q> {
    pub(super) asked: &'q NameArgs,
    pub(super) pod: Option<&'q str>,
    pub(super) namespace: Option<&'q str>,
    pub(super) admin: &'q AdminArgs,
    pub(super) input: &'q Input,
    pub(super) is_json: bool,
    pub(super) layout: TextLayout,
}

/// The answer of the sidecar's table or of the cluster's.
struct Answer {
    explanation: Explanation,
    endpoints: Option<BTreeSet<SocketAddr>>,
}

impl Answer {
    /// Forgets the endpoints of a pushed table, whose addresses stand for endpoints that Envoy has.
    fn forget_endpoints(&mut self) {
        self.endpoints = None;
        self.explanation.endpoints = None;
        self.explanation.steps.retain(|step| step.kind != "endpoints");
    }
}

impl LiveQuestion<'_> {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let (asked, live, cluster) = self.ask()?;
        let AskedSidecar { called, pod, answer } = asked;
        let (admin, state) = answer.with_context(|| called.clone())?;
        let held =
            state.held.as_ref().with_context(|| format!("{called}: no listener of this Envoy has byname's filter"))?;
        let wire = match &held.read {
            Ok(wire) => state.with_node(wire),
            Err(reasons) => bail!(
                "{called}: the filter refused what Envoy holds, and serves an older table that Envoy does not show: {}; correct what \
                 pushes it",
                reasons.join("; ")
            ),
        };
        let nothing = ClusterState::default();
        let known = cluster.as_ref().unwrap_or(&nothing);
        let typed = self.asked.typed(known)?;
        let pod = pod.map(|pod| pod.name);
        let caller = CallerSettings::anyone(&wire);
        // Envoy shows the settings of a filter that asks a server, and not the Services that the server told it.
        let server = wire.server.as_ref().map(|server| server.cluster.clone());
        let is_pushed = held.is_pushed();
        let mut own = match &server {
            Some(_) => None,
            None => {
                let config = state.config(&wire)?;
                let compiled = Compiled {
                    wire: wire.clone(),
                    packed: None,
                    text: String::new(),
                    config,
                    left_out: Default::default(),
                };
                let mut own = answer_of(known, &caller, pod.as_ref(), &compiled, &typed);
                // Why an endpoint of the cluster serves or not is the answer of the cluster.
                own.explanation.endpoints = None;
                own.explanation.outside.clear();
                if is_pushed {
                    own.forget_endpoints();
                }
                if cluster.is_none() {
                    own.explanation.dns.clear();
                    own.explanation.notes.clear();
                }
                Some(own)
            }
        };
        let (mut now, comparison) = match &cluster {
            Some(cluster) => {
                let now = sidecar::compile_as(&wire, cluster)?;
                let comparison = own.is_some().then(|| Comparison::new(&wire, &now));
                let mut answer = answer_of(cluster, &caller, pod.as_ref(), &now.compiled, &typed);
                if is_pushed {
                    answer.forget_endpoints();
                }
                (Some(answer), comparison)
            }
            None => (None, None),
        };
        let mut differences = match (&own, &now) {
            (Some(own), Some(now)) => differences(own, now),
            _ => Vec::new(),
        };
        let given = now.as_ref().and_then(|now| given_endpoints(&wire, known, &now.explanation));
        let Some(shown) = own.as_mut().or(now.as_mut()) else {
            bail!(
                "{called}: the filter asks the server {} for Services, and Envoy does not show them; pass --context, or -f with a dump, \
                 for the answer of the cluster",
                server.unwrap_or_default()
            );
        };
        let hosts = hosts(&admin, live.as_ref(), &shown.explanation)?;
        // An ORIGINAL_DST cluster has the endpoints that requests went to of late, and none before.
        let is_by_endpoint = shown.explanation.upstream.as_ref().is_some_and(|upstream| upstream.endpoint.is_some());
        let has_no_endpoint = !is_by_endpoint && matches!(&hosts, Some((_, Some(hosts))) if hosts.is_empty());
        let is_refused = shown.explanation.resolution == ResolutionKind::Refuse;
        if has_no_endpoint {
            explain::lack_endpoints(&mut shown.explanation, known);
        }
        let of_envoy = hosts.as_ref().and_then(|(_, hosts)| hosts.as_deref());
        if let (Some(given), Some(hosts), true) = (&given, of_envoy, differences.is_empty()) {
            let held = hosts.iter().filter_map(|host| host.address.parse().ok()).collect();
            differences.extend(differing_endpoints("this Envoy", &held, given));
        }
        if let (Some(pod), Some(namespace)) = (&pod, &wire.caller.namespace)
            && pod.namespace != *namespace
        {
            differences.push((
                "caller".to_owned(),
                format!("the table is for namespace {namespace}, and the pod is in {}", pod.namespace),
            ));
        }
        let is_same = differences.is_empty() && !state.serves_older();
        if self.is_json {
            let value = json!({
                "sidecar": own.as_ref().map(|own| &own.explanation),
                "server": server,
                "cluster": now.as_ref().map(|now| &now.explanation),
                "differences": differences.iter().map(|(what, text)| json!({"what": what, "text": text})).collect::<Vec<_>>(),
                "hosts": hosts.as_ref().and_then(|(_, hosts)| hosts.as_ref()).map(|hosts| {
                    hosts.iter().map(|host| json!({"address": host.address, "healthy": host.is_healthy})).collect::<Vec<_>>()
                }),
                "servesOlderTable": state.serves_older(),
            });
            output::write_json(&value)?;
        } else {
            let mut text = explain::text(&shown.explanation, self.layout);
            if !shown.explanation.notes.is_empty() {
                text.push('\n');
            }
            text.push_str(&upstream_hosts(hosts.as_ref(), is_by_endpoint));
            text.push_str(&table_line(&called, &state));
            text.push_str(&compared(cluster.is_some(), &differences, shown, comparison.as_ref(), &state));
            if is_pushed && let Some(comparison) = &comparison {
                text.push_str(&not_compared(comparison, (given.is_some(), of_envoy.is_some()), shown));
            }
            let hang = |line: &str| if line.starts_with("  ") { 4 } else { 0 };
            // `explain::text` has wrapped its own lines.
            output::print(&output::wrapped_lines(&text, hang, self.layout.columns))?;
        }
        Ok(if is_refused || has_no_endpoint || !is_same { NO } else { FINE })
    }

    /// The sidecar, the cluster that its pod is in, and the objects to compare it with.
    fn ask(&self) -> anyhow::Result<(AskedSidecar, Option<LiveCluster>, Option<ClusterState>)> {
        if let Some(asked) = self.admin.ask_address() {
            let asked = asked?;
            let cluster = self.input.is_given().then(|| {
                let origin = self.input.origin()?;
                self.input.read(&origin, &Needs::of_explain(origin.namespace().unwrap_or_default()))
            });
            return Ok((asked, None, cluster.transpose()?));
        }
        let pod = self.pod.context("--live needs a pod, or --admin HOST:PORT")?;
        let live = self.input.open_cluster()?;
        let names = pod_names(&[pod.to_owned()], self.namespace, &live);
        let asked = self.admin.in_pods.ask_pods(&live, &names, &BTreeSet::new())?.pop().context("no pod was asked")?;
        let own = names.first().map(|name| name.namespace.clone()).unwrap_or_default();
        let cluster = self.input.read_beside(&live, &Needs::of_explain(&own))?;
        Ok((asked, Some(live), Some(cluster)))
    }
}

/// The upstream cluster of a request, and its endpoints as Envoy has them; `None` for the endpoints if Envoy has no such cluster.
type UpstreamHosts = (String, Option<Vec<UpstreamHost>>);

/// The upstream cluster of the request; `None` if Envoy's routes choose it and Envoy has none of the name that Istio gives.
fn hosts(admin: &Admin, live: Option<&LiveCluster>, own: &Explanation) -> anyhow::Result<Option<UpstreamHosts>> {
    let chosen = own.upstream.as_ref().and_then(|upstream| upstream.cluster.clone());
    // Istio's routes lead a Service to this cluster, unless a VirtualService says otherwise.
    let routed = || {
        let service = own.destination.as_ref().filter(|destination| destination.kind == "service")?;
        Some(format!("outbound|{}||{}", service.port, service.host))
    };
    let is_chosen = chosen.is_some();
    let Some(cluster) = chosen.or_else(routed) else { return Ok(None) };
    let asking = SidecarState::hosts(admin, &cluster);
    let hosts = match live {
        Some(live) => live.run(asking)?,
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking)?,
    };
    Ok((is_chosen || hosts.is_some()).then_some((cluster, hosts)))
}

fn answer_of(
    cluster: &ClusterState,
    caller: &CallerSettings,
    pod: Option<&NamespacedName>,
    compiled: &Compiled,
    typed: &TypedName,
) -> Answer {
    let endpoints = explain::endpoints_of(&compiled.config, &typed.requested);
    Answer { explanation: explain::explain(cluster, caller, pod, compiled, typed.clone()), endpoints }
}

/// The endpoints that the server gives this Envoy now for the upstream cluster of a request.
fn given_endpoints(
    wire: &wire::Config,
    cluster: &ClusterState,
    explanation: &Explanation,
) -> Option<BTreeSet<SocketAddr>> {
    let upstream = explanation.upstream.as_ref()?.cluster.as_ref()?;
    let service = NamespacedName::parse(explanation.destination.as_ref()?.service.as_ref()?)?;
    sidecar::endpoints_as(wire, cluster, &service, upstream)
}

/// How the endpoints that `holder` has differ from those that the cluster has now.
fn differing_endpoints(holder: &str, held: &BTreeSet<SocketAddr>, now: &BTreeSet<SocketAddr>) -> Vec<(String, String)> {
    let (gone, new): (BTreeSet<_>, BTreeSet<_>) = (held.difference(now).collect(), now.difference(held).collect());
    let only = [(holder, gone), ("the cluster", new)].into_iter().filter(|(_, only)| !only.is_empty());
    only.map(|(who, only)| ("endpoints".to_owned(), format!("only in {who}: {}", output::some(only)))).collect()
}

/// What differs between the two answers: what, and how.
fn differences(own: &Answer, now: &Answer) -> Vec<(String, String)> {
    let (one, other) = (&own.explanation, &now.explanation);
    let mut differences = Vec::new();
    let mut add = |what: &str, one: String, other: String| {
        if one != other {
            differences.push((what.to_owned(), format!("{one} in the sidecar, {other} in the cluster")));
        }
    };
    add("answer", said(one), said(other));
    let upstream = |explanation: &Explanation, field: fn(&explain::ExplainedUpstream) -> Option<&String>| {
        let upstream = explanation.upstream.as_ref().and_then(field);
        upstream.cloned().unwrap_or_else(|| "none".to_owned())
    };
    add(
        "cluster",
        upstream(one, |upstream| upstream.cluster.as_ref()),
        upstream(other, |upstream| upstream.cluster.as_ref()),
    );
    add("authority", upstream(one, |one| one.authority.as_ref()), upstream(other, |other| other.authority.as_ref()));
    if let (Some(held), Some(now)) = (&own.endpoints, &now.endpoints) {
        differences.extend(differing_endpoints("the sidecar", held, now));
    }
    differences
}

fn said(explanation: &Explanation) -> String {
    match &explanation.destination {
        Some(destination) => format!("{}:{} ({})", destination.host, destination.port, explanation.reason),
        None => explanation.reason.clone(),
    }
}

fn upstream_hosts(hosts: Option<&UpstreamHosts>, is_by_endpoint: bool) -> String {
    let Some((cluster, hosts)) = hosts else { return String::new() };
    let mut text = format!("{NAME}Envoy{NAME:#}  {ASIDE}endpoints of {} in this Envoy{ASIDE:#}\n", plain(cluster));
    match hosts.as_deref() {
        None => text.push_str(&format!("  {WARNING}-{WARNING:#} this Envoy has no such cluster; with byname serve it gets one on the first request\n")),
        Some([]) if is_by_endpoint => text.push_str("  none: this cluster has those that requests went to of late\n"),
        Some([]) => text.push_str(&format!("  {WARNING}-{WARNING:#} the cluster has no endpoint, so Envoy answers 503\n")),
        Some(hosts) => {
            for UpstreamHost { address, is_healthy } in hosts {
                let (style, mark, words) = match is_healthy {
                    true => (GOOD, '+', "healthy"),
                    false => (WARNING, '-', "left out: Envoy found it unhealthy, or ejected it"),
                };
                text.push_str(&format!("  {style}{mark}{style:#} {}  {words}\n", plain(address)));
            }
        }
    }
    text.push('\n');
    text
}

fn table_line(called: &str, state: &SidecarState) -> String {
    let accepted = sidecar::accepted(state, SystemTime::now());
    let version = state.served().map_or_else(String::new, |version| format!(", version {version}"));
    format!("{NAME}Table{NAME:#}  {ASIDE}of the sidecar {}{version}{accepted}{ASIDE:#}\n", plain(called))
}

/// What is not compared of a table that a server pushed.
fn not_compared(comparison: &Comparison, (is_given, is_held): (bool, bool), shown: &Answer) -> String {
    let mut text = String::new();
    let has_upstream = shown.explanation.upstream.as_ref().is_some_and(|upstream| upstream.cluster.is_some());
    let why = match (is_given, is_held) {
        (true, true) => None,
        (true, false) => Some("this Envoy has no such cluster yet"),
        (false, _) => Some("the input does not tell which it gives to this sidecar"),
    };
    if let Some(why) = why.filter(|_| has_upstream) {
        text.push_str(&format!("  not compared: the endpoints, because {why}\n"));
    }
    if !comparison.perhaps_hidden.is_empty() {
        let services = output::some(&comparison.perhaps_hidden);
        text.push_str(&format!(
            "  not compared: {}; the server may hide such Services (--default-export)\n",
            plain(&services)
        ));
    }
    text
}

fn compared(
    is_compared: bool,
    differences: &[(String, String)],
    shown: &Answer,
    comparison: Option<&Comparison>,
    state: &SidecarState,
) -> String {
    let mut lines = Vec::new();
    if state.serves_older() {
        lines.push(format!("  {WARNING}-{WARNING:#} the filter serves an older table than this one, which it refused"));
    }
    if let Some(server) = state.server() {
        lines.push(format!(
            "  the filter asks the server {} for Services, and Envoy does not show them: this is the answer of the cluster, with the \
             settings of the sidecar",
            plain(server)
        ));
    }
    match (is_compared, differences) {
        (_, []) if state.server().is_some() => {}
        (false, []) => lines.push("  not compared with the cluster; pass --context, or -f with a dump".to_owned()),
        (true, []) => lines.push(format!("  {GOOD}+{GOOD:#} the cluster gives the same answer now")),
        (_, differences) => {
            for (what, text) in differences {
                lines.push(format!("  {WARNING}-{WARNING:#} {what}: {}", plain(text)));
            }
        }
    }
    let service = shown.explanation.destination.as_ref().and_then(|destination| destination.service.as_ref());
    let changed = comparison.zip(service).and_then(|(comparison, service)| comparison.services.get(service));
    if !differences.is_empty()
        && let Some(comparison) = comparison
    {
        let see = "see what pushes the table (byname watch, byname serve or the WasmPlugin)";
        let why = match (changed, comparison.services.len()) {
            (None, 0) if state.held.as_ref().is_some_and(HeldConfiguration::is_pushed) => {
                "the table is current, and Envoy gets endpoints from byname serve: see whether that has a stream of this Envoy \
                 (byname proxy-config --monitor), or ask again in a moment"
                    .to_owned()
            }
            (Some(_), others) => {
                format!(
                    "the Service changed after this table was compiled; {others} of the table's Services differ; {see}"
                )
            }
            (None, others) => format!("{others} of the table's Services differ from the cluster's; {see}"),
        };
        lines.push(format!("  why: {why}"));
    }
    lines.join("\n") + "\n"
}
