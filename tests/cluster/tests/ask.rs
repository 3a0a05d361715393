//! The program asks a real API server, and a real Envoy through the API's port-forward.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use byname_cluster::{API_ADDRESS, Cluster, ClusterOptions, Part, Serve, byname_program, eventually, run};
use byname_test_support::{envoy_binary, kubectl_binary, repository};
use serde_json::{Value, json};

const KINDS: &str = "services,endpointslices,pods,nodes,namespaces,ingresses,deployments,replicasets,endpoints";

/// Runs the program as this kubeconfig's user, with no input.
fn byname(kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(byname_program()?);
    command.args(args).env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).current_dir(repository());
    Ok(command.output()?)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the program prints, if it ends with this status.
fn printed(kubeconfig: &Path, args: &[&str], status: i32) -> Result<String> {
    let output = byname(kubeconfig, args)?;
    ensure!(output.status.code() == Some(status), "byname {args:?} ended with {}:\n{}", output.status, text(&output));
    Ok(String::from_utf8(output.stdout)?)
}

fn objects() -> Vec<Value> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let service = |namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}})
    };
    let deployment = |namespace: &str, name: &str, replicas: u32, sidecar: Value| {
        let mut containers = vec![json!({"name": name, "image": "registry.example.com/workload",
            "ports": [{"name": "http", "containerPort": 8080}]})];
        containers.extend(sidecar.as_array().into_iter().flatten().cloned());
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": namespace, "name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}}})
    };
    let envoy = json!([{"name": "envoy", "image": "envoyproxy/envoy:v1.40.0"}]);
    vec![
        namespace("shop"),
        namespace("prod"),
        service("shop", "payments"),
        service("prod", "payments"),
        service("shop", "web"),
        deployment("shop", "payments", 3, json!([])),
        deployment("prod", "payments", 2, json!([])),
        deployment("shop", "web", 1, envoy),
    ]
}

/// A user who may do this and nothing else, in namespace `shop`.
fn user(cluster: &Cluster, name: &str, rules: &Value) -> Result<std::path::PathBuf> {
    let metadata = json!({"namespace": "shop", "name": name});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
    cluster.apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "shop"}]}),
    ])?;
    cluster.service_account("shop", name)
}

#[test]
fn commands_ask_a_real_cluster_and_its_sidecars() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.apply(&objects())?;
    for name in ["shop/payments", "prod/payments", "shop/web"] {
        let (namespace, name) = name.split_once('/').context("a namespace")?;
        cluster.kubectl(&["rollout", "status", &format!("deployment/{name}"), "-n", namespace, "--timeout=60s"])?;
    }
    eventually("every endpoint is in its EndpointSlice", || {
        let slices: Value = serde_json::from_str(&cluster.kubectl(&["get", "endpointslices", "-A", "-o", "json"])?)?;
        let items = slices["items"].as_array().context("a list")?;
        let ready = items.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        Ok(ready.filter(|endpoint| endpoint["conditions"]["ready"] == true).count() >= 7)
    })?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let admin = cluster.admin();
    reads_as_from_a_dump(&cluster, &path("dump.yaml"))?;
    is_told_what_it_may_not_read(&cluster)?;
    reads_by_the_service_account_of_its_pod(&cluster, directory.path())?;

    // A sidecar in the pod `web`, whose Envoy listens on the pod's address.
    let pod: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "pods", "-n", "shop", "-l", "app=web", "-o", "json"])?)?;
    let text_of = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).map(str::to_owned).context("a field");
    let (name, address) = (text_of("/items/0/metadata/name")?, text_of("/items/0/status/podIP")?);
    let pod = format!("shop/{name}");
    let module = repository().join("target/byname.wasm").display().to_string();
    fs::create_dir(directory.path().join("live"))?;
    let (ecds, clusters) = (path("live/byname.yaml"), path("live/clusters.yaml"));
    let compile = ["compile", "--pod", &pod, "--module", &module];
    let push = || {
        let files = ["--format", "envoy-ecds", "--clusters-output", &clusters, "--output-file", &ecds];
        printed(&admin, &[&compile as &[&str], &files].concat(), 0)
    };
    push()?;
    let files = ["--ecds-file", &ecds, "--cds-file", &clusters];
    let envoy = sidecar(&admin, (&pod, &address), &files, directory.path())?;

    // Over the API's port-forward: one pod by its name, and all of the namespace.
    for args in [&["status", "-n", "shop"] as &[&str], &["status", &pod], &["status", "-A"]] {
        let status = printed(&admin, args, 0)?;
        ensure!(status.starts_with(&format!("{pod}  Envoy 1.40.0\n  table     version ")), "{args:?}: {status}");
        ensure!(status.contains("\n  cluster   matches the table\n"), "{args:?}: {status}");
    }
    let check = printed(&admin, &["check", "-n", "shop"], 0)?;
    for line in [
        "ok    permissions  you may list every kind that byname reads\n",
        "ok    sidecars     byname serves a current table in 1 sidecar, without a refused push\n",
    ] {
        ensure!(check.contains(line), "{line}{check}");
    }
    let same = printed(&admin, &["explain", "payments.prod", "--live", &pod], 0)?;
    ensure!(same.starts_with(&format!("payments.prod from pod {pod}, node node-")), "{same}");
    ensure!(same.ends_with("  + the cluster gives the same answer now\n"), "{same}");
    let held = printed(&admin, &["proxy-config", &pod], 0)?;
    let compiled = printed(&admin, &["compile", "--pod", &pod], 0)?;
    ensure!(held.replace("  \"firstConfiguration\": \"leaveOut\",\n", "") == compiled, "{held}");

    // The cluster changes, and the sidecar does not.
    cluster.kubectl(&["scale", "deployment/payments", "-n", "prod", "--replicas=4"])?;
    eventually("status sees the change", || {
        let output = byname(&admin, &["status", &pod])?;
        Ok(output.status.code() == Some(1) && text(&output).contains("endpoints differ: prod/payments\n"))
    })?;
    let other = printed(&admin, &["explain", "payments.prod", "--live", &pod], 1)?;
    ensure!(other.contains("  - endpoints: only in the cluster: 10.244."), "{other}");
    eventually("a push makes it current", || {
        push()?;
        Ok(byname(&admin, &["status", &pod])?.status.success())
    })?;

    // Who may list pods and not forward ports is told which permission is missing.
    let list = json!([{"apiGroups": ["", "discovery.k8s.io"], "resources": ["pods", "services", "endpointslices"],
        "verbs": ["list"]}]);
    let output = byname(&user(&cluster, "reader", &list)?, &["status", &pod])?;
    ensure!(output.status.code() == Some(2), "{}", text(&output));
    for part in ["not asked: the API forbids to port-forward", "grant \"create\" and \"get\" on pods/portforward"] {
        ensure!(text(&output).contains(part), "{part}: {}", text(&output));
    }
    drop(envoy);
    let output = byname(&admin, &["status", &pod])?;
    ensure!(output.status.code() == Some(2), "{}", text(&output));
    ensure!(text(&output).contains("port 9901 does not answer as Envoy's admin interface"), "{}", text(&output));
    tells_of_a_server(&cluster, (&pod, &address), directory.path())
}

/// The Envoy of a pod with the bootstrap that these options give, which listens on the pod's address.
fn sidecar(admin: &Path, (pod, address): (&str, &str), options: &[&str], directory: &Path) -> Result<Part> {
    let module = repository().join("target/byname.wasm").display().to_string();
    let bootstrap = directory.join("sidecar.yaml").display().to_string();
    let (listen, interface) = (format!("{address}:15001"), format!("{address}:9901"));
    let compile = ["compile", "--pod", pod, "--module", &module, "--format", "envoy-bootstrap"];
    let places = ["--listen", &listen, "--admin", &interface, "--output-file", &bootstrap];
    printed(admin, &[&compile as &[&str], options, &places].concat(), 0)?;
    let mut command = Command::new(envoy_binary()?);
    command.args(["--config-path", &bootstrap, "--use-dynamic-base-id", "--concurrency", "1"]);
    let envoy = Part::spawn(command, "envoy", directory)?;
    eventually("Envoy serves", || Ok(run("curl", &["-sf", &format!("http://{interface}/ready")], None).is_ok()))
        .with_context(|| envoy.tail())?;
    Ok(envoy)
}

/// The same commands about a sidecar of `byname serve`, which holds names without addresses.
fn tells_of_a_server(cluster: &Cluster, (pod, address): (&str, &str), directory: &Path) -> Result<()> {
    let admin = cluster.admin();
    let server = Serve::start(&admin)?;
    let _envoy = sidecar(&admin, (pod, address), &["--server", Serve::ADDRESS], directory)?;
    let ask =
        || run("curl", &["-s", "-m", "5", "-H", "Host: payments.prod", &format!("http://{address}:15001/")], None);
    let says = |args: &[&str], status: i32, wanted: &[&str]| -> Result<()> {
        eventually(&format!("byname {args:?} ends with {status} and says {wanted:?}"), || {
            let output = byname(&admin, args)?;
            let (said, ended) = (text(&output), output.status.code());
            ensure!(ended == Some(status) && wanted.iter().all(|part| said.contains(part)), "{ended:?}: {said}");
            Ok(true)
        })
        .map(drop)
    };
    // No pod of this cluster listens, so that Envoy answers 503. It has asked for the cluster.
    ask()?;
    says(&["status", pod], 0, &["\n  cluster   matches the table\n"])?;
    says(&["check", "-n", "shop"], 0, &["\nok    sidecars "])?;
    says(
        &["explain", "payments.prod", "--live", pod],
        0,
        &["\n  + the cluster gives the same answer now\n", "10.244."],
    )?;
    // What the server sent to it, by the server's monitor.
    eventually("Envoy has acknowledged the cluster", || {
        let output = byname(&admin, &["proxy-config", pod, "--monitor", Serve::MONITOR])?;
        let is_acknowledged = |line: &&str| {
            line.contains(" cluster outbound|80||payments.prod.svc.cluster.local, version ")
                && line.ends_with(", acknowledged")
        };
        ensure!(
            output.status.success() && text(&output).lines().any(|line| is_acknowledged(&line)),
            "{}",
            text(&output)
        );
        Ok(true)
    })?;
    cluster.kubectl(&["scale", "deployment/payments", "-n", "prod", "--replicas=2"])?;
    eventually("Envoy has the endpoints that are left", || {
        let said = text(&byname(&admin, &["explain", "payments.prod", "--live", pod])?);
        Ok(said.matches(":8080  healthy\n").count() == 2
            && said.ends_with("  + the cluster gives the same answer now\n"))
    })?;

    // A server that is gone pushes nothing: a new name makes the sidecar's table old.
    drop(server);
    cluster.kubectl(&["create", "service", "clusterip", "late", "-n", "shop", "--tcp=80"])?;
    says(&["status", pod], 1, &["late"])?;
    Ok(())
}

/// `explain`, `compile`, `lint` and `diff` say of the cluster what they say of its dump.
fn reads_as_from_a_dump(cluster: &Cluster, dump: &str) -> Result<()> {
    let admin = cluster.admin();
    fs::write(dump, cluster.dump(KINDS)?)?;
    for args in [&["compile", "-n", "shop"] as &[&str], &["lint", "-o", "json", "--fail-on", "never"]] {
        let of_dump = printed(&admin, &[args, &["-f", dump]].concat(), 0)?;
        let of_cluster = printed(&admin, args, 0)?;
        // A file has lines.
        let without_places = |text: &str| -> Vec<String> {
            let is_place =
                |line: &&str| !["\"file\":", "\"line\":"].iter().any(|field| line.trim_start().starts_with(field));
            text.lines().filter(is_place).map(str::to_owned).collect()
        };
        ensure!(without_places(&of_cluster) == without_places(&of_dump), "{args:?}:\n{of_dump}\n{of_cluster}");
    }
    let explain = printed(&admin, &["explain", "payments.prod", "-n", "shop"], 0)?;
    ensure!(explain.contains("2 of 2 can serve") && explain.contains("  context test\n"), "{explain}");
    printed(&admin, &["diff", dump], 0)?;
    // As a plugin of kubectl.
    let names = tempfile::tempdir()?;
    for name in ["kubectl-byname", "kubectl_complete-byname"] {
        std::os::unix::fs::symlink(byname_program()?, names.path().join(name))?;
    }
    let mut kubectl = Command::new(kubectl_binary()?);
    kubectl.args(["byname", "explain", "payments", "-n", "shop", "--from-cluster"]).env("KUBECONFIG", &admin);
    let output = kubectl.env("PATH", format!("{}:/usr/bin:/bin", names.path().display())).output()?;
    ensure!(text(&output).starts_with("payments from namespace shop\nreachable: "), "{}", text(&output));
    Ok(())
}

fn is_told_what_it_may_not_read(cluster: &Cluster) -> Result<()> {
    let rules = json!([{"apiGroups": ["", "discovery.k8s.io"], "resources": ["services", "endpointslices", "pods"],
        "verbs": ["list"]}]);
    let limited = user(cluster, "limited", &rules)?;
    let output = byname(&limited, &["explain", "payments", "-n", "shop", "--from-cluster"])?;
    ensure!(output.status.success(), "{}", text(&output));
    let lines: Vec<String> = String::from_utf8(output.stderr)?.lines().map(str::to_owned).collect();
    let expected = "warning: context test: may not list services in all namespaces (403), so byname reads those of namespace shop \
                    alone; grant \"list\" on services in all namespaces to this user";
    ensure!(lines.contains(&expected.to_owned()), "{lines:?}");
    let nodes = "warning: context test: may not list nodes (403), so the zones of callers are unknown; grant \"list\" on nodes to \
                 this user";
    ensure!(lines.contains(&nodes.to_owned()), "{lines:?}");
    let output = byname(&limited, &["compile", "-n", "shop", "--from-cluster"])?;
    ensure!(output.status.code() == Some(2) && text(&output).contains("may not list services"), "{}", text(&output));
    printed(&limited, &["compile", "-n", "shop", "--visible", "shop", "--from-cluster"], 0)?;
    Ok(())
}

fn reads_by_the_service_account_of_its_pod(cluster: &Cluster, directory: &Path) -> Result<()> {
    let account = directory.join("account");
    fs::create_dir(&account)?;
    fs::write(account.join("token"), cluster.kubectl(&["create", "token", "limited", "-n", "shop"])?.trim())?;
    fs::write(account.join("namespace"), "shop")?;
    fs::copy(cluster.directory().join("certificates/apiserver.crt"), account.join("ca.crt"))?;
    let script = "mount -t tmpfs tmpfs /var/run/ && mkdir -p /var/run/secrets/kubernetes.io && \
                  cp -r \"$1\" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";
    let program = byname_program()?.display().to_string();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&account).args([&program, "explain", "payments"]);
    let (host, port) = API_ADDRESS.split_once(':').context("a port")?;
    command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    command.env_remove("KUBECONFIG").env("HOME", "/nonexistent").stdin(Stdio::null());
    let output = command.output()?;
    ensure!(output.status.success(), "{}", text(&output));
    ensure!(text(&output).starts_with("payments from namespace shop\nreachable: "), "{}", text(&output));
    ensure!(text(&output).contains("note: reading the cluster at https://10.244.255.250:6443;"), "{}", text(&output));
    Ok(())
}
