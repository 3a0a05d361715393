//! The server of the filter's streams dies, stops, is replaced; istiod pushes; Services change under load.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use byname_cluster::{CRASHING_HEADERS, Cluster, HOST_OUTSIDE, MeshServer, OUTSIDE_HTTP, Pod, eventually};
use byname_test_support::{CHECKOUT, RECOMMEND, crashing_module, image::sha256};
use serde_json::{Value, json};

use crate::istio::{
    mesh::{Mesh, client, expect},
    percentiles::Percentiles,
    stream::{BOUND, Stream, Way, ask, ask_at_once, path, plugin, report, start_asking, stream_stat, wait_for_logs},
};

/// Services that change under load.
const CHANGES: usize = 1_000;
/// Workers of a sidecar's Envoy, as the agent's `concurrency` sets it.
const WORKERS: u64 = 2;
/// Requests that wait for a server that is silent.
const WAITING: usize = 100;
/// The longest wait is 300 ms, and ticks that end waits come every 10 ms. The rest is for Envoy and the host outside on a busy machine.
const LONGEST_WAIT_MILLISECONDS: u64 = 400;
/// The resident memory that a sidecar's Envoy may gain while they change for a second time.
const LARGEST_GAIN_MEGABYTES: f64 = 4.0;
/// What it may gain from before all names are asked for until the end: by endpoint. Otherwise each of 500 Services has a cluster of Istio's,
/// with connections of its own.
const LARGEST_GAIN_OF_LOAD_MEGABYTES: [f64; 2] = [16.0, 48.0];
/// Requests after which V8 has compiled what it compiles again.
const WARMING: u64 = 10_000;
/// Names that nobody has asked for before the Services change: half of them while the Services change for the first time.
const FRESH: usize = 200;

/// Asks for a name that nobody has asked for while no server answers: Istio's own routes serve it as it is, within the bound.
fn passes(pod: &Pod, host: &str) -> Result<()> {
    let (answer, logged) = ask(pod, OUTSIDE_HTTP, host)?;
    println!("{host} without a server: {} after {} ms", logged.reason(), logged.milliseconds);
    ensure!(logged.reason() == "unanswered" && answer.said("authority") == host, "{logged:?} {answer:?}");
    ensure!(u128::from(logged.milliseconds) < BOUND.as_millis(), "{logged:?}");
    Ok(())
}

/// Asks for many names at once while the server is silent, and runs `meanwhile`: each request waits, and its wait ends in time.
fn waits_end(pod: &Pod, what: &str, meanwhile: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let waited = stream_stat(pod, "waits")?;
    let what_asked = what.replace(' ', "-");
    let requests: Vec<(String, String)> =
        (0..WAITING).map(|number| (format!("{what_asked}-{number}"), path())).collect();
    thread::scope(|scope| {
        let other = scope.spawn(meanwhile);
        let asked = ask_at_once(pod, OUTSIDE_HTTP, &requests);
        other.join().expect("no panic").and(asked)
    })?;
    let logged = wait_for_logs(pod, requests.iter().map(|(_, path)| &**path))?;
    for ((host, _), logged) in requests.iter().zip(&logged) {
        ensure!(logged.reason() == "unanswered", "{host}: {logged:?}");
    }
    let waited = stream_stat(pod, "waits")? - waited;
    ensure!(waited >= WAITING as u64, "{waited} requests waited");
    let times = Percentiles::of(logged.iter().map(|logged| logged.milliseconds).collect());
    println!("{WAITING} requests waited for a silent server, {what}, in milliseconds of Envoy's access log: {times}");
    ensure!(times.p50 >= 290 && times.p99 <= LONGEST_WAIT_MILLISECONDS, "{times}");
    ensure!(u128::from(times.longest) < BOUND.as_millis(), "{times}");
    Ok(())
}

/// istiod gives the pod a listener, a cluster and routes for a Service with this port.
fn push_listener(cluster: &Cluster, pod: &Pod, port: u16) -> Result<()> {
    cluster.apply(&[json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": format!("pushed-{port}"), "labels": {"of": "pushed"}},
        "spec": {"selector": {"app.kubernetes.io/name": "checkout"}, "ports": [{"name": "http", "port": port, "targetPort": 8080}]},
    })])?;
    eventually("the sidecar has the listener", || Ok(pod.admin("/listeners")?.contains(&format!("0.0.0.0_{port}"))))?;
    Ok(())
}

pub(crate) fn a_stream_outlives_its_server_under_load(mesh: &Mesh<'_>) -> Result<()> {
    Way::ALL.into_iter().try_for_each(|way| outlives_its_server(mesh, way))
}

fn outlives_its_server(mesh: &Mesh<'_>, way: Way) -> Result<()> {
    Stream::with(mesh, &[], |stream| {
        stream.apply(way, &json!({}), &[])?;
        // A pod of its own, whose filter knows no name yet.
        let pod = mesh.istio.start_pod(&client("outlives"))?;
        let known = ["checkout.shop", "_http._tcp.checkout", "suggest", "ledger.billing"];
        for host in known {
            stream.wait_for_reason(&pod, host, if host == "suggest" { "alias" } else { "service" })?;
        }
        let asking = start_asking(&pod, "20ms", &known)?;
        // Else one of the workers passes a name on that it has never asked for.
        eventually("each worker knows every name", || {
            ensure!(stream_stat(&pod, "open")? == WORKERS, "one of {WORKERS} streams");
            for key in ["shop/checkout", "shop/suggest", "billing/ledger"] {
                let names = stream.server.names_by_stream("shop", key)?;
                let of_workers = names.values().filter(|count| **count > 0).count() as u64;
                ensure!(of_workers >= WORKERS, "{key}: {names:?}");
            }
            Ok(true)
        })?;
        let recovers = |stream: &Stream<'_>, host: &str, start: Instant| -> Result<()> {
            let (answer, _) = stream.wait_for_reason(&pod, host, "service")?;
            let whole = format!("{host}.shop.svc.cluster.local");
            expect(answer.said("authority") == whole, &answer)?;
            println!("{host} is known {:.1} s later", start.elapsed().as_secs_f32());
            Ok(())
        };

        stream.server.kill()?;
        passes(&pod, "cart")?;
        passes(&pod, "cart")?;
        stream.server.restart()?;
        recovers(stream, "cart", Instant::now())?;

        stream.server.signal("STOP")?;
        passes(&pod, "web")?;
        waits_end(&pod, "alone", || Ok(()))?;
        stream.server.signal("CONT")?;
        recovers(stream, "web", Instant::now())?;

        stream.server.signal("STOP")?;
        waits_end(&pod, "while istiod pushes listeners", || {
            (8801..8804).try_for_each(|port| push_listener(mesh.cluster, &pod, port))
        })?;
        stream.server.signal("CONT")?;
        recovers(stream, "search", Instant::now())?;

        // No stream ends by a push of istiod.
        let opened = stream_stat(&pod, "opened")?;
        (8804..8807).try_for_each(|port| push_listener(mesh.cluster, &pod, port))?;
        ensure!(stream_stat(&pod, "opened")? == opened, "a push of istiod ended a stream");
        mesh.cluster.kubectl(&["delete", "service", "-n", "shop", "-l", "of=pushed"])?;

        // Another server takes over, and the pod of the first one vanishes with its sidecar.
        let next = MeshServer::start_as("byname-next", mesh.cluster, &mesh.istio, &[])?;
        let first = std::mem::replace(&mut stream.server, next);
        let start = Instant::now();
        drop(first);
        recovers(stream, "catalog", start)?;
        stream.server.wait_for_stream("shop")?;

        let report = report(&asking)?;
        println!("under load, by {}: {report}", way.by());
        ensure!(report["failures"] == 0 && report["late"] == 0, "{report}\n{}", pod.tail());
        ensure!(report["requests"].as_u64() > Some(1_000), "{report}");
        let pods = report["pods"].as_object().into_iter().flat_map(|pods| pods.keys());
        ensure!(
            pods.clone()
                .all(|pod| pod.contains("/checkout-") || pod.contains("/recommend-") || pod.contains("/ledger-")),
            "{report}"
        );
        ensure!(stream_stat(&pod, "rejections")? == 0, "the filter refused a message");
        drop(asking);
        waits_end_while_the_plugin_changes(stream, way, &pod)
    })
}

/// A changed plugin takes over what the filter knew. Requests that wait for the server meanwhile end in time.
fn waits_end_while_the_plugin_changes(stream: &Stream<'_>, way: Way, pod: &Pod) -> Result<()> {
    stream.server.signal("STOP")?;
    let updates = || {
        let stats = pod.admin("/stats?filter=extension_config_discovery.*byname.*config_reload$")?;
        stats.trim().rsplit_once(": ").map_or(Ok(0), |(_, count)| Ok::<u64, anyhow::Error>(count.parse()?))
    };
    let before = updates()?;
    let config = json!({"accessLog": true, "steering": {"by": way.by()}, "dns": {"ndots": 4}});
    let (cluster, changed) = (stream.mesh.cluster, [plugin(stream.mesh, &config)?]);
    waits_end(pod, "while the plugin changes", || {
        cluster.apply(&changed)?;
        eventually("the sidecar has the changed plugin", || Ok(updates()? > before))?;
        Ok(())
    })?;
    let (answer, logged) = ask(pod, OUTSIDE_HTTP, "_http._tcp.checkout")?;
    ensure!(logged.reason() == "service" && answer.said("authority") == CHECKOUT, "{logged:?} {answer:?}");
    stream.server.signal("CONT")?;
    stream.wait_for_reason(pod, "cart", "service")?;
    Ok(())
}

/// Only the VM that paused a request can go on with it, and sidecars of Istio have no `stream_idle_timeout`: a crash strands those that wait
/// in that VM until their clients leave. All others go on.
pub(crate) fn a_crash_strands_requests_that_wait_over_a_stream_and_no_others(mesh: &Mesh<'_>) -> Result<()> {
    Stream::with(mesh, &[], |stream| {
        stream.apply(Way::Authority, &json!({}), &[])?;
        let mut crashing = plugin(mesh, &json!({"accessLog": true}))?;
        crashing["spec"]["url"] = format!("https://{HOST_OUTSIDE}/crashing.wasm").into();
        crashing["spec"]["sha256"] = sha256(&crashing_module(CRASHING_HEADERS)?).into();
        mesh.cluster.apply(&[crashing])?;
        let client = &mesh.client;
        let header: Vec<String> = (0..CRASHING_HEADERS).map(|number| format!("x-many-{number}: 1")).collect();
        let many = header.iter().flat_map(|header| ["-H", header]);
        let url = format!("http://{OUTSIDE_HTTP}/");
        let crash: Vec<&str> = many.chain(["-H", "host: checkout", &url]).collect();
        eventually("the module with the fault runs", || Ok(client.curl(&crash)?.status == 503))?;
        let answers =
            |host: &str| Ok::<_, anyhow::Error>(client.curl(&["-H", &format!("host: {host}"), &url])?.status == 200);
        let steadily_answers = || {
            // Both workers' VMs have to be loaded again.
            for _ in 0..20 {
                if !answers("checkout.shop")? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        eventually("the module is loaded again", steadily_answers)?;

        stream.server.signal("STOP")?;
        // Where the machine is busy, none of a round may wait in the VM that crashes.
        eventually("a crash strands requests that wait", || {
            let (crashed, statuses) = thread::scope(|scope| {
                let ask = |number: usize| {
                    let host = format!("host: nobody-knows-{number}");
                    let form = ["-m", "3", "-o", "/dev/null", "-s", "-w", "%{http_code}", "-H", &host, &url];
                    client.run(&[&["curl"], &form[..]].concat()).unwrap_or_else(|_| "none".to_owned())
                };
                let asked: Vec<_> = (0..8).map(|number| scope.spawn(move || ask(number))).collect();
                thread::sleep(Duration::from_millis(150));
                let crashed = client.curl(&crash);
                let statuses: Vec<String> = asked.into_iter().map(|asked| asked.join().unwrap_or_default()).collect();
                crashed.map(|crashed| (crashed.status, statuses))
            })?;
            println!("a crash: {crashed}; requests that waited: {statuses:?}");
            // 503: it came after the crash, and before the module was loaded again.
            let is_known = |status: &String| matches!(&**status, "200" | "503" | "none");
            ensure!(crashed == 503 && statuses.iter().all(is_known), "{crashed} {statuses:?}");
            Ok(statuses.iter().any(|status| status == "none"))
        })?;
        // Those that waited in the other worker's VM pass on to where nobody answers for them.
        eventually("the module is loaded again", steadily_answers)?;
        stream.server.signal("CONT")?;
        let (answer, _) = stream.wait_for_reason(client, "cart", "service")?;
        expect(answer.said("authority") == "cart.shop.svc.cluster.local", &answer)?;
        let active = client.admin("/stats?filter=http.outbound.*downstream_rq_active$")?;
        ensure!(active.lines().all(|line| line.ends_with(": 0")), "{active}");
        Ok(())
    })
}

/// What the changing Services lead to, one after the other.
#[derive(Clone, Copy)]
enum Target {
    Checkout,
    Recommend,
}

impl Target {
    fn host(self) -> &'static str {
        match self {
            Self::Checkout => CHECKOUT,
            Self::Recommend => RECOMMEND,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Recommend => "recommend",
        }
    }

    /// The addresses of its pods.
    fn addresses(self, mesh: &Mesh<'_>) -> Result<Vec<String>> {
        let label = format!("kubernetes.io/service-name={}", self.name());
        let path = "jsonpath={.items[*].endpoints[*].addresses[0]}";
        let addresses = mesh.cluster.kubectl(&["get", "endpointslices", "-n", "shop", "-l", &label, "-o", path])?;
        Ok(addresses.split_whitespace().map(str::to_owned).collect())
    }
}

/// Aliases of the target's Service, and Services whose endpoints are the target's pods. The protocol of the Services changes with the
/// target too, because the filter of steering by authority gets no endpoints.
fn changing(mesh: &Mesh<'_>, target: Target) -> Result<Vec<Value>> {
    let addresses = target.addresses(mesh)?;
    ensure!(addresses.len() >= 2, "{}: {addresses:?}", target.name());
    let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    // Both are HTTP to Istio.
    let port = match target {
        Target::Checkout => json!({"name": "http", "port": 80, "targetPort": 8080}),
        Target::Recommend => json!({"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"}),
    };
    let one = |number: usize| {
        let name = format!("changing-{number}");
        if number.is_multiple_of(2) {
            return vec![alias(&name, target.host())];
        }
        vec![
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": "shop", "name": name, "labels": {"of": "changes"}},
                "spec": {"ports": [port]},
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "namespace": "shop", "name": name, "labels": {"of": "changes", "kubernetes.io/service-name": name},
                },
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
            }),
        ]
    };
    Ok((0..CHANGES).flat_map(one).collect())
}

fn alias(name: &str, target: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name, "labels": {"of": "changes"}},
        "spec": {"type": "ExternalName", "externalName": target},
    })
}

/// Applies objects with two programs at once: one kubectl sends one object at a time.
fn apply(cluster: &Cluster, objects: &[Value]) -> Result<()> {
    let (first, second) = objects.split_at(objects.len() / 2);
    thread::scope(|scope| {
        let other = scope.spawn(|| cluster.apply(first));
        let own = cluster.apply(second);
        other.join().expect("no panic").and(own).map(drop)
    })
}

pub(crate) fn no_request_fails_over_a_stream_while_services_change(mesh: &Mesh<'_>) -> Result<()> {
    let result = [Way::Authority, Way::Endpoint].into_iter().try_for_each(|way| services_change(mesh, way));
    mesh.cluster.kubectl(&["delete", "service,endpointslice", "-n", "shop", "-l", "of=changes", "--wait=false"])?;
    result
}

fn services_change(mesh: &Mesh<'_>, way: Way) -> Result<()> {
    apply(mesh.cluster, &changing(mesh, Target::Checkout)?)?;
    let fresh: Vec<String> = (0..FRESH).map(|number| format!("fresh-{}-{number}", way.by())).collect();
    apply(mesh.cluster, &fresh.iter().map(|name| alias(name, CHECKOUT)).collect::<Vec<_>>())?;
    Stream::with(mesh, &[], |stream| {
        stream.apply(way, &json!({}), &[])?;
        let pod = mesh.istio.start_pod(&client("sees-changes"))?;
        let megabytes = || Ok::<_, anyhow::Error>(f64::from(u32::try_from(pod.anonymous_kilobytes()?)?) / 1024.0);
        stream.wait_for_filter(&pod, way)?;
        // Before that, the memory of a new Envoy grows with its first requests: V8 compiles the filter again.
        let warm = start_asking(&pod, "2ms", &["checkout"])?;
        eventually("the pod has had requests", || Ok(report(&warm)?["requests"].as_u64() > Some(WARMING)))?;
        drop(warm);
        let without_load = megabytes()?;
        let hosts: Vec<String> = (0..CHANGES).map(|number| format!("changing-{number}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let asking = start_asking(&pod, "2ms", &hosts)?;
        eventually("both workers know every name", || {
            let report = report(&asking)?;
            ensure!(report["requests"].as_u64() > Some(3 * CHANGES as u64), "{report}");
            Ok(true)
        })?;
        let bad = || Ok::<_, anyhow::Error>([stream_stat(&pod, "rejections")?, stream_stat(&pod, "failures")?]);
        eventually("each worker has a stream with every name", || {
            let names = stream.server.names_by_stream("shop", "shop/changing-")?;
            let open = stream_stat(&pod, "open")?;
            let of_workers = names.values().filter(|count| **count == CHANGES).count() as u64;
            ensure!((open, of_workers) == (WORKERS, WORKERS), "{open} streams, of which these have names: {names:?}");
            Ok(true)
        })?;
        let before = bad()?;
        let waited = stream_stat(&pod, "waits")?;
        let mut memory = vec![without_load, megabytes()?];
        let mut waits = Vec::new();
        for (target, fresh) in [Target::Recommend, Target::Checkout].into_iter().zip(fresh.chunks(FRESH / 2)) {
            let start = Instant::now();
            let objects = changing(mesh, target)?;
            let requests: Vec<(String, String)> = fresh.iter().map(|name| (name.clone(), path())).collect();
            thread::scope(|scope| {
                let applied = scope.spawn(|| apply(mesh.cluster, &objects));
                for some in requests.chunks(20) {
                    ask_at_once(&pod, OUTSIDE_HTTP, some)?;
                    thread::sleep(Duration::from_millis(100));
                }
                ensure!(!applied.is_finished(), "the Services changed before every fresh name was asked for");
                applied.join().expect("no panic")
            })?;
            let applied = start.elapsed();
            let seen = eventually("the last names lead elsewhere", || {
                let (answer, _) = ask(&pod, OUTSIDE_HTTP, &format!("changing-{}", CHANGES - 2))?;
                expect(answer.said("authority") == target.host(), &answer)?;
                let (answer, _) = ask(&pod, OUTSIDE_HTTP, &format!("changing-{}", CHANGES - 1))?;
                expect(answer.said("pod").starts_with(&format!("shop/{}-", target.name())), &answer)
            })?;
            for ((host, _), logged) in
                requests.iter().zip(wait_for_logs(&pod, requests.iter().map(|(_, path)| &**path))?)
            {
                ensure!(logged.reason() == "alias", "{host}: {logged:?}");
                waits.push(logged.milliseconds);
            }
            memory.push(megabytes()?);
            println!("{CHANGES} Services lead to {}: applied in {applied:.1?}, seen {seen:.1?} later", target.name());
        }
        thread::sleep(Duration::from_secs(2));
        let report = report(&asking)?;
        let (open, keys) = (stream_stat(&pod, "open")?, stream_stat(&pod, "keys")?);
        println!(
            "while {CHANGES} Services changed twice, by {}: {report}; {open} streams, {keys} keys; anonymous resident {memory:.1?} MB: \
             before the load, under load, after each change",
            way.by()
        );
        ensure!(report["failures"] == 0 && report["late"] == 0, "{report}\n{}", pod.tail());
        ensure!(bad()? == before, "rejections and failures of the stream: {before:?} to {:?}", bad()?);
        ensure!(keys >= WORKERS * CHANGES as u64, "{keys} keys");
        let waited = stream_stat(&pod, "waits")? - waited;
        let times = Percentiles::of(waits);
        println!(
            "meanwhile {FRESH} fresh names, for which {waited} requests waited, in milliseconds of Envoy's access log: {times}"
        );
        ensure!(waited >= FRESH as u64, "{waited} requests waited");
        ensure!(times.p99 <= LONGEST_WAIT_MILLISECONDS, "{times}");
        let gain = memory[3] - memory[2];
        ensure!(gain < LARGEST_GAIN_MEGABYTES, "memory grows by {gain:.1} MB");
        let gain = memory[3] - without_load;
        let [by_endpoint, otherwise] = LARGEST_GAIN_OF_LOAD_MEGABYTES;
        let largest = if way == Way::Endpoint { by_endpoint } else { otherwise };
        ensure!(gain < largest, "memory grows by {gain:.1} MB from before the load");
        Ok(())
    })
}
