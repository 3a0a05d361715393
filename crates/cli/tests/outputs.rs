//! The files that `byname compile` writes for Envoy and Istio: their text, whether a real Envoy accepts them.
//! A test fails if Envoy or the module is missing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "compile/workdir.rs"]
mod workdir;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::Result;
use byname_core::{
    Balance, Chooser, Config, Defaults, FakeEnv, Plan, Request, Scheme,
    wire::{MINOR, VERSION},
};
use byname_test_support::{TestResult, envoy_binary, repository, yaml_documents};
use serde_json::{Value, json};

use crate::workdir::{Workdir, module, with};

const SHOP: &str = "examples/cluster/shop.yaml";
/// The port of the listener in every bootstrap.
const LISTENER: u16 = 15001;
const HOSTILE: &str = "crates/cli/tests/clusters/hostile.yaml";

/// Asserts that compiling fails without output, and returns standard error.
fn refused(workdir: &Workdir, cluster: &str, config: &Value, args: &[&str]) -> Result<String> {
    let config = workdir.put("config.json", &config.to_string())?;
    let output = workdir.run(&[&["-f", cluster, "-n", "shop", "--config", &config], args].concat())?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// A minimal `--config` for the shop.
fn shop() -> Value {
    json!({
        "version": 1,
        "externalNames": {"allow": [{"host": "api.weather.example.com", "ports": [443]}]},
    })
}

/// A configuration for every way to steer, alone and mixed.
fn ways() -> Vec<(&'static str, Value)> {
    let by = |by: &str| with(shop(), &[("steering.by", json!(by))]);
    vec![
        ("cluster", shop()),
        ("authority", by("authority")),
        ("endpoint", with(by("endpoint"), &[("steering.originalDst.http2Cluster", json!("original-dst-http2"))])),
        (
            "mixed",
            with(
                by("authority"),
                &[
                    ("steering.passCluster", json!("PassthroughCluster")),
                    ("table.services.shop/cart.steering.by", json!("cluster")),
                    ("table.services.shop/catalog.steering.by", json!("endpoint")),
                    ("table.services.shop/weather.alias", json!({"port": 443, "tls": true})),
                ],
            ),
        ),
        (
            "subsets",
            with(
                shop(),
                &[
                    ("table.services.shop/cart.subsets", json!({"here": {"zone": "eu-a"}, "there": {"zone": "eu-b"}})),
                    ("fallback.services.shop/gone.host", json!("api.weather.example.com")),
                    ("fallback.services.shop/gone.port", json!(443)),
                ],
            ),
        ),
        (
            "dynamic forward proxy",
            with(
                shop(),
                &[(
                    "steering.external",
                    json!({"cluster": "out", "tlsCluster": "out-tls", "dynamicForwardProxy": true}),
                )],
            ),
        ),
    ]
}

#[test]
fn each_format_matches_its_snapshot() -> TestResult {
    let workdir = Workdir::new()?;
    let rows: [(&str, &[&str]); 5] = [
        ("envoy-ecds", &[]),
        ("envoy-bootstrap", &[]),
        ("istio-wasmplugin", &["--image", "oci://registry.example.com/byname:0.1.0"]),
        ("istio-envoyfilter", &[]),
        ("table", &[]),
    ];
    for (format, args) in rows {
        let args = [&["--format", format], args].concat();
        let text = workdir.compile(SHOP, &shop(), &args)?;
        assert_eq!(text, workdir.compile(SHOP, &shop(), &args)?, "{format} is the same each time");
        insta::assert_snapshot!(format, text);
    }
    let mixed = &ways()[3].1;
    let args = ["--format", "envoy-bootstrap", "--clusters", "dns", "--ecds-file", "/etc/byname/filter/byname.yaml"];
    insta::assert_snapshot!("envoy-bootstrap-mixed", workdir.compile(SHOP, mixed, &args)?);
    let args = with_server(&["--pass", "original-dst", "--prefetch", "payments", "--prefetch", "ledger.billing:8080"]);
    insta::assert_snapshot!("envoy-bootstrap-server", workdir.compile_without_objects(&shop(), &args)?);
    let args = ["--format", "istio-envoyfilter", "--endpoints", "--module", "/etc/byname/byname.wasm"];
    insta::assert_snapshot!("istio-envoyfilter-mixed", workdir.compile(SHOP, mixed, &args)?);
    Ok(())
}

/// Options for a bootstrap whose Envoy gets everything from a server, and `more`.
fn with_server<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--format", "envoy-bootstrap", "--server", "byname.byname-system:18000"], more].concat()
}

/// A test of the module compares `envoy/ecds/shop.yaml` with the module's imports and exports.
#[test]
fn filters_have_the_capabilities_of_the_handwritten_files() -> TestResult {
    let of = |wasm: &Value| json!([wasm["failure_policy"], wasm["vm_config"]["capability_restriction_config"]]);
    let discovered =
        |text: &str| Ok::<_, anyhow::Error>(of(&yaml_documents(text)?[0]["resources"][0]["typed_config"]["config"]));
    let inline = |text: &str| {
        let document = yaml_documents(text)?.remove(0);
        let manager = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        Ok::<_, anyhow::Error>(of(&manager["http_filters"][0]["typed_config"]["config"]))
    };
    let by_hand = |file: &str| fs::read_to_string(repository().join("envoy").join(file));
    let workdir = Workdir::new()?;
    let ecds = discovered(&workdir.compile(SHOP, &shop(), &["--format", "envoy-ecds"])?)?;
    assert_eq!(ecds, discovered(&by_hand("ecds/shop.yaml")?)?);
    let by_cluster = inline(&workdir.compile(SHOP, &shop(), &["--format", "envoy-bootstrap"])?)?;
    assert_eq!(by_cluster, inline(&by_hand("cluster.yaml")?)?);
    assert_ne!(by_cluster, ecds);
    let default = |text: &str| {
        let document = yaml_documents(text)?.remove(0);
        let manager = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        Ok::<_, anyhow::Error>(of(&manager["http_filters"][0]["config_discovery"]["default_config"]["config"]))
    };
    let by_endpoint = with(shop(), &[("steering.by", json!("endpoint"))]);
    let on_demand = inline(&workdir.compile_without_objects(&by_endpoint, &with_server(&[]))?)?;
    assert_eq!(on_demand, inline(&by_hand("stream.yaml")?)?);
    assert_ne!(on_demand, ecds);
    let pushed = workdir.compile_without_objects(&shop(), &with_server(&["--pass", "original-dst"]))?;
    assert_eq!(default(&pushed)?, ecds);
    assert_eq!(default(&by_hand("serve.yaml")?)?, ecds);
    for (field, value) in [
        ("steering.loadBalancer.simple", json!("LEAST_REQUEST")),
        ("steering.outlierDetection", json!({"consecutive5xxErrors": 5})),
        ("table.services.shop/cart.steering.loadBalancer.simple", json!("LEAST_REQUEST")),
        ("table.services.shop/cart.steering.outlierDetection", json!({"consecutive5xxErrors": 5})),
    ] {
        let config = with(ways()[2].1.clone(), &[(field, value)]);
        let watches = inline(&workdir.compile(SHOP, &config, &["--format", "envoy-bootstrap"])?)?;
        assert_eq!(watches, ecds, "{field}");
    }
    Ok(())
}

/// Returns Envoy's errors about a bootstrap; `None` if Envoy accepts it.
fn validate(bootstrap: &Path) -> Result<Option<String>> {
    let output = Command::new(envoy_binary()?)
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(bootstrap)
        .current_dir(repository())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let deprecated = said.lines().any(|line| line.contains("Deprecated") || line.contains("deprecated"));
    Ok((!output.status.success() || deprecated).then_some(said))
}

#[test]
fn envoy_accepts_every_bootstrap() -> TestResult {
    let workdir = Workdir::new()?;
    let directory = workdir.path("endpoints");
    fs::create_dir(&directory)?;
    let (directory, cds) = (directory.display().to_string(), workdir.path("cds.yaml").display().to_string());
    let bootstrap = workdir.path("sidecar.yaml").display().to_string();
    let eds = ["--clusters", "eds", "--eds-directory", &directory, "--eds-output", &directory];
    let discovered = ["--cds-file", &cds, "--clusters-output", &cds, "--pass", "original-dst"];
    let kinds: [&[&str]; 4] = [&[], &eds, &["--clusters", "dns"], &discovered];
    let module = module();
    for (way, config) in ways() {
        // The hostile cluster has none of the Services that these fields name.
        let of_others = with(config.clone(), &[("table", json!({})), ("fallback", json!({}))]);
        let hostile = &kinds[..1];
        for (cluster, config, kinds, skip) in
            [(SHOP, &config, &kinds[..], None), (HOSTILE, &of_others, hostile, Some("--skip-invalid"))]
        {
            for kind in kinds {
                let mut args = vec!["--format", "envoy-bootstrap", "--module", &module, "--output-file", &bootstrap];
                args.extend(*kind);
                args.extend(skip);
                // DNS cannot return a subset of a Service's endpoints.
                if kind.contains(&"dns") && config.to_string().contains("\"subsets\"") {
                    assert!(
                        refused(&workdir, cluster, config, &args)?.contains("is a subset of the endpoints"),
                        "{way}"
                    );
                    continue;
                }
                workdir.compile(cluster, config, &args)?;
                assert_eq!(validate(Path::new(&bootstrap))?, None, "{cluster}, {way}, {kind:?}");
            }
        }
    }
    Ok(())
}

/// What Envoy does with them, without a server and with one: `tests/sidecar/server.rs`.
#[test]
fn envoy_accepts_every_bootstrap_of_a_server() -> TestResult {
    let workdir = Workdir::new()?;
    let bootstrap = workdir.path("sidecar.yaml").display().to_string();
    let module = module();
    for pass in ["refuse", "original-dst"] {
        for when_no_server in ["pass", "refuse", "not-ready"] {
            if (pass, when_no_server) == ("refuse", "pass") {
                continue;
            }
            for address in ["127.0.0.1:18000", "[::1]:18000", "byname.byname-system:18000"] {
                let args = ["--format", "envoy-bootstrap", "--server", address, "--pass", pass, "--module", &module];
                let more = ["--when-no-server", when_no_server, "--prefetch", "payments", "--output-file", &bootstrap];
                workdir.compile_without_objects(&shop(), &[&args[..], &more].concat())?;
                assert_eq!(validate(Path::new(&bootstrap))?, None, "{address}, {pass}, {when_no_server}");
            }
        }
    }
    assert_eq!(validate(&repository().join("envoy/serve.yaml"))?, None);
    assert_eq!(validate(&repository().join("envoy/stream.yaml"))?, None);
    Ok(())
}

/// Steered by endpoint, the filter asks the server itself, and Envoy discovers nothing.
#[test]
fn a_filter_that_asks_a_server_needs_few_clusters() -> TestResult {
    let workdir = Workdir::new()?;
    let bootstrap = workdir.path("sidecar.yaml").display().to_string();
    let hosts = json!([{"host": "api.weather.example.com", "ports": [443]}, {"host": "*.example.org", "ports": [443]}]);
    let config = with(
        shop(),
        &[
            ("steering.by", json!("endpoint")),
            ("externalNames.allow", hosts.clone()),
            ("table.services.shop/cart.subsets", json!({"here": {"zone": "eu-a"}})),
        ],
    );
    let made = |config: &Value, args: &[&str]| {
        let module = module();
        let args = with_server(&[&["--module", &module, "--output-file", &bootstrap], args].concat());
        let config = workdir.put("config.json", &config.to_string())?;
        let output = workdir.run(&[&["--config", &config], &args[..]].concat())?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(validate(Path::new(&bootstrap))?, None, "{args:?}");
        Ok::<_, anyhow::Error>(yaml_documents(&fs::read_to_string(&bootstrap)?)?.remove(0))
    };
    let clusters = |document: &Value| -> Vec<String> {
        let clusters = document["static_resources"]["clusters"].as_array().into_iter().flatten();
        clusters.map(|cluster| cluster["name"].as_str().expect("a name").to_owned()).collect()
    };
    let filter = |document: &Value| {
        let manager = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let filters = manager["http_filters"].as_array().expect("filters");
        let text = filters[0]["typed_config"]["config"]["configuration"]["value"].as_str().expect("text");
        let defaults = Defaults { namespace: Some("shop"), ..Defaults::default() };
        Config::read(text, &defaults).expect("the filter takes it");
        let names: Vec<Value> = filters.iter().map(|filter| filter["name"].clone()).collect();
        Ok::<_, anyhow::Error>((serde_json::from_str::<Value>(text)?, names))
    };
    let alone = made(&config, &["-n", "shop"])?;
    assert_eq!(alone["dynamic_resources"], Value::Null);
    assert_eq!(alone["node"]["metadata"], json!({"NAMESPACE": "shop"}));
    let external = ["external-tls|443|api.weather.example.com", "external|443|api.weather.example.com"];
    assert_eq!(clusters(&alone), [&external[..], &["original-dst", "original-dst-tls", "byname-server"]].concat());
    let (configuration, filters) = filter(&alone)?;
    assert_eq!(filters, ["byname", "envoy.filters.http.router"]);
    let expected = json!({
        "version": 1, "minor": MINOR, "requires": ["server"], "caller": {"namespace": "shop"}, "steering": {"by": "endpoint"},
        "unknownNames": "refuse", "externalNames": {"allow": hosts},
        "server": {"cluster": "byname-server", "onTimeout": "refuse"},
    });
    assert_eq!(configuration, expected);
    // A dynamic forward proxy serves hosts that are not known by name.
    let external = json!({"cluster": "out", "tlsCluster": "out-tls", "dynamicForwardProxy": true});
    let any = with(config, &[("steering.external", external), ("table", json!({}))]);
    let pod = [
        "-f",
        SHOP,
        "--pod",
        "shop/checkout-6d5f9c7b8d-pt4m6",
        "--pass",
        "original-dst",
        "--preload",
        "shop",
        "--preload",
        "prod/*",
    ];
    let of_pod = made(&any, &pod)?;
    assert_eq!(of_pod["node"]["metadata"]["NODE_NAME"], "node-1");
    let (configuration, filters) = filter(&of_pod)?;
    assert_eq!(filters.len(), 3, "{filters:?}");
    let server = json!({"cluster": "byname-server", "preload": ["shop/*", "prod/*"], "onTimeout": "pass"});
    assert_eq!((&configuration["server"], &configuration["table"]), (&server, &Value::Null));
    assert_eq!(configuration["destinationPort"], json!({"listenerPort": LISTENER}));
    assert!(clusters(&of_pod).iter().any(|name| name == "out-tls"), "{:?}", clusters(&of_pod));
    Ok(())
}

/// One object for the whole mesh: it says where the server is, and has no table.
#[test]
fn a_plugin_of_a_server_has_no_table() -> TestResult {
    let workdir = Workdir::new()?;
    let server = ["--server", "byname.byname-system:9905", "--image", "oci://registry.example.com/byname:0.1.0"];
    for (format, kind) in [("istio-wasmplugin", "WasmPlugin"), ("istio-trafficextension", "TrafficExtension")] {
        let output = workdir.run(&[&["--format", format], &server[..]].concat())?;
        let says = String::from_utf8(output.stderr)?;
        let bytes: usize = says.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        assert!(output.status.success() && bytes < 600, "{says}");
        let object = yaml_documents(&String::from_utf8(output.stdout)?)?.remove(0);
        assert_eq!((&object["kind"], &object["metadata"]["namespace"]), (&json!(kind), &json!("istio-system")));
        let spec = &object["spec"];
        let configuration =
            if format == "istio-wasmplugin" { &spec["pluginConfig"] } else { &spec["wasm"]["pluginConfig"] };
        let expected = json!({
            "version": 1, "minor": MINOR, "requires": ["server"], "steering": {"by": "authority"}, "destinationPort": {},
            "server": {"cluster": "outbound|9905||byname.byname-system.svc.cluster.local", "onTimeout": "pass"},
        });
        assert_eq!(configuration, &expected);
        let defaults = Defaults { namespace: Some("shop"), ..Defaults::default() };
        Config::read(configuration.to_string(), &defaults).expect("the filter takes it");
    }
    // By endpoint, the sidecars need the clusters that all Services share.
    let by_endpoint = workdir.put("config.json", &json!({"version": 1, "steering": {"by": "endpoint"}}).to_string())?;
    let args = ["--format", "istio-envoyfilter", "--server", "byname.byname-system:9905", "--config", &by_endpoint];
    let filter = String::from_utf8(workdir.run(&args)?.stdout)?;
    assert!(filter.contains("name: original-dst\n") && filter.contains("name: original-dst-tls\n"), "{filter}");
    Ok(())
}

/// Without objects a name is that of a plaintext Service; with objects, clusters are those that the server sends.
#[test]
fn prefetched_names_have_clusters_from_the_start() -> TestResult {
    let workdir = Workdir::new()?;
    let names = ["cart", "ledger.billing:8080", "catalog.shop.svc:9090", "cart.shop.svc.cluster.local."];
    let prefetch: Vec<&str> = names.iter().flat_map(|name| ["--prefetch", name]).collect();
    let clusters = |text: String| {
        let clusters = yaml_documents(&text)?.remove(0)["static_resources"]["clusters"].clone();
        let eds = clusters.as_array().into_iter().flatten().filter(|cluster| cluster["type"] == "EDS");
        let name = |cluster: &Value| cluster["name"].as_str().expect("a name").to_owned();
        Ok::<_, anyhow::Error>(eds.map(|cluster| (name(cluster), cluster.clone())).collect::<Vec<_>>())
    };
    let without = clusters(workdir.compile_without_objects(&shop(), &with_server(&prefetch))?)?;
    let expected = [
        "outbound|8080||ledger.billing.svc.cluster.local",
        "outbound|80||cart.shop.svc.cluster.local",
        "outbound|9090||catalog.shop.svc.cluster.local",
    ];
    assert_eq!(without.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), expected);
    let args = with_server(&["--prefetch", "cart", "--prefetch", "catalog:9090"]);
    let with = clusters(workdir.compile(SHOP, &shop(), &args)?)?;
    assert_eq!(with.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), expected[1..]);
    assert_eq!(with[0].1, without[1].1);
    let output = workdir.run(&with_server(&["-n", "shop", "--prefetch", "db-0.db.shop", "--prefetch", "a:b"]))?;
    let says = String::from_utf8(output.stderr)?;
    assert!(
        says.contains("--prefetch db-0.db.shop: does not name a Service") && says.contains("--prefetch a:b"),
        "{says}"
    );
    Ok(())
}

/// The server sends the oldest schema to an Envoy whose bootstrap does not say what its module reads.
#[test]
fn a_bootstrap_of_a_server_has_the_schema_of_its_module() -> TestResult {
    let workdir = Workdir::new()?;
    let node = |module: &str| {
        let text = workdir.compile_without_objects(&shop(), &with_server(&["--module", module]))?;
        Ok::<_, anyhow::Error>(yaml_documents(&text)?.remove(0)["node"]["metadata"].clone())
    };
    assert_eq!(
        node(&module())?,
        json!({"NAMESPACE": "shop", "BYNAME_SCHEMA": format!("{VERSION}.{MINOR}"), "BYNAME_UNKNOWN_NAMES": "refuse"})
    );
    let older = repository().join("tests/fixtures/last-release/byname.wasm").display().to_string();
    for module in [older.as_str(), "/nonexistent/byname.wasm"] {
        assert_eq!(node(module)?, json!({"NAMESPACE": "shop", "BYNAME_UNKNOWN_NAMES": "refuse"}), "{module}");
    }
    let output = workdir.run(&with_server(&["-n", "shop", "--module", "README.md"]))?;
    let says = String::from_utf8(output.stderr)?;
    assert!(!output.status.success() && says.contains("README.md: is not a WebAssembly module; correct"), "{says}");
    Ok(())
}

/// The zone and the node of a pod choose its endpoints. The server gets them from the bootstrap.
#[test]
fn a_bootstrap_of_a_server_describes_the_pod() -> TestResult {
    let pod = "shop/checkout-6d5f9c7b8d-pt4m6";
    let output = Workdir::new()?.run(&with_server(&["-f", SHOP, "--pod", pod]))?;
    let node = yaml_documents(&String::from_utf8(output.stdout)?)?.remove(0)["node"].clone();
    let expected = json!({
        "id": "checkout-6d5f9c7b8d-pt4m6.shop",
        "cluster": "shop",
        "metadata": {"NAMESPACE": "shop", "NODE_NAME": "node-1", "BYNAME_UNKNOWN_NAMES": "refuse"},
        "locality": {"zone": "eu-a"},
    });
    assert_eq!(node, expected);
    Ok(())
}

/// The clusters that the filter may steer to, for any name of any Service in its table.
fn steered_to(config: &Config, table: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (key, service) in table["services"].as_object().expect("Services") {
        let (namespace, name) = key.split_once('/').expect("namespace/name");
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
            let text = list.or_else(|| value.as_str().map(Into::into)).unwrap_or_default();
            text.split(' ').filter(|text| !text.is_empty()).map(Into::into).collect()
        };
        let groups = service["endpoints"].as_array().cloned().unwrap_or_default();
        let mut hosts = vec![format!("{name}.{namespace}"), format!("{name}.{namespace}.svc.cluster.local")];
        if namespace == "shop" {
            hosts.push(name.to_owned());
        }
        for hostname in groups.iter().flat_map(|group| texts(&group["hostnames"])) {
            hosts.push(format!("{hostname}.{name}.{namespace}"));
        }
        hosts.extend(texts(&service["clusterIPs"]).into_iter().filter(|ip| ip != "None" && !ip.contains(':')));
        let mut ports = vec![80, 443];
        for port in service["ports"].as_array().into_iter().flatten() {
            ports.extend(port["port"].as_u64());
            if let Some(called) = port["name"].as_str() {
                hosts.push(format!("_{called}._tcp.{name}.{namespace}.svc.cluster.local"));
            }
        }
        for host in &hosts {
            let named = ports.iter().map(|port| format!("{host}:{port}")).chain([host.clone()]);
            for (authority, seed) in named.flat_map(|authority| (0..8).map(move |seed| (authority.clone(), seed))) {
                for scheme in [Scheme::Http, Scheme::Https, Scheme::Connect] {
                    let mut plan = Plan::default();
                    let mut world = FakeEnv { seed, ..FakeEnv::default() };
                    let mut chooser = Chooser { balance: &mut Balance::default(), env: &mut world };
                    let request = Request::new(&authority, scheme);
                    let resolution = config.resolve(request, None);
                    config.plan(&resolution, request, &mut chooser, &mut plan, None);
                    names.extend(plan.cluster().map(String::from));
                }
            }
        }
    }
    names
}

fn read(table: &str) -> Result<Config> {
    Ok(Config::read(table, &Defaults { namespace: Some("shop"), ..Defaults::default() })?)
}

#[test]
fn bootstrap_has_every_cluster_that_the_filter_may_steer_to() -> TestResult {
    let workdir = Workdir::new()?;
    for (way, config) in ways() {
        // Without a node, no endpoint of a Service with `internalTrafficPolicy: Local` may serve.
        let config = with(config, &[("caller", json!({"node": "node-1"}))]);
        let table = workdir.compile(SHOP, &config, &[])?;
        let wanted = steered_to(&read(&table)?, &serde_json::from_str::<Value>(&table)?["table"]);
        let bootstrap = workdir.compile(SHOP, &config, &["--format", "envoy-bootstrap"])?;
        let clusters = &yaml_documents(&bootstrap)?[0]["static_resources"]["clusters"];
        let there: Vec<&str> =
            clusters.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
        let missing: Vec<&String> = wanted.iter().filter(|name| !there.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "{way}: {missing:?} of {there:?}");
        let named = match way {
            "authority" => 0,
            "mixed" => 2,
            "endpoint" => 5,
            _ => 24,
        };
        assert!(wanted.len() >= named, "{way}: {wanted:?}");
        if way == "cluster" {
            assert_eq!(wanted.len(), there.len(), "no other clusters");
        }
    }
    Ok(())
}

#[test]
fn an_error_leaves_the_output_file_unchanged() -> TestResult {
    let workdir = Workdir::new()?;
    let kept = workdir.put("kept.yaml", "as it was\n")?;
    let same = with(shop(), &[("steering.cluster", json!("{service}.{namespace}"))]);
    let endpoint = with(shop(), &[("steering.by", json!("endpoint"))]);
    let authority = with(shop(), &[("steering.by", json!("authority"))]);
    let version = with(authority.clone(), &[("table.version", json!((1_u64 << 53) + 1))]);
    let image = ["--format", "istio-wasmplugin", "--image", "oci://registry.example.com/byname:0.1.0"];
    let short = [&image[..], &["--sha256", "ab12"]].concat();
    let extension = ["--format", "istio-trafficextension", "--image", "oci://registry.example.com/byname:0.1.0"];
    let rows: [(&Value, &[&str], &[&str]); 24] = [
        (&shop(), &short, &["--sha256", "use 64 hexadecimal digits"]),
        (&shop(), &[&image[..2], &["--image", "a b"]].concat(), &["'a b' for '--image", "use oci://registry/name:tag"]),
        (&shop(), &[&image[..2], &["--image", "ftp://a/b:1"]].concat(), &["use oci://registry/name:tag"]),
        (&shop(), &[&image[..2], &["--image", "oci://"]].concat(), &["use oci://registry/name:tag"]),
        (&shop(), &[&image[..], &["--selector", "app=a b"]].concat(), &["no label has the value \"a b\""]),
        (&shop(), &[&image[..], &["--selector", "a b=c"]].concat(), &["no label has the key \"a b\""]),
        (
            &shop(),
            &["--format", "envoy-bootstrap", "--listen", "127.0.0.1:9901"],
            &["--listen 127.0.0.1:9901: is the address of the admin interface too"],
        ),
        (
            &shop(),
            &["--format", "envoy-bootstrap", "--listen", "localhost:1"],
            &["use ADDRESS:PORT with an IP address"],
        ),
        (&shop(), &["--table-version", "abc"], &["use a whole number from 0 to 18446744073709551615"]),
        (&ways()[3].1, &["--format", "envoy-bootstrap", "--pass", "refuse"], &["steering.passCluster", "remove one"]),
        (
            &same,
            &["--format", "envoy-bootstrap"],
            &["steering.cluster: the cluster name \"api.billing\"", "api.billing.svc.cluster.local:80 and", "{port}"],
        ),
        (
            &shop(),
            &["--listen", "127.0.0.1:1"],
            &["--listen has no effect with --format table; use it with envoy-ecds or envoy-bootstrap"],
        ),
        (&shop(), &["--format", "istio-wasmplugin"], &["--image oci://"]),
        (&endpoint, &image, &["add --endpoints, or steer by authority"]),
        (&authority, &["--format", "istio-envoyfilter"], &["is not needed", "istio-wasmplugin"]),
        (&shop(), &["--format", "envoy-bootstrap", "--eds-output", "x"], &["--clusters eds"]),
        (&shop(), &["--format", "envoy-bootstrap", "--pass", "perhaps"], &["original-dst"]),
        // Envoy does not read a file without a known extension.
        (
            &shop(),
            &["--format", "envoy-bootstrap", "--cds-file", "live/clusters"],
            &["live/clusters", "use a name that ends in .yaml"],
        ),
        (&shop(), &["--format", "envoy-ecds", "--clusters", "static"], &["--clusters-output"]),
        (
            &shop(),
            &["--visible", "shpo"],
            &["--visible shpo: the input has no Service in this namespace; namespaces with Services are billing, "],
        ),
        (&authority, &[&image[..], &["--table-version", "18446744073709551615"]].concat(), &["2^53"]),
        (&version, &image, &["table.version", "2^53"]),
        (&version, &extension, &["table.version", "2^53"]),
        (
            &shop(),
            &["--format", "envoy-ecds", "--ecds-file", "x"],
            &["--ecds-file has no effect with --format envoy-ecds"],
        ),
    ];
    for (config, args, says) in rows {
        let said = refused(&workdir, SHOP, config, &[args, &["--output-file", &kept]].concat())?;
        assert!(says.iter().all(|text| said.contains(text)), "{args:?}: {said}");
        assert_eq!(fs::read_to_string(&kept)?, "as it was\n", "{args:?}");
    }
    let pass = with_server(&["--pass", "refuse", "--when-no-server", "pass"]);
    let unknown = with_server(&["--prefetch", "nobody"]);
    let server = "--server";
    let authority = with(shop(), &[("steering.by", json!("authority"))]);
    let by_hand = with(endpoint.clone(), &[("server", json!({"cluster": "other"}))]);
    let plugin = |address, more: &[&'static str]| {
        [&["--format", "istio-wasmplugin", "--image", "oci://x/byname", server, address], more].concat()
    };
    let rows: [(&Value, Vec<&str>, &[&str]); 16] = [
        (&shop(), vec![server, "127.0.0.1:1"], &["--server has no effect with --format table", "envoy-bootstrap"]),
        (&shop(), vec!["--format", "envoy-bootstrap", server, "byname"], &["use the form HOST:PORT"]),
        (&shop(), with_server(&["--cds-file", "x.yaml"]), &["--cds-file has no effect with --server", "remove"]),
        (
            &shop(),
            with_server(&[
                "--server-ca-file",
                "/x",
                "--client-cert-file",
                "/a/b",
                "--client-key-file",
                "/c/d",
                "--secrets-output",
                "s",
            ]),
            &["--client-key-file /c/d: is not in the directory of --client-cert-file"],
        ),
        (&shop(), with_server(&["--visible", "shop"]), &["--visible has no effect with --server"]),
        (&shop(), pass, &["--when-no-server pass: needs", "add --pass original-dst"]),
        (&authority, with_server(&[]), &["steering.by", "not steered by authority", "steer by cluster or by endpoint"]),
        (&endpoint, with_server(&[]), &["--filename has no effect with --server and without --pod"]),
        (
            &endpoint,
            with_server(&["--prefetch", "cart"]),
            &["--prefetch has no effect where the filter asks", "--preload"],
        ),
        (
            &shop(),
            with_server(&["--on-timeout", "pass"]),
            &["--on-timeout has no effect where Envoy asks", "by endpoint"],
        ),
        (&by_hand, with_server(&[]), &["server: --server says it too; remove one"]),
        (
            &shop(),
            plugin("byname:9905", &[]),
            &["byname:9905: does not say the namespace", "byname.byname-system:9905"],
        ),
        (&shop(), plugin("10.0.0.1:9905", &[]), &["10.0.0.1:9905: is an address"]),
        (&shop(), plugin("a.b:1", &["--plain"]), &["--plain has no effect with --server, which has the table"]),
        (&shop(), plugin("a.b:1", &["--preload", "Shop"]), &["--preload", "use the name of a namespace"]),
        (&shop(), unknown, &["--prefetch nobody: routes to no cluster (name_not_found)"]),
    ];
    for (config, args, says) in rows {
        let said = refused(&workdir, SHOP, config, &args)?;
        assert!(says.iter().all(|text| said.contains(text)), "{args:?}: {said}");
    }
    // A static cluster needs the endpoints, and this dump has none.
    let services = yaml_documents(&fs::read_to_string(repository().join(SHOP))?)?.remove(0);
    let services: Vec<&Value> =
        services["items"].as_array().expect("a list").iter().filter(|item| item["kind"] == "Service").collect();
    let services =
        workdir.put("services.json", &json!({"apiVersion": "v1", "kind": "List", "items": services}).to_string())?;
    let said = refused(&workdir, &services, &shop(), &["--format", "envoy-bootstrap"])?;
    let unknown = "services.json:1: document 1, items[8], cart.shop.svc.cluster.local:80: has unknown endpoints; ";
    assert!(said.contains(unknown) && said.contains("--clusters dns"), "{said}");
    let text = workdir.compile(&services, &shop(), &["--format", "envoy-bootstrap", "--clusters", "dns"])?;
    assert!(text.contains("name: envoy.clusters.dns\n"));
    Ok(())
}

/// Some characters end a line of YAML, and some are not allowed in it.
#[test]
fn non_ascii_characters_are_escaped() -> TestResult {
    const STRANGE: &str = "\u{7f}\u{85}\u{2028}\u{e9}\u{1f980}";
    let workdir = Workdir::new()?;
    let ports = json!([{"port": 80, "appProtocol": STRANGE}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
                         "spec": {"clusterIP": "None", "ports": ports}});
    let dump = workdir.put("strange.json", &service.to_string().replace('\u{7f}', "\\u007f"))?;
    let image = ["--format", "istio-wasmplugin", "--image", "oci://registry.example.com/byname", "--plain"];
    let plugin = workdir.compile(&dump, &shop(), &image)?;
    let filter = workdir.compile(&dump, &shop(), &["--format", "envoy-ecds"])?;
    // JSON escapes a character above U+FFFF as a surrogate pair, which YAML does not know.
    let is_plain = |c: char| (c.is_ascii() && c != '\u{7f}') || c > '\u{ffff}';
    assert!(plugin.chars().all(is_plain) && filter.chars().all(is_plain));
    let plugin = yaml_documents(&plugin)?.remove(0);
    let filter = &yaml_documents(&filter)?.remove(0)["resources"][0]["typed_config"]["config"];
    let pushed: Value = serde_json::from_str(filter["configuration"]["value"].as_str().expect("JSON"))?;
    for config in [&plugin["spec"]["pluginConfig"], &pushed] {
        assert_eq!(config["table"]["services"]["shop/web"]["ports"], ports);
    }
    Ok(())
}

/// Envoy reads the path that was given, whatever its characters.
#[test]
fn hostile_paths_are_quoted() -> TestResult {
    const PATH: &str = "/etc/a: {b} # \"c'\\\u{7f}\u{85}\u{2028}*d";
    let file = format!("{PATH}.yaml");
    let paths = ["--module", PATH, "--ecds-file", &file, "--cds-file", &file];
    let bootstrap = Workdir::new()?.compile(SHOP, &shop(), &[&["--format", "envoy-bootstrap"], &paths[..]].concat())?;
    let bootstrap = yaml_documents(&bootstrap)?.remove(0);
    let manager = &bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let discovery = &manager["http_filters"][0]["config_discovery"];
    let wasm = &discovery["default_config"]["config"]["vm_config"];
    assert_eq!(wasm["code"]["local"]["filename"], PATH);
    let source = json!({"path": file, "watched_directory": {"path": "/etc"}});
    assert_eq!(discovery["config_source"]["path_config_source"], source);
    assert_eq!(bootstrap["dynamic_resources"]["cds_config"]["path_config_source"], source);
    Ok(())
}

#[test]
fn refuses_an_object_above_the_size_limit() -> TestResult {
    let workdir = Workdir::new()?;
    let service = |number: usize| {
        let name = format!("{}-{number:05}", "long".repeat(14));
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
               "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}})
    };
    let services: Vec<Value> = (0..16_000).map(service).collect();
    let dump =
        workdir.put("large.json", &json!({"apiVersion": "v1", "kind": "List", "items": services}).to_string())?;
    let said = refused(
        &workdir,
        &dump,
        &shop(),
        &["--format", "istio-wasmplugin", "--image", "oci://registry.example.com/byname", "--plain"],
    )?;
    assert!(
        said.contains("the WasmPlugin: would have 2") && said.contains("the limit is 1572864; limit the namespaces"),
        "{said}"
    );
    Ok(())
}

#[test]
fn output_file_is_replaced_and_nothing_else_is_left() -> TestResult {
    let workdir = Workdir::new()?;
    let file = workdir.put("out.yaml", "old\n")?;
    let text = workdir.compile(SHOP, &shop(), &["--format", "envoy-ecds"])?;
    assert_eq!(workdir.compile(SHOP, &shop(), &["--format", "envoy-ecds", "--output-file", &file])?, "");
    assert_eq!(fs::read_to_string(&file)?, text);
    assert_eq!(fs::read_dir(workdir.0.path())?.count(), 2, "only the configuration and the output are there");
    Ok(())
}

/// An object for Istio gives the same answers as the table.
#[test]
fn istio_objects_resolve_names_like_the_table() -> TestResult {
    let workdir = Workdir::new()?;
    let config = with(shop(), &[("steering.by", json!("authority"))]);
    let (sum, url) = ("ab12".repeat(16), "oci://registry.example.com/byname:0.1.0");
    let digest = format!("sha256:{sum}");
    let image = ["--format", "istio-wasmplugin", "--image", url, "--sha256", &digest];
    let plugin = yaml_documents(&workdir.compile(SHOP, &shop(), &image)?)?.remove(0);
    assert_eq!(plugin["metadata"], json!({"name": "byname", "namespace": "shop"}));
    assert_eq!((&plugin["spec"]["match"], &plugin["spec"]["sha256"]), (&json!([{"mode": "CLIENT"}]), &json!(sum)));
    let pushed = read(&plugin["spec"]["pluginConfig"].to_string())?;
    let table = read(&workdir.compile(SHOP, &config, &[])?)?;
    for authority in
        ["web", "cart", "catalog:9090", "ledger.billing", "suggest", "weather:443", "nobody", "10.96.0.1:443"]
    {
        let ask = |config: &Config| {
            let mut plan = Plan::default();
            let mut chooser = Chooser { balance: &mut Balance::default(), env: &mut FakeEnv::default() };
            let request = Request::new(authority, Scheme::Http);
            let resolution = config.resolve(request, None);
            config.plan(&resolution, request, &mut chooser, &mut plan, None);
            (resolution.reason(), plan.authority().map(String::from), plan.cluster().map(String::from))
        };
        assert_eq!(ask(&pushed), ask(&table), "{authority}");
    }
    let said = workdir.run(&[&["-f", SHOP, "-n", "shop"], &image[..]].concat())?.stderr;
    assert!(String::from_utf8(said)?.contains(" % of an object's size limit"));

    let filter = workdir.compile(
        SHOP,
        &ways()[3].1,
        &["--format", "istio-envoyfilter", "--endpoints", "--module", "/byname.wasm"],
    )?;
    let filter = yaml_documents(&filter)?.remove(0);
    let patches = filter["spec"]["configPatches"].as_array().expect("patches");
    let kinds: Vec<&str> = patches.iter().filter_map(|patch| patch["applyTo"].as_str()).collect();
    assert_eq!(kinds[..3], ["NETWORK_FILTER", "HTTP_ROUTE", "HTTP_FILTER"]);
    assert!(kinds[3..].iter().all(|kind| *kind == "CLUSTER") && kinds.len() > 4, "{kinds:?}");
    assert!(patches.iter().all(|patch| patch["match"]["context"] == "SIDECAR_OUTBOUND"));
    let wasm = &patches[2]["patch"]["value"]["typed_config"]["config"];
    read(wasm["configuration"]["value"].as_str().expect("JSON"))?;
    Ok(())
}

/// Istio's sidecars open no tunnels, through which a client's own TLS would go to a host outside or to `default/kubernetes`.
#[test]
fn an_envoyfilter_has_no_cluster_for_tunnels() -> TestResult {
    let workdir = Workdir::new()?;
    let config = with(shop(), &[("table.services.shop/weather.alias", json!({"port": 443, "tls": true}))]);
    let bootstrap = workdir.compile(SHOP, &config, &["--format", "envoy-bootstrap"])?;
    let filter = workdir.compile(SHOP, &config, &["--format", "istio-envoyfilter", "--endpoints"])?;
    for name in ["\"external|443|api.weather.example.com\"", "original-dst"] {
        let line = format!(" name: {name}\n");
        assert!(bootstrap.contains(&line), "{name} is not in the bootstrap");
        assert!(!filter.contains(&line), "{name} is in the EnvoyFilter");
    }
    assert!(filter.contains(" name: \"external-tls|443|api.weather.example.com\"\n"), "{filter}");
    Ok(())
}

/// Envoy accepts what an EnvoyFilter adds to Istio's listeners, routes and clusters.
#[test]
fn envoy_accepts_the_patches_of_an_envoyfilter() -> TestResult {
    let workdir = Workdir::new()?;
    for (way, config) in ways().into_iter().filter(|(way, _)| *way != "authority") {
        let filter =
            workdir.compile(SHOP, &config, &["--format", "istio-envoyfilter", "--endpoints", "--module", &module()])?;
        let filter = yaml_documents(&filter)?.remove(0);
        let patches = filter["spec"]["configPatches"].as_array().cloned().unwrap_or_default();
        let values = |kind: &str| -> Vec<Value> {
            let of_kind = patches.iter().filter(|patch| patch["applyTo"] == kind);
            of_kind.map(|patch| patch["patch"]["value"].clone()).collect()
        };
        // istiod inserts the patches in this way.
        let mut manager = values("NETWORK_FILTER").remove(0)["typed_config"].clone();
        let mut routes = values("HTTP_ROUTE");
        routes.push(json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}}));
        let router = json!({"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
        manager["stat_prefix"] = json!("outbound");
        manager["http_filters"] = json!([values("HTTP_FILTER"), vec![router]].concat());
        manager["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]});
        let filters = json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]);
        let bootstrap = json!({"static_resources": {
            "listeners": [{
                "name": "outbound",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": LISTENER}},
                "filter_chains": [{"filters": filters}],
            }],
            "clusters": values("CLUSTER"),
        }});
        let bootstrap = workdir.put("bootstrap.json", &bootstrap.to_string())?;
        assert_eq!(validate(Path::new(&bootstrap))?, None, "{way}");
    }
    Ok(())
}
