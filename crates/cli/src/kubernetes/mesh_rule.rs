//! Objects of a service mesh that change where requests for a name go. byname reads their hosts and not their rules.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A VirtualService, ServiceEntry or DestinationRule of Istio, a TrafficSplit of SMI, or a ServiceProfile of Linkerd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshRule {
    /// The object's kind.
    pub kind: String,
    /// The object's name, without its namespace.
    pub name: String,
    /// The hosts that the object applies to, as written.
    pub hosts: Vec<String>,
}

/// Whether an object is of a kind that this module reads.
pub(super) fn is_mesh_rule(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("networking.istio.io", "VirtualService" | "ServiceEntry" | "DestinationRule")
            | ("split.smi-spec.io", "TrafficSplit")
            | ("linkerd.io", "ServiceProfile")
    )
}

impl MeshRule {
    /// Whether the object applies to requests for `host`, a full name, when it stands in `namespace`.
    #[must_use]
    pub fn applies_to(&self, host: &str, namespace: &str, domain: &str) -> bool {
        self.hosts.iter().any(|own| match (own.strip_prefix('*'), own.contains('.')) {
            (Some(below), _) => host.ends_with(below),
            (None, true) => own == host,
            // Istio takes a name without dots for a Service of the object's namespace.
            (None, false) => host.strip_prefix(&**own).is_some_and(|rest| rest == format!(".{namespace}.svc.{domain}")),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct MeshRuleObject {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: MeshRuleSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MeshRuleSpec {
    host: Option<String>,
    hosts: Vec<String>,
    gateways: Vec<String>,
    /// The Service of a TrafficSplit.
    service: Option<String>,
}

impl MeshRuleObject {
    /// The rule; `None` if it applies at gateways alone.
    pub(super) fn into_rule(self, kind: &str) -> Option<MeshRule> {
        /// The word for all sidecars in a list of gateways, and its default.
        const MESH: &str = "mesh";
        let MeshRuleSpec { host, hosts, gateways, service } = self.spec;
        if !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH) {
            return None;
        }
        let name = self.metadata.name.unwrap_or_default();
        // A ServiceProfile has the full name of its Service.
        let profiled = (kind == "ServiceProfile").then(|| name.clone());
        let hosts = hosts.into_iter().chain(host).chain(service).chain(profiled).collect();
        Some(MeshRule { kind: kind.to_owned(), name, hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_istio_reads_them() {
        let rule = |host: &str| MeshRule { hosts: vec![host.to_owned()], ..MeshRule::default() };
        for (host, asked, applies) in [
            ("cart", "cart.shop.svc.cluster.local", true),
            ("cart", "cart.prod.svc.cluster.local", false),
            ("cart", "cart2.shop.svc.cluster.local", false),
            ("cart.prod.svc.cluster.local", "cart.prod.svc.cluster.local", true),
            ("cart.shop", "cart.shop.svc.cluster.local", false),
            ("*.prod.svc.cluster.local", "cart.prod.svc.cluster.local", true),
            ("*", "api.example.com", true),
            ("api.example.com", "api.example.com", true),
        ] {
            assert_eq!(rule(host).applies_to(asked, "shop", "cluster.local"), applies, "{host} {asked}");
        }
    }
}
