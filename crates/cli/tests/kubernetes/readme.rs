//! Every command of the README as it is shown: with kubectl, the API of the tests, and a pod of the applied objects.

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

/// Sets the status that controllers give a Deployment whose pods run.
fn roll_out(api: &KubernetesApi, name: &str) {
    let status = json!({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    api.merge("Deployment", "shop", name, &json!({"spec": {"replicas": 1}, "status": status}));
}

/// The README's cluster: the API that kubectl uses, and the pod that would run in it.
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
        // Endpoints on loopback are refused without `singleMachine`.
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

    /// The output of a command, run by kubectl or in the pod.
    async fn run(&mut self, command: &str) -> String {
        // exec and logs go through the API to the kubelet. Here the test's pod answers them.
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
async fn each_readme_command_works() {
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
    // The image has the name that the README gives.
    let deployment = cluster.api.object("Deployment", "shop", "checkout").unwrap();
    let image = &deployment["spec"]["template"]["spec"]["initContainers"][0]["image"];
    assert_eq!(*image, format!("YOUR_REGISTRY/byname-cli:{}", env!("CARGO_PKG_VERSION")));
    // The last variant has no `watch`. Its table is compiled once and served.
    let pod = PodProcesses::start(&cluster.api, "shop", "checkout").await;
    assert!(!pod.has("byname-watch"));
    assert!(pod.curl("http://payments/hostname").await.starts_with("payments-"));
}

#[test]
fn the_readme_fits_on_a_screen() {
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
    // Every form of the name reaches them.
    for name in ["payments.shop", "payments.shop.svc", "payments.shop.svc.cluster.local", "PAYMENTS:80"] {
        assert!(answered.contains(&pod.curl(&format!("http://{name}/")).await), "{name}");
    }
    // One pod ends and another starts.
    let next = TestUpstream::start("payments-7d4b9c6f5-z9t4n").await.unwrap();
    cluster.api.put(slice("shop", "payments", &next));
    for payments in &cluster.payments {
        cluster.api.delete(&slice("shop", "payments", payments));
    }
    let start = Instant::now();
    // The workers take a table one after the other.
    let mut in_a_row = 0;
    while in_a_row < 8 {
        let who = pod.curl("http://payments/hostname").await;
        if who == "payments-7d4b9c6f5-z9t4n" {
            in_a_row += 1;
            continue;
        }
        in_a_row = 0;
        assert!(answered.contains(&who), "{who}: no request fails meanwhile");
        assert!(start.elapsed().as_secs() < SECONDS, "{who} still answers");
    }
}
