//! What is deployed in Istio: the objects for a namespace or for the whole mesh, and their comparison with a cluster.

use std::fs;

use tempfile::TempDir;

use crate::run::{HOSTILE, Run, SHOP, byname, byname_with_input, root};

const IMAGE: &str = "oci://registry.example.com/byname:0.1.0";

fn compile(format: &str, more: &[&str]) -> Run {
    let image: &[&str] = if format == "istio-envoyfilter" { &[] } else { &["--image", IMAGE] };
    byname(&[&["compile", "-f", SHOP, "--format", format], image, more].concat())
}

/// The lines of `text` that begin with one of `starts`, without comments.
fn lines<'t>(text: &'t str, starts: &[&str]) -> Vec<&'t str> {
    text.lines().filter(|line| starts.iter().any(|start| line.trim_start().starts_with(start))).collect()
}

#[test]
fn one_object_is_for_a_namespace_or_for_the_mesh() {
    let place = |run: &Run| {
        assert_eq!(run.status, 0, "{}", run.stderr);
        lines(&run.stdout, &["kind:", "namespace:", "caller:", "istio.io/rev:"]).join("|")
    };
    let whole = [
        (compile("istio-wasmplugin", &[]), "kind: WasmPlugin|  namespace: istio-system"),
        (compile("istio-trafficextension", &[]), "kind: TrafficExtension|  namespace: istio-system"),
        (
            compile("istio-wasmplugin", &["--root-namespace", "mesh", "--revision", "canary"]),
            "kind: WasmPlugin|  namespace: mesh|    istio.io/rev: canary",
        ),
        (
            compile("istio-wasmplugin", &["-n", "shop"]),
            "kind: WasmPlugin|  namespace: shop|    caller: {namespace: shop}",
        ),
    ];
    for (run, expected) in whole {
        assert_eq!(place(&run), expected);
    }
    let selected = ["--selector", "app=web", "--selector", "tier=front"];
    for format in ["istio-wasmplugin", "istio-trafficextension"] {
        let text = compile(format, &selected).stdout;
        assert!(text.contains("\n  selector:\n    matchLabels:\n      app: web\n      tier: front\n"), "{text}");
    }
    for wrong in
        [&["--selector", "app"] as &[&str], &["--selector", "app=*"], &["-n", "shop", "--root-namespace", "mesh"]]
    {
        assert_eq!(compile("istio-wasmplugin", wrong).status, 2, "{wrong:?}");
    }
    let run = byname(&["compile", "-f", SHOP, "--revision", "canary"]);
    assert!(run.stderr.contains("--revision has no effect with --format table"), "{}", run.stderr);
}

#[test]
fn a_traffic_extension_is_a_wasm_plugin_in_another_form() {
    let (plugin, extension) = (compile("istio-wasmplugin", &[]).stdout, compile("istio-trafficextension", &[]).stdout);
    let settings = |text: &str| {
        let mut all: Vec<String> = text.lines().map(|line| line.trim_start().to_owned()).collect();
        all.retain(|line| !line.starts_with('#') && !line.starts_with("kind:") && line != "wasm:");
        all
    };
    assert_eq!(settings(&plugin), settings(&extension));
}

#[test]
fn what_is_deployed_is_compared_with_the_cluster() {
    let directory = TempDir::new().expect("a directory");
    let put = |name: &str, text: &str| {
        let file = directory.path().join(name);
        fs::write(&file, text).expect("written");
        file.to_str().expect("text").to_owned()
    };
    let by_cluster = put("base.json", r#"{"version": 1, "steering": {"by": "cluster"}}"#);
    let by_endpoint = put("endpoint.json", r#"{"version": 1, "steering": {"by": "endpoint"}}"#);
    let shop = fs::read_to_string(root().join(SHOP)).expect("it is there");
    let renamed = put("renamed.yaml", &shop.replace("name: recommend\n", "name: recommendations\n"));
    for (format, more) in [
        ("istio-wasmplugin", vec![]),
        ("istio-wasmplugin", vec!["-n", "shop"]),
        ("istio-wasmplugin", vec!["--plain"]),
        ("istio-trafficextension", vec![]),
        ("istio-envoyfilter", vec!["--config", &by_cluster, "--module", "/etc/byname/byname.wasm"]),
        ("istio-wasmplugin", vec!["--config", &by_endpoint, "--endpoints"]),
        ("table", vec!["--config", &by_endpoint]),
        ("table", vec!["--config", &by_endpoint, "--packed"]),
    ] {
        let args = [&["compile", "-f", SHOP, "--format", format] as &[&str], &more].concat();
        let args = match format {
            "istio-wasmplugin" | "istio-trafficextension" => [&args as &[&str], &["--image", IMAGE]].concat(),
            _ => args,
        };
        let deployed = put("deployed.yaml", &byname(&args).stdout);
        let same = byname(&["diff", &deployed, SHOP, "--exit-code"]);
        assert_eq!(same.status, 0, "{format} {more:?}: {}{}", same.stdout, same.stderr);
        assert!(same.stdout.starts_with("no differences"), "{format} {more:?}: {}", same.stdout);
        let changed = byname(&["diff", &deployed, &renamed, "--exit-code"]);
        assert_eq!(changed.status, 1, "{format} {more:?}: {}", changed.stderr);
        assert!(changed.stdout.contains("recommend.shop:80"), "{format} {more:?}: {}", changed.stdout);
    }
}

#[test]
fn an_input_holds_one_configuration_or_objects() {
    let plugin = compile("istio-wasmplugin", &[]).stdout;
    let twice = byname_with_input(&["diff", "-", SHOP], format!("{plugin}---\n{plugin}").as_bytes());
    assert_eq!(twice.status, 2);
    assert!(twice.stderr.contains("holds 2 configurations; pass an input with one"), "{}", twice.stderr);
    // A dump with the plugin in it is a dump.
    let hostile = fs::read_to_string(root().join(HOSTILE)).expect("it is there");
    let dump = byname_with_input(&["diff", "-", HOSTILE], format!("{plugin}---\n{hostile}").as_bytes());
    assert!(dump.stdout.starts_with("no differences"), "{}{}", dump.stdout, dump.stderr);
    let torn = plugin.replace("bytes: ", "bytes: 1");
    let torn = byname_with_input(&["diff", "-", SHOP], torn.as_bytes());
    assert_eq!(torn.status, 2);
    assert!(torn.stderr.contains("spec.pluginConfig.table.packed.deflate: is not deflated text"), "{}", torn.stderr);
    let torn = plugin.replace("by: authority", "by: magic");
    let torn = byname_with_input(&["diff", "-", SHOP], torn.as_bytes());
    assert_eq!(torn.status, 2);
    assert!(
        torn.stderr.contains(
            "WasmPlugin istio-system/byname, spec.pluginConfig.steering.by: cannot be read: unknown variant `magic`"
        ),
        "{}",
        torn.stderr
    );
}

#[test]
fn a_table_is_packed_in_istio_unless_it_is_for_people() {
    let services = |run: &Run| (run.stdout.contains("deflate"), run.stdout.contains("shop/web"));
    for format in ["istio-wasmplugin", "istio-trafficextension"] {
        assert_eq!(services(&compile(format, &[])), (true, false), "{format}");
        assert_eq!(services(&compile(format, &["--plain"])), (false, true), "{format}");
    }
    assert_eq!(services(&compile("istio-wasmplugin", &[])), services(&compile("istio-wasmplugin", &["--packed"])));
    let table = |more: &[&str]| byname(&[&["compile", "-f", SHOP, "-n", "shop"], more].concat());
    assert_eq!(services(&table(&[])), (false, true));
    assert_eq!(services(&table(&["--packed"])), (true, false));
    assert_eq!(table(&["--packed"]).stdout, table(&["--packed"]).stdout, "the same objects give the same bytes");
    assert!(table(&["--plain"]).stderr.contains("--plain has no effect with --format table"));
    assert_eq!(table(&["--plain", "--packed"]).status, 2);
    // A table is not written by hand, packed or not.
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("packed.json");
    fs::write(&file, table(&["--packed"]).stdout).expect("written");
    let base = byname(&["compile", "-f", SHOP, "-n", "shop", "--config", file.to_str().expect("text")]);
    assert!(base.stderr.contains("table.packed: comes from Kubernetes"), "{}", base.stderr);
}
