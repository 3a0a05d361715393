//! Every command of the READMEs, in the order in which the READMEs show them.
//!
//! A real kubectl talks to an API that records the objects. There are no pods. For `kubectl exec … -- curl`, the same
//! request goes to an Envoy that has what istiod would make of the applied objects.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use byname_test_support::{
    Envoy, Shell, console, kubectl_binary, kubernetes::KubernetesApi, repository, section, yaml_documents,
};
use serde_json::{Value, json};

use crate::{
    example,
    mesh::{Applied, Mesh, get},
};

/// The objects that were applied, as the mesh would see them.
fn applied(api: &KubernetesApi) -> Applied {
    let of_kind = |kind: &str| -> Vec<Value> {
        let all = api.objects().into_iter().filter(|object| object["kind"] == kind);
        all.inspect(|object| assert_eq!(object["metadata"]["namespace"], "shop")).collect()
    };
    let policy = of_kind("Sidecar").first().map(|sidecar| sidecar["spec"]["outboundTrafficPolicy"]["mode"].clone());
    Applied {
        plugin: of_kind("WasmPlugin").pop(),
        envoy_filters: of_kind("EnvoyFilter"),
        external: [of_kind("ServiceEntry"), of_kind("DestinationRule")].concat(),
        allows_any: policy.is_none_or(|mode| mode != "REGISTRY_ONLY"),
        ..Applied::authority()
    }
}

/// The output of `curl -s -o /dev/null -w '%{http_code}\n'`.
async fn curl(envoy: &Envoy, arguments: &str) -> Result<String> {
    let arguments =
        arguments.strip_prefix(r"-s -o /dev/null -w '%{http_code}\n' ").expect("curl prints the status alone");
    let (header, url) = match arguments.strip_prefix("-H 'Host: ") {
        Some(rest) => rest.split_once("' ").map(|(host, url)| (Some(host), url)).expect("a header"),
        None => (None, arguments),
    };
    let host = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).expect("http://HOST/");
    let reply = get(envoy, header.unwrap_or(host), &[]).await?;
    assert!(reply.said("upstream") != "PassthroughCluster", "{arguments} is unknown to the sidecar");
    Ok(format!("{}\n", reply.status))
}

async fn run(document: &str) -> Result<usize> {
    let api = KubernetesApi::start().await?;
    api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let directory = tempfile::tempdir()?;
    let programs = [("byname", Path::new(env!("CARGO_BIN_EXE_byname"))), ("kubectl", &kubectl_binary()?)];
    let shell = Shell::new(&programs)?.kubeconfig(&api.kubeconfig(directory.path()));
    // The project's README compiles the live cluster.
    for object in yaml_documents(&fs::read_to_string(repository().join(crate::SHOP))?)? {
        let items = object["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|item| item["kind"] == "Service").for_each(|service| api.put(service));
    }
    let mut running: Option<(Mesh, Envoy)> = None;
    let commands = console(document);
    for shown in &commands {
        let printed = match shown.command.strip_prefix("kubectl exec -n shop deploy/web -c web -- curl ") {
            None => {
                running = None;
                shell.run(&shown.command)?
            }
            Some(arguments) => {
                if running.is_none() {
                    let applied = applied(&api);
                    let mesh = Mesh::start_with("api.weather.example.com", &applied.external).await?;
                    let envoy = mesh.envoy(&applied).await?;
                    running = Some((mesh, envoy));
                }
                let (_, envoy) = running.as_ref().expect("it runs");
                curl(envoy, arguments).await?
            }
        };
        assert!(
            shown.is_printed(&printed),
            "$ {}\nis shown as\n{}\nand prints\n{printed}",
            shown.command,
            shown.output
        );
    }
    Ok(commands.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_authority_work() -> Result<()> {
    assert_eq!(run(&example("authority/README.md")).await?, 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_cluster_header_work() -> Result<()> {
    assert_eq!(run(&example("cluster-header/README.md")).await?, 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_projects_readme_work() -> Result<()> {
    let document = fs::read_to_string(repository().join("README.md"))?;
    let commands = section(&document, "### Istio").context("no such heading")?;
    assert_eq!(run(commands).await?, 3);
    Ok(())
}

/// The plugin's files go to `target`, as the page says.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_adoption_work() -> Result<()> {
    assert_eq!(run(&fs::read_to_string(repository().join("docs/adopt.md"))?).await?, 12);
    Ok(())
}

/// Users see the whole README on one screen.
#[test]
fn each_readme_fits_on_a_screen() {
    for readme in ["README.md", "authority/README.md", "cluster-header/README.md", "stream/README.md"] {
        let lines = example(readme).lines().count();
        assert!(lines <= 60, "{readme} has {lines} lines");
    }
}
