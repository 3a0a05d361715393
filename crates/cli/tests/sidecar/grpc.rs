//! gRPC's own client and server for Python, through the sidecar as explicit proxy and as the channel's target.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{TestResult, repository};
use serde_json::{Value, json};

use crate::sidecar::loopback::{IN_SHOP, LISTENER, Loopback, MODES, alias_to, on_this_machine, service_with};

fn python(script: &str) -> Result<Command> {
    let packages = repository().join("target/grpc/packages");
    ensure!(packages.is_dir(), "there is no gRPC at {}: run `make grpc`", packages.display());
    let mut command = Command::new("python3");
    command.arg(repository().join("tests/grpc").join(script));
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    for name in ["http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// A server that runs until it is dropped.
struct GrpcServer {
    port: u16,
    child: Child,
}

impl GrpcServer {
    fn start(name: &str) -> Result<Self> {
        let mut child = python("server.py")?.arg(name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it was asked for")?).read_line(&mut line)?;
        Ok(Self { port: line.trim().parse().context("the server prints its port")?, child })
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(http_proxy: Option<u16>, arguments: &[&str]) -> Result<Value> {
    let mut client = python("client.py")?;
    if let Some(port) = http_proxy {
        client.env("http_proxy", format!("http://127.0.0.1:{port}"));
    }
    let output = client.args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn grpc_clients_reach_services_by_their_names() -> TestResult {
    let answered = json!({"unary": "chat", "stream": "chat", "messages": 3});
    let mut loopback = Loopback::start().await?;
    let chat = GrpcServer::start("chat")?;
    // By the port's name, and by its protocol.
    let ports = [
        json!({"name": "grpc", "port": 50051}),
        json!({"name": "h2c", "port": 50052, "appProtocol": "kubernetes.io/h2c"}),
    ];
    let mut objects = service_with("chat", &ports.map(|port| (port, chat.port)));
    objects.push(alias_to("talk", "chat.shop.svc.cluster.local"));
    loopback.dump(IN_SHOP, &objects)?;
    loopback.ports.push((chat.port, chat.port));
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        let (port, sidecar) = (envoy.port(LISTENER), format!("127.0.0.1:{}", envoy.port(LISTENER)));
        for name in ["chat:50051", "chat:50052", "chat.shop:50051", "chat.shop.svc.cluster.local:50052", "talk:50051"] {
            assert_eq!(call(Some(port), &[name])?, answered, "{by}, {name} by http_proxy");
            assert_eq!(call(None, &[&sidecar, name])?, answered, "{by}, {name} by authority");
        }
        for name in ["nobody:50051", "chat:50053"] {
            let refused = call(Some(port), &[name])?;
            assert_eq!(refused["error"], "UNAVAILABLE", "{by}, {name} by http_proxy: {refused}");
            let refused = call(None, &[&sidecar, name])?;
            assert_eq!(refused["error"], "NOT_FOUND", "{by}, {name} by authority: {refused}");
            assert!(
                refused["details"].as_str().is_some_and(|words| words.starts_with("byname: ")),
                "{by}, {name}: {refused}"
            );
        }
    }
    Ok(())
}
