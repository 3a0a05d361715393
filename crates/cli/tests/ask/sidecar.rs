//! What a real Envoy holds, by its admin interface.

use std::fs;

use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream, repository};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cluster::{documented_kinds, listed_kinds},
    program::{DUMP, Run, ShopApi, byname},
};

/// A sidecar in namespace `shop`, with the table of [`DUMP`] in a file that it watches.
struct Sidecar {
    // Dropped first: Envoy watches the files in the directory.
    envoy: Envoy,
    runtime: tokio::runtime::Runtime,
    directory: TempDir,
}

impl Sidecar {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::create_dir(directory.path().join("live")).unwrap();
        let module = repository().join("target/byname.wasm").display().to_string();
        let (ecds, clusters, bootstrap) = (path("live/byname.yaml"), path("live/clusters.yaml"), path("sidecar.yaml"));
        let of_shop = ["compile", "-f", DUMP, "-n", "shop"];
        // The harness knows the bootstrap's module by its path in the repository.
        let ecds_args =
            ["--module", &module, "--format", "envoy-ecds", "--clusters-output", &clusters, "--output-file", &ecds];
        byname(&[&of_shop as &[&str], &ecds_args].concat()).expect(0);
        let bootstrap_args = [
            "--module",
            "target/byname.wasm",
            "--format",
            "envoy-bootstrap",
            "--ecds-file",
            &ecds,
            "--cds-file",
            &clusters,
            "--output-file",
            &bootstrap,
        ];
        byname(&[&of_shop as &[&str], &bootstrap_args].concat()).expect(0);
        Self::of(&bootstrap, directory)
    }

    /// A sidecar in namespace `shop` whose filter asks a server for Services, which nothing listens for.
    fn of_server() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (config, bootstrap) = (path("config.json"), path("sidecar.yaml"));
        fs::write(&config, r#"{"version": 1, "steering": {"by": "endpoint"}}"#).unwrap();
        let format = ["compile", "-n", "shop", "--format", "envoy-bootstrap", "--server", "127.0.0.1:18000"];
        let files = ["--config", &config, "--module", "target/byname.wasm", "--output-file", &bootstrap];
        byname(&[&format as &[&str], &files].concat()).expect(0);
        Self::of(&bootstrap, directory)
    }

    fn of(bootstrap: &str, directory: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let envoy = runtime.block_on(Envoy::builder(bootstrap).concurrency(1).start()).unwrap();
        Self { envoy, runtime, directory }
    }

    /// Runs the program with `--admin`.
    fn byname(&self, args: &[&str]) -> Run {
        byname(&[args, &["--admin", &format!("127.0.0.1:{}", self.envoy.port(9901))]].concat())
    }

    fn get(&self, host: &str) {
        let port = self.envoy.port(15001);
        let answer = async { Connection::open(port, RequestForm::Host).await?.get(host, &[]).await };
        self.runtime.block_on(answer).unwrap();
    }

    /// Replaces the file that the filter comes from, and waits until Envoy has read it.
    fn push(&self, edit: impl Fn(String) -> String, statistic: &str) {
        let file = self.directory.path().join("live/byname.yaml");
        let new = self.directory.path().join("live/new.yaml");
        let before = self.runtime.block_on(self.envoy.stat(statistic)).unwrap();
        fs::write(&new, edit(fs::read_to_string(&file).unwrap())).unwrap();
        fs::rename(new, file).unwrap();
        for _ in 0..2000 {
            if self.runtime.block_on(self.envoy.stat(statistic)).unwrap() > before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("Envoy does not read the file: {}", self.envoy.log());
    }
}

/// The dump with another address of a pod of `shop/checkout`.
fn other_dump(directory: &TempDir) -> String {
    let dump = fs::read_to_string(repository().join(DUMP)).unwrap();
    let file = directory.path().join("other.yaml").display().to_string();
    fs::write(&file, dump.replace("10.244.1.8", "10.244.1.88")).unwrap();
    file
}

/// The text without what changes from run to run: the port of the admin interface, and ages.
fn steady(text: &str) -> String {
    let ports = regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    let ages = regex::Regex::new(r"\d+ s ago").unwrap();
    ages.replace_all(&ports.replace_all(text, "127.0.0.1:PORT"), "N s ago").into_owned()
}

#[test]
fn status_says_what_the_sidecar_serves_and_whether_that_is_the_cluster() {
    let sidecar = Sidecar::start();
    sidecar.get("empty.nowhere");
    sidecar.get("cart.nowhere");
    let same = sidecar.byname(&["status", "-f", DUMP]).expect(0);
    assert_eq!(
        steady(&same.stdout),
        "127.0.0.1:PORT  Envoy 1.40.0\n  table     version 1930176354, 16 Services, 37 endpoints, accepted N s ago\n  \
         cluster   matches the table\n  requests  name_not_found 2\n"
    );
    let other = sidecar.byname(&["status", "-f", &other_dump(&sidecar.directory)]).expect(1);
    let expected = "  cluster   1 Service differs: the cluster changed after this table was compiled\n            endpoints differ: \
                    shop/checkout\n";
    assert!(other.stdout.contains(expected), "{}", other.stdout);
    let alone = sidecar.byname(&["status"]).expect(0);
    assert!(alone.stdout.contains("not compared; pass --context, or -f with a dump"), "{}", alone.stdout);
    let json = sidecar.byname(&["status", "-f", DUMP, "-o", "json"]).expect(0).json();
    assert_eq!(json[0]["isCurrent"], true);
    assert_eq!(json[0]["counters"]["reasons"]["name_not_found"], 2);

    // A live cluster that changes.
    let shop = ShopApi::start();
    let live = || sidecar.byname(&["status", "--kubeconfig", &shop.kubeconfig]);
    live().expect(0);
    shop.byname(&["status", "-A"]).expect(0);
    assert_eq!(listed_kinds(&shop), documented_kinds("status"));
    shop.api.put(serde_json::json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": "new"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.99"}}));
    let changed = live().expect(1);
    assert!(changed.stdout.contains("            only in the cluster: shop/new\n"), "{}", changed.stdout);
}

#[test]
fn a_refused_push_is_told_with_its_reason() {
    let sidecar = Sidecar::start();
    let refused = "extension_config_discovery.http_filter.byname.update_rejected";
    sidecar.push(
        |text| {
            text.replacen("\\\"version\\\": 1,", "\\\"version\\\": 99,", 1).replacen(
                "\"version\": 1,",
                "\"version\": 99,",
                1,
            )
        },
        refused,
    );
    let status = sidecar.byname(&["status", "-f", DUMP]).expect(1);
    for part in [
        "  table     version 1930176354, 16 Services",
        "  cluster   not compared: the filter refused what Envoy holds, and serves an older table\n",
        "  refused   version: ",
        "  refused   1 push since Envoy started; the last known good table serves on\n",
    ] {
        assert!(status.stdout.contains(part), "{part}: {}", status.stdout);
    }
    let explain = sidecar.byname(&["explain", "checkout"]).expect(2);
    assert!(
        explain.stderr.contains("the filter refused what Envoy holds, and serves an older table"),
        "{}",
        explain.stderr
    );
    let table = sidecar.byname(&["proxy-config"]).expect(1);
    assert!(table.stderr.contains("the filter refuses the configuration: version: "), "{}", table.stderr);
}

#[test]
fn explain_resolves_by_the_sidecars_table_and_says_what_differs() {
    let sidecar = Sidecar::start();
    let same = sidecar.byname(&["explain", "checkout", "-f", DUMP]).expect(0);
    assert!(
        same.stdout.starts_with("checkout from namespace shop\nreachable: Service shop/checkout"),
        "{}",
        same.stdout
    );
    assert!(same.stdout.contains("  + 10.244.1.8:8080  healthy\n"), "{}", same.stdout);
    assert!(same.stdout.ends_with("  + the cluster gives the same answer now\n"), "{}", same.stdout);
    let other = sidecar.byname(&["explain", "checkout", "-f", &other_dump(&sidecar.directory)]).expect(1);
    for part in [
        "  - endpoints: only in the sidecar: 10.244.1.8:8080\n",
        "  - endpoints: only in the cluster: 10.244.1.88:8080\n",
        "  why: the Service changed after this table was compiled; ",
    ] {
        assert!(other.stdout.contains(part), "{part}: {}", other.stdout);
    }
    let alone = sidecar.byname(&["explain", "checkout"]).expect(0);
    assert!(!alone.stdout.contains("DNS") && !alone.stdout.contains("note"), "{}", alone.stdout);
    // A name that the table refuses.
    sidecar.byname(&["explain", "a b", "-f", DUMP]).expect(1);
}

#[test]
fn proxy_config_prints_the_table_that_was_pushed() {
    let sidecar = Sidecar::start();
    let held = sidecar.byname(&["proxy-config"]).expect(0);
    let compiled = byname(&["compile", "-f", DUMP, "-n", "shop"]).expect(0).stdout;
    // The file for Envoy asks for a first table without bad Services.
    assert_eq!(held.stdout.replace("  \"firstConfiguration\": \"leaveOut\",\n", ""), compiled);
    let file = sidecar.directory.path().join("held.json").display().to_string();
    fs::write(&file, &held.stdout).unwrap();
    byname(&["diff", &file, DUMP]).expect(0);
}

/// Envoy shows the settings of such a filter, and not the Services that the server told it.
#[test]
fn a_filter_that_asks_a_server_is_not_compared() {
    let sidecar = Sidecar::of_server();
    let status = sidecar.byname(&["status", "-f", DUMP]).expect(0);
    assert_eq!(
        steady(&status.stdout),
        "127.0.0.1:PORT  Envoy 1.40.0\n  table     the Services that requests need, from the server byname-server\n  \
         stream    none open, because no request has needed a name yet\n  \
         cluster   not compared: Envoy does not show the Services that the filter has from the server\n"
    );
    let json = sidecar.byname(&["status", "-f", DUMP, "-o", "json"]).expect(0).json();
    let fields = ["hasFilter", "server", "isCurrent", "differences"].map(|field| json[0][field].clone());
    assert_eq!(fields, [true.into(), "byname-server".into(), Value::Null, Value::Null]);

    // The answer is the cluster's, with the settings of the sidecar.
    let explain = sidecar.byname(&["explain", "checkout", "-f", DUMP]).expect(0);
    assert!(
        explain.stdout.contains("  + the filter needs the server's answer for shop/checkout\n"),
        "{}",
        explain.stdout
    );
    assert!(
        explain.stdout.starts_with("checkout from namespace shop\nreachable: Service shop/checkout"),
        "{}",
        explain.stdout
    );
    let says = "  the filter asks the server byname-server for Services, and Envoy does not show them: this is the answer of the cluster, \
                with the settings of the sidecar\n";
    assert!(explain.stdout.ends_with(says), "{}", explain.stdout);
    assert!(explain.stdout.contains("Envoy  endpoints of original-dst in this Envoy\n"), "{}", explain.stdout);
    let json = sidecar.byname(&["explain", "checkout", "-f", DUMP, "-o", "json"]).expect(0).json();
    assert_eq!((&json["server"], &json["sidecar"]), (&"byname-server".into(), &Value::Null));
    assert_eq!((&json["cluster"]["reason"], &json["differences"]), (&"service".into(), &Value::Array(Vec::new())));
    let alone = sidecar.byname(&["explain", "checkout"]).expect(2);
    let way = "the filter asks the server byname-server for Services, and Envoy does not show them; pass --context, or -f with a dump, \
               for the answer of the cluster";
    assert!(alone.stderr.contains(way), "{}", alone.stderr);

    let held = sidecar.byname(&["proxy-config"]).expect(0);
    let note = "the filter asks the server byname-server for Services, so this has none of them\n";
    assert!(held.stderr.contains(note), "{}", held.stderr);
    let file = sidecar.directory.path().join("held.json").display().to_string();
    fs::write(&file, &held.stdout).unwrap();
    let plugin = sidecar.directory.path().join("plugin.yaml").display().to_string();
    let server = ["--server", "byname.byname-system:9905", "--image", "oci://registry.example.com/byname:0.1.0"];
    let format = ["compile", "--format", "istio-wasmplugin", "--output-file", &plugin];
    byname(&[&format as &[&str], &server].concat()).expect(0);
    for (file, server) in [(&file, "byname-server"), (&plugin, "outbound|9905||byname.byname-system.svc.cluster.local")]
    {
        let diff = byname(&["diff", file, DUMP]).expect(2);
        let why = format!(
            "{file}: is the configuration of a filter that asks the server {server} for Services, so it has no table to compare; pass \
             Kubernetes objects, or a table"
        );
        assert!(diff.stderr.contains(&why) && diff.stdout.is_empty(), "{}", diff.stderr);
    }
}

/// Nothing listens where the server should.
#[test]
fn a_filter_that_never_had_a_stream_is_told_once_it_needs_one() {
    let sidecar = Sidecar::of_server();
    sidecar.byname(&["status"]).expect(0);
    sidecar.get("checkout");
    let start = std::time::Instant::now();
    let status = loop {
        let run = sidecar.byname(&["status"]);
        if run.status == 1 {
            break run;
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{}", run.stdout);
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(status.stdout.contains("  stream    no answer for "), "{}", status.stdout);
}

#[test]
fn an_admin_interface_that_does_not_answer_is_named() {
    let none = byname(&["status", "--admin", "127.0.0.1:9"]).expect(2);
    let expected = "127.0.0.1:9  not asked: 127.0.0.1:9: cannot be reached; pass the address and port where Envoy's admin interface \
                    listens: Connection refused (os error 111)\n";
    assert_eq!(none.stdout, expected);
    // Something else answers.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(TestUpstream::start("upstream")).unwrap();
    let other = byname(&["status", "--admin", &format!("127.0.0.1:{}", upstream.port())]).expect(2);
    assert!(other.stdout.contains("/server_info: is not Envoy's answer"), "{}", other.stdout);
    let shop = ShopApi::start();
    let unknown = shop.byname(&["status", "-n", "shop", "nowhere"]).expect(2);
    assert!(unknown.stderr.contains("Pod shop/nowhere: context test has no such pod"), "{}", unknown.stderr);
    let plain = shop.byname(&["status", "shop/web-5c8f7b6d9f-4xk2p"]).expect(2);
    assert!(plain.stderr.contains("no container looks like Envoy; pass --admin-port PORT"), "{}", plain.stderr);
    let none = shop.byname(&["status", "-n", "shop"]).expect(0);
    assert_eq!(none.stdout, "no pod with a sidecar in namespace shop\n");
    // This API forwards no ports.
    let failed = shop.byname(&["status", "shop/web-5c8f7b6d9f-4xk2p", "--admin-port", "9901"]).expect(2);
    assert!(
        failed.stdout.contains("not asked: the API cannot port-forward: the API answers 404 NotFound: "),
        "{}",
        failed.stdout
    );
    assert!(failed.stdout.contains("or pass --admin HOST:PORT"), "{}", failed.stdout);
}
