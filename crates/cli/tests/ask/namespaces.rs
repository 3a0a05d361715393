//! A namespace with a typo never gives the answer that all is well.

use serde_json::json;

use crate::program::{DUMP, ShopApi, byname};

const NO_SUCH: &str =
    "--namespace nosuch: context test has no such namespace; its namespaces are billing, data, default";

#[test]
fn a_live_cluster_without_the_namespace_is_an_error() {
    let shop = ShopApi::start();
    for args in [&["check", "-n", "nosuch"] as &[&str], &["status", "-n", "nosuch"]] {
        let run = shop.byname(args).expect(2);
        assert_eq!((run.stdout.as_str(), run.stderr.contains(NO_SUCH)), ("", true), "{args:?}: {}", run.stderr);
    }
    for args in [&["diff", "--against-dns", "-n", "nosuch"] as &[&str], &["diff", DUMP, "context:", "-n", "nosuch"]] {
        let run = shop.byname(args).expect(2);
        let error =
            "error: --namespace nosuch: the input has no such namespace; its namespaces are billing, data, default";
        assert!(run.stdout.is_empty() && run.stderr.contains(error), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_namespace_without_services_is_fine() {
    let shop = ShopApi::start();
    shop.api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jobs"}}));
    for args in [
        &["check", "-n", "jobs"] as &[&str],
        &["status", "-n", "jobs"],
        &["diff", "--against-dns", "-n", "jobs"],
        &["diff", DUMP, "context:", "-n", "jobs"],
    ] {
        let run = shop.byname(args);
        assert!(run.status < 2 && !run.stderr.contains("--namespace"), "{args:?}: {}", run.stderr);
    }
    // No Namespace is asked for where pods have a sidecar, or no namespace is named.
    let shop = ShopApi::start();
    shop.byname(&["status"]).expect(0);
    assert!(shop.lists().iter().all(|list| !list.ends_with("/namespaces")), "{:?}", shop.lists());
}

/// Without the right to list Namespaces, an empty one may exist.
#[test]
fn a_namespace_that_may_exist_costs_a_warning() {
    for args in [&["check", "-n", "nosuch"] as &[&str], &["diff", "--against-dns", "-n", "nosuch"]] {
        let shop = ShopApi::start();
        shop.api.fail("namespaces", &[403]);
        let run = shop.byname(args);
        assert!(run.status < 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains("warning: --namespace nosuch: "), "{args:?}: {}", run.stderr);
    }
    let shop = ShopApi::start();
    shop.api.fail("namespaces", &[403]);
    let run = shop.byname(&["status", "-n", "nosuch"]).expect(0);
    assert!(run.stderr.contains("warning: --namespace nosuch: context test has no object"), "{}", run.stderr);
}

#[test]
fn a_caller_without_services_gets_its_table_with_a_warning() {
    let run = byname(&["compile", "-f", DUMP, "-n", "nosuch"]).expect(0);
    let warning = "warning: --namespace nosuch: the input has no object of this namespace; its namespaces are billing, data, default";
    assert!(run.stderr.starts_with(warning), "{}", run.stderr);
    assert!(!run.stdout.is_empty());
    let there = byname(&["compile", "-f", DUMP, "-n", "shop"]).expect(0);
    assert!(!there.stderr.contains("--namespace"), "{}", there.stderr);
}

#[test]
fn one_wrong_namespace_of_visible_costs_a_warning_and_all_wrong_are_an_error() {
    let run = byname(&["compile", "-f", DUMP, "--visible", "shop", "--visible", "nosuch"]).expect(0);
    let warning = "warning: --visible nosuch: the input has no Service in this namespace; namespaces with Services are billing, data, \
                   default";
    assert!(run.stderr.starts_with(warning), "{}", run.stderr);
    let run = byname(&["compile", "-f", DUMP, "--visible", "nosuch"]).expect(2);
    assert!(run.stderr.starts_with("error: --visible nosuch: the input has no Service"), "{}", run.stderr);
}

/// Every command says the same of a name that no namespace can have.
#[test]
fn a_name_that_no_namespace_can_have_is_refused_at_once() {
    for args in [
        &["explain", "cart", "-f", DUMP] as &[&str],
        &["diff", DUMP, DUMP],
        &["lint", "-f", DUMP],
        &["compile", "-f", DUMP],
        &["watch", "--from-dir", DUMP, "--output-file", "o.yaml"],
        &["check"],
        &["status"],
        &["proxy-config", "web"],
    ] {
        for namespace in ["Sh_", ""] {
            let run = byname(&[args, &["-n", namespace]].concat()).expect(2);
            let error = format!("error: invalid value '{namespace}' for '--namespace <NAMESPACE>': ");
            assert!(run.stderr.starts_with(&error), "{args:?}: {}", run.stderr);
        }
    }
    let run = byname(&["serve", "--insecure", "--from-dir", DUMP, "--visible", "A b"]).expect(2);
    assert!(run.stderr.starts_with("error: invalid value 'A b' for '--visible <NAMESPACE>': "), "{}", run.stderr);
}

#[test]
fn options_without_an_effect_are_refused() {
    for (args, wanted) in [
        (&["explain", "cart", "-f", DUMP, "-n", "shop", "--exec"] as &[&str], "--exec: has no effect without --live"),
        (
            &["explain", "cart", "-f", DUMP, "-n", "shop", "--admin-port", "1"],
            "--admin-port: has no effect without --live",
        ),
        (&["explain", "cart", "-f", DUMP, "-n", "shop", "--destination-port", "0"], "0 is not in 1..=65535"),
        (&["status", "--admin-port", "0"], "0 is not in 1..=65535"),
        (&["diff", DUMP, DUMP, "--ignore-full-names"], "--ignore-full-names: has no effect without --against-dns"),
    ] {
        let run = byname(args).expect(2);
        assert!(run.stderr.contains(wanted), "{args:?}: {}", run.stderr);
    }
}
