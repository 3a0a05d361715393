//! The fields of each kind that byname uses. The others need not have their types: templates have placeholders, and the API
//! server reads null where the types of the Kubernetes API allow none.

use serde::de::DeserializeOwned;

use crate::input::{InputNode, InputValue, Unreadable};

/// A field that is used, and the fields below it that are: all of them if none is listed. Items of lists have no step of their own.
struct UsedField(&'static str, &'static [Self]);

/// A field that is used with everything below it.
const fn whole(name: &'static str) -> UsedField {
    UsedField(name, &[])
}

const METADATA: UsedField = UsedField(
    "metadata",
    &[
        whole("annotations"),
        whole("deletionTimestamp"),
        whole("labels"),
        whole("name"),
        whole("namespace"),
        UsedField("ownerReferences", &[whole("controller"), whole("kind"), whole("name")]),
        whole("resourceVersion"),
        whole("uid"),
    ],
);

const SERVICE: &[UsedField] = &[
    METADATA,
    UsedField(
        "spec",
        &[
            whole("allocateLoadBalancerNodePorts"),
            whole("clusterIP"),
            whole("clusterIPs"),
            whole("externalIPs"),
            whole("externalName"),
            whole("externalTrafficPolicy"),
            whole("healthCheckNodePort"),
            whole("internalTrafficPolicy"),
            whole("ipFamilies"),
            whole("ipFamilyPolicy"),
            whole("loadBalancerClass"),
            whole("loadBalancerSourceRanges"),
            whole("ports"),
            whole("publishNotReadyAddresses"),
            whole("selector"),
            whole("sessionAffinity"),
            whole("sessionAffinityConfig"),
            whole("trafficDistribution"),
            whole("type"),
        ],
    ),
    UsedField("status", &[UsedField("loadBalancer", &[UsedField("ingress", &[whole("hostname"), whole("ip")])])]),
];

const TARGET_REF: UsedField = UsedField("targetRef", &[whole("kind"), whole("name"), whole("namespace")]);

const ENDPOINT_SLICE: &[UsedField] = &[
    METADATA,
    whole("addressType"),
    UsedField(
        "endpoints",
        &[
            whole("addresses"),
            whole("conditions"),
            whole("hints"),
            whole("hostname"),
            whole("nodeName"),
            TARGET_REF,
            whole("zone"),
        ],
    ),
    UsedField("ports", &[whole("appProtocol"), whole("name"), whole("port"), whole("protocol")]),
];

const ENDPOINT_ADDRESS: &[UsedField] = &[whole("hostname"), whole("ip"), whole("nodeName"), TARGET_REF];

const ENDPOINTS: &[UsedField] = &[
    METADATA,
    UsedField(
        "subsets",
        &[
            UsedField("addresses", ENDPOINT_ADDRESS),
            UsedField("notReadyAddresses", ENDPOINT_ADDRESS),
            UsedField("ports", &[whole("name"), whole("port"), whole("protocol")]),
        ],
    ),
];

const CONTAINER: &[UsedField] =
    &[UsedField("ports", &[whole("containerPort"), whole("name"), whole("protocol")]), whole("restartPolicy")];

const POD_SPEC: UsedField = UsedField(
    "spec",
    &[
        UsedField("containers", CONTAINER),
        whole("dnsConfig"),
        whole("dnsPolicy"),
        whole("hostNetwork"),
        whole("hostname"),
        UsedField("initContainers", CONTAINER),
        whole("nodeName"),
        whole("subdomain"),
    ],
);

const CONDITIONS: UsedField = UsedField("conditions", &[whole("status"), whole("type")]);

const POD: &[UsedField] = &[
    METADATA,
    POD_SPEC,
    UsedField("status", &[CONDITIONS, whole("phase"), whole("podIP"), UsedField("podIPs", &[whole("ip")])]),
];

const TEMPLATE: UsedField = UsedField("template", &[METADATA, POD_SPEC]);

const WORKLOAD: &[UsedField] = &[
    METADATA,
    UsedField("spec", &[UsedField("jobTemplate", &[UsedField("spec", &[TEMPLATE])]), whole("replicas"), TEMPLATE]),
];

const NODE: &[UsedField] = &[METADATA, UsedField("status", &[whole("addresses"), CONDITIONS])];

const INGRESS: &[UsedField] = &[
    METADATA,
    UsedField(
        "spec",
        &[
            UsedField("defaultBackend", &[whole("service")]),
            UsedField(
                "rules",
                &[
                    whole("host"),
                    UsedField(
                        "http",
                        &[UsedField("paths", &[UsedField("backend", &[whole("service")]), whole("path")])],
                    ),
                ],
            ),
            UsedField("tls", &[whole("hosts")]),
        ],
    ),
    UsedField("status", &[UsedField("loadBalancer", &[UsedField("ingress", &[whole("hostname"), whole("ip")])])]),
];

/// Objects whose `spec` is read into types of our own, which have only the fields that are used.
const OTHER: &[UsedField] = &[METADATA, whole("spec")];

fn of_kind(kind: &str) -> &'static [UsedField] {
    match kind {
        "Service" => SERVICE,
        "EndpointSlice" => ENDPOINT_SLICE,
        "Endpoints" => ENDPOINTS,
        "Pod" => POD,
        "Node" => NODE,
        "Ingress" => INGRESS,
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job"
        | "CronJob"
        | "Rollout" => WORKLOAD,
        _ => OTHER,
    }
}

/// Deserializes an object of `kind`. A field that is not used is left out if the object cannot be read with it.
///
/// # Errors
/// The field in use that cannot be read, its line and the reason.
pub fn read_used<T: DeserializeOwned>(kind: &str, node: &InputNode) -> Result<T, Unreadable> {
    // Almost every object can be read as it is, without a copy.
    node.read().or_else(|_| only(node, of_kind(kind)).read())
}

/// A copy with the used fields alone.
fn only(node: &InputNode, used: &[UsedField]) -> InputNode {
    let value = match &node.value {
        value if used.is_empty() => value.clone(),
        InputValue::Map(entries) => InputValue::Map(
            entries
                .iter()
                .filter_map(|(key, value)| {
                    let UsedField(_, below) = used.iter().find(|UsedField(name, _)| **name == **key)?;
                    Some((key.clone(), only(value, below)))
                })
                .collect(),
        ),
        InputValue::List(items) => InputValue::List(items.iter().map(|item| only(item, used)).collect()),
        value => value.clone(),
    };
    InputNode { line: node.line, value }
}
