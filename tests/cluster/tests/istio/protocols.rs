//! HTTP/2, gRPC and WebSocket through the redirect, and the port that a request goes to.

use anyhow::Result;
use byname_test_support::{CHECKOUT, RECOMMEND};
use serde_json::json;

use crate::istio::mesh::Mesh;

const CHAT: &str = "chat.shop.svc.cluster.local";

pub(crate) fn clients_speak_http2_grpc_and_websocket(mesh: &Mesh<'_>) -> Result<()> {
    let talk = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "talk"},
        "spec": {"type": "ExternalName", "externalName": CHAT},
    });
    mesh.cluster.apply(&[talk])?;
    for with_clusters in [false, true] {
        if with_clusters {
            mesh.apply_with_clusters(&[])?
        } else {
            mesh.apply_with_authority(&[])?
        }
        mesh.wait_for("talk", CHAT)?;
        for (name, host) in [("checkout", CHECKOUT), ("_http._tcp.checkout", CHECKOUT), ("talk", CHAT)] {
            let answer = mesh.client.curl(&["--http2-prior-knowledge", &format!("http://{name}/")])?;
            assert!(answer.headers.starts_with("http/2 200"), "{name}: {answer:?}");
            assert_eq!(answer.said("authority"), host, "{name}: {answer:?}");
        }
        for name in ["chat", "talk", "chat.shop.svc.cluster.local.", &mesh.chat.cluster_ip] {
            let answer = mesh.client.client(&["grpc", "--target", &format!("{name}:9090")])?;
            let authority = format!("{CHAT}:9090");
            let wanted = json!({"unary": ["chat"], "stream": ["chat"], "authority": [authority], "messages": 3});
            assert_eq!(answer, wanted, "{name}");
        }
        for name in ["chat", "talk"] {
            let answer = mesh.client.client(&["websocket", &format!("ws://{name}/socket")])?;
            let said = (&answer["pod"], &answer["authority"], &answer["message"]);
            assert_eq!(said, (&json!("chat"), &json!(CHAT), &json!("hello")), "{name}: {answer}");
        }
    }
    mesh.cluster.kubectl(&["delete", "service", "talk", "-n", "shop"])?;
    Ok(())
}

pub(crate) fn a_host_without_a_port_means_the_port_of_the_connection(mesh: &Mesh<'_>) -> Result<()> {
    const CATALOG: &str = "catalog.shop.svc.cluster.local";
    for with_clusters in [false, true] {
        if with_clusters {
            mesh.apply_with_clusters(&[])?
        } else {
            mesh.apply_with_authority(&[])?
        }
        let with_port = format!("{CATALOG}:9090");
        for name in ["catalog", "catalog.shop", "CATALOG.shop.svc", CATALOG, "catalog:9090"] {
            for (url, listens, authority) in
                [("http://catalog/", 8080, CATALOG), ("http://catalog:9090/", 9090, &with_port)]
            {
                if name.contains(':') && listens == 8080 {
                    continue;
                }
                let answer = mesh.client.curl(&["-H", &format!("host: {name}"), "--http2-prior-knowledge", url])?;
                let said = (&answer.body["port"], answer.said("authority"));
                assert_eq!(said, (&json!(listens), authority), "{with_clusters}, {name} at {url}: {answer:?}");
            }
        }
        // Clients whose authority has no port.
        for authority in ["chat", CHAT, "chat:9090"] {
            let answer = mesh.client.call_grpc(&["chat:9090", authority])?;
            let answered = json!({"unary": "chat", "stream": "chat", "messages": 3});
            assert_eq!(answer, answered, "{with_clusters}, {authority}");
        }
    }
    Ok(())
}

/// Workloads behind an ingress hand on what the ingress told them.
pub(crate) fn a_forwarded_scheme_does_not_choose_the_port(mesh: &Mesh<'_>) -> Result<()> {
    for with_clusters in [false, true] {
        if with_clusters {
            mesh.apply_with_clusters(&[])?
        } else {
            mesh.apply_with_authority(&[])?
        }
        for (name, host) in [("checkout", CHECKOUT), ("checkout:80", CHECKOUT), ("suggest", RECOMMEND)] {
            let url = format!("http://{name}/");
            for more in [&[][..], &["--http2-prior-knowledge"]] {
                let answer = mesh.client.curl(&[&["-H", "x-forwarded-proto: https", &url], more].concat())?;
                let said = (answer.status, answer.said("authority"));
                assert_eq!(said, (200, host), "{with_clusters}, {name}: {answer:?}");
            }
        }
    }
    Ok(())
}

/// As it is today: no route of a sidecar matches CONNECT, so `compile` adds no cluster for tunnels.
pub(crate) fn a_sidecar_opens_no_tunnel(mesh: &Mesh<'_>) -> Result<()> {
    for with_clusters in [false, true] {
        if with_clusters {
            mesh.apply_with_clusters(&[])?
        } else {
            mesh.apply_with_authority(&[])?
        }
        for name in ["checkout:80", "weather:443", "api.weather.example.com:443"] {
            let connect = ["-X", "CONNECT", "--request-target", name, "-H", &format!("host: {name}")];
            let answer = mesh.client.curl(&[&connect[..], &["http://checkout/"]].concat())?;
            assert_eq!((answer.status, &*answer.text), (404, ""), "{with_clusters}, {name}: {answer:?}");
        }
    }
    let clusters = mesh.client.admin("/clusters")?;
    let has = |name: &str| clusters.lines().any(|line| line.starts_with(name));
    assert!(has("external-tls|443|api.weather.example.com::") && !has("external|"), "{clusters}");
    Ok(())
}
