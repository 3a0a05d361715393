//! The pod of `examples/kubernetes` works with its containers confined as the manifest says.
//!
//! There is no kubelet and no API: `byname watch` reads the cluster's objects from files. `crates/cli/tests/kubernetes`
//! tests names, probes and the token.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use byname_containers::{Engine, Images, StandIn, run};
use byname_test_support::{repository, yaml_documents};
use serde_json::Value;
use tempfile::TempDir;

const NETWORK: &str = "byname-test-pod";
const PAYMENTS: &str = "byname-test-payments";
/// The container whose network namespace the pod's containers share.
const SANDBOX: &str = "byname-test-sandbox";
const SERVER: (&str, &str) = ("byname-stand-in/server", "10.203.8.11");

/// The objects that `byname watch` would read from the API.
const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: payments, namespace: shop}
  spec: {clusterIP: 10.96.0.11, ports: [{name: http, port: 80, targetPort: 8080}], selector: {app: payments}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: payments-x7k2p, namespace: shop, labels: {kubernetes.io/service-name: payments}}
  addressType: IPv4
  ports: [{name: http, port: 8080}]
  endpoints: [{addresses: [10.203.8.11], conditions: {ready: true}}]
- apiVersion: v1
  kind: Pod
  metadata: {name: checkout-0, namespace: shop}
  spec: {nodeName: node-1, containers: [{name: checkout}]}
  status: {podIP: 10.203.8.10}
- apiVersion: v1
  kind: Node
  metadata: {name: node-1, labels: {topology.kubernetes.io/zone: eu-a}}
";

struct ContainerPod {
    spec: Value,
    volumes: TempDir,
    started: Vec<String>,
    _images: Images,
    _engine: Engine,
}

impl ContainerPod {
    fn start() -> Result<Self> {
        let engine = Engine::find()?;
        let folder = repository().join("examples/kubernetes");
        let manifest = yaml_documents(&fs::read_to_string(folder.join("checkout.yaml"))?)?;
        let deployment = manifest.into_iter().find(|document| document["kind"] == "Deployment").unwrap();
        let spec = deployment["spec"]["template"]["spec"].clone();
        let stand_ins = [("/byname-cli", StandIn::Byname), ("/envoy:", StandIn::Envoy), ("/curl:", StandIn::Curl)];
        let mut wanted = vec![(SERVER.0.to_owned(), StandIn::Python)];
        for container in containers(&spec) {
            let image = container["image"].as_str().unwrap();
            let (_, stand_in) = stand_ins.iter().find(|(part, _)| image.contains(part)).context("a known image")?;
            wanted.push((image.to_owned(), *stand_in));
        }
        let wanted: Vec<(&str, StandIn)> = wanted.iter().map(|(name, stand_in)| (&**name, *stand_in)).collect();
        let images = Images::make(&wanted)?;
        // Remove what an earlier run may have left.
        take_down(containers(&spec).map(name_of).chain([PAYMENTS.to_owned(), SANDBOX.to_owned()]));
        let pod = Self { spec, volumes: tempfile::tempdir()?, started: Vec::new(), _images: images, _engine: engine };
        // An emptyDir has this mode.
        for volume in pod.spec["volumes"].as_array().unwrap() {
            let directory = pod.volume(volume["name"].as_str().unwrap());
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, PermissionsExt::from_mode(0o777))?;
        }
        fs::set_permissions(pod.volumes.path(), PermissionsExt::from_mode(0o755))?;
        for file in ["bootstrap.yaml", "byname.json"] {
            fs::copy(folder.join(file), pod.volume("config").join(file))?;
        }
        fs::create_dir(pod.volume("cluster"))?;
        fs::write(pod.volume("cluster").join("cluster.yaml"), CLUSTER)?;
        Ok(pod)
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.volumes.path().join(name)
    }

    fn docker(&mut self, name: &str, arguments: &[&str]) -> Result<String> {
        self.started.push(name.to_owned());
        run("docker", &[&["run", "--name", name], arguments].concat())
    }

    /// Runs a container: detached if it stays, else to its end.
    fn run(&mut self, container: &Value, stays: bool) -> Result<()> {
        let name = name_of(container);
        let (own, of_pod) = (&container["securityContext"], &self.spec["securityContext"]);
        assert!(of_pod["runAsNonRoot"] == true && own["allowPrivilegeEscalation"] == false);
        let mut arguments =
            vec![format!("--network=container:{SANDBOX}"), "--security-opt=no-new-privileges".to_owned()];
        arguments.push(format!("--user={0}:{0}", of_pod["runAsUser"]));
        arguments.push(format!("--read-only={}", own["readOnlyRootFilesystem"]));
        for capability in own["capabilities"]["drop"].as_array().unwrap() {
            arguments.push(format!("--cap-drop={}", capability.as_str().unwrap()));
        }
        arguments.push(format!(
            "--memory={}",
            container["resources"]["limits"]["memory"].as_str().unwrap().replace("Mi", "m")
        ));
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = variable["value"].as_str().unwrap_or_default();
            arguments.push(format!("--env={}={value}", variable["name"].as_str().unwrap()));
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let from = self.volume(mount["name"].as_str().unwrap());
            let mode = if mount["readOnly"] == true { ":ro" } else { "" };
            arguments.push(format!("--volume={}:{}{mode}", from.display(), mount["mountPath"].as_str().unwrap()));
        }
        let words = container["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        let mut words: Vec<String> =
            words.map(|word| word.replace("$(POD_NAMESPACE)/$(POD_NAME)", "shop/checkout-0")).collect();
        if words.first().is_some_and(|word| word == "byname") {
            arguments.push(format!("--volume={}:/cluster:ro", self.volume("cluster").display()));
            words.extend(["--from-dir".to_owned(), "/cluster".to_owned()]);
        }
        if stays {
            arguments.push("--detach".to_owned());
        }
        arguments.push(container["image"].as_str().unwrap().to_owned());
        let arguments: Vec<&str> = arguments.iter().chain(&words).map(String::as_str).collect();
        self.docker(&name, &arguments)?;
        if container["name"] == "byname-watch" {
            self.eventually("the first table", |pod| Ok(pod.volume("live").join("byname.yaml").is_file()))?;
        }
        Ok(())
    }

    fn eventually(&self, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so(self)? {
            if Instant::now() > deadline {
                bail!("{what} did not happen in time:\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let logs = |name: &String| run("sh", &["-c", &format!("docker logs --tail 8 {name} 2>&1")]).unwrap_or_default();
        self.started.iter().map(|name| format!("{name}:\n{}\n", logs(name))).collect()
    }
}

impl Drop for ContainerPod {
    fn drop(&mut self) {
        take_down(self.started.iter().cloned());
    }
}

/// Removes the containers that exist, and the network.
fn take_down(names: impl Iterator<Item = String>) {
    for name in names {
        drop(run("docker", &["rm", "--force", "--volumes", &name]));
    }
    drop(run("docker", &["network", "rm", NETWORK]));
}

/// The name of a container on the engine.
fn name_of(container: &Value) -> String {
    format!("byname-test-{}", container["name"].as_str().unwrap())
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|kind| spec[kind].as_array().into_iter().flatten())
}

#[test]
fn the_pod_works_without_root_and_with_a_read_only_file_system() -> Result<()> {
    let mut pod = ContainerPod::start()?;
    run("docker", &["network", "create", "--subnet", "10.203.8.0/24", NETWORK])?;
    let service = repository().join("examples/docker-compose/service.py").canonicalize()?;
    let mounted = format!("--volume={}:/service.py:ro", service.display());
    let (image, address) = SERVER;
    let network = format!("--network={NETWORK}");
    let server = [
        "--detach",
        "--init",
        &network,
        "--ip",
        address,
        "--env=NAME=payments",
        &mounted,
        image,
        "python3",
        "/service.py",
    ];
    pod.docker(PAYMENTS, &server)?;
    pod.docker(
        SANDBOX,
        &[
            "--detach",
            "--init",
            &network,
            "--ip",
            "10.203.8.10",
            image,
            "python3",
            "-c",
            "import time; time.sleep(600)",
        ],
    )?;
    let spec = pod.spec.clone();
    for container in containers(&spec) {
        let is_of_the_pod = spec["containers"].as_array().unwrap().contains(container);
        pod.run(container, is_of_the_pod || container["restartPolicy"] == "Always")?;
    }
    pod.eventually("an answer", |_| {
        let asked = run("docker", &["exec", "byname-test-checkout", "curl", "-s", "http://payments/"]);
        Ok(asked.is_ok_and(|answer| answer.trim() == "payments, asked for as payments.shop.svc.cluster.local"))
    })?;
    for container in containers(&spec) {
        let name = name_of(container);
        let confined = "--format={{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{.HostConfig.CapDrop}}";
        assert_eq!(run("docker", &["inspect", confined, &name])?.trim(), "true 65532:65532 [ALL]", "{name}");
    }
    Ok(())
}
