//! A sidecar of Istio's says what it holds.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use byname_cluster::{OUTSIDE_HTTP, byname_program, eventually};
use byname_test_support::{Shell, kubectl_binary, with_fields};
use serde_json::{Value, json};

use crate::istio::{
    mesh::{Mesh, client},
    stream::{Stream, Way, ask},
};

/// The program runs in the pod, where the admin interface listens; and outside, where it asks pilot-agent in the pod.
pub(crate) fn a_sidecar_says_what_it_holds(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("cluster.yaml");
    fs::write(&file, mesh.cluster.dump("services,endpointslices")?)?;
    let (program, dump) = (byname_program()?.display().to_string(), file.display().to_string());
    let asked = |args: &[&str]| {
        mesh.client.run(&[&[&program as &str], args, &["--admin", "127.0.0.1:15000", "-f", &dump]].concat())
    };
    eventually("the sidecar holds the table of the cluster", || {
        let status = asked(&["status"])?;
        ensure!(status.contains("\n  cluster   matches the table"), "{status}");
        ensure!(status.contains(", accepted "), "{status}");
        Ok(true)
    })?;
    // A refused name and a difference would end it with status 1.
    let explain = asked(&["explain", "checkout"])?;
    ensure!(explain.contains("reachable: Service shop/checkout"), "{explain}");
    ensure!(explain.ends_with("  + the cluster gives the same answer now\n"), "{explain}");
    // Istio has the table packed.
    let is_unpacked = |table: &str| table.contains("\n      \"shop/checkout\": {") && !table.contains("packed");
    let held = mesh.client.run(&[&program, "proxy-config", "--admin", "127.0.0.1:15000"])?;
    ensure!(is_unpacked(&held), "{held}");

    let shell = Shell::new(&[("byname", &byname_program()?)])?.kubeconfig(&mesh.cluster.admin());
    let status = shell.run("byname status -n shop --exec")?;
    ensure!(status.contains("\n  cluster   matches the table") && status.contains(", accepted "), "{status}");
    let explain = shell.run(&format!("byname explain checkout --live shop/{} --exec", mesh.client.name()))?;
    ensure!(explain.ends_with("  + the cluster gives the same answer now\n"), "{explain}");
    let held = shell.run(&format!("byname proxy-config shop/{} --exec", mesh.client.name()))?;
    ensure!(is_unpacked(&held), "{held}");
    answers_over_port_forward(mesh)
}

/// A user who may not run programs in pods, so that nothing but the port-forward can answer.
fn answers_over_port_forward(mesh: &Mesh<'_>) -> Result<()> {
    const USER: &str = "forwards-ports";
    let rbac = |kind: &str, more: Value| {
        let base = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": USER}});
        with_fields(base, more)
    };
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    mesh.cluster.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "shop", "name": USER}}),
        rbac("ClusterRole", json!({"rules": [
            rule(&["", "discovery.k8s.io"], &["services", "endpointslices", "pods", "nodes", "namespaces"], &["list"]),
            rule(&[""], &["pods"], &["get"]),
            rule(&[""], &["pods/portforward"], &["get", "create"]),
        ]})),
        rbac("ClusterRoleBinding", json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
            "subjects": [{"kind": "ServiceAccount", "name": USER, "namespace": "shop"}],
        })),
    ])?;
    let shell = Shell::new(&[("byname", &byname_program()?)])?.kubeconfig(&mesh.cluster.service_account("shop", USER)?);
    let status = shell.run("byname status -n shop")?;
    ensure!(status.contains("\n  cluster   matches the table") && status.contains(", accepted "), "{status}");
    let explain = shell.run(&format!("byname explain checkout --live shop/{}", mesh.client.name()))?;
    ensure!(explain.ends_with("  + the cluster gives the same answer now\n"), "{explain}");
    let refused = shell.run("byname status -n shop --exec; [ $? = 2 ]")?;
    ensure!(refused.contains("pods/exec"), "{refused}");
    Ok(())
}

/// A sidecar whose filter asks a server.
pub(crate) fn a_sidecar_tells_of_its_stream(mesh: &Mesh<'_>) -> Result<()> {
    Stream::with(mesh, &[], |stream| {
        stream.apply(Way::Authority, &json!({}), &[])?;
        let programs = [("byname", byname_program()?), ("kubectl", kubectl_binary()?)];
        let shell = Shell::new(&programs.each_ref().map(|(name, path)| (*name, path.as_path())))?
            .kubeconfig(&mesh.cluster.admin());
        let pod = format!("shop/{}", mesh.client.name());
        let says = |command: &str, status: u8, wanted: &[&str]| -> Result<()> {
            let command = format!("byname {command}; [ $? = {status} ]");
            eventually(&command, || {
                let printed = shell.run(&command)?;
                ensure!(wanted.iter().all(|text| printed.contains(text)), "{printed}");
                Ok(true)
            })?;
            Ok(())
        };
        let table = "\n  table     the Services that requests need, from the server outbound|9905||byname.byname-system.svc.cluster.local";
        for way in ["", " --exec"] {
            says(&format!("status {pod}{way}"), 0, &[table, "\n  stream    "])?;
        }
        says(&format!("status {pod}"), 0, &[" open, ", " waited for the server, "])?;
        let endpoints = "Envoy  endpoints of outbound|80||checkout.shop.svc.cluster.local in this Envoy\n  + ";
        says(&format!("explain checkout --live {pod}"), 0, &["reachable: Service shop/checkout", endpoints])?;
        says("check -n shop", 0, &["\nok    sidecars "])?;
        // What the server sent: its monitor is reached through the API's port-forward too.
        let monitor =
            "kubectl port-forward -n byname-system pod/byname 9902 >/dev/null & trap 'kill $!' EXIT; sleep 1; \
            byname proxy-config POD --monitor 127.0.0.1:9902"
                .replace("POD", &pod);
        eventually(&monitor, || {
            let printed = shell.run(&monitor)?;
            let is_acknowledged =
                |line: &str| line.contains(" shop/checkout, version ") && line.ends_with(", acknowledged");
            ensure!(printed.lines().any(is_acknowledged), "{printed}");
            Ok(true)
        })?;
        // Each request counts by its reason.
        let requests = || -> Result<BTreeMap<String, u64>> {
            let status = shell.run(&format!("byname status {pod}"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("  requests  ")).map(str::to_owned);
            let line = line.with_context(|| format!("no requests: {status}"))?;
            line.split(", ")
                .map(|part| {
                    let (reason, count) = part.split_once(' ').context("a reason and a count")?;
                    Ok((reason.to_owned(), count.parse()?))
                })
                .collect()
        };
        let before = requests()?;
        for host in ["suggest", "suggest", "suggest", "_http._tcp.checkout", "nothing"] {
            ask(&mesh.client, OUTSIDE_HTTP, host)?;
        }
        let after = requests()?;
        let mut wanted = before.clone();
        for (reason, more) in [("alias", 3), ("service", 1), ("name_not_found", 1)] {
            *wanted.entry(reason.to_owned()).or_default() += more;
        }
        ensure!(after == wanted, "{before:?} became {after:?}");
        // Two sidecars, of which one has asked for nothing.
        let other = mesh.istio.start_pod(&client("asks-nothing"))?;
        let unused = "\n  stream    none open, because no request has needed a name yet\n";
        let heads = [&*pod, "shop/asks-nothing"].map(|pod| format!("{pod}  Envoy 1.40.0{table}"));
        for command in ["status -n shop".to_owned(), format!("status {pod} shop/asks-nothing")] {
            says(&command, 0, &[&heads[0], &heads[1], unused, " open, "])?;
        }
        drop(other);
        stream.server.kill()?;
        says(&format!("status {pod}"), 1, &["\n  stream    no answer for "])?;
        says(
            "check -n shop",
            1,
            &[&format!("\nfail  sidecars     {pod}: the filter has had no answer from the server ")],
        )?;
        stream.server.restart()?;
        says(&format!("status {pod}"), 0, &[table, "\n  stream    "])
    })
}
