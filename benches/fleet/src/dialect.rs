//! What each kind of sidecar asks for, and how it describes itself.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use byname_core::wire::{SCHEMA, Service};
use bytes::Bytes;
use prost::Message;
use prost_types::{Struct, Value, value};

use crate::{
    recorder::Kind,
    synthetic::{cluster_name, last_change, namespace, service_key},
    wire::{Assignment, Locality, Node},
};

/// What Envoy says of its extensions in the first message of a stream.
const EXTENSIONS_BYTES: usize = 60_000;
/// As in the bootstraps of `byname compile`.
const BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// As in the filter.
const MAX_BACKOFF_OF_FILTER: Duration = Duration::from_secs(5);
/// The filter opens another stream within this time after one that was of use.
const SPREAD: Duration = Duration::from_millis(50);
/// Namespaces in which simulated pods run. Each has Services, also in a quick run.
const CALLERS: usize = 10;

/// How a sidecar asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Envoy asks `byname serve` for the filter, and for the clusters of the names in use with their endpoints.
    Envoy,
    /// byname's filter, which steers by endpoint, asks for the Services of the names in use. Each of two workers has a stream.
    Filter,
    /// As Istio's sidecars: all clusters, and the endpoints of the names in use.
    Istio,
}

impl Dialect {
    /// The streams that each sidecar has open.
    pub(crate) fn streams_of_sidecar(self) -> usize {
        match self {
            Self::Envoy | Self::Istio => 1,
            Self::Filter => 2,
        }
    }

    /// What the headings of its figures begin with.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Envoy | Self::Istio => "",
            Self::Filter => "the filter's own streams: ",
        }
    }

    /// The types, in the order in which a sidecar asks for them.
    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Envoy => &[Kind::Filter, Kind::Cluster, Kind::Endpoints],
            Self::Filter => &[Kind::Namespaces, Kind::ServiceEndpoints],
            Self::Istio => &[Kind::Cluster, Kind::Endpoints],
        }
    }

    /// The type that has the endpoints.
    pub(crate) fn endpoints(self) -> Kind {
        match self {
            Self::Envoy | Self::Istio => Kind::Endpoints,
            Self::Filter => Kind::ServiceEndpoints,
        }
    }

    /// The resources that a pod's names need: clusters, or the filter's keys.
    ///
    /// The filter is asked for `service-5.namespace-3`. To a pod of another namespace, that may also be an endpoint of its own
    /// Service `namespace-3`, so the filter subscribes to that key too. No such Service exists here.
    pub(crate) fn names(self, id: usize, services: &[usize]) -> Vec<String> {
        match self {
            Self::Envoy | Self::Istio => services.iter().copied().map(cluster_name).collect(),
            Self::Filter => {
                let own = caller(id);
                let of_search_path = services.iter().map(|service| format!("{own}/{}", namespace(*service)));
                let mut keys: Vec<String> = of_search_path.chain(services.iter().copied().map(service_key)).collect();
                keys.sort();
                keys.dedup();
                keys
            }
        }
    }

    /// The names that the first message for a type subscribes to, of a sidecar that needs `needed` and knows `known`. An empty list
    /// subscribes to all. `None`: there is no such message.
    pub(crate) fn first_names(
        self,
        kind: Kind,
        needed: &[String],
        known: &HashMap<String, String>,
    ) -> Option<Vec<String>> {
        match (kind, self) {
            (Kind::Filter, _) => Some(vec!["byname".to_owned()]),
            (Kind::Namespaces, _) => Some(vec!["*".to_owned()]),
            (Kind::ServiceEndpoints, _) => Some(needed.to_vec()),
            (Kind::Cluster, Self::Istio) => Some(Vec::new()),
            (Kind::Cluster | Kind::Endpoints, _) => (!known.is_empty()).then(|| known.keys().cloned().collect()),
        }
    }

    /// How a sidecar describes itself.
    pub(crate) fn node(self, id: usize) -> Node {
        let zone = ["eu-a", "eu-b", "eu-c"].get(id % 3).copied().unwrap_or_default().to_owned();
        let locality = Some(Locality { zone });
        // Istio's form has the address and the namespace.
        let of_mesh = |namespace: &str| {
            let address = format!("10.200.{}.{}", id / 250, id % 250);
            format!("sidecar~{address}~sidecar-{id}.{namespace}~{namespace}.svc.cluster.local")
        };
        let extensions = Bytes::from_static(&[b'x'; EXTENSIONS_BYTES]);
        match self {
            Self::Envoy => Node { id: format!("sidecar-{id}"), locality, extensions, ..Node::default() },
            Self::Istio => Node { id: of_mesh("default"), locality, extensions, ..Node::default() },
            Self::Filter => {
                let own = caller(id);
                let node = format!("node-{}", id % 100);
                let texts = [("NAMESPACE", &*own), ("NODE_NAME", &node), ("BYNAME_SCHEMA", SCHEMA)];
                let text = |text: &str| Value { kind: Some(value::Kind::StringValue(text.to_owned())) };
                let fields = texts.map(|(name, value)| (name.to_owned(), text(value))).into_iter().collect();
                Node {
                    id: of_mesh(&own),
                    cluster: format!("sidecar-{id}.{own}"),
                    metadata: Some(Struct { fields }),
                    locality,
                    ..Node::default()
                }
            }
        }
    }

    /// The pause after a stream, of which `failures` in a row were of no use. `random` spreads the attempts of many.
    pub(crate) fn pause(self, failures: u32, random: usize) -> Duration {
        let share = |bound: Duration| {
            let share = (random.wrapping_mul(2_654_435_761) >> 8) % 1_000;
            bound.saturating_mul(u32::try_from(share).unwrap_or_default()) / 1_000
        };
        match self {
            // Envoy waits a random time below a bound that doubles.
            Self::Envoy | Self::Istio => share(BACKOFF.saturating_mul(1 << failures.min(5)).min(MAX_BACKOFF)),
            Self::Filter if failures == 0 => share(SPREAD),
            Self::Filter => {
                let pause = BACKOFF.saturating_mul(1 << (failures - 1).min(8)).min(MAX_BACKOFF_OF_FILTER);
                pause / 2 + share(pause / 2)
            }
        }
    }

    /// The number of the last change among the endpoints of a resource, if there was one.
    pub(crate) fn last_change(self, resource: Bytes) -> Result<Option<usize>> {
        match self {
            Self::Envoy | Self::Istio => Ok(last_change(Assignment::decode(resource)?.addresses())),
            Self::Filter => {
                let service: Service = serde_json::from_slice(&resource)?;
                let groups = service.endpoints.unwrap_or_default();
                Ok(last_change(groups.iter().flat_map(|group| group.addresses.iter())))
            }
        }
    }
}

/// The namespace of a sidecar's pod.
fn caller(id: usize) -> String {
    format!("namespace-{}", id % CALLERS)
}
