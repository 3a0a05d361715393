//! mTLS between sidecars, and AuthorizationPolicies.

use anyhow::{Result, ensure};
use byname_cluster::{OUTSIDE_HTTP, Part, Pod, PodOptions, eventually};
use byname_test_support::CHECKOUT;
use serde_json::{Value, json};

use crate::istio::{
    mesh::{Mesh, expect, steadily},
    names::{by_endpoint, start_watched},
    stream::{Stream, Way, ask},
};

const VAULT: &str = "vault.shop.svc.cluster.local";

/// A Service whose only pod has a sidecar.
fn start_vault(mesh: &Mesh<'_>) -> Result<(Part, Pod)> {
    mesh.cluster.apply(&[json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "vault"},
        "spec": {"selector": {"app": "vault"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })])?;
    // The injector labels pods so: istiod tells other sidecars by it that the pod takes mTLS.
    let labels = [("app", "vault"), ("security.istio.io/tlsMode", "istio")];
    let pod =
        mesh.istio.start_pod(&PodOptions { namespace: "shop", name: "vault", labels: &labels, is_gateway: false })?;
    let server = pod.start("server", &["server", "--name=vault", "--listen", &format!("{}:8080", pod.address())])?;
    Ok((server, pod))
}

fn end_vault(mesh: &Mesh<'_>, vault: (Part, Pod)) -> Result<()> {
    drop(vault);
    mesh.cluster.kubectl(&["delete", "service/vault", "-n", "shop"])?;
    Ok(())
}

fn strict() -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"namespace": "shop", "name": "vault"},
        "spec": {"selector": {"matchLabels": {"app": "vault"}}, "mtls": {"mode": "STRICT"}},
    })
}

pub(crate) fn strict_mtls_holds_between_sidecars(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let vault = start_vault(mesh)?;
    let plaintext = format!("http://{}:8080/", vault.1.address());
    let asks_in_plaintext = || std::process::Command::new("curl").args(["-sf", "-m", "5", &plaintext]).output();
    eventually("plaintext is taken as long as nothing forbids it", || Ok(asks_in_plaintext()?.status.success()))?;
    let reached = || {
        let answer = mesh.client.get("vault")?;
        let peer = answer.body["headers"]["X-Forwarded-Client-Cert"][0].as_str().unwrap_or_default();
        let is_known = peer.contains("URI=spiffe://cluster.local/ns/shop/sa/default");
        expect(answer.said("authority") == VAULT && answer.said("pod") == "vault" && is_known, &answer)
    };
    mesh.apply_with_authority(&[strict()])?;
    eventually("the vault is reached by authority", reached)?;
    eventually("plaintext is refused", || Ok(!asks_in_plaintext()?.status.success()))?;
    mesh.apply_with_clusters(&[strict()])?;
    eventually("the vault is reached by cluster", reached)?;
    eventually("plaintext is refused", || Ok(!asks_in_plaintext()?.status.success()))?;
    end_vault(mesh, vault)
}

/// The filter chooses the endpoint, and the sidecar does not know that it wants mTLS.
pub(crate) fn strict_mtls_refuses_steering_to_endpoints(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let vault = start_vault(mesh)?;
    let (pod, _watch) = start_watched(mesh, "watched-strictly")?;
    mesh.istio.apply_only(&by_endpoint(mesh)?)?;
    steadily("the vault is reached as long as it takes plaintext", || {
        let answer = pod.get("vault")?;
        expect(answer.said("authority") == VAULT && answer.said("pod") == "vault", &answer)
    })?;
    mesh.istio.apply_only(&[by_endpoint(mesh)?, vec![strict()]].concat())?;
    steadily("the vault is not reached", || {
        let answer = pod.get("vault")?;
        expect(answer.status == 503, &answer)
    })?;
    let answer = pod.get("checkout")?;
    assert_eq!(answer.said("authority"), CHECKOUT, "{answer:?}");
    end_vault(mesh, vault)
}

/// Over a stream the filter chooses the endpoint too: its plaintext reaches a sidecar that does not require mTLS.
pub(crate) fn a_stream_reaches_the_endpoints_of_sidecars_that_take_plaintext(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let vault = start_vault(mesh)?;
    let result = Stream::with(mesh, &[], |stream| {
        for (mode, is_reached) in [("DISABLE", true), ("PERMISSIVE", true), ("STRICT", false)] {
            let policy = json!({
                "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                "metadata": {"namespace": "shop", "name": "default"}, "spec": {"mtls": {"mode": mode}},
            });
            stream.apply(Way::Endpoint, &json!({}), &[policy])?;
            steadily(&format!("with {mode} the vault is reached: {is_reached}"), || {
                let answer = mesh.client.get("vault")?;
                let by_plaintext = answer.body["headers"].get("X-Forwarded-Client-Cert").is_none();
                let is_so = match is_reached {
                    true => answer.said("authority") == VAULT && answer.said("pod") == "vault" && by_plaintext,
                    false => answer.status == 503,
                };
                expect(is_so, &answer)
            })?;
            let (_, logged) = ask(&mesh.client, OUTSIDE_HTTP, "vault")?;
            ensure!(logged.reason() == "service" && logged.way() == Some(Way::Endpoint), "{logged:?}");
            println!("a sidecar with mTLS {mode} is reached by endpoint: {is_reached}");
        }
        Ok(())
    });
    end_vault(mesh, vault)?;
    result
}

pub(crate) fn authorization_policies_see_the_resolved_name(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let vault = start_vault(mesh)?;
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"namespace": "shop", "name": "vault"},
        "spec": {"selector": {"matchLabels": {"app": "vault"}}, "action": "ALLOW", "rules": [{"to": [{"operation": {"hosts": [VAULT]}}]}]},
    });
    mesh.istio.apply_only(std::slice::from_ref(&policy))?;
    eventually("without byname the policy sees the short name", || {
        let answer = mesh.client.get("vault")?;
        expect(answer.status == 403, &answer)
    })?;
    mesh.apply_with_authority(&[policy])?;
    eventually("with byname the policy sees the whole name", || {
        let answer = mesh.client.get("vault")?;
        expect(answer.status == 200 && answer.said("pod") == "vault", &answer)
    })?;
    end_vault(mesh, vault)
}
