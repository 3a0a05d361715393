//! What the program says when a cluster cannot be asked, or not for everything.

use std::process::Stdio;

use crate::program::{DUMP, ShopApi, byname, of, program};

const CHECKOUT: [&str; 4] = ["explain", "checkout.shop", "-n", "billing"];

#[test]
fn a_kind_that_may_not_be_listed_costs_a_line_and_not_the_answer() {
    let shop = ShopApi::start();
    shop.api.fail("nodes", &[403]);
    shop.api.fail("ingresses", &[403, 403]);
    let run = shop.byname(&CHECKOUT).expect(0);
    assert_eq!(
        run.stderr.lines().collect::<Vec<_>>(),
        [
            "warning: context test: may not list ingresses.networking.k8s.io in all namespaces (403), so ways in from outside \
             through them are unknown; grant \"list\" on ingresses.networking.k8s.io in all namespaces to this user",
            "warning: context test: may not list nodes (403), so the zones of callers are unknown; grant \"list\" on nodes to \
             this user",
        ]
    );
    assert!(run.stdout.contains("3 of 5 can serve"), "{}", run.stdout);
}

#[test]
fn a_user_of_one_namespace_gets_the_answer_for_it() {
    let shop = ShopApi::start();
    shop.api.fail("services", &[403]);
    let run = shop.byname(&["explain", "checkout", "-n", "shop"]).expect(0);
    let services = "warning: context test: may not list services in all namespaces (403), so byname reads those of namespace \
                    shop alone; grant \"list\" on services in all namespaces to this user";
    assert!(run.stderr.lines().any(|line| line == services), "{}", run.stderr);
    assert!(shop.api.count(&["/api/v1/namespaces/shop/services"]) > 0, "{:?}", shop.api.requests());
    // A table without some of the Services would break the others' names.
    let shop = ShopApi::start();
    shop.api.fail("services", &[403]);
    let run = shop.byname(&["compile", "-n", "shop"]).expect(2);
    assert!(
        run.stderr.contains("error: context test: may not list services in all namespaces (403)"),
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "");
}

/// Namespaces are read one by one where the user named them.
#[test]
fn a_user_of_two_namespaces_gets_both_compared_and_checked() {
    for args in [&["lint"] as &[&str], &["diff", "--against-dns", "context:"]] {
        let shop = ShopApi::start();
        shop.api.fail("services", &[403]);
        let run = shop.byname(&[args, &["-n", "shop", "-n", "billing"]].concat());
        let services = "so byname reads those of namespace billing, namespace shop alone";
        assert!(run.stderr.contains(services), "{args:?}: {}", run.stderr);
        for namespace in ["billing", "shop"] {
            let list = format!("/api/v1/namespaces/{namespace}/services");
            assert!(shop.lists().contains(&list), "{list}: {:?}", shop.api.requests());
        }
    }
}

#[test]
fn an_api_that_cannot_be_asked_is_named_with_the_reason_and_the_way_out() {
    let shop = ShopApi::start();
    let contexts = shop.two_contexts().display().to_string();
    let run = byname(&[&CHECKOUT as &[&str], &["--kubeconfig", &contexts, "--context", "staging"]].concat()).expect(2);
    assert_eq!(
        run.stderr,
        "error: --context staging: the kubeconfig has no such context; choose one of its contexts: dev, prod\n"
    );
    let run = byname(&[&CHECKOUT as &[&str], &["--kubeconfig", &contexts, "--context", "prod"]].concat()).expect(2);
    for part in [
        "error: context prod at http://127.0.0.1:9: ",
        "Connection refused",
        "; check that the cluster runs and that this machine reaches it, or choose another --context: dev\n",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    let missing = byname(&[&CHECKOUT as &[&str], &["--kubeconfig", "/not/there"]].concat()).expect(2);
    assert!(
        missing.stderr.contains("error: --kubeconfig /not/there: does not exist; pass another file\n"),
        "{}",
        missing.stderr
    );
    let none = of(program().args(CHECKOUT).stdin(Stdio::null()).output().unwrap()).expect(2);
    assert!(none.stderr.contains("no cluster is configured; pass --kubeconfig"), "{}", none.stderr);
    assert!(none.stderr.contains("or read files with -f ("), "{}", none.stderr);
    // Files have no sidecars.
    let one_of: &[&[&str]] = &[
        &["status", "-f", DUMP],
        &["explain", "cart", "--live", "shop/web", "-f", DUMP],
        &["proxy-config", "shop/web"],
    ];
    for arguments in one_of {
        let none = of(program().args(*arguments).stdin(Stdio::null()).output().unwrap()).expect(2);
        assert!(none.stderr.contains("or ask one sidecar with --admin HOST:PORT ("), "{arguments:?}: {}", none.stderr);
    }

    shop.api.fail("services", &[401]);
    let run = shop.byname(&CHECKOUT).expect(2);
    for part in ["error: context test at http://127.0.0.1:", "the API answers 401", "log in to the cluster again"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    // Three attempts fail, and the text of the last one is told.
    shop.api.fail("services", &[500, 500, 500]);
    let run = shop.byname(&CHECKOUT).expect(2);
    assert!(run.stderr.contains("cannot list services in all namespaces: the API answers 500"), "{}", run.stderr);
}

#[test]
fn files_of_kubeconfig_that_do_not_exist_are_left_out_as_kubectl_does() {
    let shop = ShopApi::start();
    let run = |list: &str, args: &[&str]| {
        of(program().args(args).env("KUBECONFIG", list).stdin(Stdio::null()).output().unwrap())
    };
    let list = format!("/nosuch:{}:/other", shop.kubeconfig);
    let status = ["status", "-n", "shop"];
    assert_eq!(run(&list, &status).expect(0).stdout, "no pod with a sidecar in namespace shop\n");
    let none = run("/nosuch:/other", &status).expect(2);
    assert!(none.stderr.ends_with("(there is no kubeconfig at /nosuch)\n"), "{}", none.stderr);
}

#[test]
fn a_kubeconfig_that_is_not_usable_is_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    let config = |current: &str, user: &str| {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: {current}, contexts: [{{name: dev, context: {{cluster: a, user: me}}}}], \
             clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:9'}}}}], users: [{{name: me, user: {user}}}]}}"
        )
    };
    for (text, wanted) in [
        (
            config("gone", "{}"),
            "is not usable: its current context \"gone\" does not exist; pass --context with one of: dev",
        ),
        (config("''", "{}"), "is not usable: "),
        ("[1".to_owned(), "is not usable: it is not a kubeconfig: "),
        (
            config("dev", "{client-certificate: /nosuch/c, client-key: /nosuch/k}"),
            "/nosuch/c: cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        let run = byname(&["status", "--kubeconfig", file.to_str().unwrap()]).expect(2);
        assert!(run.stderr.contains(wanted), "{wanted}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
