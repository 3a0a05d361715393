//! Each command of the README, as it stands there: kubectl against the API of the tests, and a pod of what it applied.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Instant};

use byname_test_support::{
    ConsoleCommand, Shell, TestUpstream, console, kubectl_binary, kubernetes::KubernetesApi, repository,
};
use serde_json::{Value, json};

use crate::pod::{PodProcesses, slice};

const README: &str = "examples/kubernetes/README.md";
const SECONDS: u64 = 30;

fn pod_object() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "checkout-0", "labels": {"app": "checkout"}},
        "spec": {"nodeName": "node-1", "containers": []},
        "status": {"podIPs": [{"ip": "10.1.0.1"}]},
    })
}

/// What controllers say of a Deployment whose pods run.
fn roll_out(api: &KubernetesApi, name: &str) {
    let status = json!({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    api.merge("Deployment", "shop", name, &json!({"spec": {"replicas": 1}, "status": status}));
}

/// A README's cluster: the API that kubectl talks to, and what would run there.
struct ReadmeCluster {
    api: KubernetesApi,
    shell: Shell,
    payments: Vec<TestUpstream>,
    pod: Option<PodProcesses>,
    directory: tempfile::TempDir,
}

impl ReadmeCluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("examples/kubernetes");
        fs::create_dir(directory.path().join("examples")).unwrap();
        for copied in ["kubernetes", "kubernetes-table", "cluster"] {
            let from = repository().join("examples").join(copied);
            let status = Command::new("cp").arg("-R").arg(from).arg(directory.path().join("examples")).status();
            assert!(status.unwrap().success());
        }
        // Its endpoints are on loopback, which is refused otherwise.
        let by_hand = fs::read_to_string(folder.join("byname.json")).unwrap();
        let here = by_hand.replace("{\"version\": 1,", "{\"version\": 1, \"table\": {\"singleMachine\": true},");
        fs::write(folder.join("byname.json"), here).unwrap();
        let api = KubernetesApi::start().await.unwrap();
        let programs = [("kubectl", &*kubectl_binary().unwrap()), ("byname", Path::new(env!("CARGO_BIN_EXE_byname")))];
        let shell = Shell::new(&programs).unwrap().kubeconfig(&api.kubeconfig(directory.path()));
        let shell = shell.directory(directory.path());
        let mut payments = Vec::new();
        for name in ["payments-7d4b9c6f5-4xk2p", "payments-7d4b9c6f5-m8v6q"] {
            payments.push(TestUpstream::start(name).await.unwrap());
        }
        Self { api, shell, payments, pod: None, directory }
    }

    /// What `kubectl` and the cluster together make of a command.
    async fn run(&mut self, command: &str) -> String {
        // exec and logs lead through the API to the kubelet, which is not here: the pod that stands in answers.
        if let Some((_, curl)) = command.split_once(" exec deployment/checkout -c checkout -- curl -s ") {
            return self.pod.as_ref().unwrap().curl(curl).await;
        }
        if let Some((_, container)) = command.split_once(" logs deployment/checkout -c ") {
            return self.pod.as_ref().unwrap().log(container);
        }
        let printed = self.shell.run(command).unwrap();
        if command.starts_with("kubectl apply -k") && self.pod.is_none() {
            self.api.put(pod_object());
            for payments in &self.payments {
                self.api.put(slice("shop", "payments", payments));
            }
            self.pod = Some(PodProcesses::start(&self.api, "shop", "checkout").await);
            roll_out(&self.api, "checkout");
        }
        printed
    }
}

fn commands() -> Vec<ConsoleCommand> {
    console(&fs::read_to_string(repository().join(README)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_does_what_the_readme_shows() {
    let bootstrap = |root: &Path| fs::read_to_string(root.join("examples/kubernetes/bootstrap.yaml")).unwrap();
    let mut cluster = ReadmeCluster::start().await;
    let commands = commands();
    assert!(commands.len() > 4, "{commands:?}");
    for shown in commands {
        let printed = cluster.run(&shown.command).await;
        assert!(
            shown.is_printed(&printed),
            "$ {}\nis shown as\n{}\nand prints\n{printed}",
            shown.command,
            shown.output
        );
    }
    let here = bootstrap(cluster.directory.path());
    assert!(bootstrap(&repository()) == here, "bootstrap.yaml is not what the README's command writes");
    // The image is the one that was named.
    let deployment = cluster.api.object("Deployment", "shop", "checkout").unwrap();
    let image = &deployment["spec"]["template"]["spec"]["initContainers"][0]["image"];
    assert_eq!(*image, format!("YOUR_REGISTRY/byname-cli:{}", env!("CARGO_PKG_VERSION")));
    // What was applied last has no watch, and what it was compiled from is served.
    let pod = PodProcesses::start(&cluster.api, "shop", "checkout").await;
    assert!(!pod.has("byname-watch"));
    assert!(pod.curl("http://payments/hostname").await.starts_with("payments-"));
}

#[test]
fn the_readme_is_one_screen() {
    let readme = fs::read_to_string(repository().join(README)).unwrap();
    assert!(readme.lines().count() <= 66, "{}", readme.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pod_follows_the_cluster() {
    let mut cluster = ReadmeCluster::start().await;
    cluster.run("kubectl apply -k examples/kubernetes").await;
    let pod = cluster.pod.as_ref().unwrap();
    let mut answered = BTreeSet::new();
    for _ in 0..8 {
        answered.insert(pod.curl("http://payments/hostname").await);
    }
    assert_eq!(answered.len(), 2, "both endpoints answer: {answered:?}");
    // In every form of the name.
    for name in ["payments.shop", "payments.shop.svc", "payments.shop.svc.cluster.local", "PAYMENTS:80"] {
        assert!(answered.contains(&pod.curl(&format!("http://{name}/")).await), "{name}");
    }
    // A pod goes and another one comes.
    let next = TestUpstream::start("payments-7d4b9c6f5-z9t4n").await.unwrap();
    cluster.api.put(slice("shop", "payments", &next));
    for payments in &cluster.payments {
        cluster.api.delete(&slice("shop", "payments", payments));
    }
    let start = Instant::now();
    loop {
        let who = pod.curl("http://payments/hostname").await;
        if who == "payments-7d4b9c6f5-z9t4n" {
            break;
        }
        assert!(answered.contains(&who), "{who}: no request fails on the way");
        assert!(start.elapsed().as_secs() < SECONDS, "{who} still answers");
    }
    for _ in 0..8 {
        assert_eq!(pod.curl("http://payments/hostname").await, "payments-7d4b9c6f5-z9t4n");
    }
}
