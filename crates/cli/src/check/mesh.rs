//! A mesh or none, its version, and what its objects hide from sidecars.

use super::{
    facts::{ClusterFacts, SidecarObject},
    verdict::Verdict,
};
use crate::{kubernetes::NamespacedName, output::some};

const TOPIC: &str = "mesh";
/// The oldest Istio that has the API versions of the examples.
const OLDEST_ISTIO: (u32, u32) = (1, 22);

pub(super) fn verdicts(facts: &ClusterFacts) -> Vec<Verdict> {
    let has = |name: &str| {
        facts.pods().filter(|(_, pod)| pod.containers.iter().any(|container| container.name == name)).count()
    };
    let (all, istio, linkerd) = (facts.pods().count(), has("istio-proxy"), has("linkerd-proxy"));
    let control =
        facts.pods.values().flat_map(|pod| &pod.containers).find(|container| container.image.contains("/pilot:"));
    let version = control.and_then(super::facts::ContainerFacts::version);
    let mut verdicts = Vec::new();
    match (istio, linkerd, control.is_some()) {
        (0, 0, false) => verdicts.push(Verdict::ok(
            TOPIC,
            "no mesh; give workloads a sidecar as examples/kubernetes does, or byname serve as examples/fleet does",
        )),
        (0, 0, true) => verdicts.push(Verdict::warn(
            TOPIC,
            format!("Istio runs, and none of the {all} pods has its sidecar; label the namespace with istio-injection=enabled"),
        )),
        (0, _, _) => verdicts.push(Verdict::warn(
            TOPIC,
            format!("Linkerd in {linkerd} of {all} pods: its proxy is no Envoy, so byname needs a sidecar of its own in front of it"),
        )),
        (_, _, _) => verdicts.push(Verdict::ok(TOPIC, format!("Istio in {istio} of {all} pods; see examples/istio"))),
    }
    if let Some((major, minor)) = version.filter(|version| *version < OLDEST_ISTIO) {
        verdicts.push(Verdict::fail(
            TOPIC,
            format!(
                "istiod is {major}.{minor}: the examples need Istio 1.22 or newer; upgrade, or write v1beta1 objects"
            ),
        ));
    }
    verdicts.extend(facts.sidecars.iter().flat_map(|sidecar| hidden(facts, sidecar)));
    verdicts
}

/// What a Sidecar object hides: the server, and Services.
fn hidden(facts: &ClusterFacts, sidecar: &SidecarObject) -> Vec<Verdict> {
    let SidecarObject { name, hosts } = sidecar;
    let mut verdicts = Vec::new();
    if hosts.is_empty() || !(facts.is_asked(&name.namespace) || name.namespace == "istio-system") {
        return verdicts;
    }
    if let Some(server) = &facts.server
        && !hosts.iter().any(|host| shows(host, &name.namespace, server))
    {
        let NamespacedName { namespace, name: service } = server;
        verdicts.push(Verdict::fail(
            "server",
            format!(
                "Sidecar {name} hides the server {server} from its pods; add \"{namespace}/{service}.{namespace}.svc.cluster.local\" \
                 to egress.hosts"
            ),
        ));
    }
    if !hosts.iter().any(|host| host == "*/*") {
        verdicts.push(Verdict::warn(
            TOPIC,
            format!(
                "Sidecar {name} shows its pods {} alone: names of other Services resolve and then get 503; compile with --visible \
                 for these namespaces",
                some(hosts)
            ),
        ));
    }
    verdicts
}

/// Whether `host` of a Sidecar object in `namespace` includes a Service.
fn shows(host: &str, namespace: &str, service: &NamespacedName) -> bool {
    let (of, name) = host.split_once('/').unwrap_or(("*", host));
    let is_namespace = match of {
        "*" => true,
        "." => service.namespace == namespace,
        of => service.namespace == of,
    };
    let full = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    is_namespace && name.strip_prefix('*').map_or(full == name, |end| full.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_sidecar_object_show_services() {
        let server = NamespacedName::new("byname-system", "byname");
        for (host, is_shown) in [
            ("*/*", true),
            ("./*", false),
            ("byname-system/*", true),
            ("byname-system/byname.byname-system.svc.cluster.local", true),
            ("*/*.byname-system.svc.cluster.local", true),
            ("istio-system/*", false),
            ("byname-system/other.byname-system.svc.cluster.local", false),
        ] {
            assert_eq!(shows(host, "shop", &server), is_shown, "{host}");
        }
        assert!(shows("./*", "byname-system", &server));
    }
}
