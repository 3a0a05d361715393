//! Istio's own CRDs accept the files of the folder and what the program prints.

use std::{fs, process::Command};

use byname_test_support::repository;

use crate::{IMAGE, SUM, compile, example};

const EXAMPLES: [&str; 7] = [
    "authority/external.yaml",
    "authority/sidecar.yaml",
    "authority/wasmplugin.yaml",
    "cluster-header/envoyfilter.yaml",
    "cluster-header/watch.yaml",
    "cluster-header/wasmplugin.yaml",
    "stream/wasmplugin.yaml",
];

/// The problems that the CRDs find in each text, and the kinds of all objects.
fn check(texts: &[String], args: &[&str]) -> (Vec<String>, String) {
    let packages = repository().join("target/istio-crds/packages");
    assert!(packages.is_dir(), "no CRDs at {}: run `make istio-crds`", packages.display());
    let directory = tempfile::tempdir().expect("a directory");
    let files: Vec<_> = (0..texts.len()).map(|number| directory.path().join(format!("{number}.yaml"))).collect();
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).expect("it is written");
    }
    let output = Command::new("python3")
        .arg(repository().join("tests/istio/check_crds.py"))
        .args(args)
        .args(&files)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let (_, kinds) = said.split_once("checked: ").unwrap_or_else(|| panic!("{said}"));
    let of = |file: &std::path::Path| {
        let prefix = format!("{}: ", file.display());
        said.lines().filter_map(|line| line.strip_prefix(&prefix)).collect::<Vec<_>>().join("\n")
    };
    let problems: Vec<String> = files.iter().map(|file| of(file)).collect();
    assert_eq!(output.status.success(), problems.iter().all(String::is_empty), "{said}");
    (problems, kinds.trim().to_owned())
}

/// The problems that the CRDs find in one text.
fn check_one(text: &str, args: &[&str]) -> String {
    check(&[text.to_owned()], args).0.remove(0)
}

#[test]
fn the_crds_accept_the_examples() {
    let texts: Vec<String> = EXAMPLES.iter().map(|name| example(name)).collect();
    let (problems, kinds) = check(&texts, &[]);
    assert_eq!(problems.concat(), "");
    assert_eq!(kinds, "ServiceEntry DestinationRule Sidecar WasmPlugin EnvoyFilter EnvoyFilter WasmPlugin WasmPlugin");
}

/// The objects have endpoints and load the module from a file.
#[test]
fn the_crds_accept_what_the_program_prints() {
    let config = ["--config", "examples/istio/cluster-header/watch-config.yaml", "--endpoints"];
    let plugin = compile(&[&["--format", "istio-wasmplugin", "--image", IMAGE, "--sha256", SUM], &config[..]].concat());
    let filter = compile(&[&["--format", "istio-envoyfilter", "--module", "/byname.wasm"], &config[..]].concat());
    assert_eq!(check(&[plugin, filter], &[]).0.concat(), "");
}

/// Istio before 1.27 accepts the plugin after the command that the README gives.
#[test]
fn older_crds_accept_the_plugin_without_fail_reload() {
    let plugin = example("authority/wasmplugin.yaml");
    let said = check_one(&plugin, &["--istio-1.24"]);
    assert!(said.contains("failStrategy") && said.contains("FAIL_CLOSE"), "{said}");
    let (from, to) = ("FAIL_RELOAD", "FAIL_CLOSE");
    assert!(example("README.md").contains(&format!("`sed s/{from}/{to}/`")));
    assert_eq!(check_one(&plugin.replace(from, to), &["--istio-1.24"]), "");
}

#[test]
fn the_crds_refuse_misspelt_fields() {
    let rows = [
        ("authority/wasmplugin.yaml", "priority: 100", "prioritty: 100", "WasmPlugin.spec.prioritty: unknown field"),
        ("authority/wasmplugin.yaml", "phase: AUTHN", "phase: AUTHZN", "spec.phase"),
        ("authority/wasmplugin.yaml", "priority: 100", "priority: \"100\"", "priority: '100' is read as 100"),
        ("authority/wasmplugin.yaml", "mode: CLIENT", "mode: OUTBOUND", "spec.match.0.mode"),
        ("authority/wasmplugin.yaml", "v1alpha1", "v1", "unknown kind"),
        ("cluster-header/envoyfilter.yaml", "INSERT_FIRST", "INSERT_AT_THE_TOP", "patch.operation"),
        ("cluster-header/envoyfilter.yaml", "context: SIDECAR_OUTBOUND", "contexts: X", "contexts: unknown field"),
        ("authority/external.yaml", "targetPort: 443", "targetport: 443", "targetport: unknown field"),
        ("authority/external.yaml", "mode: SIMPLE", "mode: PLAIN", "tls.mode"),
        ("authority/sidecar.yaml", "REGISTRY_ONLY}", "REGISTRY}", "outboundTrafficPolicy.mode"),
    ];
    let texts: Vec<String> = rows
        .iter()
        .map(|(name, from, to, _)| {
            let text = example(name);
            assert!(text.contains(from), "{name} has no {from}");
            text.replace(from, to)
        })
        .collect();
    for ((name, _, to, wanted), said) in rows.iter().zip(check(&texts, &[]).0) {
        assert!(said.contains(wanted), "{name}, {to}: {said}");
    }
}
