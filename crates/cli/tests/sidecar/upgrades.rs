//! Upgrades of HTTP/1.1.

use byname_test_support::{TestResult, raw_http1};
use serde_json::json;
use tokio::net::TcpStream;

use crate::sidecar::{
    echo::{EchoUpstream, ask, check_echo, header},
    loopback::{IN_SHOP, LISTENER, Loopback, MODES, on_this_machine, service_with},
};

fn request(host: &str, upgrade: &str) -> String {
    format!(
        "POST /upgrade HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nContent-Length: 0\r\n\r\n"
    )
}

#[tokio::test]
async fn known_upgrades_pass_and_others_are_refused_by_name() -> TestResult {
    const KNOWN: [&str; 6] = ["websocket", "WebSocket", "SPDY/3.1", "tcp", "tailscale-control-protocol", "derp"];
    let mut loopback = Loopback::start().await?;
    let chat = EchoUpstream::start().await?;
    loopback.dump(IN_SHOP, &service_with("chat", &[(json!({"name": "http", "port": 80}), chat.port)]))?;
    loopback.ports.push((chat.port, chat.port));
    for by in MODES {
        for (args, more) in [(&[][..], &[][..]), (&["--upgrade", "foo", "--upgrade", "bar/2"], &["foo", "bar/2"])] {
            let envoy = loopback.sidecar(&on_this_machine(by), args, str::to_owned).await?;
            for upgrade in KNOWN.iter().chain(more) {
                let mut stream = TcpStream::connect(("127.0.0.1", envoy.port(LISTENER))).await?;
                let head = ask(&mut stream, &request("chat", upgrade)).await?;
                assert!(head.starts_with("http/1.1 101 "), "{by}, {upgrade}: {head}");
                assert_eq!(header(&head, "x-host"), "chat.shop.svc.cluster.local", "{by}, {upgrade}");
                check_echo(&mut stream).await?;
            }
            let refused: &[&str] = if more.is_empty() { &["foo", "bar/2"] } else { &["other"] };
            for upgrade in refused {
                // Whatever the host: Envoy answers before it knows the route.
                for host in ["chat", "nobody"] {
                    let answer = raw_http1(envoy.port(LISTENER), request(host, upgrade).as_bytes()).await?;
                    let row = format!("{by}, {upgrade} to {host}: {answer}");
                    assert!(answer.starts_with("HTTP/1.1 403 "), "{row}");
                    assert!(answer.contains("\r\nx-byname-reason: upgrade_not_allowed\r\n"), "{row}");
                    let words =
                        format!("byname: upgrade_not_allowed: this Envoy does not pass on an upgrade to {upgrade};");
                    assert!(answer.contains(&words) && answer.contains("--upgrade TYPE"), "{row}");
                }
            }
            // An upstream that refuses says so itself.
            let answer = raw_http1(
                envoy.port(LISTENER),
                format!(
                    "{}GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n",
                    request("nobody", "websocket")
                )
                .as_bytes(),
            )
            .await?;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{by}: {answer}");
            assert!(answer.contains("x-byname-reason: name_not_found"), "{by}: {answer}");
        }
    }
    Ok(())
}

/// Java's client and `curl --http2` offer HTTP/2 so in every first request. Envoy answers in HTTP/1.1.
#[tokio::test]
async fn an_offer_of_http2_is_not_an_upgrade() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    let envoy = loopback.sidecar(&on_this_machine("cluster"), &[], str::to_owned).await?;
    let request = "GET / HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let answer = raw_http1(envoy.port(LISTENER), request.as_bytes()).await?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"upstream\":\"payments.shop\""), "{answer}");
    Ok(())
}
