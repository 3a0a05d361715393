//! CONNECT: clients of an explicit proxy that ask for a tunnel, as gRPC, WebSocket and https clients do.

use std::time::Duration;

use byname_test_support::{Reply, TUNNEL_FORMS, TestResult, TestUpstream, TunnelAnswer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    sidecar::{
        echo::{EchoUpstream, ask, check_echo, header},
        loopback::{IN_SHOP, LISTENER, Loopback, MODES, OUTSIDE, alias_to, on_this_machine, service_with, with_dns},
    },
    workdir::with,
};

/// The cluster that a client tries to reach by a forged control header.
const FORGED: [(&str, &str); 1] = [("x-byname-cluster", "outbound|8080||payments.prod.svc.cluster.local")];

fn assert_refused(reply: &Reply, status: u16, reason: &str, row: &str) {
    assert_eq!((reply.status, reply.header("x-byname-reason")), (status, reason), "{row}: {}", reply.body);
    let (byname, body) = reply.body.split_at(reply.body.len().min(8));
    assert!(byname == "byname: " && body.contains(reason), "{row}: {}", reply.body);
}

#[tokio::test]
async fn tunnels_reach_services_by_their_names() -> TestResult {
    let loopback = Loopback::start().await?;
    loopback.dump(IN_SHOP, &[])?;
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        let port = envoy.port(LISTENER);
        for form in TUNNEL_FORMS {
            for (authority, upstream) in [
                ("payments:80", "payments.shop"),
                ("PAYMENTS.shop.svc.cluster.local.:80", "payments.shop"),
                ("payments.prod:8080", "payments.prod"),
                ("pay:80", "payments.shop"),
                ("db-1.db:80", "db-1"),
                ("10.96.0.10:80", "payments.shop"),
            ] {
                for headers in [&[][..], &FORGED] {
                    let row = format!("{by}, {form:?}, {authority}, {headers:?}");
                    let reply = TunnelAnswer::ask(port, form, authority, headers).await?.open()?.get("as-sent").await?;
                    // Envoy does not look into the tunnel.
                    assert_eq!(
                        (reply.said("upstream"), reply.said("authority")),
                        (upstream.into(), "as-sent".into()),
                        "{row}"
                    );
                    assert_eq!(reply.sent_on("x-byname-cluster"), Vec::<String>::new(), "{row}");
                }
            }
            for (authority, reason) in [
                ("nobody:80", "name_not_found"),
                ("payments.nowhere:80", "name_not_found"),
                ("payments:81", "port_not_found"),
                ("10.99.0.1:80", "not_in_table"),
            ] {
                for headers in [&[][..], &FORGED] {
                    let reply = TunnelAnswer::ask(port, form, authority, headers).await?.refused()?;
                    assert_refused(&reply, 404, reason, &format!("{by}, {form:?}, {authority}, {headers:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Inside the tunnel the client speaks TLS with the upstream itself.
#[tokio::test]
async fn tunnels_carry_the_tls_of_the_client() -> TestResult {
    let mut loopback = Loopback::start().await?;
    let (secure, certificate) = TestUpstream::start_tls("secure", "secure").await?;
    let (outside, outside_certificate) = TestUpstream::start_tls("outside", OUTSIDE).await?;
    let ca_file = loopback.workdir.put("ca.pem", &format!("{certificate}{outside_certificate}"))?;
    let port = json!({"name": "https", "port": 443, "appProtocol": "https"});
    let mut objects = service_with("secure", &[(port, secure.port())]);
    objects.push(alias_to("weather", OUTSIDE));
    loopback.dump(IN_SHOP, &objects)?;
    let outside_port = outside.port();
    loopback.upstreams.extend([secure, outside]);
    for by in MODES {
        let config = with(
            on_this_machine(by),
            &[
                ("externalNames.allow", json!([{"host": OUTSIDE, "ports": [outside_port]}])),
                ("table.services.shop/weather.alias", json!({"port": outside_port, "tls": true})),
            ],
        );
        let envoy = loopback.sidecar(&config, &["--ca-file", &ca_file], with_dns).await?;
        for form in TUNNEL_FORMS {
            for (authority, host, certificate, upstream) in [
                ("secure:443", "secure", &certificate, "secure"),
                ("secure.shop.svc.cluster.local:443", "secure", &certificate, "secure"),
                ("weather:443", OUTSIDE, &outside_certificate, "outside"),
            ] {
                let row = format!("{by}, {form:?}, {authority}");
                let answer = TunnelAnswer::ask(envoy.port(LISTENER), form, authority, &[]).await?;
                if by == "authority" {
                    // The route's cluster would wrap the client's TLS once more.
                    assert_refused(&answer.refused()?, 501, "tunnel_in_tls", &row);
                    continue;
                }
                let reply = answer.open()?.get_over_tls(host, certificate).await?;
                assert_eq!(reply.said("upstream"), upstream, "{row}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_tunnel_ends_with_its_upstream() -> TestResult {
    for by in MODES {
        for form in TUNNEL_FORMS {
            let mut loopback = Loopback::start().await?;
            loopback.dump(IN_SHOP, &[])?;
            let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
            let port = envoy.port(LISTENER);
            let mut tunnel = TunnelAnswer::ask(port, form, "payments:80", &[]).await?.open()?.into_stream();
            tunnel.write_all(b"GET / HTTP/1.1\r\nHost: payments\r\n\r\nGET / HTTP/1.1\r\n").await?;
            let mut first = [0; 12];
            tunnel.read_exact(&mut first).await?;
            assert_eq!(&first, b"HTTP/1.1 200", "{by}, {form:?}");
            // The upstream's connections end with it.
            drop(loopback.upstreams.remove(0));
            let mut rest = Vec::new();
            // HTTP/2 may reset the stream.
            let ended = tokio::time::timeout(Duration::from_secs(10), tunnel.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "{by}, {form:?}: the tunnel is still open");
            let reply = TunnelAnswer::ask(port, form, "payments:80", &[]).await?.refused()?;
            assert_eq!(reply.status, 503, "{by}, {form:?}: {}", reply.body);
            let reply = TunnelAnswer::ask(port, form, "db-0.db:80", &[]).await?.open()?.get("db").await?;
            assert_eq!(reply.said("upstream"), "db-0", "{by}, {form:?}: other upstreams are still reached");
        }
    }
    Ok(())
}

#[tokio::test]
async fn tunnels_carry_websockets() -> TestResult {
    let mut loopback = Loopback::start().await?;
    let chat = EchoUpstream::start().await?;
    loopback.dump(IN_SHOP, &service_with("chat", &[(json!({"name": "http", "port": 80}), chat.port)]))?;
    loopback.ports.push((chat.port, chat.port));
    let request = "GET /socket HTTP/1.1\r\nHost: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        for form in TUNNEL_FORMS {
            let answer = TunnelAnswer::ask(envoy.port(LISTENER), form, "chat:80", &[]).await?;
            let mut tunnel = answer.open()?.into_stream();
            let head = ask(&mut tunnel, request).await?;
            assert!(head.starts_with("http/1.1 101 "), "{by}, {form:?}: {head}");
            assert_eq!(header(&head, "x-host"), "chat", "{by}, {form:?}");
            check_echo(&mut tunnel).await?;
        }
    }
    Ok(())
}
