//! One object in the root namespace for the sidecars of every namespace, and its difference from the cluster.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use byname_cluster::{Pod, PodOptions, byname_program, eventually};
use byname_test_support::{Shell, kubectl_binary, repository, with_fields, yaml_documents};
use serde_json::{Value, json};

use crate::istio::mesh::{Mesh, expect, steadily};

/// Namespaces that each have a Service `home`, and an alias `front` of it.
const NAMESPACES: [&str; 3] = ["shop", "billing", "data"];
const ROOT_NAMESPACE: &str = "istio-system";
const DEPLOYED: &str = "kubectl get wasmplugin byname -n istio-system -o yaml > deployed.yaml";
const DIFF: &str = "byname diff deployed.yaml cluster.yaml";

/// A pod with a sidecar in each of [`NAMESPACES`], with the namespace as the label `app`.
struct Homes(BTreeMap<&'static str, Pod>);

impl Homes {
    fn start(mesh: &Mesh<'_>, name: &str) -> Result<Self> {
        let homes = NAMESPACES.iter().flat_map(|namespace| {
            let metadata = json!({"namespace": namespace, "name": "home"});
            let labels = json!({"app": "home"});
            let container =
                json!({"name": "main", "image": "example.com/main", "ports": [{"name": "http", "containerPort": 8080}]});
            [
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                    "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
                }),
                json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": "front"},
                    "spec": {"type": "ExternalName", "externalName": format!("home.{namespace}.svc.cluster.local")},
                }),
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                    "spec": {"selector": {"matchLabels": labels}, "template": {
                        "metadata": {"labels": labels}, "spec": {"containers": [container]},
                    }},
                }),
            ]
        });
        mesh.cluster.apply(&homes.collect::<Vec<_>>())?;
        let start = |namespace| {
            let labels = [("app", namespace)];
            mesh.istio.start_pod(&PodOptions { namespace, name, labels: &labels, is_gateway: false })
        };
        let pods: Result<_> = NAMESPACES.into_iter().map(|namespace| Ok((namespace, start(namespace)?))).collect();
        let homes = Self(pods?);
        mesh.istio.apply_only(&[])?;
        for (namespace, pod) in &homes.0 {
            homes.leave_names_alone(namespace, pod)?;
        }
        Ok(homes)
    }

    /// Waits until the pod reaches its own `home` and the authority stays as it is: no filter is there.
    fn leave_names_alone(&self, namespace: &str, pod: &Pod) -> Result<()> {
        steadily(&format!("in {namespace} the authority stays as it is"), || {
            let answer = pod.get("home")?;
            expect(answer.said("authority") == "home" && answer.said("pod").starts_with(namespace), &answer)
        })
    }

    /// Waits until every pod steers by the table of this version.
    fn wait_for_table(&self, version: u32) -> Result<()> {
        self.0.iter().try_for_each(|(namespace, pod)| steers(namespace, pod, version))
    }

    /// What each pod's names resolve to, by namespace and name: the answering pod, the authority that it saw, and byname's reason.
    fn answers(&self) -> Result<BTreeMap<(String, String), [String; 3]>> {
        let mut answers = BTreeMap::new();
        for (namespace, pod) in &self.0 {
            let other = if *namespace == "shop" { "billing" } else { "shop" };
            let rows = [
                ("home".to_owned(), *namespace, "service"),
                ("HOME".to_owned(), namespace, "service"),
                ("_http._tcp.home".to_owned(), namespace, "service"),
                ("front".to_owned(), namespace, "alias"),
                (format!("home.{other}"), other, "service"),
                (format!("home.{other}.svc.cluster.local."), other, "service"),
                (format!("front.{other}.svc"), other, "alias"),
            ];
            for (name, of, reason) in rows {
                let (log, count) = (pod.log().len(), reason_count(pod, reason)?);
                let answer = pod.curl(&["-H", "x-byname-trace: 1", &format!("http://{name}/")])?;
                let at = format!("{name} from {namespace}: {answer:?}");
                assert_eq!(answer.status, 200, "{at}");
                assert_eq!(answer.said("authority"), format!("home.{of}.svc.cluster.local"), "{at}");
                assert!(answer.said("pod").starts_with(&format!("{of}/home-")), "{at}");
                assert_eq!(reason_count(pod, reason)?, count + 1, "byname's reason is not {reason}: {at}");
                // One line for each pod and table: a VM writes ten at once, and one a second then.
                if name == "home" {
                    let line = format!("byname: \"{name}\" from namespace {namespace}: {reason}: ");
                    // Envoy writes its log a moment later.
                    eventually(&format!("the log says {line}"), || {
                        Ok(pod.log().get(log..).is_some_and(|log| log.contains(&line)))
                    })?;
                }
                let said = [answer.said("pod").to_owned(), answer.said("authority").to_owned(), reason.to_owned()];
                answers.insert(((*namespace).to_owned(), name), said);
            }
        }
        Ok(answers)
    }
}

/// Waits until the pod steers by the table of this version. A listener has the filter a moment after the filter has its table.
fn steers(namespace: &str, pod: &Pod, version: u32) -> Result<()> {
    wait_for_table(pod, version)?;
    steadily(&format!("the pod in {namespace} steers"), || {
        let answer = pod.get("home")?;
        expect(answer.said("authority") == format!("home.{namespace}.svc.cluster.local"), &answer)
    })
}

pub(crate) fn wait_for_table(pod: &Pod, version: u32) -> Result<()> {
    eventually(&format!("the pod serves table {version}"), || {
        let served = table_gauge(pod, "version")?;
        ensure!(served == u64::from(version), "it serves table {served}");
        Ok(true)
    })?;
    Ok(())
}

/// The number of requests with this reason.
fn reason_count(pod: &Pod, reason: &str) -> Result<u64> {
    let stats = pod.admin(&format!("/stats?filter=byname.reason.{reason}$"))?;
    stats.lines().filter_map(|line| line.rsplit_once(": ")).map(|(_, count)| Ok(count.parse::<u64>()?)).sum()
}

/// A gauge of the table that the pod serves: `byname.table.NAME`.
pub(crate) fn table_gauge(pod: &Pod, name: &str) -> Result<u64> {
    let name = format!("byname.table.{name}");
    let stats = pod.admin(&format!("/stats?filter={name}"))?;
    let value = stats.trim().rsplit_once(": ").with_context(|| format!("the pod's Envoy has no gauge {name}"))?.1;
    Ok(value.parse()?)
}

/// Requests with the header `x-byname-trace` have a line in Envoy's log.
fn traced() -> Value {
    json!({"trace": {"requestHeader": "x-byname-trace"}})
}

/// The object for the whole mesh. `version` is that of the table.
pub(crate) fn object_for_the_mesh(
    mesh: &Mesh<'_>,
    format: &str,
    version: u32,
    config: &Value,
    arguments: &[&str],
) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config.json");
    fs::write(&file, with_fields(config.clone(), json!({"version": 1})).to_string())?;
    let (image, sha256) = mesh.istio.image();
    let (config, version) = (file.display().to_string(), version.to_string());
    let always =
        ["--format", format, "--config", &config, "--table-version", &version, "--image", &image, "--sha256", sha256];
    Ok(yaml_documents(&mesh.istio.compile(&[&always[..], arguments].concat())?)?.remove(0))
}

/// The same short names are other Services in each namespace. Istio alone reaches most of them too, but it leaves the authority as
/// it is.
pub(crate) fn one_object_serves_pods_of_every_namespace(mesh: &Mesh<'_>) -> Result<()> {
    let homes = Homes::start(mesh, "everywhere")?;
    let plugin = object_for_the_mesh(mesh, "istio-wasmplugin", 1, &traced(), &[])?;
    assert_eq!(plugin["metadata"]["namespace"], ROOT_NAMESPACE);
    let config = &plugin["spec"]["pluginConfig"];
    assert!(config.get("caller").is_none() && config["table"].get("services").is_none(), "{config}");
    assert!(config["table"]["packed"]["deflate"].is_string(), "{config}");
    mesh.istio.apply_only(&[plugin])?;
    homes.wait_for_table(1)?;
    let packed = homes.answers()?;
    let plain = object_for_the_mesh(mesh, "istio-wasmplugin", 2, &traced(), &["--plain"])?;
    assert!(plain["spec"]["pluginConfig"]["table"]["services"]["data/home"].is_object(), "{plain}");
    mesh.istio.apply_only(&[plain])?;
    homes.wait_for_table(2)?;
    assert_eq!(homes.answers()?, packed, "a plain table gives other answers");
    let extension = object_for_the_mesh(mesh, "istio-trafficextension", 3, &traced(), &[])?;
    assert_eq!(extension["kind"], "TrafficExtension");
    mesh.istio.apply_only(&[extension])?;
    homes.wait_for_table(3)?;
    assert_eq!(homes.answers()?, packed, "a TrafficExtension gives other answers");
    Ok(())
}

pub(crate) fn a_selector_keeps_the_filter_to_its_pods(mesh: &Mesh<'_>) -> Result<()> {
    let homes = Homes::start(mesh, "selected")?;
    for (number, format) in [(1, "istio-wasmplugin"), (2, "istio-trafficextension")] {
        let object = object_for_the_mesh(mesh, format, number, &traced(), &["--selector", "app=billing"])?;
        mesh.istio.apply_only(&[object])?;
        steers("billing", &homes.0["billing"], number)?;
        // The pod with the label has the object, so the push has reached istiod.
        for (namespace, pod) in homes.0.iter().filter(|(namespace, _)| **namespace != "billing") {
            homes.leave_names_alone(namespace, pod)?;
            let filters = pod.admin("/config_dump?resource=dynamic_listeners")?;
            assert!(!filters.contains("byname"), "a pod without the label has the filter, with {format}");
        }
    }
    Ok(())
}

/// The commands of docs/compile.md, with objects as the API server gives them back.
pub(crate) fn a_deployed_object_has_no_difference_from_its_cluster(mesh: &Mesh<'_>) -> Result<()> {
    let document = fs::read_to_string(repository().join("docs/compile.md"))?;
    let words = document.split_whitespace().collect::<Vec<_>>().join(" ");
    for command in [DEPLOYED, DIFF] {
        assert!(words.contains(&format!("`{command}`")), "docs/compile.md does not show {command}");
    }
    let commands = format!("{DEPLOYED}\nkubectl get services,endpointslices -A -o yaml > cluster.yaml\n{DIFF}");
    let programs = [("byname", byname_program()?), ("kubectl", kubectl_binary()?)];
    let programs = programs.each_ref().map(|(name, path)| (*name, path.as_path()));
    let directory = tempfile::tempdir()?;
    let shell = Shell::new(&programs)?.kubeconfig(&mesh.cluster.admin()).directory(directory.path());
    for (format, plain) in [("istio-wasmplugin", false), ("istio-wasmplugin", true), ("istio-trafficextension", false)]
    {
        mesh.cluster.apply(&[json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "leaving"},
            "spec": {"selector": {"app.kubernetes.io/name": "checkout"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        })])?;
        eventually("the Service has endpoints", || {
            let slices = mesh.cluster.kubectl(&[
                "get",
                "endpointslices",
                "-n",
                "shop",
                "-l",
                "kubernetes.io/service-name=leaving",
                "-o",
                "jsonpath={.items[*].endpoints[*].addresses}",
            ])?;
            Ok(!slices.is_empty())
        })?;
        mesh.istio.apply_only(&[])?;
        let (image, sha256) = mesh.istio.image();
        let arguments = ["--format", format, "--image", &image, "--sha256", sha256];
        let plain: &[&str] = if plain { &["--plain"] } else { &[] };
        fs::write(directory.path().join("byname.yaml"), mesh.istio.compile(&[&arguments[..], plain].concat())?)?;
        shell.run("kubectl create -f byname.yaml")?;
        // The document shows the command for a WasmPlugin.
        let commands = match format {
            "istio-trafficextension" => commands.replace("get wasmplugin", "get trafficextension"),
            _ => commands.clone(),
        };
        let printed = shell.run(&commands)?;
        assert!(printed.starts_with("no differences in "), "{format} {plain:?}: {printed}");
        let deployed = fs::read_to_string(directory.path().join("deployed.yaml"))?;
        assert!(deployed.contains("resourceVersion:"), "{deployed}");
        mesh.cluster.kubectl(&["delete", "service", "leaving", "-n", "shop"])?;
        let printed = shell.run(&format!("{{\n{commands}\n}} || echo exit status $?"))?;
        assert!(printed.trim().ends_with("exit status 1"), "{printed}");
        let vanished = ["vanishes  leaving.shop.svc.cluster.local:80", "4 vanish, 0 change, 0 appear"];
        assert!(vanished.iter().all(|line| printed.contains(line)), "{printed}");
    }
    mesh.istio.apply_only(&[])
}
