//! The experiment of `examples/dns`: Envoy's DNS filter resolves names to an address at which the sidecar listens.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic fails the test")]

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use byname_test_support::{Envoy, TestUpstream, console, repository};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DIRECTORY: &str = "examples/dns";
const DNS: u16 = 15053;
const SIDECAR: u16 = 15001;
const PAYMENTS: u16 = 18081;

async fn start(payments: u16) -> Result<Envoy> {
    Envoy::builder("../examples/dns/envoy.yaml").port(PAYMENTS, payments).start().await
}

fn shell(command: &str) -> Result<Output> {
    Ok(Command::new("sh").args(["-c", command]).current_dir(repository()).output()?)
}

/// The answer to a DNS question, asked with the README's command.
fn ask(envoy: &Envoy, name: &str, kind: &str) -> Result<String> {
    let output = shell(&format!("python3 {DIRECTORY}/ask.py {} {name} {kind}", envoy.port(DNS)))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The reply that a client gets at a resolved address.
async fn get(address: &str, port: u16, host: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect((address, port)).await?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn names_resolve_to_the_sidecar_which_routes_by_host() -> Result<()> {
    let payments = TestUpstream::start("payments").await?;
    let envoy = start(payments.port()).await?;
    for name in ["payments", "payments.shop", "payments.shop.svc.cluster.local", "pay", "pay.shop.svc.cluster.local"] {
        let answer = ask(&envoy, name, "A")?;
        let address = answer.strip_prefix("NOERROR ").with_context(|| format!("{name}: {answer}"))?;
        let answer = get(address, envoy.port(SIDECAR), name).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        assert!(answer.contains("\"upstream\":\"payments\""), "{name}: {answer}");
        assert!(answer.contains("\"authority\":\"payments.shop.svc.cluster.local\""), "{name}: {answer}");
    }
    let answer = get("127.0.0.2", envoy.port(SIDECAR), "nope").await?;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("no Service has this name\n"), "{answer}");
    Ok(())
}

/// The README lists these limits. If a newer Envoy lifts one, this fails and the README can drop it.
#[tokio::test]
async fn limits_are_the_documented_ones() -> Result<()> {
    let payments = TestUpstream::start("payments").await?;
    let envoy = start(payments.port()).await?;
    for (name, kind) in [
        ("payments", "AAAA"),
        ("PAYMENTS", "A"),
        ("Payments.shop", "A"),
        ("payments.prod", "A"),
        ("payments.shop.svc", "A"),
        ("www.example.org", "A"),
    ] {
        assert_eq!(ask(&envoy, name, kind)?, "NXDOMAIN", "{name} {kind}");
    }
    Ok(())
}

/// A process that is killed on drop.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The commands run as the README shows them, except for ports, which may be taken, and for Envoy, which the tests
/// start in their own way.
#[tokio::test]
async fn readme_commands_print_what_is_shown() -> Result<()> {
    let readme = fs::read_to_string(repository().join(DIRECTORY).join("README.md"))?;
    let mut commands = console(&readme).into_iter();
    let envoy = commands.next().context("the first command")?.command;
    assert_eq!(envoy, "target/envoy/envoy -c examples/dns/envoy.yaml --log-level error &");
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let envoy = start(port).await?;
    let with_ports = |command: &str| {
        [(DNS, envoy.port(DNS)), (SIDECAR, envoy.port(SIDECAR)), (PAYMENTS, port)]
            .iter()
            .fold(command.to_owned(), |text, (from, to)| text.replace(&from.to_string(), &to.to_string()))
    };
    let server = commands.next().context("the second command")?.command;
    let server = with_ports(server.strip_suffix('&').context("it runs beside")?);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {server}")]).current_dir(repository()).stdout(Stdio::null());
    let _server = Server(command.spawn()?);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut ran = 0;
    for shown in commands {
        let output = shell(&format!("{} 2>&1", with_ports(&shown.command)))?;
        let printed = String::from_utf8(output.stdout)?;
        assert!(
            shown.is_printed(&printed),
            "$ {}\nis shown as\n{}\nand prints\n{printed}",
            shown.command,
            shown.output
        );
        ran += 1;
    }
    assert_eq!(ran, 7);
    Ok(())
}
