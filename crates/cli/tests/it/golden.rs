//! Snapshots of what each command prints for the two example clusters.

use insta::assert_snapshot;

use crate::run::{HOSTILE, SHOP, byname};

#[test]
fn compiles_for_a_pod() {
    assert_snapshot!(byname(&["compile", "-f", SHOP, "--pod", "shop/web-5c8f7b6d9f-4xk2p"]).shown());
}

#[test]
fn compiles_with_a_configuration_file() {
    let run = byname(&["compile", "-f", SHOP, "-n", "shop", "--config", "crates/cli/tests/it/base.yaml"]);
    assert_snapshot!(run.shown());
}

#[test]
fn compiles_visible_namespaces_only() {
    assert_snapshot!(
        byname(&["compile", "-f", SHOP, "-n", "data", "--visible", "data", "--table-version", "7"]).shown()
    );
}

#[test]
fn refuses_objects_that_the_filter_would_refuse() {
    assert_snapshot!(byname(&["compile", "-f", HOSTILE, "-n", "shop"]).shown());
}

#[test]
fn skips_objects_that_the_filter_would_refuse() {
    assert_snapshot!(byname(&["compile", "-f", HOSTILE, "-n", "shop", "--skip-invalid"]).shown());
}

/// One snapshot for each name and caller.
#[test]
fn explains_names_of_the_shop() {
    for (case, args) in [
        ("zone", &["cart", "--pod", "shop/web-5c8f7b6d9f-4xk2p"] as &[&str]),
        ("rollout", &["checkout.shop", "-n", "billing"]),
        ("statefulset_pod", &["postgres-1.postgres.data:5432", "-n", "shop"]),
        ("dual_stack", &["catalog:9090", "-n", "shop"]),
        ("local", &["metrics-agent.billing:9102", "--pod", "shop/web-5c8f7b6d9f-4xk2p"]),
        ("alias", &["suggest", "-n", "shop"]),
        ("alias_passed_on", &["https://weather/v1", "-n", "shop"]),
        ("alias_denied", &["https://weather/v1", "-n", "shop", "--config", "crates/cli/tests/it/listed.yaml"]),
        ("alias_allowed", &["https://weather/v1", "-n", "shop", "--config", "crates/cli/tests/it/base.yaml"]),
        ("load_balancer", &["web", "-n", "shop"]),
        ("target_port", &["search:9200", "-n", "shop"]),
        ("node_port", &["web:31080", "-n", "shop"]),
        ("node_address", &["198.51.100.11:31080", "-n", "shop"]),
        ("cluster_ip", &["10.96.8.29", "-n", "billing"]),
        ("other_namespace", &["checkout", "-n", "billing"]),
        ("typo", &["chekout.shop", "-n", "billing"]),
        ("bad_authority", &["10.1:80", "-n", "shop"]),
        ("wide", &["cart", "--pod", "shop/web-5c8f7b6d9f-4xk2p", "-o", "wide"]),
        ("endpoint", &["cart", "-n", "shop", "--config", "crates/cli/tests/it/endpoint.json"]),
    ] {
        let mut all = vec!["explain", "-f", SHOP];
        all.extend(args);
        assert_snapshot!(format!("explain_{case}"), byname(&all).shown());
    }
}

#[test]
fn explains_names_of_the_hostile_cluster() {
    for (case, name) in [
        ("no_pods", "selector-matches-no-pod"),
        ("loop", "ext-loop-a"),
        ("missing_target", "ext-missing-service"),
        ("other_namespace", "ext-other-namespace"),
        ("refused_elsewhere", "ext-ipv4"),
    ] {
        assert_snapshot!(format!("hostile_{case}"), byname(&["explain", name, "-n", "shop", "-f", HOSTILE]).shown());
    }
}

#[test]
fn explains_as_json() {
    let run = byname(&["explain", "cart", "--pod", "shop/web-5c8f7b6d9f-4xk2p", "-f", SHOP, "--output", "json"]);
    assert_eq!(run.status, 0);
    assert_snapshot!(run.stdout);
}

#[test]
fn json_output_matches_its_schema() {
    let explain = ["explain", "catalog", "-n", "shop", "-f", SHOP, "-o", "json"];
    let diff = ["diff", SHOP, HOSTILE, "-o", "json"];
    let compile = ["compile", "-f", SHOP, "--pod", "shop/web-5c8f7b6d9f-4xk2p"];
    for (of, args) in [("explain", &explain as &[&str]), ("diff", &diff), ("configuration", &compile)] {
        let schema = byname(&["schema", of]).stdout;
        let schema = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a schema");
        let printed = byname(args).stdout;
        let printed = serde_json::from_str(&printed).expect("JSON");
        let errors: Vec<String> = schema.iter_errors(&printed).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{of}: {errors:?}");
    }
}

#[test]
fn compares_a_cluster_with_its_next_state() {
    let shop = std::fs::read_to_string(crate::run::root().join(SHOP)).expect("it is there");
    let (before, cart) = shop.split_once("    name: cart\n    namespace: shop\n").expect("a Service cart");
    let next = format!("{before}    name: basket\n    namespace: shop\n{cart}")
        .replace("kubernetes.io/service-name: cart\n", "kubernetes.io/service-name: basket\n")
        .replace("externalName: recommend.shop.svc.cluster.local", "externalName: search.shop.svc.cluster.local");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("next.yaml");
    std::fs::write(&file, next).expect("written");
    let next = file.to_str().expect("text");
    let run = byname(&["diff", SHOP, next]);
    assert_snapshot!(run.shown());
    // The compiled tables of both clusters differ in the same way, as seen from one namespace.
    let compiled = |of: &str, to: &str| {
        let to = directory.path().join(to).to_str().expect("text").to_owned();
        assert_eq!(byname(&["compile", "-f", of, "-n", "shop", "--output-file", &to]).status, 0);
        to
    };
    let (old, new) = (compiled(SHOP, "old.json"), compiled(next, "new.json"));
    assert_eq!(byname(&["diff", &old, &new]).stdout, byname(&["diff", SHOP, next, "-n", "shop"]).stdout);
    let same = byname(&["diff", &old, &old]);
    assert_eq!((same.status, same.stdout.contains("no differences")), (0, true));
}

#[test]
fn schemas_match_their_snapshots() {
    for of in ["explain", "diff"] {
        assert_snapshot!(format!("schema_{of}"), byname(&["schema", of]).stdout);
    }
    let documented = std::fs::read_to_string(crate::run::root().join("docs/configuration.schema.json"));
    assert_eq!(byname(&["schema"]).stdout, documented.expect("it is there"));
}

#[test]
fn help_matches_its_snapshot_and_has_examples() {
    assert_snapshot!("help", byname(&["--help"]).stdout);
    for command in ["compile", "explain", "lint", "diff", "watch", "schema", "completions"] {
        let run = byname(&[command, "--help"]);
        assert_eq!(run.status, 0, "{command}");
        assert!(run.stdout.contains("Examples:"), "{command} has no examples:\n{}", run.stdout);
    }
}
