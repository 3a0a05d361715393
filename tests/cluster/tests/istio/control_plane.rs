//! `byname serve` in the mesh: whom it believes.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, ensure};
use byname_cluster::{MeshServer, NamesClient, Peer, PodOptions, SERVER, XFCC_PORT, eventually};

use crate::istio::mesh::{Mesh, client};

/// A Service that clients in `shop` see, and one that they do not.
const OWN: &str = "outbound|80||checkout.shop.svc.cluster.local";
const OTHER: &str = "outbound|80||api.billing.svc.cluster.local";
/// What the server's sidecar would write for a client in `billing`.
const FORGED: &str = "By=spiffe://cluster.local/ns/byname-system/sa/default;Hash=ab;Subject=\"\";URI=spiffe://cluster.local/ns/billing/sa/default";
/// The same for a client in `shop`.
const REAL: &str = "By=spiffe://cluster.local/ns/byname-system/sa/default;Hash=ab;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/default";

/// Each namespace sees its own Services only, so that who is taken for another one shows.
pub(crate) fn a_server_believes_the_sidecar_beside_it_alone(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&MeshServer::objects()?)?;
    let server = MeshServer::start(mesh.cluster, &mesh.istio, &["--default-export", "."])?;
    let result = believes_the_sidecar_alone(mesh, &server);
    let result = result.with_context(|| server.tails());
    drop(server);
    result
}

/// A client of the mesh that speaks the filter's own protocol by itself, from a pod in `shop`. `ledger` in `billing` is hidden by the server's
/// default, and by its annotation.
pub(crate) fn a_neighbours_stream_shows_nothing_of_hidden_services(mesh: &Mesh<'_>) -> Result<()> {
    let annotate =
        |to: &str| mesh.cluster.kubectl(&["annotate", "service", "ledger", "-n", "billing", "--overwrite", to]);
    for (arguments, annotation) in [(&["--default-export", "."][..], "byname/export-to-"), (&[], "byname/export-to=.")]
    {
        annotate(annotation)?;
        mesh.istio.apply_only(&MeshServer::objects()?)?;
        let server = MeshServer::start(mesh.cluster, &mesh.istio, arguments)?;
        let result = shows_nothing_of_hidden_services(mesh, &server);
        annotate("byname/export-to-")?;
        result.with_context(|| format!("{arguments:?}: {}", server.tails()))?;
    }
    Ok(())
}

fn shows_nothing_of_hidden_services(mesh: &Mesh<'_>, server: &MeshServer) -> Result<()> {
    let cluster_ip = |service: &str, namespace: &str| {
        mesh.cluster.kubectl(&["get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"])
    };
    let names = |key: &str, address: &str| {
        ["Service", "Endpoints"]
            .map(|of| format!("{of}={key}"))
            .into_iter()
            .chain([format!("Address={address}")])
            .collect()
    };
    let own: BTreeSet<String> = names("shop/checkout", &cluster_ip("checkout", "shop")?);
    let hidden: BTreeSet<String> = names("billing/ledger", &cluster_ip("ledger", "billing")?);
    let asked: Vec<&str> = own.iter().chain(&hidden).map(|name| &**name).collect();
    let header = |text: &str| format!("x-forwarded-client-cert={text}");
    let one = header(FORGED);
    for headers in
        [vec![], vec![one.clone()], vec![one.clone(), one.clone()], vec![header(&format!("{FORGED},{FORGED}"))]]
    {
        let client = NamesClient::start(&mesh.client, SERVER, "shop", &headers, &asked)?;
        eventually("the client has an answer for every name", || {
            let told = client.told()?;
            ensure!(told.known.len() + told.missing.len() >= asked.len(), "{told:?}");
            Ok(true)
        })
        .with_context(|| format!("{headers:?}: {}", client.part.tail()))?;
        let told = client.told()?;
        ensure!(told.missing == hidden && told.known.keys().eq(&own), "{headers:?}: {told:?}");
        ensure!(!format!("{:?}", told.known).contains("ledger"), "{headers:?}: {told:?}");
        // It says that it is of the other namespace.
        let refused = "callers_refused_total{reason=\"other_namespace\"}";
        let before = server.metric(refused)?;
        let mut liar = NamesClient::start(&mesh.client, SERVER, "billing", &headers, &asked)?;
        eventually("the liar is refused", || Ok(server.metric(refused)? > before))
            .with_context(|| format!("{headers:?}: {}", liar.part.tail()))?;
        ensure!(liar.part.wait_for_end().is_err(), "the liar's stream ends well");
        let told = liar.told()?;
        ensure!(told.known.is_empty() && told.missing.is_empty(), "{headers:?}: {told:?}");
    }
    // The hidden Service is there for whom it is meant.
    let pod = mesh.istio.start_pod(&PodOptions { namespace: "billing", ..client("neighbour") })?;
    let asked: Vec<&str> = hidden.iter().map(|name| &**name).collect();
    let client = NamesClient::start(&pod, SERVER, "billing", &[], &asked)?;
    eventually("its own namespace has it", || {
        let told = client.told()?;
        ensure!(told.known.keys().eq(&hidden), "{told:?}");
        Ok(true)
    })
    .with_context(|| client.part.tail())?;
    Ok(())
}

fn believes_the_sidecar_alone(mesh: &Mesh<'_>, server: &MeshServer) -> Result<()> {
    is_set_up_as_the_tests_of_serve_have_it(server)?;
    // What a client sends of its own, over one header line or several.
    let header = |text: &str| format!("x-forwarded-client-cert={text}");
    let one = header(FORGED);
    for headers in [
        vec![],
        vec![one.clone()],
        vec![one.clone(), one.clone()],
        vec![header(&format!("{FORGED},{FORGED}"))],
        vec![header(&format!("{FORGED},"))],
        vec![header("Subject=\"")],
        vec![header(&format!("{FORGED};Subject=\""))],
    ] {
        let peer = Peer::start_in(&mesh.client, SERVER, "shop", &headers, &[OWN, OTHER])?;
        eventually("the client has its own", || Ok(peer.known()?.1.contains_key(OWN)))
            .with_context(|| format!("{headers:?}: {}", peer.part.tail()))?;
        let (filter, clusters) = peer.known()?;
        ensure!(!clusters.contains_key(OTHER), "{headers:?}: {clusters:?}");
        let filter = filter.to_string();
        ensure!(filter.contains("\"shop/checkout\"") && !filter.contains("\"billing/"), "{headers:?}: {filter}");
        server.wait_for_stream("shop")?;
        // It says that it is of the other namespace.
        let refused = "callers_refused_total{reason=\"other_namespace\"}";
        let before = server.metric(refused)?;
        let liar = Peer::start_in(&mesh.client, SERVER, "billing", &headers, &[OTHER])?;
        eventually("the liar is refused", || Ok(server.metric(refused)? > before))
            .with_context(|| format!("{headers:?}: {}", liar.part.tail()))?;
        ensure!(liar.known().is_err(), "{headers:?}: {:?}", liar.known());
    }
    ensure!(
        server.log().contains("has the NAMESPACE billing, but the client is service account default of namespace shop")
    );

    // Past the mesh: from outside of it, in plaintext, which the sidecar refuses.
    let refused = "callers_refused_total{reason=\"unauthenticated\"}";
    let before = server.metric(refused)?;
    let url = format!("http://{}:{XFCC_PORT}/", server.pod.address());
    let curl = ["-sS", "-m", "5", "--http2-prior-knowledge", "-H", &format!("x-forwarded-client-cert: {REAL}"), &url];
    let output = Command::new("curl").args(curl).output()?;
    ensure!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    ensure!(server.metric(refused)? == before, "it reached the server");
    // Past the sidecar: as `kubectl port-forward` does, and by the pod's own address.
    let own = server.pod.address();
    for (from, to) in [("127.0.0.1", "127.0.0.1"), (own, own), (own, "127.0.0.1")] {
        let before = server.metric(refused)?;
        let answer = server.ask_within(from, to, REAL);
        ensure!(answer.is_err(), "from {from} to {to}: {answer:?}");
        ensure!(server.metric(refused)? > before, "from {from} to {to} it did not reach the server");
    }
    // The same question from the address of the sidecar is believed: nothing else was wrong with the others.
    server.ask_within("127.0.0.6", "127.0.0.1", REAL)?;
    Ok(())
}

/// The tests of `serve` have an Envoy that is set up so: what they find holds for Istio.
fn is_set_up_as_the_tests_of_serve_have_it(server: &MeshServer) -> Result<()> {
    let listener = server.pod.admin("/config_dump?resource=dynamic_listeners&name_regex=virtualInbound")?;
    ensure!(listener.contains("\"forward_client_cert_details\": \"APPEND_FORWARD\""), "{listener}");
    let clusters = server.pod.admin("/config_dump?resource=dynamic_active_clusters&name_regex=inbound.*18001.*")?;
    ensure!(clusters.contains("\"127.0.0.6\""), "{clusters}");
    Ok(())
}
