//! examples/istio/stream: the filter asks a server of the mesh for the names that its pod uses.
//!
//! Istio alone reaches many of these names too. So the access log tells byname's decision of each request, and the pod that answers
//! tells the authority that it saw.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use byname_cluster::{Answer, MeshServer, OUTSIDE_HTTP, Part, Pod, PodOptions, byname_program, eventually, run};
use byname_test_support::{CHECKOUT, RECOMMEND, Shell, repository, with_fields, yaml_documents};
use serde_json::{Value, json};

use crate::istio::mesh::{Mesh, client, example};

pub(crate) const LEDGER: &str = "ledger.billing.svc.cluster.local";
const DB: &str = "db-0.db.shop.svc.cluster.local";
/// The longest wait of a request is 0.3 s; a busy machine takes its time too.
pub(crate) const BOUND: Duration = Duration::from_millis(1500);

/// A server, and a filter in every sidecar of the mesh that asks it.
pub(crate) struct Stream<'m> {
    pub(crate) mesh: &'m Mesh<'m>,
    pub(crate) server: MeshServer,
}

/// How the filter steers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Authority,
    Cluster,
    Endpoint,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Authority, Self::Cluster, Self::Endpoint];

    /// The value of `steering.by`.
    pub(crate) fn by(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
        }
    }
}

/// A decision, as the access log has it.
#[derive(Debug)]
pub(crate) struct Logged {
    authority: String,
    pub(crate) milliseconds: u64,
    decision: String,
}

impl Logged {
    pub(crate) fn reason(&self) -> &str {
        self.field("reason").unwrap_or_default()
    }

    /// The way that steered the request; `None` for a request that passed.
    pub(crate) fn way(&self) -> Option<Way> {
        match ["authority", "cluster", "endpoint"].map(|name| self.field(name).is_some()) {
            [_, _, true] => Some(Way::Endpoint),
            [_, true, false] => Some(Way::Cluster),
            [true, false, false] => Some(Way::Authority),
            [false, false, false] => None,
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.decision.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

impl<'m> Stream<'m> {
    /// Starts a server, lets `claim` use it, and ends it.
    pub(crate) fn with(
        mesh: &'m Mesh<'m>,
        arguments: &[&str],
        claim: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        mesh.istio.apply_only(&MeshServer::objects()?)?;
        let mut stream = Self { mesh, server: MeshServer::start(mesh.cluster, &mesh.istio, arguments)? };
        let result = claim(&mut stream).with_context(|| stream.server.tails());
        mesh.istio.apply_only(&[])?;
        drop(stream.server);
        result
    }

    /// Applies the plugin with more fields in its configuration, an access log and `objects`, and waits until the client's filter decides.
    pub(crate) fn apply(&self, way: Way, config: &Value, objects: &[Value]) -> Result<()> {
        let mut all = MeshServer::objects()?;
        let mut config = with_fields(json!({"accessLog": true}), config.clone());
        let steering = json!({"by": way.by()});
        if way != Way::Authority {
            all.append(&mut compiled("istio-envoyfilter", &json!({"steering": steering}), &[])?);
        }
        config["steering"] = steering;
        all.push(plugin(self.mesh, &config)?);
        all.push(access_log());
        self.mesh.istio.apply_only(&[&all, objects].concat())?;
        self.wait_for_filter(&self.mesh.client, way)
    }

    /// Waits until the pod's filter decides, as `way` has it.
    pub(crate) fn wait_for_filter(&self, pod: &Pod, way: Way) -> Result<()> {
        eventually("the filter asks the server", || {
            let (answer, logged) = ask(pod, OUTSIDE_HTTP, "checkout.shop")?;
            ensure!(logged.reason() == "service" && logged.way() == Some(way), "{logged:?} {answer:?}");
            Ok(true)
        })
        .with_context(|| pod.tail())?;
        Ok(())
    }

    /// Asks until byname decides with this reason, and returns the last answer.
    pub(crate) fn wait_for_reason(&self, pod: &Pod, host: &str, reason: &str) -> Result<(Answer, Logged)> {
        let mut last = None;
        eventually(&format!("{host} is {reason}"), || {
            let asked = ask(pod, OUTSIDE_HTTP, host)?;
            ensure!(asked.1.reason() == reason, "{asked:?}");
            last = Some(asked);
            Ok(true)
        })
        .with_context(|| format!("{}{}", self.server.tails(), pod.tail()))?;
        last.context("it was so")
    }
}

/// The plugin of the example with the image of the registry, and with more fields in its configuration.
pub(crate) fn plugin(mesh: &Mesh<'_>, config: &Value) -> Result<Value> {
    let mut plugin = example("stream/wasmplugin.yaml")?.remove(0);
    let (image, sha256) = mesh.istio.image();
    (plugin["spec"]["url"], plugin["spec"]["sha256"]) = (image.into(), sha256.into());
    plugin["spec"]["pluginConfig"] = with_fields(plugin["spec"]["pluginConfig"].take(), config.clone());
    Ok(plugin)
}

/// Gives a plugin to the pods of `shop` with one label alone.
pub(crate) fn select(mut plugin: Value, app: &str) -> Value {
    plugin["metadata"] = json!({"namespace": "shop", "name": app});
    plugin["spec"]["selector"] = json!({"matchLabels": {"app": app}});
    plugin
}

/// What `byname compile --server` prints in a format.
pub(crate) fn compiled(format: &str, config: &Value, arguments: &[&str]) -> Result<Vec<Value>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config.json");
    fs::write(&file, with_fields(config.clone(), json!({"version": 1})).to_string())?;
    let file = file.display().to_string();
    let always = ["compile", "--format", format, "--server", "byname.byname-system:9905", "--config", &file];
    yaml_documents(&run(&byname_program()?.display().to_string(), &[&always, arguments].concat(), None)?)
}

/// Turns on the access log of every sidecar.
fn access_log() -> Value {
    json!({
        "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"namespace": "istio-system", "name": "access-log"},
        "spec": {"accessLogging": [{"providers": [{"name": "access-log"}]}]},
    })
}

/// Asks for a host at an address, and returns the answer with what the access log says of it.
pub(crate) fn ask(pod: &Pod, address: &str, host: &str) -> Result<(Answer, Logged)> {
    let (answer, path) = send(pod, address, host, &[])?;
    let logged = wait_for_log(pod, &path).with_context(|| format!("{host}: {answer:?}"))?;
    Ok((answer, logged))
}

/// A path that no other request has, by which the access log has a request.
pub(crate) fn path() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("/asked/{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Asks for a host at an address, and returns the answer with the path of the request.
fn send(pod: &Pod, address: &str, host: &str, arguments: &[&str]) -> Result<(Answer, String)> {
    let path = path();
    let form = ["-H", &format!("host: {host}"), &format!("http://{address}{path}")];
    Ok((pod.curl(&[&form[..], arguments].concat())?, path))
}

/// Asks for hosts at an address, twenty at a time, each by its path.
pub(crate) fn ask_at_once(pod: &Pod, address: &str, requests: &[(String, String)]) -> Result<()> {
    let mut words: Vec<String> = ["curl", "--parallel", "--parallel-max", "20"].map(str::to_owned).into();
    for (number, (host, path)) in requests.iter().enumerate() {
        // Each has headers of its own.
        words.extend((number > 0).then(|| "--next".to_owned()));
        words.extend(["-s", "-S", "-m", "20", "-o", "/dev/null", "-H"].map(str::to_owned));
        words.extend([format!("host: {host}"), format!("http://{address}{path}")]);
    }
    pod.run(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(())
}

/// Waits for a line of the access log, which Envoy writes once a second.
pub(crate) fn wait_for_log(pod: &Pod, path: &str) -> Result<Logged> {
    for _ in 0..200 {
        if let Some(logged) = logged(&pod.access_log(), path) {
            return Ok(logged);
        }
        sleep(Duration::from_millis(50));
    }
    bail!("the access log has no {path}\n{}", pod.tail())
}

/// Waits until the access log has all of these paths, and returns their lines in this order.
pub(crate) fn wait_for_logs<'p>(pod: &Pod, paths: impl Iterator<Item = &'p str> + Clone) -> Result<Vec<Logged>> {
    let mut found = Vec::new();
    eventually("the access log has every request", || {
        let log = pod.access_log();
        let lines: HashMap<&str, &str> = log.lines().filter_map(|line| Some((path_of(line)?, line))).collect();
        let logged = paths.clone().map(|path| logged(lines.get(path)?, path)).collect::<Option<Vec<_>>>();
        found = logged.context("a request is missing")?;
        Ok(true)
    })?;
    Ok(found)
}

fn path_of(line: &str) -> Option<&str> {
    Some(line.strip_prefix("path=")?.split_once(' ')?.0)
}

fn logged(log: &str, path: &str) -> Option<Logged> {
    let start = format!("path={path} status=");
    let line = log.lines().find_map(|line| line.strip_prefix(&start))?;
    let mut words = line.splitn(4, ' ').skip(1);
    let authority = words.next()?.strip_prefix("authority=")?.to_owned();
    let milliseconds = words.next()?.strip_prefix("milliseconds=")?.parse().ok()?;
    Some(Logged { authority, milliseconds, decision: words.next()?.to_owned() })
}

/// A statistic of the filter's stream; 0 while the pod has none.
pub(crate) fn stream_stat(pod: &Pod, name: &str) -> Result<u64> {
    wasm_stat(pod, &format!("stream.{name}"))
}

/// A statistic of the filter; 0 while the pod has none.
fn wasm_stat(pod: &Pod, name: &str) -> Result<u64> {
    let stats = pod.admin(&format!("/stats?filter=byname.{name}$"))?;
    stats.trim().rsplit_once(": ").map_or(Ok(0), |(_, value)| Ok(value.parse()?))
}

/// A client in the pod that asks for the hosts in turn, on eight connections to the host outside.
pub(crate) fn start_asking(pod: &Pod, pause: &str, hosts: &[&str]) -> Result<Part> {
    let bound = format!("{}ms", BOUND.as_millis());
    let options = ["ask", "--connect", OUTSIDE_HTTP, "--pause", pause, "--bound", &bound];
    pod.start("ask", &[&options[..], hosts].concat())
}

/// The last report of a client, after one more that counts what came until now.
pub(crate) fn report(asking: &Part) -> Result<Value> {
    let reports =
        || -> Vec<Value> { asking.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect() };
    let done = reports().len();
    eventually("the client reports once more", || Ok(reports().len() > done + 1))?;
    reports().pop().context("a report")
}

/// A StatefulSet `db` with a headless Service.
fn db() -> [Value; 2] {
    let metadata = json!({"namespace": "shop", "name": "db"});
    let labels = json!({"app": "db"});
    let container =
        json!({"name": "main", "image": "example.com/main", "ports": [{"name": "http", "containerPort": 80}]});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": 80}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
            "spec": {"serviceName": "db", "replicas": 2, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [container]},
            }},
        }),
    ]
}

/// Names of every kind that a pod in `shop` may use, with byname's reason, the authority that is sent on, and who answers.
const ROWS: [(&str, &str, &str, &str); 15] = [
    ("checkout", "service", CHECKOUT, "shop/checkout-"),
    // As in DNS, a dot at the end makes it a whole name.
    ("checkout.", "public_name", "checkout.", "outside"),
    ("CHECKOUT.Shop", "service", CHECKOUT, "shop/checkout-"),
    ("checkout.shop.svc", "service", CHECKOUT, "shop/checkout-"),
    ("checkout.shop.svc.cluster.local.", "service", CHECKOUT, "shop/checkout-"),
    ("_http._tcp.checkout", "service", CHECKOUT, "shop/checkout-"),
    ("checkout:80", "service", CHECKOUT, "shop/checkout-"),
    ("10.96.147.27", "cluster_ip", CHECKOUT, "shop/checkout-"),
    ("suggest", "alias", RECOMMEND, "shop/recommend-"),
    ("ledger.billing", "service", LEDGER, "billing/ledger-"),
    (OF_SEARCH_DOMAIN, "service", LEDGER, "billing/ledger-"),
    (OF_POD, "endpoint", DB, "shop/db-0"),
    ("nothing", "name_not_found", "nothing", "outside"),
    ("nothing.billing.svc.cluster.local", "name_not_found", "nothing.billing.svc.cluster.local", "outside"),
    ("10.96.200.200", "ip_literal", "10.96.200.200", "outside"),
];
/// A name by a search domain of the pod's own.
const OF_SEARCH_DOMAIN: &str = "ledger";
/// A name of one pod.
const OF_POD: &str = "db-0.db";

/// A request of a name, and what is expected of it.
struct Row {
    /// Where the client connects.
    address: String,
    host: String,
    reason: &'static str,
    /// The way that steers the request; `None` if it passes.
    way: Option<Way>,
    authority: String,
    /// How the name of the pod begins that answers; `None` if Envoy answers 503 because it has no cluster.
    who: Option<&'static str>,
}

/// What becomes of the name of one pod, by the way and by where the client connects. By authority, Istio sends it on to where the client
/// connected. Istio has no cluster for one pod.
fn who_answers_for_pod(way: Way, connects_to_pod: bool) -> Option<&'static str> {
    match (way, connects_to_pod) {
        (Way::Cluster, _) => None,
        (Way::Authority, false) => Some("outside"),
        (Way::Authority, true) | (Way::Endpoint, _) => Some("shop/db-0"),
    }
}

/// [`ROWS`] and the names of the pod `db-0` by its address. Without the search domain of the pod's own, nobody knows its name.
fn rows(mesh: &Mesh<'_>, way: Way, has_search_domain: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (host, reason, authority, who) in ROWS {
        let row = |address: &str, who| Row {
            address: address.to_owned(),
            host: host.to_owned(),
            reason,
            // Istio's own routes may reach what byname passes.
            way: (!matches!(reason, "name_not_found" | "public_name" | "ip_literal")).then_some(way),
            authority: authority.to_owned(),
            who,
        };
        match host {
            OF_SEARCH_DOMAIN if !has_search_domain => rows.push(Row {
                reason: "name_not_found",
                way: None,
                authority: host.to_owned(),
                ..row(OUTSIDE_HTTP, Some("outside"))
            }),
            OF_POD => rows.extend(
                [(OUTSIDE_HTTP, false), (OF_POD, true)]
                    .map(|(address, connects_to_pod)| row(address, who_answers_for_pod(way, connects_to_pod))),
            ),
            _ => rows.push(row(OUTSIDE_HTTP, Some(who))),
        }
    }
    let path = "jsonpath={.status.podIP}";
    let address = mesh.cluster.kubectl(&["get", "pod", "db-0", "-n", "shop", "-o", path])?;
    // No Service has the address, so that it passes.
    rows.push(Row {
        address: format!("{address}:80"),
        host: address.clone(),
        reason: "ip_literal",
        way: None,
        authority: address.clone(),
        who: Some("shop/db-0"),
    });
    let dashed = format!("{}.shop.pod", address.replace('.', "-"));
    // byname sets the authority alone, whatever the way: the request goes on to where the client connected.
    let way = Way::Authority;
    for (connect, connects_to_pod) in [(OUTSIDE_HTTP, false), (&*address, true)] {
        rows.push(Row {
            address: connect.to_owned(),
            host: dashed.clone(),
            reason: "pod",
            way: Some(way),
            authority: format!("{dashed}.cluster.local"),
            who: who_answers_for_pod(way, connects_to_pod),
        });
    }
    Ok(rows)
}

/// Asks for each row. Returns what is wrong, and the path of each request.
fn ask_rows(pod: &Pod, rows: &[Row]) -> Result<(Vec<String>, Vec<String>)> {
    let (mut wrong, mut paths) = (Vec::new(), Vec::new());
    for row in rows {
        let (answer, path) = send(pod, &row.address, &row.host, &[])?;
        let is_answered = match row.who {
            Some(who) => answer.said("authority") == row.authority && answer.said("pod").starts_with(who),
            None => answer.status == 503 && answer.text.is_empty(),
        };
        if !is_answered {
            wrong.push(format!("{} at {}: {} {}", row.host, row.address, answer.status, answer.text));
        }
        paths.push(path);
    }
    Ok((wrong, paths))
}

fn reaches_rows(stream: &Stream<'_>, way: Way) -> Result<()> {
    let pod = &stream.mesh.client;
    let rows = rows(stream.mesh, way, true)?;
    let (mut wrong, paths) = ask_rows(pod, &rows)?;
    for (row, path) in rows.iter().zip(paths) {
        let logged = wait_for_log(pod, &path)?;
        let is_so = logged.reason() == row.reason && logged.authority == row.authority;
        if !(is_so && logged.way() == row.way) {
            wrong.push(format!("{} at {}: {logged:?}", row.host, row.address));
        }
        ensure!(u128::from(logged.milliseconds) < BOUND.as_millis(), "{}: {logged:?}", row.host);
    }
    ensure!(wrong.is_empty(), "by {}:\n{}", way.by(), wrong.join("\n"));
    let (timeouts, keys, open) = (stream_stat(pod, "timeouts")?, stream_stat(pod, "keys")?, stream_stat(pod, "open")?);
    println!("{} names by {}: {keys} keys, {open} streams, {timeouts} timeouts", rows.len(), way.by());
    ensure!(open <= 2 && keys >= 6, "{open} streams, {keys} keys");
    Ok(())
}

/// The rows by authority, of a pod without a search domain of its own and with a plugin that writes no decision to the access log. The
/// filter's counters tell its decisions.
pub(crate) fn reaches_rows_with_the_plugin_as_it_is(mesh: &Mesh<'_>) -> Result<()> {
    mesh.cluster.apply(&db())?;
    mesh.cluster.apply(&[access_log()])?;
    let pod = &mesh.client;
    eventually("db-0 is ready", || {
        let (answer, _) = send(pod, OF_POD, OF_POD, &[])?;
        ensure!(answer.said("pod") == "shop/db-0", "{answer:?}");
        Ok(true)
    })?;
    let rows = rows(mesh, Way::Authority, false)?;
    let reasons: BTreeSet<&str> = rows.iter().map(|row| row.reason).collect();
    let counted = || -> Result<BTreeMap<&str, u64>> {
        reasons.iter().map(|reason| Ok((*reason, wasm_stat(pod, &format!("reason.{reason}"))?))).collect()
    };
    // A worker's first stream may open late on a busy machine.
    eventually("every row is as it should be", || {
        let before = counted()?;
        let (mut wrong, paths) = ask_rows(pod, &rows)?;
        for (row, logged) in rows.iter().zip(wait_for_logs(pod, paths.iter().map(|path| &**path))?) {
            if logged.authority != row.authority {
                wrong.push(format!("{} at {}: {logged:?}", row.host, row.address));
            }
        }
        for (reason, count) in counted()? {
            let wanted = rows.iter().filter(|row| row.reason == reason).count() as u64;
            if count - before[reason] != wanted {
                wrong.push(format!("{wanted} rows are {reason}, and the filter counted {}", count - before[reason]));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(true)
    })?;
    println!("{} names with the plugin of the folder", rows.len());
    Ok(())
}

/// A search domain of the pod's own.
fn searches() -> Value {
    json!({"dns": {"extraSearches": ["billing.svc.cluster.local"]}})
}

pub(crate) fn a_pod_reaches_every_kind_of_name_over_a_stream(mesh: &Mesh<'_>) -> Result<()> {
    mesh.cluster.apply(&db())?;
    Stream::with(mesh, &[], |stream| {
        for way in Way::ALL {
            stream.apply(way, &searches(), &[])?;
            eventually("db-0 is ready", || {
                let (answer, logged) = ask(&mesh.client, OF_POD, OF_POD)?;
                let is_so = match who_answers_for_pod(way, true) {
                    Some(who) => answer.said("pod") == who,
                    None => logged.reason() == "endpoint",
                };
                ensure!(is_so, "{logged:?} {answer:?}");
                Ok(true)
            })?;
            reaches_rows(stream, way)?;
            names_come_change_and_go(stream, way)?;
        }
        Ok(())
    })
}

/// A pod has its plugin with the search list of its own. The other pod has another plugin.
pub(crate) fn a_stream_resolves_by_the_search_domains_of_its_pod(mesh: &Mesh<'_>) -> Result<()> {
    const DOMAIN: &str = "billing.svc.cluster.local";
    let options = PodOptions { labels: &[("app", "searches")], ..client("searches") };
    let pod = mesh.istio.start_pod_with_searches(&options, &[DOMAIN])?;
    Stream::with(mesh, &[], |stream| {
        let list =
            json!({"dns": {"searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", DOMAIN]}});
        let of = |app: &str, config: Value| Ok::<_, anyhow::Error>(select(plugin(mesh, &config)?, app));
        let plugins = vec![
            of("client", json!({"accessLog": true}))?,
            of("searches", with_fields(list, json!({"accessLog": true})))?,
        ];
        mesh.istio.apply_only(&[MeshServer::objects()?, plugins, vec![access_log()]].concat())?;
        stream.wait_for_filter(&mesh.client, Way::Authority)?;
        stream.wait_for_filter(&pod, Way::Authority)?;
        // As a workload asks: by the pod's own resolver, which has the same list.
        let (answer, logged) = ask(&pod, OF_SEARCH_DOMAIN, OF_SEARCH_DOMAIN)?;
        let is_reached = answer.said("authority") == LEDGER && answer.said("pod").starts_with("billing/ledger-");
        ensure!(is_reached && logged.reason() == "service", "{logged:?} {answer:?}");
        // Its own namespace comes first.
        let (answer, logged) = ask(&pod, "checkout", "checkout")?;
        ensure!(answer.said("authority") == CHECKOUT && logged.reason() == "service", "{logged:?} {answer:?}");

        let unresolved = send(&mesh.client, OF_SEARCH_DOMAIN, OF_SEARCH_DOMAIN, &[]);
        ensure!(unresolved.is_err_and(|error| format!("{error:#}").contains("Could not resolve host")), "it resolves");
        let (answer, logged) = ask(&mesh.client, OUTSIDE_HTTP, OF_SEARCH_DOMAIN)?;
        let passes = answer.said("authority") == OF_SEARCH_DOMAIN && answer.said("pod") == "outside";
        ensure!(passes && logged.reason() == "name_not_found", "{logged:?} {answer:?}");
        Ok(())
    })
}

/// The filter comes by a TrafficExtension alone.
pub(crate) fn a_traffic_extension_opens_a_stream(mesh: &Mesh<'_>) -> Result<()> {
    Stream::with(mesh, &[], |stream| {
        let (image, sha256) = mesh.istio.image();
        let image = ["--image", &image, "--sha256", sha256];
        let extension = compiled("istio-trafficextension", &json!({"accessLog": true}), &image)?;
        ensure!(extension.len() == 1 && extension[0]["kind"] == "TrafficExtension", "{extension:?}");
        mesh.istio.apply_only(&[MeshServer::objects()?, extension, vec![access_log()]].concat())?;
        stream.wait_for_filter(&mesh.client, Way::Authority)?;
        stream.wait_for_reason(&mesh.client, "suggest", "alias")?;
        ensure!(stream_stat(&mesh.client, "open")? > 0, "no stream is open");
        Ok(())
    })
}

fn names_come_change_and_go(stream: &Stream<'_>, way: Way) -> Result<()> {
    let (cluster, pod) = (stream.mesh.cluster, &stream.mesh.client);
    let becomes = |spec: Value| {
        cluster.apply(&[json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "late"}, "spec": spec,
        })])
    };
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    let selector = json!({"app.kubernetes.io/name": "checkout"});
    let late = "late.shop.svc.cluster.local";
    stream.wait_for_reason(pod, "late", "name_not_found")?;
    let reaches = |reason: &str, authority: &str, who: &str| -> Result<()> {
        eventually(&format!("late is {reason}, {authority}"), || {
            let (answer, logged) = ask(pod, OUTSIDE_HTTP, "late")?;
            let is_so =
                logged.reason() == reason && logged.authority == authority && answer.said("pod").starts_with(who);
            ensure!(is_so, "{logged:?}, {} {}", answer.status, answer.text);
            Ok(true)
        })?;
        Ok(())
    };
    becomes(json!({"type": "ClusterIP", "selector": selector, "ports": ports}))?;
    reaches("service", late, "shop/checkout-")?;
    becomes(json!({"type": "ExternalName", "externalName": RECOMMEND}))?;
    reaches("alias", RECOMMEND, "shop/recommend-")?;
    becomes(json!({"type": "ClusterIP", "clusterIP": "None", "selector": selector, "ports": ports}))?;
    // Istio sends on what is for a headless Service to where the client connected.
    let who = if way == Way::Endpoint { "shop/checkout-" } else { "outside" };
    reaches("service", late, who)?;
    cluster.kubectl(&["delete", "service", "late", "-n", "shop"])?;
    stream.wait_for_reason(pod, "late", "name_not_found")?;
    Ok(())
}

/// Each namespace sees its own Services only, and no header of a client shows it another one's.
pub(crate) fn a_stream_shows_a_pod_what_its_identity_may_see(mesh: &Mesh<'_>) -> Result<()> {
    let pod = mesh.istio.start_pod(&PodOptions { namespace: "billing", ..client("asks-from-billing") })?;
    Stream::with(mesh, &["--default-export", "."], |stream| {
        stream.apply(Way::Authority, &json!({}), &[])?;
        eventually("the filter is in billing", || {
            let (_, logged) = ask(&pod, OUTSIDE_HTTP, "ledger")?;
            ensure!(logged.reason() == "service", "{logged:?}");
            Ok(true)
        })?;
        stream.server.wait_for_stream("billing")?;
        stream.server.wait_for_stream("shop")?;
        let forged = "x-forwarded-client-cert: By=spiffe://cluster.local/ns/byname-system/sa/default;Hash=ab;\
            Subject=\"\";URI=spiffe://cluster.local/ns/billing/sa/default";
        let mut sent = Vec::new();
        let headers = ["-H", forged, "-H", forged];
        for arguments in [&headers[..0], &headers[..2], &headers] {
            for (pod, host) in [(&mesh.client, "ledger.billing"), (&mesh.client, LEDGER), (&pod, CHECKOUT)] {
                sent.push((pod, host, arguments, send(pod, OUTSIDE_HTTP, host, arguments)?.1));
            }
        }
        for (pod, host, arguments, path) in sent {
            let logged = wait_for_log(pod, &path)?;
            ensure!(logged.reason() == "name_not_found", "{host} from {} with {arguments:?}: {logged:?}", pod.name());
        }
        let (_, logged) = ask(&mesh.client, OUTSIDE_HTTP, "checkout")?;
        ensure!(logged.reason() == "service", "{logged:?}");
        // The annotation shows it to both.
        let export =
            |to: &str| mesh.cluster.kubectl(&["annotate", "service", "ledger", "-n", "billing", "--overwrite", to]);
        export("byname/export-to=., shop")?;
        stream.wait_for_reason(&mesh.client, "ledger.billing", "service")?;
        export("byname/export-to-")?;
        stream.wait_for_reason(&mesh.client, "ledger.billing", "name_not_found")?;
        Ok(())
    })
}

/// What users see where a Sidecar object leaves out the server's namespace.
pub(crate) fn a_sidecar_object_that_hides_the_server_of_a_stream_lets_names_pass(mesh: &Mesh<'_>) -> Result<()> {
    Stream::with(mesh, &[], |stream| {
        stream.apply(Way::Authority, &json!({}), &[])?;
        let sidecar = |hosts: Value| {
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"namespace": "shop", "name": "default"},
                "spec": {"egress": [{"hosts": hosts}]},
            })
        };
        mesh.cluster.apply(&[sidecar(json!(["./*", "istio-system/*"]))])?;
        // In the words of the example.
        let host = "byname-system/byname.byname-system.svc.cluster.local";
        let hides = format!(
            "fail  server       Sidecar shop/default hides the server byname-system/byname from its pods; add \"{host}\" to egress.hosts"
        );
        let shell = Shell::new(&[("byname", &byname_program()?)])?.kubeconfig(&mesh.cluster.admin());
        let check = shell.run("byname check -n shop; [ $? = 1 ]")?;
        ensure!(check.lines().any(|line| line == hides), "{check}");
        let has_cluster = |pod: &Pod| Ok::<_, anyhow::Error>(pod.admin("/clusters")?.contains("outbound|9905||byname"));
        eventually("the sidecar has no cluster of the server", || Ok(!has_cluster(&mesh.client)?))?;
        let pod = mesh.istio.start_pod(&client("hidden-server"))?;
        let (answer, logged) = stream.wait_for_reason(&pod, "checkout", "unanswered")?;
        // Istio's own routes serve the name as it is.
        ensure!(
            answer.said("authority") == "checkout" && answer.said("pod").starts_with("shop/checkout-"),
            "{answer:?}"
        );
        ensure!(u128::from(logged.milliseconds) < BOUND.as_millis(), "{logged:?}");
        let line = "byname: the stream to the server cannot be opened: check that Envoy has the cluster of `server`";
        eventually("the log says why", || Ok(pod.log().contains(line))).with_context(|| pod.tail())?;
        let readme = fs::read_to_string(repository().join("examples/istio/stream/README.md"))?;
        ensure!(readme.contains(&format!("`{host}` to `hosts`")), "the README does not show {host}");
        mesh.cluster.apply(&[sidecar(json!(["./*", "istio-system/*", host]))])?;
        eventually("the sidecar has the cluster of the server", || has_cluster(&pod))?;
        stream.wait_for_reason(&pod, "_http._tcp.checkout", "service")?;
        let check = shell.run("byname check -n shop || [ $? = 1 ]")?;
        ensure!(!check.contains("hides the server") && check.contains("\nok    server "), "{check}");
        Ok(())
    })
}
