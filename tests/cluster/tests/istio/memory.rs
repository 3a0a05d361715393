//! What a large table takes of a sidecar with many listeners.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Result, ensure};
use byname_cluster::{Pod, PodOptions, byname_program, eventually, run};
use byname_test_support::{mesh_names, yaml_documents};
use serde_json::{Value, json};

use crate::istio::{mesh::Mesh, whole_mesh::wait_for_table};

const LISTENERS: usize = 131;
const NAMES: usize = 10_000;
const PUSHES: u32 = 10;
/// Largest share of what a plain table takes. It is 0.39 in most runs, but resident memory varies by several MB.
const LARGEST_SHARE: f64 = 0.45;
/// An EndpointSlice has at most 100 ports.
const PORTS_OF_A_SERVICE: usize = 100;
/// Between a push and the measurement, so that the last worker has its table too.
const SETTLE: Duration = Duration::from_secs(3);

/// Services with the names of a mesh, as kubectl prints them.
fn dump() -> Value {
    let items: Vec<Value> = (0_u32..)
        .zip(mesh_names("shop", NAMES))
        .map(|(number, (namespace, name))| {
            let address = std::net::Ipv4Addr::from(0x0A_70_00_00 + number).to_string();
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
                "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]},
            })
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The listeners for outbound HTTP: one for each port number.
pub(crate) fn http_listeners(pod: &Pod) -> Result<usize> {
    Ok(pod.admin("/listeners")?.lines().filter(|line| line.starts_with("0.0.0.0_")).count())
}

/// Gives the pod a port of a Service for each listener that it lacks.
pub(crate) fn add_listeners(mesh: &Mesh<'_>, pod: &Pod, listeners: usize) -> Result<()> {
    let present = http_listeners(pod)?;
    ensure!(present <= listeners, "the pod has too many listeners: {present}");
    let ports: Vec<Value> =
        (present..listeners).map(|number| json!({"name": format!("http-{number}"), "port": 20_000 + number})).collect();
    for (number, ports) in ports.chunks(PORTS_OF_A_SERVICE).enumerate() {
        let name = format!("ports-{listeners}-{number}");
        mesh.cluster.apply(&[json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name, "labels": {"of": "ports"}},
            "spec": {"selector": {"app": "nothing"}, "ports": ports},
        })])?;
    }
    eventually("the pod has the listeners", || Ok(http_listeners(pod)? == listeners))?;
    Ok(())
}

pub(crate) fn remove_listeners(mesh: &Mesh<'_>) -> Result<()> {
    mesh.cluster.kubectl(&["delete", "service", "-n", "shop", "-l", "of=ports"])?;
    eventually("the listeners are gone", || Ok(!mesh.client.admin("/listeners")?.contains("0.0.0.0_20")))?;
    Ok(())
}

/// Pushes a table to a pod of its own, and returns in MB what the pod's Envoy takes before and after.
fn measure(mesh: &Mesh<'_>, dump: &str, namespace: &str, form: &[&str]) -> Result<(f64, f64)> {
    let labels = [("app", "memory")];
    let pod = mesh.istio.start_pod(&PodOptions { namespace, name: "memory", labels: &labels, is_gateway: false })?;
    add_listeners(mesh, &pod, LISTENERS)?;
    sleep(SETTLE);
    let megabytes = || Ok::<_, anyhow::Error>(f64::from(u32::try_from(pod.resident_kilobytes()?)?) / 1024.0);
    let without = megabytes()?;
    let (image, sha256) = mesh.istio.image();
    let arguments = ["compile", "-f", dump, "-n", namespace, "--format", "istio-wasmplugin", "--image", &image];
    let printed = run(
        &byname_program()?.display().to_string(),
        &[&arguments[..], &["--sha256", sha256, "--selector", "app=memory"], form].concat(),
        None,
    )?;
    let mut plugin = yaml_documents(&printed)?.remove(0);
    println!("{namespace}: {form:?} has {} bytes", plugin.to_string().len());
    for push in 0..=PUSHES {
        plugin["spec"]["pluginConfig"]["table"]["version"] = (push + 1).into();
        let verb = if push == 0 { "create" } else { "replace" };
        mesh.cluster.kubectl_with_input(&[verb, "-f", "-"], Some(&plugin.to_string()))?;
        wait_for_table(&pod, push + 1)?;
    }
    sleep(SETTLE);
    let stats = pod.admin("/stats?filter=byname.table.services")?;
    ensure!(stats.trim().ends_with(&format!(": {NAMES}")), "{stats}");
    Ok((without, megabytes()?))
}

pub(crate) fn a_packed_table_takes_less_memory_than_a_plain_one(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dump.json");
    fs::write(&file, dump().to_string())?;
    let dump = file.display().to_string();
    let measured = measure(mesh, &dump, "billing", &[]).and_then(|packed| {
        mesh.istio.apply_only(&[])?;
        Ok((packed, measure(mesh, &dump, "data", &["--plain"])?))
    });
    remove_listeners(mesh)?;
    mesh.istio.apply_only(&[])?;
    let (packed, plain) = measured?;
    let share = (packed.1 - packed.0) / (plain.1 - plain.0);
    println!(
        "resident memory of Envoy with {LISTENERS} HTTP listeners and {NAMES} names, after {PUSHES} more pushes: packed {:.0} to \
         {:.0} MB, plain {:.0} to {:.0} MB; share {share:.2}",
        packed.0, packed.1, plain.0, plain.1
    );
    ensure!(share <= LARGEST_SHARE, "a packed table takes {share:.2} of what a plain one takes");
    Ok(())
}
