//! ReferenceGrants of the Gateway API: which routes may refer to Services of another namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A ReferenceGrant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferenceGrant {
    from: Vec<GrantFrom>,
    to: Vec<GrantTo>,
}

impl ReferenceGrant {
    /// Whether a route of this kind in `namespace` may refer to the Service `service` of the grant's namespace.
    #[must_use]
    pub fn permits(&self, kind: &str, namespace: &str, service: &str) -> bool {
        self.from.iter().any(|from| from.kind == kind && from.namespace == namespace)
            && self.to.iter().any(|to| {
                let is_core = to.group.is_empty() || to.group == "core";
                is_core && to.kind == "Service" && to.name.as_deref().is_none_or(|name| name == service)
            })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct GrantFrom {
    kind: String,
    namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct GrantTo {
    group: String,
    kind: String,
    name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ReferenceGrantObject {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: ReferenceGrantSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReferenceGrantSpec {
    from: Vec<GrantFrom>,
    to: Vec<GrantTo>,
}

impl ReferenceGrantObject {
    pub(super) fn into_grant(self) -> ReferenceGrant {
        ReferenceGrant { from: self.spec.from, to: self.spec.to }
    }
}
