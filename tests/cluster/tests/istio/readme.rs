//! The commands of the READMEs in examples/istio, with a real kubectl and the real API.

use std::fs;

use anyhow::{Context, Result, ensure};
use byname_cluster::{MeshServer, Pod, byname_program, eventually};
use byname_test_support::{CHECKOUT, ConsoleCommand, Shell, console, kubectl_binary, repository, section};

use crate::istio::{
    mesh::{Mesh, client},
    stream::reaches_rows_with_the_plugin_as_it_is,
};

/// The digest that the READMEs show.
const SHOWN: &str = "d9c13e5665cef171f816ab8227d10d0ef35f6acf47669805a5248b1fc6adf2a2";

const STREAM: &str = "examples/istio/stream";

/// A shell with the programs of the READMEs, in a mesh without byname.
fn shell_without_byname(mesh: &Mesh<'_>) -> Result<Shell> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    let programs = [("byname", byname_program()?), ("kubectl", kubectl_binary()?)];
    let programs = programs.each_ref().map(|(name, path)| (*name, path.as_path()));
    Ok(Shell::new(&programs)?.kubeconfig(&mesh.cluster.admin()))
}

/// Runs all commands. In place of the digest shown comes that of the image, as the READMEs say.
fn run(mesh: &Mesh<'_>, document: &str) -> Result<usize> {
    let shell = shell_without_byname(mesh)?;
    let (_, sha256) = mesh.istio.image();
    let commands = console(document);
    for shown in &commands {
        let command = shown.command.replace(SHOWN, sha256);
        run_one(&mesh.client, &shell, shown, &command)?;
        if command.contains("istio-wasmplugin") {
            mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
        }
    }
    Ok(commands.len())
}

/// Runs `command`, the one that is shown or what takes its place here. The stand-in for the kubelet runs no container, so the program of
/// `kubectl exec` runs in `pod`.
fn run_one(pod: &Pod, shell: &Shell, shown: &ConsoleCommand, command: &str) -> Result<()> {
    let Some(program) = command.strip_prefix("kubectl exec -n shop deploy/web -c web -- ") else {
        let printed = shell.run(command)?;
        assert!(shown.is_printed(&printed), "$ {command}\nis shown as\n{}\nand prints\n{printed}", shown.output);
        return Ok(());
    };
    // No DNS server of the test knows the host outside.
    let program = program.replacen("curl ", "curl --resolve weather:80:10.244.255.254 ", 1);
    eventually(&format!("$ {program} prints {}", shown.output.trim()), || {
        let printed = pod.run(&["sh", "-c", &program])?;
        ensure!(shown.is_printed(&printed), "it prints {printed}");
        Ok(true)
    })?;
    Ok(())
}

fn document(path: &str) -> Result<String> {
    Ok(fs::read_to_string(repository().join(path))?)
}

pub(crate) fn the_commands_for_authority_work(mesh: &Mesh<'_>) -> Result<()> {
    assert_eq!(run(mesh, &document("examples/istio/authority/README.md")?)?, 6);
    Ok(())
}

/// One directory is applied, and names of every kind are asked for before the plugin is removed. The stand-in for the kubelet runs no
/// container, so the server runs in a pod of its own in place of those of the Deployment.
pub(crate) fn the_commands_for_stream_work(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let directory = tempfile::tempdir()?;
    let (_, sha256) = mesh.istio.image();
    for file in ["server.yaml", "wasmplugin.yaml"] {
        let text = fs::read_to_string(repository().join(STREAM).join(file))?;
        let text = text.replace(SHOWN, sha256).replace("replicas: 2", "replicas: 0");
        fs::write(directory.path().join(file), text)?;
    }
    let shell = Shell::new(&[("kubectl", &kubectl_binary()?)])?.kubeconfig(&mesh.cluster.admin());
    let commands = console(&document(&format!("{STREAM}/README.md"))?);
    let mut server = None;
    let mut reached = 0;
    for shown in &commands {
        if shown.command.starts_with("kubectl delete") {
            reaches_rows_with_the_plugin_as_it_is(mesh)?;
            reached += 1;
        }
        run_one(&mesh.client, &shell, shown, &shown.command.replace(STREAM, &directory.path().display().to_string()))?;
        if server.is_none() {
            server = Some(MeshServer::start(mesh.cluster, &mesh.istio, &[])?);
        }
    }
    mesh.istio.apply_only(&[])?;
    mesh.cluster.kubectl(&["delete", "deployment/byname", "-n", "byname-system"])?;
    drop(server.context("a command applies the directory")?);
    assert_eq!((commands.len(), reached), (5, 1));
    Ok(())
}

pub(crate) fn the_commands_for_cluster_header_work(mesh: &Mesh<'_>) -> Result<()> {
    assert_eq!(run(mesh, &document("examples/istio/cluster-header/README.md")?)?, 8);
    mesh.istio.apply_only(&[])?;
    Ok(())
}

/// The workload is a new pod that nothing but the README's commands asks, so that the requests that `byname status` counts are theirs.
pub(crate) fn the_commands_of_the_projects_readme_work(mesh: &Mesh<'_>) -> Result<()> {
    let readme = document("README.md")?;
    let commands = console(section(&readme, "### Istio").context("README.md has no such heading")?);
    let shell = shell_without_byname(mesh)?;
    let (_, sha256) = mesh.istio.image();
    let pod = mesh.istio.start_pod(&client("web-of-the-readme"))?;
    let mut counted = 0;
    for shown in &commands {
        if shown.command.starts_with("kubectl delete") {
            // Other sidecars of the namespace take the table too, and status fails until they have it.
            let mut status = String::new();
            eventually("every sidecar serves the table", || {
                let run = shell.run("byname status -n shop");
                run.as_ref().ok().into_iter().for_each(|printed| status.clone_from(printed));
                Ok(run.is_ok())
            })?;
            println!("before the README's last command, byname status -n shop prints\n{status}");
            let own = status.split_once("shop/web-of-the-readme ").context("no such pod")?.1;
            let own = own.split("\nshop/").next().unwrap_or_default();
            ensure!(own.lines().any(|line| line == "  requests  alias 1"), "{status}");
            counted += 1;
        }
        run_one(&pod, &shell, shown, &shown.command.replace(SHOWN, sha256))?;
        if shown.command.contains("istio-wasmplugin") {
            // No request, which would be counted.
            eventually("the pod has the table", || {
                let stats = pod.admin("/stats?filter=byname.table.services$")?;
                ensure!(stats.trim().rsplit_once(": ").is_some_and(|(_, services)| services != "0"), "{stats}");
                Ok(true)
            })?;
        }
    }
    ensure!(commands.len() >= 3 && counted == 1, "README.md shows {} commands", commands.len());
    Ok(())
}

/// docs/adopt.md in its order, with the client as the workload. Its blocks without output are run too; each says something of the step
/// that is reached.
pub(crate) fn the_commands_for_adoption_work(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    let (byname, kubectl) = (byname_program()?, kubectl_binary()?);
    let shell = Shell::new(&[("byname", &byname), ("kubectl", &kubectl)])?.kubeconfig(&mesh.cluster.admin());
    let (_, sha256) = mesh.istio.image();
    let own = |command: &str| {
        let workload = command.replace("app=checkout", "app=client").replace("deploy/checkout", mesh.client.name());
        workload.replace("POD", mesh.client.name()).replace(SHOWN, sha256)
    };
    let page = document("docs/adopt.md")?;
    let shown = |heading: &str| -> Result<()> {
        let part = section(&page, heading).with_context(|| format!("docs/adopt.md has no {heading}"))?;
        for shown in console(part) {
            run_one(&mesh.client, &shell, &shown, &own(&shown.command))?;
        }
        Ok(())
    };
    // Runs a line of a block until it prints this and ends with this status.
    let ends = |beginning: &str, status: u8, wanted: &[&str]| -> Result<()> {
        let command = page.lines().find(|line| line.starts_with(beginning));
        let command = own(command.with_context(|| format!("docs/adopt.md has no {beginning}"))?);
        eventually(&format!("{beginning} prints {wanted:?}"), || {
            let printed = shell.run(&format!("{command}; [ $? = {status} ]"))?;
            ensure!(wanted.iter().all(|text| printed.contains(text)), "it prints {printed}");
            Ok(true)
        })
        .map(drop)
    };
    let says = |beginning: &str, wanted: &[&str]| ends(beginning, 0, wanted);

    says("byname check", &["ok    api ", "\nok    mesh ", "none of 1 sidecar has byname's filter"])?;
    // A LoadBalancer whose controller does not run here.
    ends("byname lint", 1, &["warning[BN055] Service shop/web", "\n0 errors, 1 warning, 0 infos in 9 Services\n"])?;
    // `weather` on two ports and `suggest`, each by four names. Nothing else differs from DNS.
    let summary =
        "\n0 refused, 0 elsewhere, 0 reachable only with byname, 12 with another Host, 0 with their full name, of ";
    ends("byname diff --against-dns", 1, &[summary, " names compared from 1 namespace\n"])?;

    shown("## 3. Observe one workload")?;
    let is_itself = || mesh.wait_for("suggest", "suggest");
    let filter = "kubectl exec -n shop deploy/checkout";
    says(filter, &["byname.observing: 1"])?;
    is_itself()?;
    says(filter, &["byname.observed.host.alias: 1"])?;
    says("byname status", &["matches the table", "observed  1 of 1 request would be different: host 1"])?;
    says(
        "kubectl logs -n shop POD -c istio-proxy | grep mode=observe",
        &["GET suggest 200 via_upstream mode=observe difference=host reason=alias"],
    )?;

    shown("## 4. Turn on the workload")?;
    mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
    says("byname explain payments --live", &["the cluster gives the same answer now"])?;
    says(
        "kubectl logs -n shop POD -c istio-proxy | grep reason=",
        &["GET checkout.shop.svc.cluster.local 200 via_upstream reason=service"],
    )?;

    shown("## 5. Turn on the namespace")?;
    mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
    says("byname check", &["byname serves a current table in 1 sidecar"])?;

    shown("## Roll back")?;
    is_itself()?;
    shown("## Remove")?;
    is_itself()?;
    says("byname check", &["none of 1 sidecar has byname's filter"])?;
    mesh.istio.apply_only(&[])
}
