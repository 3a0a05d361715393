//! HTTP/2, gRPC and WebSocket through the redirect.

use anyhow::Result;
use byname_test_support::CHECKOUT;
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
