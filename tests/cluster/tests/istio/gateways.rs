//! Gateways, whose clients are strangers.

use anyhow::{Context, Result};
use byname_cluster::{Answer, Pod, PodOptions, eventually};
use byname_test_support::CHECKOUT;
use serde_json::{Value, json};

use crate::istio::{
    mesh::{BY_CLUSTER, Mesh, expect, networking, steadily},
    whole_mesh::{object_for_the_mesh, wait_for_table},
};

const WEB: &str = "web.shop.svc.cluster.local";
const CATALOG_CLUSTER: &str = "x-byname-cluster: outbound|80||catalog.shop.svc.cluster.local";

struct Ingress {
    pod: Pod,
    /// The Gateway, and a route for [`WEB`].
    objects: Vec<Value>,
}

impl Ingress {
    fn start(mesh: &Mesh<'_>) -> Result<Self> {
        let labels = [("istio", "ingressgateway")];
        let options = PodOptions { namespace: "shop", name: "gateway", labels: &labels, is_gateway: true };
        let gateway = networking(
            "Gateway",
            "gateway",
            json!({
                "selector": {"istio": "ingressgateway"},
                "servers": [{"port": {"number": 8081, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            }),
        );
        let routes = networking(
            "VirtualService",
            "web",
            json!({
                "hosts": [WEB], "gateways": ["gateway"],
                "http": [{"route": [{"destination": {"host": WEB, "port": {"number": 80}}}]}],
            }),
        );
        Ok(Self { pod: mesh.istio.start_pod(&options)?, objects: vec![gateway, routes] })
    }

    fn ask(&self, host: &str, arguments: &[&str]) -> Result<Answer> {
        let (host, url) = (format!("host: {host}"), format!("http://{}:8081/", self.pod.address()));
        Answer::outside(&[&["-H", &host, &url], arguments].concat())
    }

    /// How often the log says that the filter does nothing.
    fn lines(&self) -> usize {
        self.pod.log().matches("this Envoy is a gateway").count()
    }

    fn reaches_web(&self) -> Result<bool> {
        let answer = self.ask(WEB, &[])?;
        expect(answer.said("pod").starts_with("shop/web-"), &answer)
    }
}

/// The WasmPlugin for the whole mesh.
fn plugin(mesh: &Mesh<'_>, version: u32, config: &Value) -> Result<Value> {
    object_for_the_mesh(mesh, "istio-wasmplugin", version, config, &[])
}

/// The route of `--format istio-envoyfilter` at gateways, where the program does not put it.
fn route_by_header(mesh: &Mesh<'_>) -> Result<Value> {
    let mut filter = mesh.compile(BY_CLUSTER, &["--format", "istio-envoyfilter"])?.remove(0);
    let patches = filter["spec"]["configPatches"].as_array_mut().context("a list")?;
    patches.retain(|patch| patch["applyTo"] == "HTTP_ROUTE");
    assert_eq!(patches.len(), 1, "{patches:?}");
    patches[0]["match"]["context"] = "GATEWAY".into();
    Ok(filter)
}

pub(crate) fn a_gateway_passes_every_request_on(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    let ingress = Ingress::start(mesh)?;
    let with = |more: &[Value]| [&ingress.objects[..], more].concat();
    // A route by the control header, to see that nothing but the filter keeps strangers from it.
    let route = route_by_header(mesh)?;
    mesh.istio.apply_only(&with(std::slice::from_ref(&route)))?;
    eventually("the gateway routes", || ingress.reaches_web())?;
    assert_eq!(ingress.ask("web", &[])?.status, 404);
    eventually("without byname a stranger steers by the header", || {
        let answer = ingress.ask(WEB, &["-H", CATALOG_CLUSTER])?;
        expect(answer.said("pod").starts_with("shop/catalog-"), &answer)
    })?;
    for (version, by) in [(1, "authority"), (2, "cluster")] {
        let plugin = plugin(mesh, version, &json!({"steering": {"by": by}}))?;
        mesh.istio.apply_only(&with(&[route.clone(), plugin]))?;
        wait_for_table(&ingress.pod, version)?;
        steadily("no stranger steers by the header", || {
            let answer = ingress.ask(WEB, &["-H", CATALOG_CLUSTER])?;
            let has_header = answer.body["headers"].get("X-Byname-Cluster").is_some();
            expect(answer.said("pod").starts_with("shop/web-") && !has_header, &answer)
        })?;
        let lines = ingress.lines();
        for host in ["web", "web.shop", "_http._tcp.web", "suggest", "10.96.52.22"] {
            let answer = ingress.ask(host, &[])?;
            assert_eq!(answer.status, 404, "{by}, {host}: {answer:?}");
            assert!(!answer.headers.contains("x-byname"), "{by}, {host}: {answer:?}");
        }
        // One line for each VM and push, none for a request.
        assert_eq!((ingress.lines(), lines > 0), (lines, true), "{by}");
        if by == "authority" {
            mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
        }
        let stats = ingress.pod.admin("/stats?filter=byname.passive")?;
        assert!(stats.trim().ends_with("byname.passive: 1"), "{by}: {stats}");
    }
    // In a sidecar, where the same object steers, the gauge is 0.
    wait_for_table(&mesh.client, 2)?;
    let stats = mesh.client.admin("/stats?filter=byname.passive")?;
    assert!(stats.trim().ends_with("byname.passive: 0"), "{stats}");
    Ok(())
}

pub(crate) fn a_gateway_resolves_names_if_the_object_says_so(mesh: &Mesh<'_>) -> Result<()> {
    let ledger = "ledger.billing.svc.cluster.local";
    mesh.cluster.apply(&[json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "books"},
        "spec": {"type": "ExternalName", "externalName": ledger},
    })])?;
    let ingress = Ingress::start(mesh)?;
    let with = |more: &[Value]| [&ingress.objects[..], more].concat();
    let to_ledger = networking(
        "VirtualService",
        "ledger",
        json!({
            "hosts": [ledger], "gateways": ["gateway"],
            "http": [{"route": [{"destination": {"host": ledger, "port": {"number": 80}}}]}],
        }),
    );
    let resolves = json!({"gateways": "resolve", "steering": {"by": "authority"}});
    mesh.istio.apply_only(&with(&[to_ledger.clone(), plugin(mesh, 1, &resolves)?]))?;
    steadily("the gateway resolves names", || {
        let answer = ingress.ask("web:80", &[])?;
        expect(answer.said("pod").starts_with("shop/web-") && answer.said("authority") == WEB, &answer)
    })?;
    // Without a port it is that of the scheme: clients connect to a gateway itself.
    let answer = ingress.ask("web", &[])?;
    assert!(answer.said("pod").starts_with("shop/web-"), "{answer:?}");
    // A Service of another namespace is no alias.
    let answer = ingress.ask("ledger.billing:80", &[])?;
    assert!(answer.said("pod").starts_with("billing/ledger-"), "{answer:?}");
    let answer = ingress.ask("books:80", &[])?;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.headers.contains("x-byname-reason: alias_denied"), "{answer:?}");
    // Sidecars take the alias: the caller may reach its target by name.
    wait_for_table(&mesh.client, 1)?;
    let answer = mesh.client.get("books")?;
    assert!(answer.said("pod").starts_with("billing/ledger-") && answer.said("authority") == ledger, "{answer:?}");
    let mut listed = resolves;
    listed["externalNames"] = json!({"grants": [{"from": "shop", "to": "billing"}]});
    mesh.istio.apply_only(&with(&[to_ledger, plugin(mesh, 2, &listed)?]))?;
    steadily("the gateway takes a listed alias", || {
        let answer = ingress.ask("books:80", &[])?;
        expect(answer.said("pod").starts_with("billing/ledger-") && answer.said("authority") == ledger, &answer)
    })?;
    mesh.cluster.kubectl(&["delete", "service", "books", "-n", "shop"])?;
    mesh.istio.apply_only(&[])
}
