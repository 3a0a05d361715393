//! An Envoy that proves who it is, with a bootstrap of `byname compile --server`, and files that change under it.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use byname_test_support::{
    Envoy, TestUpstream,
    kubernetes::KubernetesApi,
    repository,
    tls::{TestCa, TestCertificate},
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    identities::{Secret, spiffe, token, user},
    load::Load,
    program::{ServeProcess, all_workers_answer, ask, eventually, service, slices},
};

async fn shop() -> (TestUpstream, TestUpstream, Vec<Value>) {
    let (one, two) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("two").await.unwrap());
    let objects =
        [vec![service("shop/web"), service("shop/late")], slices("shop/web", &[&one]), slices("shop/late", &[&two])];
    (one, two, objects.concat())
}

/// An Envoy whose bootstrap has these options, with files in `directory`.
async fn envoy(directory: &Path, program: &ServeProcess, namespace: &str, args: &[&str]) -> Envoy {
    let file = |name: &str| directory.join(name).display().to_string();
    let (bootstrap, secrets) = (file("sidecar.yaml"), file("secrets"));
    fs::create_dir_all(&secrets).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_byname"))
        .args(["compile", "-n", namespace, "--format", "envoy-bootstrap", "--server", "127.0.0.1:18000"])
        .args(["--module", "target/byname.wasm", "--output-file", &bootstrap, "--server-name", "localhost"])
        .args(["--server-ca-file", &file("ca.crt"), "--secrets-output", &secrets, "--secrets-directory", &secrets])
        .args(args)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Envoy::builder(&bootstrap).port(18000, program.port).start().await.unwrap()
}

/// An Envoy of `shop` that steers by endpoint, so that the filter opens the stream, shows the same.
async fn reaches_by_the_filters_stream(directory: &Path, program: &ServeProcess, shown: &[&str]) {
    let config = tempdir().unwrap();
    let file = config.path().join("config.json");
    let fields = json!({"version": 1, "steering": {"by": "endpoint"}, "table": {"singleMachine": true}});
    fs::write(&file, fields.to_string()).unwrap();
    let sidecar = envoy(directory, program, "shop", &[shown, &["--config", file.to_str().unwrap()]].concat()).await;
    eventually("a name is reached", async || ask(&sidecar, "web").await.said("upstream") == "one").await;
    assert!(sidecar.stat("wasmcustom.byname.stream.opened").await.unwrap() > 0);
    assert_eq!(sidecar.stats("control_plane").await.unwrap().len(), 0, "Envoy has no stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_with_a_certificate_is_served_and_takes_new_ones() {
    let (_one, _two, objects) = shop().await;
    let (ca, new_ca) = (TestCa::new(), TestCa::new());
    let certificate = |ca: &TestCa| ca.issue(&[], &[&spiffe("shop")]);
    let server = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let client = Secret::new(&certificate(&ca), &ca.pem());
    let arguments = server.arguments(&["--identity", "certificate", "--client-ca-file", "CA"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut program = ServeProcess::start_with_arguments(&objects, &arguments).await;
    let file = |name: &str| client.path().join(name).display().to_string();
    let shown = ["--client-cert-file", &file("tls.crt"), "--client-key-file", &file("tls.key")];
    let envoy_of = async |namespace| envoy(client.path(), &program, namespace, &shown).await;
    let sidecar = envoy_of("shop").await;
    eventually("a name is reached", async || ask(&sidecar, "web").await.said("upstream") == "one").await;
    reaches_by_the_filters_stream(client.path(), &program, &shown).await;
    // A bootstrap for another namespace is refused, and Envoy says why.
    let other = envoy_of("prod").await;
    program
        .wait_for_log("its metadata has the NAMESPACE prod, but the client is service account web of namespace shop")
        .await;
    assert_eq!(ask(&other, "web.shop").await.header("x-byname-reason"), "no_table");
    drop(other);
    // Both sides change their CA. Envoy meets the new one when it connects again.
    let new: [&TestCertificate; 2] = [&certificate(&new_ca), &new_ca.issue(&["localhost"], &[])];
    client.replace(new[0], &new_ca.pem(), 2);
    server.replace(new[1], &new_ca.pem(), 2);
    program.wait_for_log("the certificate files changed").await;
    program.kill();
    program.restart().await;
    eventually("a new name is reached", async || ask(&sidecar, "late").await.said("upstream") == "two").await;
    assert_eq!(ask(&sidecar, "web").await.said("upstream"), "one");
}

/// Envoy keeps a connection for as long as it lasts. The server ends it with the certificate, so that Envoy shows the new one. No request
/// fails meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_shows_its_new_certificate_when_the_old_one_expires() {
    // Envoy has the stream, or the filter.
    for steering in ["cluster", "endpoint"] {
        outlives_its_certificate(steering).await;
    }
}

async fn outlives_its_certificate(steering: &str) {
    let (_one, _two, objects) = shop().await;
    let ca = TestCa::new();
    let server = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let short = ca.issue_until(SystemTime::now() + Duration::from_secs(12), &[&spiffe("shop")]);
    let client = Secret::new(&short, &ca.pem());
    let arguments = server.arguments(&["--identity", "certificate", "--client-ca-file", "CA"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = ServeProcess::start_with_arguments(&objects, &arguments).await;
    let file = |name: &str| client.path().join(name).display().to_string();
    let config = file("config.json");
    let fields = json!({"version": 1, "steering": {"by": steering}, "table": {"singleMachine": true}});
    fs::write(&config, fields.to_string()).unwrap();
    let shown = ["--client-cert-file", &file("tls.crt"), "--client-key-file", &file("tls.key"), "--config", &config];
    let sidecar = envoy(client.path(), &program, "shop", &shown).await;
    eventually("a name is reached", async || all_workers_answer(&sidecar, "web", "one").await).await;
    let load = Load::start(&sidecar, &["web"], &["one"]);
    let streams = program.metric("streams").await;
    assert!(streams >= 1.0, "the certificate has expired already");
    client.replace(&ca.issue(&[], &[&spiffe("shop")]), &ca.pem(), 2);
    let expired = "streams_closed_total{reason=\"proof_expired\"}";
    eventually("the streams are closed", async || program.metric(expired).await == streams).await;
    assert_eq!(ask(&sidecar, "web").await.said("upstream"), "one");
    eventually("a new name is reached", async || ask(&sidecar, "late").await.said("upstream") == "two").await;
    eventually("streams are open", async || program.metric("streams").await == streams).await;
    assert_eq!(program.metric(expired).await, streams);
    println!("{steering}: {streams} streams, {} requests, none failed", load.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_with_a_token_is_served_and_takes_a_new_one() {
    let (_one, _two, objects) = shop().await;
    let api = KubernetesApi::start().await.unwrap();
    objects.into_iter().for_each(|object| api.put(object));
    let ca = TestCa::new();
    let server = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let directory = tempdir().unwrap();
    let kubeconfig = ["--kubeconfig".to_owned(), api.kubeconfig(directory.path()).display().to_string()];
    let config = directory.path().join("base.json");
    fs::write(&config, "{\"version\": 1, \"table\": {\"singleMachine\": true}}").unwrap();
    let config = ["--config".to_owned(), config.display().to_string()];
    let arguments = [&kubeconfig[..], &config, &server.arguments(&["--identity", "token"])].concat();
    let mut program = ServeProcess::new(directory, arguments);
    program.restart().await;
    // A projected token: a link to ..data, which the kubelet replaces.
    let pod = Secret::new(
        &TestCertificate { certificate: token("shop", "byname", 3_600, "old"), key: String::new() },
        &ca.pem(),
    );
    let (old, new) = (token("shop", "byname", 3_600, "old"), token("shop", "byname", 3_600, "new"));
    pod.replace(&TestCertificate { certificate: old.clone(), key: String::new() }, &ca.pem(), 2);
    api.put_token(&old, &user("shop"), "byname");
    let file = pod.path().join("tls.crt").display().to_string();
    let sidecar = envoy(pod.path(), &program, "shop", &["--token-file", &file]).await;
    eventually("a name is reached", async || ask(&sidecar, "web").await.said("upstream") == "one").await;
    reaches_by_the_filters_stream(pod.path(), &program, &["--token-file", &file]).await;
    pod.replace(&TestCertificate { certificate: format!("{new}\n"), key: String::new() }, &ca.pem(), 3);
    api.forget_token(&old);
    api.put_token(&new, &user("shop"), "byname");
    program.kill();
    program.restart().await;
    eventually("a new name is reached", async || ask(&sidecar, "late").await.said("upstream") == "two").await;
    assert!(!program.log().contains("refused 127.0.0.1"), "{}", program.log());
}
