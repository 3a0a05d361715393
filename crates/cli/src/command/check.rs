//! `byname check`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use clap::{Args, ValueEnum};

use super::{
    args::{FileOutput, FormatParser},
    compile::parse_name,
    live::{ClusterArgs, check_needs, own_namespaces, read_facts},
    namespace_args::{KnownNamespaces, parse_namespace},
    sidecar_status::compared,
    sidecars::{AskedSidecar, PodAdminArgs},
    status::{FINE, NO},
};
use crate::{
    check::{self, ClusterFacts, Level, Verdict},
    kubernetes::NamespacedName,
    output::{self, count, some},
    sidecar::SidecarState,
    snapshot::{ApiKind, Gap, LiveCluster},
};

/// The oldest Kubernetes that serves EndpointSlices in v1.
const OLDEST_KUBERNETES: (u32, u32) = (1, 21);
/// The Service of examples/fleet.
const SERVER: (&str, &str) = ("byname-system", "byname");

/// Find what may go wrong with byname in this cluster: before it is turned on, in the pods; afterwards, in each sidecar.
///
/// Prints a line for each answer: ok, warn or fail, with the way out. Changes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # The namespace of your context
  byname check
  byname check -n shop --context staging
  byname check -A -o json

Exit status: 0 if nothing fails, though there may be warnings; 1 if something fails; 2 if the cluster cannot be asked.")]
pub(super) struct Check {
    /// Look at the pods of this namespace. Can be repeated. Default: that of the kubeconfig's context.
    #[arg(short, long = "namespace", value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespaces: Vec<String>,
    /// Look at the pods of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    in_pods: PodAdminArgs,
    /// Check that sidecars reach this Service of byname serve. Default: byname-system/byname, if it exists.
    #[arg(long, value_name = "NAMESPACE/SERVICE", value_parser = parse_name)]
    server: Option<NamespacedName>,
    /// Print in this format.
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = FormatParser::<CheckFormat>::new(FileOutput::Redirection))]
    output: CheckFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CheckFormat {
    /// Text for people.
    Text,
    /// A JSON list of answers.
    Json,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let live = self.cluster.open_without_files()?;
        let mut namespaces: BTreeSet<String> = self.namespaces.iter().cloned().collect();
        if namespaces.is_empty() && !self.all_namespaces {
            namespaces.insert(live.namespace.clone());
        }
        let version = live.version()?;
        let mut facts = ClusterFacts::new(namespaces.clone(), self.server.clone());
        let own = own_namespaces(&self.namespaces, &live.namespace);
        let gaps = read_facts(&live, &check_needs(&own), &mut facts)?;
        KnownNamespaces::of(&facts.cluster).check(&self.namespaces, &live.called)?;
        let mut verdicts = vec![of_version(&live, &version)];
        verdicts.extend(of_permissions(&gaps));
        let server = NamespacedName::new(SERVER.0, SERVER.1);
        if facts.server.is_none() && facts.cluster.services.contains_key(&server) {
            facts.server = Some(server);
        }
        verdicts.extend(of_server(&facts));
        verdicts.extend(check::before(&facts));
        verdicts.extend(of_sidecars(&self.in_pods.ask_pods(&live, &[], &namespaces)?, &facts)?);
        match self.output {
            CheckFormat::Text => {
                output::print(&output::wrapped_lines(&check::text(&verdicts), |_| 19, output::columns()))?;
            }
            CheckFormat::Json => output::write_json(&verdicts)?,
        }
        Ok(if verdicts.iter().any(|verdict| verdict.level == Level::Fail) { NO } else { FINE })
    }
}

/// The answers of the sidecars that run.
fn of_sidecars(asked: &[AskedSidecar], facts: &ClusterFacts) -> anyhow::Result<Vec<Verdict>> {
    const TOPIC: &str = "sidecars";
    if asked.is_empty() {
        return Ok(vec![Verdict::ok(TOPIC, "no pod has a sidecar yet; run check again once byname is turned on")]);
    }
    let (mut verdicts, now) = (Vec::new(), SystemTime::now());
    let (mut good, mut asking, mut without, mut refused) = (0_usize, 0_usize, Vec::new(), Vec::new());
    let mut versions: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for AskedSidecar { called, answer, pod } in asked {
        let state = match answer {
            Ok((_, state)) => state,
            Err(error) => {
                verdicts.push(Verdict::warn(TOPIC, format!("{called}: cannot be asked: {error:#}")));
                continue;
            }
        };
        if state.held.is_none() {
            without.push(called);
            continue;
        }
        if state.server().is_none() {
            let namespace = pod.as_ref().map(|pod| pod.name.namespace.clone()).unwrap_or_default();
            *versions.entry((namespace, state.served().unwrap_or_default())).or_default() += 1;
        }
        match trouble(state, facts, now)? {
            Some((Level::Fail, text)) => verdicts.push(Verdict::fail(TOPIC, format!("{called}: {text}"))),
            Some((_, text)) => verdicts.push(Verdict::warn(TOPIC, format!("{called}: {text}"))),
            None if state.server().is_some() => asking += 1,
            None => {
                good += 1;
                if state.refused_pushes() > 0 {
                    refused.push(called);
                }
            }
        }
    }
    for namespace in versions.keys().map(|(namespace, _)| namespace.clone()).collect::<BTreeSet<_>>() {
        let of: Vec<u64> =
            versions.keys().filter(|(other, _)| *other == namespace).map(|(_, version)| *version).collect();
        if of.len() > 1 {
            verdicts.push(Verdict::warn(
                TOPIC,
                format!(
                    "namespace {namespace}: sidecars serve different tables, versions {}; byname status shows which",
                    some(of)
                ),
            ));
        }
    }
    if !without.is_empty() {
        verdicts.push(if without.len() == asked.len() {
            Verdict::ok(TOPIC, format!("none of {} has byname's filter", count(asked.len(), "sidecar", "sidecars")))
        } else {
            let fix = "check the selector of the WasmPlugin, or the bootstrap";
            Verdict::warn(TOPIC, format!("no filter in {}; {fix}", some(&without)))
        });
    }
    if asking > 0 {
        verdicts.push(Verdict::ok(
            TOPIC,
            format!(
                "the filter asks a server for Services in {}, so byname does not compare their tables",
                count(asking, "sidecar", "sidecars")
            ),
        ));
    }
    if good > 0 {
        let refused = match refused.len() {
            0 => "without a refused push".to_owned(),
            _ => format!("after refused pushes in {}; byname status counts them", some(&refused)),
        };
        let sidecars = count(good, "sidecar", "sidecars");
        verdicts.push(Verdict::ok(TOPIC, format!("byname serves a current table in {sidecars}, {refused}")));
    }
    Ok(verdicts)
}

/// What is wrong with a sidecar that has byname's filter.
fn trouble(state: &SidecarState, facts: &ClusterFacts, now: SystemTime) -> anyhow::Result<Option<(Level, String)>> {
    if let Some(Err(reasons)) = state.held.as_ref().map(|held| &held.read) {
        let reason = reasons.first().cloned().unwrap_or_default();
        return Ok(Some((Level::Fail, format!("the filter refused its last table: {reason}; correct what pushes it"))));
    }
    if state.serves_older() {
        return Ok(Some((
            Level::Fail,
            "the filter serves an older table than Envoy holds; the log of Envoy says why".to_owned(),
        )));
    }
    if state.counters.reloads > 0 {
        return Ok(Some((
            Level::Fail,
            "the module crashed and was loaded again; please report the line that Envoy logs".to_owned(),
        )));
    }
    if state.counters.get("host_errors").unwrap_or_default() > 0 {
        let text =
            "Envoy refused calls of the filter; compare capability_restriction_config with the shipped bootstraps";
        return Ok(Some((Level::Fail, text.to_owned())));
    }
    if let (Some(server), Some(silence)) = (state.server(), state.stream().and_then(|stream| stream.silence(now))) {
        let text = format!(
            "the filter has had no answer from the server {server} for {silence}; see Envoy's log, and the log of byname serve"
        );
        return Ok(Some((Level::Fail, text)));
    }
    let differing = compared(state, Some(&facts.cluster))?.map_or(0, |comparison| comparison.services.len());
    if differing > 0 {
        let text = match differing {
            1 => "1 Service differs from the cluster; byname status names it".to_owned(),
            many => format!("{many} Services differ from the cluster; byname status names them"),
        };
        return Ok(Some((Level::Warn, text)));
    }
    Ok(None)
}

fn of_version(live: &LiveCluster, version: &str) -> Verdict {
    let mut parts = version.trim_start_matches('v').split('.');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or_default();
    let found = (number(parts.next()), number(parts.next()));
    let text = format!("Kubernetes {version} at {}", live.url);
    match found < OLDEST_KUBERNETES {
        true => Verdict::fail("api", format!("{text}; byname needs 1.21 or newer, which serves EndpointSlices in v1")),
        false => Verdict::ok("api", text),
    }
}

fn of_permissions(gaps: &[Gap]) -> Vec<Verdict> {
    const TOPIC: &str = "permissions";
    if gaps.is_empty() {
        return vec![Verdict::ok(TOPIC, "you may list every kind that byname reads")];
    }
    let verdict = |gap: &Gap| match [ApiKind::SERVICE, ApiKind::ENDPOINT_SLICE].contains(gap.kind) {
        true => Verdict::fail(TOPIC, gap.text.clone()),
        false => Verdict::warn(TOPIC, gap.text.clone()),
    };
    gaps.iter().map(verdict).collect()
}

fn of_server(facts: &ClusterFacts) -> Option<Verdict> {
    let server = facts.server.as_ref()?;
    let Some(service) = facts.cluster.service(server) else {
        return Some(Verdict::fail(
            "server",
            format!("Service {server} does not exist; correct --server, or apply examples/fleet"),
        ));
    };
    let ready = service.endpoints().filter(|endpoint| endpoint.is_ready).count();
    Some(match ready {
        0 => Verdict::fail("server", format!("Service {server} has no ready pod; see the log of byname serve")),
        ready => Verdict::ok("server", format!("Service {server} has {}", count(ready, "ready pod", "ready pods"))),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use byname_core::wire;
    use byname_test_support::Envoy;
    use serde_json::json;

    use super::{super::sidecars::AdminArgs, *};
    use crate::{
        caller::CallerSettings,
        compile::{self, Base, CompileOptions},
        input::RawObject,
        sidecar::{Admin, SidecarPod},
    };

    /// A cluster with the Service `shop/web`, which has a port of this number and an endpoint.
    fn facts(port: u16) -> ClusterFacts {
        let mut facts = ClusterFacts::default();
        let metadata = |kubernetes: &str| json!({"namespace": "shop", "name": "web", "labels": {kubernetes: "web"}});
        let name = "kubernetes.io/service-name";
        let service =
            json!({"metadata": metadata("app"), "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": port}]}});
        let slice = json!({"metadata": metadata(name), "addressType": "IPv4", "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"]}]});
        for (object, version, kind) in [(service, "v1", "Service"), (slice, "discovery.k8s.io/v1", "EndpointSlice")] {
            facts.add(RawObject::of_api(object, version, kind, &"test".into())).unwrap();
        }
        facts
    }

    /// The table of this cluster, and its version: whole, or as `byname serve` pushes it.
    fn table(facts: &ClusterFacts, is_pushed: bool) -> (String, u64) {
        let (caller, options) =
            (CallerSettings::of_namespace("shop", &Base::default().config), CompileOptions::default());
        let compiled = match is_pushed {
            true => compile::pushed_names(&facts.cluster, &options, |_| false),
            false => compile::compile(&facts.cluster, &caller, &options),
        };
        let compiled = compiled.unwrap();
        assert_eq!(compile::is_pushed(&compiled.wire.table), is_pushed);
        (compiled.text, compiled.wire.table.version)
    }

    fn asked(name: &str, answer: anyhow::Result<SidecarState>) -> AskedSidecar {
        let pod = json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"containers": [{"name": "envoy"}]}});
        let pod = SidecarPod::of(&RawObject::of_api(pod, "v1", "Pod", &"test".into()), None).unwrap();
        let answer = answer.map(|state| (Admin::Address(String::new()), state));
        AskedSidecar { called: format!("shop/{name}"), pod: Some(pod), answer }
    }

    /// What is said of these sidecars in the cluster with port 80.
    fn lines(sidecars: Vec<anyhow::Result<SidecarState>>) -> Vec<(Level, String)> {
        let name = |number: usize| format!("web-{number}");
        let asked: Vec<_> =
            sidecars.into_iter().enumerate().map(|(number, answer)| asked(&name(number), answer)).collect();
        let verdicts = of_sidecars(&asked, &facts(80)).unwrap();
        verdicts.into_iter().map(|verdict| (verdict.level, verdict.text)).collect()
    }

    /// A sidecar with this table, which it serves, and more statistics.
    fn serving((text, version): &(String, u64), more: &[(&str, u64)]) -> anyhow::Result<SidecarState> {
        let stats = [&[("wasmcustom.byname.table.version", *version)], more].concat();
        Ok(SidecarState::made(Some(text), &stats))
    }

    /// The rows of docs/check.md for one sidecar.
    #[test]
    fn each_trouble_of_a_sidecar_is_told() {
        let (now, older) = (table(&facts(80), false), table(&facts(81), false));
        let refused = Ok(SidecarState::made(Some(&json!({"version": 99, "table": {}}).to_string()), &[]));
        let server =
            json!({"version": wire::VERSION, "caller": {"namespace": "shop"}, "server": {"cluster": "byname-server"}});
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let hours_ago = seconds - 3 * 3600 - 60;
        let asks = |stats: &[(&str, u64)]| Ok(SidecarState::made(Some(&server.to_string()), stats));
        for (state, level, text) in [
            (serving(&now, &[]), Level::Ok, "byname serves a current table in 1 sidecar, without a refused push"),
            (
                serving(&now, &[("wasmcustom.byname.configurations_refused", 2)]),
                Level::Ok,
                "byname serves a current table in 1 sidecar, after refused pushes in shop/web-0; byname status counts them",
            ),
            (refused, Level::Fail, "shop/web-0: the filter refused its last table: version: "),
            (
                Ok(SidecarState::made(Some(&now.0), &[("wasmcustom.byname.table.version", older.1)])),
                Level::Fail,
                "shop/web-0: the filter serves an older table than Envoy holds; the log of Envoy says why",
            ),
            (
                serving(&now, &[("wasm.byname.vm_reload_success", 1)]),
                Level::Fail,
                "shop/web-0: the module crashed and was loaded again; please report the line that Envoy logs",
            ),
            (
                serving(&now, &[("wasmcustom.byname.host_errors", 1)]),
                Level::Fail,
                "shop/web-0: Envoy refused calls of the filter; compare capability_restriction_config with the shipped bootstraps",
            ),
            (
                asks(&[("wasmcustom.byname.stream.lost_timestamp_seconds", hours_ago)]),
                Level::Fail,
                "shop/web-0: the filter has had no answer from the server byname-server for 3 h; see Envoy's log, and the log of \
                 byname serve",
            ),
            (
                asks(&[("wasmcustom.byname.stream.open", 1), ("wasmcustom.byname.stream.opened", 1)]),
                Level::Ok,
                "the filter asks a server for Services in 1 sidecar, so byname does not compare their tables",
            ),
            (
                serving(&older, &[]),
                Level::Warn,
                "shop/web-0: 1 Service differs from the cluster; byname status names it",
            ),
            (Err(anyhow!("no answer")), Level::Warn, "shop/web-0: cannot be asked: no answer"),
            (Ok(SidecarState::made(None, &[])), Level::Ok, "none of 1 sidecar has byname's filter"),
        ] {
            let lines = lines(vec![state]);
            let [(found, line)] = &lines[..] else { panic!("{text}: {lines:?}") };
            assert_eq!(*found, level, "{line}");
            assert!(line.starts_with(text), "{text}\n{line}");
        }
    }

    /// Addresses in a table that `byname serve` pushed stand for endpoints.
    #[test]
    fn a_table_that_a_server_pushed_is_compared_by_its_names() {
        let good = "byname serves a current table in 1 sidecar, without a refused push";
        assert_eq!(lines(vec![serving(&table(&facts(80), true), &[])]), [(Level::Ok, good.to_owned())]);
        let differs = "shop/web-0: 1 Service differs from the cluster; byname status names it";
        assert_eq!(lines(vec![serving(&table(&facts(81), true), &[])]), [(Level::Warn, differs.to_owned())]);
    }

    /// The rows of docs/check.md for the sidecars of a namespace.
    #[test]
    fn sidecars_of_a_namespace_that_differ_are_told() {
        let (now, older) = (table(&facts(80), false), table(&facts(81), false));
        let mixed = lines(vec![serving(&now, &[]), serving(&older, &[]), Ok(SidecarState::made(None, &[]))]);
        let mut versions = [now.1, older.1];
        versions.sort_unstable();
        let [one, other] = versions;
        let said = [
            (Level::Warn, "shop/web-1: 1 Service differs from the cluster; byname status names it".to_owned()),
            (
                Level::Warn,
                format!(
                    "namespace shop: sidecars serve different tables, versions {one}, {other}; byname status shows which"
                ),
            ),
            (Level::Warn, "no filter in shop/web-2; check the selector of the WasmPlugin, or the bootstrap".to_owned()),
            (Level::Ok, "byname serves a current table in 1 sidecar, without a refused push".to_owned()),
        ];
        assert_eq!(mixed, said);
        let failing = lines(vec![serving(&older, &[]), Ok(SidecarState::made(None, &[]))]);
        let warned = "no filter in shop/web-1; check the selector of the WasmPlugin, or the bootstrap";
        assert_eq!(failing.last(), Some(&(Level::Warn, warned.to_owned())), "even if no sidecar is in order");
        let none = "none of 2 sidecars has byname's filter";
        let without = || Ok(SidecarState::made(None, &[]));
        assert_eq!(lines(vec![without(), without()]), [(Level::Ok, none.to_owned())]);
        let nobody = "no pod has a sidecar yet; run check again once byname is turned on";
        assert_eq!(lines(Vec::new()), [(Level::Ok, nobody.to_owned())]);
    }

    /// What is said of the real sidecar that has this bootstrap.
    fn of(bootstrap: &str) -> Vec<Verdict> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let envoy = runtime.block_on(Envoy::builder(bootstrap).concurrency(1).start()).unwrap();
        let args = AdminArgs { admin: Some(format!("127.0.0.1:{}", envoy.port(9901))), ..AdminArgs::default() };
        let asked = args.ask_address().unwrap().unwrap();
        of_sidecars(&[asked], &facts(80)).unwrap()
    }

    #[test]
    fn a_sidecar_that_asks_a_server_has_no_stale_table() {
        let says = "the filter asks a server for Services in 1 sidecar, so byname does not compare their tables";
        assert_eq!(of("stream.yaml"), [Verdict::ok("sidecars", says)]);
    }

    #[test]
    fn a_sidecar_whose_table_differs_is_told() {
        let verdicts = of("cluster.yaml");
        let [Verdict { level: Level::Warn, text, .. }] = &verdicts[..] else { panic!("{verdicts:?}") };
        assert!(text.ends_with(" Services differ from the cluster; byname status names them"), "{text}");
    }
}
