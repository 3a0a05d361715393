//! A sidecar of Istio's says what it holds.

use std::fs;

use anyhow::{Result, ensure};
use byname_cluster::{byname_program, eventually};
use byname_test_support::Shell;

use crate::istio::mesh::Mesh;

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
    Ok(())
}
