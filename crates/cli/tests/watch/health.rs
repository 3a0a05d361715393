//! Metrics, health endpoints, arguments and shutdown of `byname watch`.

use std::{fs, net::TcpListener, path::Path, process::Command};

use crate::program::{WatchProcess, endpoints, service, slice};

const DATA: &str = "in/cart.json";

fn put(directory: &Path, count: usize) {
    let list = serde_json::json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": [service("shop/cart"), slice("shop/cart", &endpoints(count))],
    });
    fs::write(directory.join(DATA), list.to_string()).unwrap();
}

async fn follow() -> WatchProcess {
    WatchProcess::start(|directory| {
        fs::create_dir(directory.join("in")).unwrap();
        put(directory, 3);
        let input = directory.join("in").display().to_string();
        vec!["--format".into(), "table".into(), "--from-dir".into(), input, "--table-version".into(), "7".into()]
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_metrics_and_health_and_stops_on_sigterm() {
    let mut program = follow().await;
    program.wait_for(&[("shop/cart", 3)]).await;
    program.wait_for_log("first table written").await;
    for (name, value) in [
        ("objects{kind=\"Service\"}", 1.0),
        ("objects{kind=\"EndpointSlice\"}", 1.0),
        ("services", 1.0),
        ("endpoints", 3.0),
        ("table_version", 7.0),
        ("compiles_total", 1.0),
        ("compile_seconds_count", 1.0),
        ("compile_failures_total", 0.0),
        ("read_failures_total", 0.0),
        ("writes_total", 1.0),
        ("write_failures_total", 0.0),
        ("left_out", 0.0),
    ] {
        program.wait_for_metric(name, value).await;
    }
    assert!(program.metric("last_success_timestamp_seconds").await > 1.7e9);
    let (_, text) = program.get("/metrics").await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(program.get("/healthz").await, (200, "alive\n".to_owned()));
    assert_eq!(program.get("/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(program.get("/").await.0, 404);
    assert_eq!(program.end().await, Some(0));
    assert!(program.log().ends_with("stopped by a signal\n"), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_an_up_to_date_file_untouched() {
    let mut program = follow().await;
    program.wait_for(&[("shop/cart", 3)]).await;
    assert_eq!(program.end().await, Some(0));
    let written = fs::metadata(&program.output).unwrap().modified().unwrap();
    let kept = program.output.display().to_string();
    // A second process starts with the same output file.
    let input = program.directory().join("in").display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_byname"))
        .args(["watch", "--format", "table", "--from-dir", &input, "--table-version", "7", "--output-file", &kept])
        .stderr(fs::File::create(program.directory().join("log")).unwrap())
        .spawn()
        .unwrap();
    program.adopt(child);
    program.wait_for_log("already up to date: 1 Service, 3 ready endpoints, version 7").await;
    assert_eq!(fs::metadata(&program.output).unwrap().modified().unwrap(), written);
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_a_failed_write() {
    let program = follow().await;
    program.wait_for(&[("shop/cart", 3)]).await;
    let (directory, aside) = (program.output.parent().unwrap(), program.directory().join("aside"));
    fs::rename(directory, &aside).unwrap();
    put(program.directory(), 4);
    program.wait_for_log("cannot be written: ").await;
    while program.metric("write_failures_total").await < 2.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(program.get("/readyz").await.0, 200, "the last known good file stays in use");
    fs::rename(&aside, directory).unwrap();
    program.wait_for(&[("shop/cart", 4)]).await;
    assert_eq!(program.count_in_log("cannot be written: "), 1, "logged once:\n{}", program.log());
}

#[test]
fn startup_errors_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::create_dir(path("in")).unwrap();
    put(directory.path(), 1);
    fs::write(path("no-kubeconfig"), "nothing: here\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (input, out) = (path("in"), path("out.yaml"));
    let rows: [(&[&str], &str); 15] = [
        (&["--from-dir", &input], "--output-file <FILE>"),
        (
            &["--from-dir", &path("nowhere"), "--output-file", &out],
            "pass a directory with the output of kubectl get -o yaml",
        ),
        (
            &["--from-dir", &input, "--output-file", &path("nowhere/out.yaml")],
            "its directory must exist and be writable",
        ),
        (&["--from-dir", &input, "--output-file", &path("")], "is a directory; use a file in it"),
        (&["--from-dir", &input, "--output-file", &path("in/out.yaml")], "use an output file elsewhere"),
        (
            &["--from-dir", &path(DATA), "--output-file", &path(DATA), "--format", "table"],
            "use an output file elsewhere",
        ),
        (&["--from-dir", &input, "--output-file", &path("out")], "use a name that ends in .yaml"),
        (&["--from-dir", &input, "--output-file", &out, "--listen", &taken], "use a free address"),
        (&["--from-dir", &input, "--output-file", &out, "--listen", "9902"], "use ADDRESS:PORT with an IP address"),
        (&["--from-dir", &input, "--output-file", &out, "--kubeconfig", "x"], "cannot be used with"),
        (&["--from-dir", &input, "--output-file", &out, "--pod", "web-0"], "use the form namespace/name"),
        (
            &["--kubeconfig", &path("no-kubeconfig"), "--output-file", &out],
            "no-kubeconfig: is not usable: it has no current context",
        ),
        (&["--output-file", &out], "watch files with --from-dir"),
        (&["--from-dir", &input, "-o", &out], "to write to this file use --output-file"),
        // The former name of --output-file.
        (&["--from-dir", &input, "--output", &path("out")], "use a name that ends in .yaml"),
    ];
    for (arguments, said) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
        // Without these, `watch` would use a cluster that this machine is configured for.
        command.env("HOME", directory.path()).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        let output = command.arg("watch").args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        let is_error = stderr.lines().any(|line| line.starts_with("error: "));
        assert!(is_error && stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(!Path::new(&out).exists());
    }
}
