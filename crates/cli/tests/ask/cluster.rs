//! Commands read a live cluster as they read a dump of it.

use std::{collections::BTreeSet, fs};

use byname_test_support::repository;
use serde_json::{Value, json};

use crate::program::{DUMP, Run, ShopApi, byname, byname_with_input, of, program};

/// `value` without the places of objects, which a live cluster has no lines for.
fn without_places(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("at");
            fields.values_mut().for_each(|value| *value = without_places(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| *value = without_places(value.take())),
        _ => {}
    }
    value
}

#[test]
fn explain_says_the_same_of_a_cluster_and_of_its_dump() {
    let shop = ShopApi::start();
    for args in [
        &["explain", "checkout.shop", "-n", "billing", "-o", "json"] as &[&str],
        &["explain", "cart", "--pod", "shop/web-5c8f7b6d9f-4xk2p", "-o", "json"],
        &["explain", "nowhere", "-n", "shop", "-o", "json"],
    ] {
        let live = shop.byname(args);
        let dump = byname(&[args, &["-f", DUMP]].concat());
        assert_eq!(live.status, dump.status, "{args:?}: {}", live.stderr);
        assert_eq!(live.stderr, "", "{args:?}");
        assert_eq!(without_places(live.json()), without_places(dump.json()), "{args:?}");
    }
    let text = shop.byname(&["explain", "checkout.shop", "-n", "billing"]).expect(0).stdout;
    assert!(
        text.contains("reachable: Service shop/checkout, port 80 (http) → targetPort http  context test\n"),
        "{text}"
    );
}

#[test]
fn compile_gives_the_bytes_that_a_dump_gives_and_asks_for_no_more_than_it_needs() {
    let shop = ShopApi::start();
    let live = shop.byname(&["compile", "-n", "shop"]).expect(0);
    assert_eq!(shop.lists(), ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices"]);
    assert_eq!(live.stdout, byname(&["compile", "-n", "shop", "-f", DUMP]).stdout);
    // The API answers in pages of three objects.
    assert!(shop.api.count(&["/api/v1/services", "continue=3"]) > 0, "{:?}", shop.api.requests());

    let pod = ["compile", "--pod", "shop/web-5c8f7b6d9f-4xk2p"];
    let shop = ShopApi::start();
    let live = shop.byname(&pod).expect(0);
    assert_eq!(live.stdout, byname(&[&pod as &[&str], &["-f", DUMP]].concat()).stdout);
    assert_eq!(shop.api.count(&["/api/v1/namespaces/shop/pods", "metadata.name%3Dweb-5c8f7b6d9f-4xk2p"]), 1);
    assert_eq!(shop.api.count(&["/api/v1/nodes", "metadata.name%3D"]), 1);

    let shop = ShopApi::start();
    shop.byname(&["compile", "-n", "data", "--visible", "data"]).expect(0);
    assert_eq!(
        shop.lists(),
        ["/api/v1/namespaces/data/services", "/apis/discovery.k8s.io/v1/namespaces/data/endpointslices"]
    );
}

/// Words of the table in docs/cluster.md, and the kinds that they stand for, as far as the API of the tests has them.
const KINDS: &[(&str, &[&str])] = &[
    ("Services", &["services"]),
    ("EndpointSlices", &["endpointslices"]),
    ("Pods", &["pods"]),
    ("Nodes", &["nodes"]),
    ("Namespaces", &["namespaces"]),
    ("Ingresses", &["ingresses"]),
    ("Endpoints", &[]),
    ("routes and ReferenceGrants of the Gateway API", &[]),
    ("Routes of OpenShift", &[]),
    ("rules of Istio, SMI and Linkerd", &["virtualservices", "serviceentries", "destinationrules"]),
    ("workloads with pod templates", &["deployments", "statefulsets", "daemonsets", "replicasets"]),
    ("WasmPlugins", &["wasmplugins"]),
    ("TrafficExtensions", &[]),
    ("EnvoyFilters", &["envoyfilters"]),
    ("`Sidecar` objects of Istio", &["sidecars"]),
];

/// The kinds that docs/cluster.md names for a command, without those that only an option needs.
pub(crate) fn documented_kinds(command: &str) -> BTreeSet<String> {
    let docs = fs::read_to_string(repository().join("docs/cluster.md")).unwrap();
    let row = |command: &str| {
        let row = docs.lines().find_map(|line| line.strip_prefix(&format!("| `{command}` | "))).unwrap();
        row.trim_end_matches(" |").to_owned()
    };
    let text = row(command).replace("the same", &row("explain"));
    let mut parts = text.split("; ");
    let always =
        parts.next().into_iter().chain(parts.filter(|part| ["and ", "if "].iter().any(|word| part.starts_with(word))));
    let mut text = always.collect::<Vec<_>>().join(", ");
    let mut kinds = BTreeSet::new();
    for (word, plurals) in KINDS {
        if text.contains(word) {
            text = text.replace(word, "");
            kinds.extend(plurals.iter().map(ToString::to_string));
        }
    }
    // A kind without a word in the table above.
    let rest = regex::Regex::new(r"[A-Z`]").unwrap();
    assert!(!rest.is_match(&text.replace("`--visible`", "")), "{command}: {text}");
    kinds
}

/// The kinds that were listed.
pub(crate) fn listed_kinds(shop: &ShopApi) -> BTreeSet<String> {
    shop.lists().iter().filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned())).collect()
}

#[test]
fn each_command_lists_the_kinds_that_it_is_documented_to_read() {
    for args in [
        &["explain", "checkout", "-n", "shop"] as &[&str],
        &["lint"],
        &["diff", DUMP],
        &["check", "-n", "shop"],
        &["compile", "-n", "shop"],
    ] {
        let shop = ShopApi::start();
        shop.byname(args).expect(0);
        assert_eq!(listed_kinds(&shop), documented_kinds(args[0]), "{args:?}");
    }
}

/// The cluster answers in place of the server, so the answer is that of a whole table.
#[test]
fn explain_names_the_keys_that_a_filter_asks_its_server_for() {
    let shop = ShopApi::start();
    let config = shop.directory.path().join("server.json").display().to_string();
    fs::write(&config, r#"{"version": 1, "steering": {"by": "endpoint"}, "server": {"cluster": "byname-server"}}"#)
        .unwrap();
    let keys = |run: &Run| -> Vec<String> {
        let lines =
            run.stdout.lines().filter_map(|line| line.strip_prefix("  + the filter needs the server's answer for "));
        lines.map(str::to_owned).collect()
    };
    for (name, status, answer, wanted) in [
        ("checkout", 0, "reachable: Service shop/checkout", &["shop/checkout"] as &[&str]),
        ("api.billing", 0, "reachable: Service billing/api", &["shop/billing", "billing/api"]),
        ("nowhere", 0, "(name_not_found)", &["shop/nowhere"]),
        // The server names the namespaces, so a filter asks for nothing in others.
        ("www.example.com", 0, "(name_not_found)", &[]),
        ("10.96.0.10:53", 0, "reachable: Service kube-system/kube-dns", &["10.96.0.10"]),
    ] {
        let of_dump = byname(&["explain", name, "-n", "shop", "--config", &config, "-f", DUMP]).expect(status);
        assert!(of_dump.stdout.contains(answer), "{}", of_dump.stdout);
        assert_eq!(keys(&of_dump), wanted, "{}", of_dump.stdout);
        let live = shop.byname(&["explain", name, "-n", "shop", "--config", &config]).expect(status);
        assert_eq!(keys(&live), wanted, "{}", live.stdout);
    }
    let none = byname(&["explain", "checkout", "-n", "shop", "-f", DUMP]).expect(0);
    assert_eq!(keys(&none), [] as [&str; 0]);
    // An alias leads to the next key.
    let alias = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "pay"},
        "spec": {"type": "ExternalName", "externalName": "api.billing.svc.cluster.local"}});
    shop.api.put(alias);
    let run = shop.byname(&["explain", "pay", "-n", "shop", "--config", &config, "-o", "json"]);
    let steps = run.json()["steps"].as_array().unwrap().clone();
    let steps: Vec<String> =
        steps.iter().take(4).map(|step| format!("{} {}", step["kind"], step["name"]).replace('"', "")).collect();
    let target = "api.billing.svc.cluster.local";
    assert_eq!(
        steps,
        ["server shop/pay", "candidate pay.shop.svc.cluster.local", "server billing/api", &format!("alias {target}")]
    );
}

#[test]
fn lint_names_the_cluster_in_place_of_a_file() {
    let shop = ShopApi::start();
    let clean = shop.byname(&["lint"]).expect(0);
    assert!(clean.stdout.starts_with("no issues in 16 Services"), "{}{}", clean.stdout, clean.stderr);
    let ports = json!({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "htpp"}]}});
    shop.api.merge("Service", "billing", "api", &ports);
    let run = shop.byname(&["lint", "-n", "billing"]).expect(1);
    let finding = "context test: error[BN020] Service billing/api, spec.ports[0].targetPort: ";
    assert!(run.stdout.starts_with(finding), "{}", run.stdout);
    assert!(run.stdout.contains("kubectl patch service api -n billing"), "{}", run.stdout);
    let sarif = shop.byname(&["lint", "-n", "billing", "-o", "sarif"]).json();
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(*place, json!({"artifactLocation": {"uri": "context%20test"}}));
    let each = shop.byname(&["lint", "--each-file"]).expect(2);
    assert!(each.stderr.contains("--each-file checks files; pass them with -f"), "{}", each.stderr);
}

#[test]
fn diff_compares_a_file_with_the_cluster_and_a_cluster_with_another() {
    let shop = ShopApi::start();
    let same = shop.byname(&["diff", DUMP]).expect(0);
    assert!(same.stdout.starts_with("no differences"), "{}", same.stdout);
    shop.api.merge("Service", "shop", "checkout", &json!({"spec": {"ports": [{"name": "http", "port": 81}]}}));
    let run = shop.byname(&["diff", DUMP]).expect(1);
    assert!(run.stdout.contains("vanishes") && run.stdout.contains("checkout.shop:80"), "{}", run.stdout);
    let back = shop.byname(&["diff", "context:", DUMP]).expect(1);
    assert!(back.stdout.contains("appears"), "{}", back.stdout);
    let both = shop.byname(&["diff", "context:test", "context:test"]).expect(0);
    assert!(both.stdout.starts_with("no differences"), "{}", both.stdout);

    // A table is compared with the settings that it was compiled with.
    let table = shop.directory.path().join("table.json").display().to_string();
    shop.byname(&["compile", "-n", "shop", "--output-file", &table]).expect(0);
    shop.byname(&["diff", &table]).expect(0);
    let unused = shop.byname(&["diff", DUMP, DUMP]).expect(2);
    assert!(unused.stderr.contains("--kubeconfig and --context are for a live cluster"), "{}", unused.stderr);
}

#[test]
fn a_piped_input_counts_unless_the_cluster_is_asked_for() {
    let shop = ShopApi::start();
    let dump = fs::read_to_string(repository().join(DUMP)).unwrap();
    let kubeconfig = shop.two_contexts();
    let with = |args: &[&str]| {
        let mut command = program();
        command.args(args).env("KUBECONFIG", &kubeconfig).stdin(std::process::Stdio::null());
        of(command.output().unwrap())
    };
    byname_with_input(&["lint"], &dump).expect(0);
    assert_eq!(shop.lists(), [] as [String; 0]);
    // No input, and no option: the cluster that kubectl would ask, which is named. The context has a namespace.
    let run = with(&["explain", "api"]).expect(0);
    assert!(run.stdout.starts_with("api from namespace billing\n"), "{}", run.stdout);
    let note = format!("note: reading context dev at http://{}; pass -f FILE to read files\n", shop.api.address());
    assert_eq!(run.stderr, note);
    assert_eq!(with(&["explain", "api", "--from-cluster"]).expect(0).stderr, "");
    let run = with(&["explain", "api", "--from-cluster", "-f", DUMP]).expect(2);
    assert!(run.stderr.contains("cannot be used with"), "{}", run.stderr);
    // A pipe without an object stays an error: the command before it may have failed.
    let run = byname_with_input(&["lint"], "").expect(2);
    assert!(run.stderr.contains("standard input: has no object"), "{}", run.stderr);
    assert!(run.stderr.contains("--from-cluster"), "{}", run.stderr);
}

#[test]
fn a_list_whose_next_page_has_expired_begins_anew() {
    let shop = ShopApi::start();
    shop.api.fail("services", &[410]);
    shop.api.fail("endpointslices", &[503, 429]);
    let live = shop.byname(&["compile", "-n", "shop"]).expect(0);
    assert!(shop.api.has_failed());
    assert_eq!(live.stdout, byname(&["compile", "-n", "shop", "-f", DUMP]).stdout);
}

#[test]
fn a_terminal_shows_the_progress_of_a_long_read() {
    let shop = ShopApi::start();
    let command = format!(
        "{} compile -n shop --output-file /dev/null --kubeconfig {}",
        env!("CARGO_BIN_EXE_byname"),
        shop.kubeconfig
    );
    // `script` gives the program a terminal.
    let at_terminal = || {
        let mut script = std::process::Command::new("script");
        script
            .args(["-qec", &command, "/dev/null"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped());
        script.spawn().unwrap()
    };
    let quick = at_terminal().wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&quick.stdout).contains("reading"), "{quick:?}");
    shop.api.hold("endpointslices");
    let slow = at_terminal();
    std::thread::sleep(std::time::Duration::from_secs(2));
    shop.api.release("endpointslices");
    let slow = slow.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&slow.stdout).contains("reading context test: 16 of 16 objects"), "{slow:?}");
}
