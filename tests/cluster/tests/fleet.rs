//! `examples/fleet` in a real cluster: its README's commands, its servers' permissions, and a sidecar with a real token.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use byname_cluster::{Cluster, ClusterOptions, LoadedEnvoy, Serve, byname_program, eventually, run};
use byname_test_support::{Envoy, Shell, console, kubectl_binary, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs the README's commands in a copy of the repository's examples, which holds the files that they write.
fn apply_example(cluster: &Cluster) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    fs::create_dir_all(copy.path().join("examples"))?;
    let example = repository().join("examples/fleet").display().to_string();
    run("cp", &["-r", &example, &copy.path().join("examples").display().to_string()], None)?;
    std::os::unix::fs::symlink(repository().join("target"), copy.path().join("target"))?;
    let shell = Shell::new(&[("kubectl", &kubectl_binary()?), ("byname", &byname_program()?)])?;
    let shell = shell.directory(copy.path()).kubeconfig(&cluster.admin());
    let commands = console(&fs::read_to_string(repository().join("examples/fleet/README.md"))?);
    ensure!(commands.len() >= 8, "the README shows {} commands", commands.len());
    for shown in commands {
        shell.run(&shown.command)?;
    }
    // The last command writes the files of the example, which are as they stand in it.
    for file in ["bootstrap.yaml", "byname-server-ca.yaml", "byname-token.yaml"] {
        let path = Path::new("examples/fleet").join(file);
        let (written, own) =
            (fs::read_to_string(copy.path().join(&path))?, fs::read_to_string(repository().join(&path))?);
        ensure!(written == own, "examples/fleet/{file} is not what the README's command writes");
    }
    Ok(copy)
}

/// The server of the example, outside its pod: with the same arguments and the same permissions.
fn serve(cluster: &Cluster, files: &Path) -> Result<Serve> {
    let file = |name: &str| files.join(name).display().to_string();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    let tls = ["--identity", "token", "--tls-cert-file", &certificate, "--tls-private-key-file", &key];
    Serve::start_with(&cluster.service_account("byname-system", "byname")?, &tls)
}

/// The sidecar of the example with a token for this audience.
fn sidecar(cluster: &Cluster, files: &Path, audience: &[&str]) -> Result<(LoadedEnvoy, TempDir)> {
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name).display().to_string();
    let token = cluster.kubectl(&[&["create", "token", "checkout", "-n", "shop"], audience].concat())?;
    fs::create_dir(directory.path().join("identity"))?;
    fs::write(place("identity/token"), token.trim())?;
    fs::copy(files.join("tls.crt"), place("identity/ca.crt"))?;
    for file in ["bootstrap.yaml", "byname-server-ca.yaml", "byname-token.yaml"] {
        let text = fs::read_to_string(files.join("examples/fleet").join(file))?
            .replace("/etc/byname/config", &directory.path().display().to_string())
            .replace("/var/run/byname", &place("identity"))
            .replace(
                "{address: byname.byname-system.svc, port_value: 18000}",
                "{address: 127.0.0.1, port_value: 18000}",
            );
        fs::write(place(file), text)?;
    }
    let envoy = LoadedEnvoy::start(Envoy::builder(&place("bootstrap.yaml")).port(18_000, 18_000), &["web"])?;
    Ok((envoy, directory))
}

fn get(cluster: &Cluster, object: &str) -> Result<Value> {
    Ok(serde_json::from_str(&cluster.kubectl(&["get", object, "-n", "byname-system", "-o", "json"])?)?)
}

/// The objects that keep servers running and closed to others, as the API has them after the README's commands.
fn servers_are_three_and_guarded(cluster: &Cluster) -> Result<()> {
    let deployment = get(cluster, "deployment/byname")?;
    let spec = &deployment["spec"];
    let pod = &spec["template"]["spec"];
    let labels = &spec["selector"]["matchLabels"];
    ensure!(spec["replicas"] == 3, "{spec}");
    // Two servers prefer two nodes.
    let term =
        &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
    ensure!(term["topologyKey"] == "kubernetes.io/hostname", "{pod}");
    ensure!(term["labelSelector"]["matchLabels"] == *labels, "{pod}");

    let budget = get(cluster, "poddisruptionbudget/byname")?;
    ensure!(budget["spec"]["selector"]["matchLabels"] == *labels && budget["spec"]["maxUnavailable"] == 1, "{budget}");
    eventually("one of three servers may be evicted", || {
        let status = get(cluster, "poddisruptionbudget/byname")?["status"].take();
        let fields = ["expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed"];
        let numbers = fields.map(|field| status[field].as_u64().unwrap_or_default());
        ensure!(numbers == [3, 3, 2, 1], "{status}");
        Ok(true)
    })?;

    // Its ports are those on which the server listens, and no other is open.
    let policy = get(cluster, "networkpolicy/byname")?;
    ensure!(policy["spec"]["podSelector"]["matchLabels"] == *labels, "{policy}");
    ensure!(policy["spec"]["policyTypes"] == json!(["Ingress"]), "{policy}");
    let words: Vec<&str> =
        pod["containers"][0]["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let ports = pod["containers"][0]["ports"].as_array().context("ports")?;
    let port_of = |flag: &str| -> Result<Value> {
        let at = words.iter().position(|word| *word == flag).with_context(|| format!("no {flag}: {words:?}"))?;
        Ok(words[at + 1].trim_start_matches(':').parse::<u16>()?.into())
    };
    let named = |number: &Value| {
        let port = ports.iter().find(|port| port["containerPort"] == *number);
        port.map(|port| port["name"].clone()).with_context(|| format!("no port {number}: {ports:?}"))
    };
    let (listen, monitor) = (named(&port_of("--listen")?)?, named(&port_of("--monitor")?)?);
    let monitoring = json!({"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}});
    let open = json!([
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": listen, "protocol": "TCP"}]},
        {"from": [{"namespaceSelector": monitoring}], "ports": [{"port": monitor, "protocol": "TCP"}]},
    ]);
    ensure!(policy["spec"]["ingress"] == open && ports.len() == 2, "{policy}");
    let service = get(cluster, "service/byname")?;
    ensure!(service["spec"]["ports"][0]["targetPort"] == listen && service["spec"]["selector"] == *labels, "{service}");

    // The labels select the three pods of the Deployment and nothing else.
    let selector: Vec<String> = labels
        .as_object()
        .context("labels")?
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let pods = cluster.kubectl(&["get", "pods", "-n", "byname-system", "-l", &selector.join(","), "-o", "json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    let owners: Vec<&str> = pods["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| pod["metadata"]["ownerReferences"][0]["name"].as_str())
        .collect();
    ensure!(owners.len() == 3 && owners.iter().all(|owner| owner.starts_with("byname-")), "{owners:?}");
    Ok(())
}

#[test]
fn a_pod_needs_a_token_and_no_permission() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { serves: true })?;
    let files = apply_example(&cluster)?;
    servers_are_three_and_guarded(&cluster)?;
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "main", "image": "example.com/web", "ports": [{"containerPort": 8080}],
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    let metadata = json!({"namespace": "shop", "name": "web"});
    cluster.apply(&[
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }),
    ])?;
    cluster.kubectl(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"])?;

    // The workload has no permission, and the servers have no more than they use.
    let may = |account: &str, verb: &str, what: &str| {
        let user = format!("--as=system:serviceaccount:{account}");
        cluster.kubectl(&["auth", "can-i", verb, what, "--all-namespaces", &user]).is_ok()
    };
    let used =
        [("watch", "services"), ("watch", "endpointslices"), ("watch", "namespaces"), ("create", "tokenreviews")];
    for (verb, what) in used {
        ensure!(!may("shop:checkout", verb, what), "the workload may {verb} {what}");
        ensure!(may("byname-system:byname", verb, what), "a server may not {verb} {what}");
    }
    // Nothing but what each service account may do.
    cluster.kubectl(&["create", "serviceaccount", "fresh", "-n", "shop"])?;
    for namespace in ["shop", "byname-system"] {
        let list = |account: &str| {
            let user = format!("--as=system:serviceaccount:shop:{account}");
            cluster.kubectl(&["auth", "can-i", "--list", "--namespace", namespace, &user])
        };
        let (own, fresh) = (list("checkout")?, list("fresh")?);
        ensure!(own == fresh, "in {namespace}, the workload may do\n{own}and a fresh service account\n{fresh}");
    }
    for (verb, what) in [("get", "secrets"), ("list", "pods"), ("list", "configmaps"), ("update", "services")] {
        ensure!(!may("byname-system:byname", verb, what), "a server may {verb} {what}");
    }

    let server = serve(&cluster, files.path())?;
    let (envoy, _directory) = sidecar(&cluster, files.path(), &["--audience", "byname"])?;
    eventually("the name is reached", || Ok(envoy.ask("web")?.starts_with("200 shop/web")))
        .with_context(|| format!("{}\n{}", server.part.tail(), cluster.tails()))?;
    let streams = server.streams()?;
    ensure!(streams.contains("namespace=shop"), "{streams}");
    drop(envoy);

    // A token for the API is not one for byname: whoever gets it from a pod learns nothing by it.
    let (envoy, _directory) = sidecar(&cluster, files.path(), &[])?;
    eventually("the token is refused", || Ok(server.part.log().contains("refused ")))
        .with_context(|| server.part.tail())?;
    ensure!(envoy.ask("web")?.starts_with("503"), "{}", envoy.ask("web")?);
    Ok(())
}
