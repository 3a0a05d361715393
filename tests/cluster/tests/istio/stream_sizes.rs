//! How soon an endpoint is seen over the filter's stream, and what memory a sidecar takes for it.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, sleep},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use byname_cluster::{MeshServer, Pod, PodOptions, eventually};
use serde_json::{Value, json};

use crate::istio::{
    memory::{add_listeners, http_listeners, remove_listeners},
    mesh::{Mesh, client},
    percentiles::Percentiles,
    stream::{Stream, Way, compiled, plugin, report, select, start_asking, stream_stat},
};

/// Twice as many pods come and go, so that there is a 99th percentile.
const SCALES: usize = 30;
/// Services of the cluster in which memory is measured last. With 10,000 the claim takes 15 minutes.
const SERVICES: usize = 1_000;
/// Far above what was measured, because the machine may be busy.
const LONGEST_UNTIL_SEEN: Duration = Duration::from_millis(250);
/// What a filter with a stream may take beyond one with an empty table, in allocated memory.
const LARGEST_MEGABYTES: f64 = 5.0;
/// The same in resident memory, where two pods alike differ by up to 5 MB.
const LARGEST_RESIDENT_MEGABYTES: f64 = 8.0;
/// Pairs of pods of which the middle difference counts.
const PAIRS: usize = 3;
/// Endpoints of each Service that fills the cluster, and the first address of them.
const ENDPOINTS: usize = 3;
const FIRST_ADDRESS: u32 = 0x0A_F4_40_00;

/// When it came, since 1970, and the pods that were ready.
type Event = (Duration, Vec<String>);

/// The events of the EndpointSlices of a Service, as the API sends them.
struct Watch {
    child: Child,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Watch {
    fn start(mesh: &Mesh<'_>, service: &str) -> Result<Self> {
        let path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&labelSelector=kubernetes.io/service-name%3D";
        let mut command = mesh.cluster.watch_command(&format!("{path}{service}"));
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it was asked for")?).lines();
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let seen = Arc::clone(&events);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let object = &event["object"];
                if object["addressType"] != "IPv4" {
                    continue;
                }
                let endpoints = object["endpoints"].as_array().into_iter().flatten();
                let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
                let pods =
                    ready.filter_map(|endpoint| Some(format!("shop/{}", endpoint["targetRef"]["name"].as_str()?)));
                seen.lock().unwrap_or_else(PoisonError::into_inner).push((now, pods.collect()));
            }
        });
        Ok(Self { child, events })
    }

    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the pod was first ready, and when it first was not any more.
    fn of(&self, pod: &str) -> (Option<Duration>, Option<Duration>) {
        let events = self.events();
        let is_ready = |(_, pods): &&Event| pods.iter().any(|name| name == pod);
        let first = events.iter().position(|event| is_ready(&event));
        let after = first.map(|first| &events[first..]).unwrap_or_default();
        let gone = after.iter().find(|event| !is_ready(event));
        (first.map(|first| events[first].0), gone.map(|(at, _)| *at))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Deployment whose pods serve for two seconds after they are deleted.
fn scaled() -> [Value; 2] {
    let metadata = json!({"namespace": "shop", "name": "scaled"});
    let labels = json!({"app": "scaled"});
    let container =
        json!({"name": "main", "image": "example.com/main", "ports": [{"name": "http", "containerPort": 8080}]});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": {"test.byname.dev/terminate": "2s"}}, "spec": {"containers": [container]},
            }},
        }),
    ]
}

/// Milliseconds from the API's event to the first request that the new pod answers, and to the last one that an old pod answers.
pub(crate) fn a_scaled_deployment_is_soon_seen_over_a_stream(mesh: &Mesh<'_>) -> Result<()> {
    mesh.cluster.apply(&scaled())?;
    let result = Stream::with(mesh, &[], |stream| {
        stream.apply(Way::Endpoint, &json!({}), &[])?;
        stream.wait_for_reason(&mesh.client, "scaled", "service")?;
        let watch = Watch::start(mesh, "scaled")?;
        let asking = start_asking(&mesh.client, "1ms", &["scaled"])?;
        let ready = || watch.events().last().map_or(0, |(_, pods)| pods.len());
        eventually("the pod is ready", || Ok(ready() == 1))?;
        for _ in 0..SCALES {
            for replicas in [2, 1] {
                let replicas_text = replicas.to_string();
                mesh.cluster.kubectl(&["scale", "deployment", "scaled", "-n", "shop", "--replicas", &replicas_text])?;
                eventually("the EndpointSlice has them", || Ok(ready() == replicas))?;
                sleep(Duration::from_millis(300));
            }
        }
        let report = report(&asking)?;
        ensure!(report["failures"] == 0, "{report}");
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (pod, seen) in report["pods"].as_object().context("pods")? {
            let nanoseconds =
                |name: &str| Ok::<_, anyhow::Error>(Duration::from_nanos(seen[name].as_u64().context("a time")?));
            let (ready, gone) = watch.of(pod);
            let ready = ready.with_context(|| format!("{pod} was never ready"))?;
            // The first pod was there before.
            added.push(nanoseconds("first")?.saturating_sub(ready));
            removed.extend(gone.map(|gone| nanoseconds("last").map(|last| last.saturating_sub(gone))).transpose()?);
        }
        ensure!(added.len() > SCALES && removed.len() >= SCALES - 1, "{} {}", added.len(), removed.len());
        let all = Percentiles::of([&added[..], &removed].concat());
        println!(
            "from an EndpointSlice's event at the API: {} new pods answered after {}; {} pods last answered after {}; all {all}",
            added.len(),
            Percentiles::of(added.clone()),
            removed.len(),
            Percentiles::of(removed.clone()),
        );
        ensure!(all.p99 < LONGEST_UNTIL_SEEN, "{added:?} {removed:?}");
        Ok(())
    });
    mesh.cluster.kubectl(&["delete", "deployment/scaled", "service/scaled", "-n", "shop"])?;
    result
}

/// The namespace of most Services.
const ELSEWHERE: &str = "elsewhere";

/// Services with [`ENDPOINTS`] endpoints each in a namespace, so that there are `total` in the cluster. istiod sends them to sidecars of that
/// namespace alone, as `Sidecar` objects have it in a large mesh. Nobody listens on the addresses, so Envoy answers 503.
fn fill(mesh: &Mesh<'_>, total: usize, namespace: &str) -> Result<()> {
    let names = mesh.cluster.kubectl(&["get", "services", "-A", "-o", "name"])?;
    let missing = total.saturating_sub(names.lines().count());
    let filler = |number: usize| {
        let name = format!("filler-{total}-{number}");
        let endpoint = |one: usize| {
            let address = u32::try_from(number * ENDPOINTS + one).expect("a small number");
            json!({"addresses": [std::net::Ipv4Addr::from(FIRST_ADDRESS + address).to_string()], "conditions": {"ready": true}})
        };
        [
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {
                    "namespace": namespace, "name": name, "labels": {"of": "filler"},
                    "annotations": {"networking.istio.io/exportTo": "."},
                },
                "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": namespace, "name": name, "labels": {"of": "filler", "kubernetes.io/service-name": name},
                },
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
                "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
            }),
        ]
    };
    // One kubectl sends one object at a time.
    let objects: Vec<Value> = (0..missing).flat_map(filler).collect();
    let parts: Vec<&[Value]> = objects.chunks(500).collect();
    for some in parts.chunks(4) {
        thread::scope(|scope| {
            let applied: Vec<_> = some.iter().map(|part| scope.spawn(|| mesh.cluster.apply(part))).collect();
            applied.into_iter().try_for_each(|applied| applied.join().expect("no panic").map(drop))
        })?;
    }
    Ok(())
}

/// A pod in `shop` that has the plugin of this label.
fn start(mesh: &Mesh<'_>, app: &str, name: &str) -> Result<Pod> {
    mesh.istio.start_pod(&PodOptions { labels: &[("app", app)], ..client(name) })
}

/// The same plugin with an empty table in place of the server.
fn empty_table(mesh: &Mesh<'_>, steering: &Value) -> Result<Value> {
    let mut plugin = plugin(mesh, &json!({"table": {"version": 1}, "steering": steering}))?;
    let config = plugin["spec"]["pluginConfig"].as_object_mut().context("an object")?;
    config.retain(|field, _| !matches!(&**field, "server" | "requires"));
    Ok(plugin)
}

/// What a pod's Envoy takes in MB: what it has allocated, which leaves out the memory of Wasm VMs, and its anonymous resident memory, which
/// includes it.
#[derive(Clone, Copy)]
struct Memory {
    allocated: f64,
    resident: f64,
}

impl Memory {
    fn of(pod: &Pod) -> Result<Self> {
        let memory: Value = serde_json::from_str(&pod.admin("/memory")?)?;
        let allocated: u32 = memory["allocated"].as_str().context("a number")?.parse()?;
        let resident = f64::from(u32::try_from(pod.anonymous_kilobytes()?)?) / 1024.0;
        Ok(Self { allocated: f64::from(allocated) / 1024.0 / 1024.0, resident })
    }
}

/// The middle one of an odd number of values.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The filter asks for endpoints too. Resident memory varies from start to start, so several pairs of pods are started, and the middle
/// difference counts.
pub(crate) fn a_stream_takes_little_more_memory_than_an_empty_table(mesh: &Mesh<'_>) -> Result<()> {
    let result = Stream::with(mesh, &[], |_| {
        let steering = json!({"by": Way::Endpoint.by()});
        let mut objects = MeshServer::objects()?;
        objects.append(&mut compiled("istio-envoyfilter", &json!({"steering": steering}), &[])?);
        objects.push(select(plugin(mesh, &json!({"steering": steering}))?, "memory-stream"));
        objects.push(select(empty_table(mesh, &steering)?, "memory-empty"));
        mesh.istio.apply_only(&objects)?;
        let mut wrong = Vec::new();
        // Two opposite corners, and all four where somebody asks for a larger mesh.
        let wanted = env::var("BYNAME_MESH_SERVICES").ok();
        let most = wanted.as_ref().map_or(Ok(SERVICES), |most| most.parse())?;
        let corners = [(100, "shop", 10), (100, "shop", 131), (most, ELSEWHERE, 10), (most, ELSEWHERE, 131)];
        let is_wanted = |corner: usize| wanted.is_some() || [0, 3].contains(&corner);
        let elsewhere = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
        mesh.cluster.apply(&[elsewhere])?;
        for (corner, (services, namespace, listeners)) in corners.into_iter().enumerate() {
            if !is_wanted(corner) {
                continue;
            }
            remove_listeners(mesh)?;
            fill(mesh, services, namespace)?;
            let pairs: Result<Vec<[Memory; 2]>> = (0..PAIRS).map(|pair| measure_pair(mesh, pair, listeners)).collect();
            let pairs = pairs?;
            let describe = |what: &str, of: fn(&Memory) -> f64| {
                let added = median(pairs.iter().map(|[empty, stream]| of(stream) - of(empty)));
                let [empty, stream] = [0, 1].map(|one| median(pairs.iter().map(|pair| of(&pair[one]))));
                let each: Vec<String> =
                    pairs.iter().map(|[empty, stream]| format!("{:+.1}", of(stream) - of(empty))).collect();
                (
                    added,
                    format!(
                        "{what} {empty:.1} MB with an empty table, {stream:.1} with a stream ({added:+.1}; {})",
                        each.join(" ")
                    ),
                )
            };
            let (allocated, said) = describe("allocated", |memory| memory.allocated);
            let (resident, also_said) = describe("resident", |memory| memory.resident);
            let measured =
                format!("{listeners} HTTP listeners, {services} Services, 30 names in use: {said}; {also_said}");
            println!("{measured}");
            if allocated > LARGEST_MEGABYTES || resident > LARGEST_RESIDENT_MEGABYTES {
                wrong.push(measured);
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
    remove_listeners(mesh)?;
    mesh.cluster.kubectl(&["delete", "service,endpointslice", "-n", "shop", "-l", "of=filler", "--wait=false"])?;
    mesh.cluster.kubectl(&["delete", "namespace", ELSEWHERE, "--wait=false"])?;
    result
}

/// What two new pods take that ask for the same 30 names: one with an empty table, one with a stream.
fn measure_pair(mesh: &Mesh<'_>, pair: usize, listeners: usize) -> Result<[Memory; 2]> {
    let start = |app: &str| start(mesh, app, &format!("{app}-{listeners}-{pair}"));
    let pods = [start("memory-empty")?, start("memory-stream")?];
    add_listeners(mesh, &pods[0], listeners)?;
    eventually("the other pod has the listeners", || Ok(http_listeners(&pods[1])? == listeners))?;
    let names = ["checkout", "suggest", "ledger.billing", "web", "cart", "catalog", "recommend", "api.billing"];
    let fillers: Vec<String> = (0..22).map(|number| format!("filler-100-{number}")).collect();
    let fillers: Vec<&str> = fillers.iter().map(String::as_str).collect();
    let asking = pods.each_ref().map(|pod| start_asking(pod, "2ms", &names));
    let others = pods.each_ref().map(|pod| start_asking(pod, "2ms", &fillers));
    eventually("the filter knows the names", || Ok(stream_stat(&pods[1], "keys")? >= 30))
        .with_context(|| pods[1].tail())?;
    for asking in asking.into_iter().chain(others) {
        let report = report(&asking?)?;
        ensure!(report["requests"].as_u64() > Some(100), "{report}");
    }
    sleep(Duration::from_secs(3));
    Ok([Memory::of(&pods[0])?, Memory::of(&pods[1])?])
}
