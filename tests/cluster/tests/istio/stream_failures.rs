//! The server of the filter's streams dies, stops, is replaced; istiod pushes; Services change under load.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use byname_cluster::{CRASHING_HEADERS, HOST_OUTSIDE, MeshServer, OUTSIDE_HTTP, Pod, eventually};
use byname_test_support::{CHECKOUT, RECOMMEND, crashing_module, image::sha256};
use serde_json::{Value, json};

use crate::istio::{
    mesh::{Mesh, client, expect},
    percentiles::Percentiles,
    stream::{BOUND, Stream, Way, ask, ask_at_once, path, plugin, report, start_asking, stream_stat, wait_for_log},
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

/// Asks for a name that nobody has asked for while no server answers: Istio's own routes serve it as it is, within the bound.
fn passes(pod: &Pod, host: &str) -> Result<()> {
    let (answer, logged) = ask(pod, OUTSIDE_HTTP, host)?;
    println!("{host} without a server: {} after {} ms", logged.reason(), logged.milliseconds);
    ensure!(logged.reason() == "unanswered" && answer.said("authority") == host, "{logged:?} {answer:?}");
    ensure!(u128::from(logged.milliseconds) < BOUND.as_millis(), "{logged:?}");
    Ok(())
}

/// Asks for many names at once while the server is silent: each request waits, and its wait ends in time.
fn waits_end(pod: &Pod) -> Result<()> {
    let waited = stream_stat(pod, "waits")?;
    let requests: Vec<(String, String)> = (0..WAITING).map(|number| (format!("silent-{number}"), path())).collect();
    ask_at_once(pod, OUTSIDE_HTTP, &requests)?;
    let mut milliseconds = Vec::new();
    for (host, path) in &requests {
        let logged = wait_for_log(pod, path)?;
        ensure!(logged.reason() == "unanswered", "{host}: {logged:?}");
        milliseconds.push(logged.milliseconds);
    }
    let waited = stream_stat(pod, "waits")? - waited;
    ensure!(waited >= WAITING as u64, "{waited} requests waited");
    let times = Percentiles::of(milliseconds);
    println!("{WAITING} requests waited for a silent server, in milliseconds of Envoy's access log: {times}");
    ensure!(times.p50 >= 290 && times.p99 <= LONGEST_WAIT_MILLISECONDS, "{times}");
    ensure!(u128::from(times.longest) < BOUND.as_millis(), "{times}");
    Ok(())
}

pub(crate) fn a_stream_outlives_its_server_under_load(mesh: &Mesh<'_>) -> Result<()> {
    [Way::Authority, Way::Endpoint].into_iter().try_for_each(|way| outlives_its_server(mesh, way))
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
        waits_end(&pod)?;
        stream.server.signal("CONT")?;
        recovers(stream, "web", Instant::now())?;

        // istiod pushes a listener, a cluster and routes; no stream ends by that.
        let opened = stream_stat(&pod, "opened")?;
        let pushed = |port: u16| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": format!("pushed-{port}")},
                "spec": {"selector": {"app.kubernetes.io/name": "checkout"}, "ports": [{"name": "http", "port": port, "targetPort": 8080}]},
            })
        };
        for port in 8801..8804 {
            mesh.cluster.apply(&[pushed(port)])?;
            eventually("the sidecar has the listener", || {
                Ok(pod.admin("/listeners")?.contains(&format!("0.0.0.0_{port}")))
            })?;
        }
        ensure!(stream_stat(&pod, "opened")? == opened, "a push of istiod ended a stream");
        mesh.cluster.kubectl(&["delete", "service", "-n", "shop", "pushed-8801", "pushed-8802", "pushed-8803"])?;

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
        Ok(())
    })
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

fn aliases(target: &str) -> Vec<Value> {
    let alias = |number| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": format!("alias-{number}"), "labels": {"of": "aliases"}},
            "spec": {"type": "ExternalName", "externalName": target},
        })
    };
    (0..CHANGES).map(alias).collect()
}

pub(crate) fn no_request_fails_over_a_stream_while_services_change(mesh: &Mesh<'_>) -> Result<()> {
    let result = [Way::Authority, Way::Endpoint].into_iter().try_for_each(|way| services_change(mesh, way));
    mesh.cluster.kubectl(&["delete", "service", "-n", "shop", "-l", "of=aliases", "--wait=false"])?;
    result
}

fn services_change(mesh: &Mesh<'_>, way: Way) -> Result<()> {
    mesh.cluster.apply(&aliases(CHECKOUT))?;
    Stream::with(mesh, &[], |stream| {
        stream.apply(way, &json!({}), &[])?;
        let pod = mesh.istio.start_pod(&client("sees-changes"))?;
        let hosts: Vec<String> = (0..CHANGES).map(|number| format!("alias-{number}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let asking = start_asking(&pod, "2ms", &hosts)?;
        eventually("both workers know every name", || {
            let report = report(&asking)?;
            ensure!(report["requests"].as_u64() > Some(3 * CHANGES as u64), "{report}");
            Ok(true)
        })?;
        let bad = || Ok::<_, anyhow::Error>([stream_stat(&pod, "rejections")?, stream_stat(&pod, "failures")?]);
        eventually("each worker has a stream with every name", || {
            let names = stream.server.names_by_stream("shop", "shop/alias-")?;
            let open = stream_stat(&pod, "open")?;
            let of_workers = names.values().filter(|count| **count == CHANGES).count() as u64;
            ensure!((open, of_workers) == (WORKERS, WORKERS), "{open} streams, of which these have names: {names:?}");
            Ok(true)
        })?;
        let before = bad()?;
        let mut memory = Vec::new();
        for target in [RECOMMEND, CHECKOUT] {
            let start = Instant::now();
            mesh.cluster.apply(&aliases(target))?;
            let applied = start.elapsed();
            let seen = eventually("the last name leads elsewhere", || {
                let (answer, _) = ask(&pod, OUTSIDE_HTTP, &format!("alias-{}", CHANGES - 1))?;
                expect(answer.said("authority") == target, &answer)
            })?;
            memory.push(f64::from(u32::try_from(pod.resident_kilobytes()?)?) / 1024.0);
            println!("{CHANGES} aliases lead to {target}: applied in {applied:.1?}, seen {seen:.1?} later");
        }
        thread::sleep(Duration::from_secs(2));
        let report = report(&asking)?;
        let (open, keys) = (stream_stat(&pod, "open")?, stream_stat(&pod, "keys")?);
        println!(
            "while {CHANGES} Services changed twice, by {}: {report}; {open} streams, {keys} keys; resident {memory:.1?} MB",
            way.by()
        );
        ensure!(report["failures"] == 0 && report["late"] == 0, "{report}\n{}", pod.tail());
        ensure!(bad()? == before, "rejections and failures of the stream: {before:?} to {:?}", bad()?);
        ensure!(keys >= WORKERS * CHANGES as u64, "{keys} keys");
        let gain = memory[1] - memory[0];
        ensure!(gain < LARGEST_GAIN_MEGABYTES, "memory grows by {gain:.1} MB");
        Ok(())
    })
}
