//! A synthetic cluster behind a small Kubernetes API, and its changes.

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::Result;
use byname_test_support::{SeededRandom, kubernetes::KubernetesApi};
use serde_json::{Value, json};

/// Services of one namespace.
const PER_NAMESPACE: usize = 100;
const ZONES: [&str; 3] = ["eu-a", "eu-b", "eu-c"];
/// Objects on a page of a list, as Kubernetes' clients ask for them.
const PAGE: usize = 500;
/// The network of changed endpoints: the rest of an address is the number of the change.
pub(crate) const CHANGED: u32 = 0x0B00_0000;

/// The numbers of Services and of the endpoints of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterSize {
    pub(crate) services: usize,
    pub(crate) endpoints: usize,
}

/// The cluster.
pub(crate) struct SyntheticCluster {
    api: KubernetesApi,
    pub(crate) size: ClusterSize,
    /// The addresses of each Service.
    addresses: Vec<Vec<u32>>,
    random: SeededRandom,
}

/// The namespace of a Service.
pub(crate) fn namespace(service: usize) -> String {
    format!("namespace-{}", service / PER_NAMESPACE)
}

/// The host of a Service.
pub(crate) fn host(service: usize) -> String {
    format!("service-{service}.{}.svc.cluster.local", namespace(service))
}

/// The key by which the filter asks for a Service.
pub(crate) fn service_key(service: usize) -> String {
    format!("{}/service-{service}", namespace(service))
}

/// The cluster of a Service's only port.
pub(crate) fn cluster_name(service: usize) -> String {
    format!("outbound|80||{}", host(service))
}

/// The number of the last change among the addresses of a Service, if there was one.
pub(crate) fn last_change<'a>(addresses: impl Iterator<Item = &'a str>) -> Option<usize> {
    let numbers = addresses.filter_map(|address| address.parse::<Ipv4Addr>().ok()).map(u32::from);
    let changed = numbers.filter(|address| address & 0xFF00_0000 == CHANGED);
    changed.map(|address| (address & 0x00FF_FFFF) as usize).max()
}

impl SyntheticCluster {
    pub(crate) async fn start(size: ClusterSize) -> Result<Self> {
        let api = KubernetesApi::start().await?;
        api.list_in_pages_of(PAGE);
        let addresses = (0..size.services).map(|service| first_addresses(service, size.endpoints)).collect();
        let cluster = Self { api, size, addresses, random: SeededRandom(1) };
        for service in 0..size.services {
            cluster.api.put(object(&format!("service-{service}"), &namespace(service), service));
            cluster.api.put(cluster.slice(service));
        }
        Ok(cluster)
    }

    /// A kubeconfig for the API.
    pub(crate) fn kubeconfig(&self, directory: &std::path::Path) -> PathBuf {
        self.api.kubeconfig(directory)
    }

    /// A random Service.
    pub(crate) fn any(&mut self) -> usize {
        self.random.below(self.size.services as u64) as usize
    }

    /// Replaces an endpoint of a Service. The number of the change is in its address.
    pub(crate) fn change(&mut self, service: usize, number: usize) {
        if let Some(addresses) = self.addresses.get_mut(service)
            && let Some(address) = addresses.get_mut(number % self.size.endpoints)
        {
            *address = CHANGED + number as u32;
        }
        self.api.put(self.slice(service));
    }

    /// Adds a Service without endpoints to the first namespace.
    pub(crate) fn create(&self, number: usize) {
        self.api.put(new_service(number));
    }

    /// Removes a Service that was added.
    pub(crate) fn remove(&self, number: usize) {
        self.api.delete(&new_service(number));
    }

    fn slice(&self, service: usize) -> Value {
        let mut slice = slice(service, self.addresses.get(service).map_or(&[], Vec::as_slice));
        let endpoints = slice.get_mut("endpoints").and_then(Value::as_array_mut);
        for (index, endpoint) in endpoints.into_iter().flatten().filter_map(Value::as_object_mut).enumerate() {
            let name = format!("service-{service}-{index}");
            let pod = json!({"kind": "Pod", "namespace": namespace(service), "name": name});
            endpoint.insert("targetRef".to_owned(), pod);
        }
        slice
    }
}

/// The name of a Service's EndpointSlice.
pub(crate) fn slice_name(service: usize) -> String {
    format!("service-{service}-abcde")
}

/// The addresses of a Service's endpoints before the first change.
pub(crate) fn first_addresses(service: usize, endpoints: usize) -> Vec<u32> {
    (0..endpoints).map(|endpoint| 0x0A00_0000 + (service * endpoints + endpoint) as u32).collect()
}

/// The EndpointSlice of a Service, without pods.
pub(crate) fn slice(service: usize, addresses: &[u32]) -> Value {
    let endpoints = addresses.iter().enumerate().map(|(index, address)| {
        json!({
            "addresses": [Ipv4Addr::from(*address).to_string()],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", (service + index) % 100),
            "zone": ZONES.get((service + index) % ZONES.len()),
        })
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": namespace(service), "name": slice_name(service),
            "labels": {"kubernetes.io/service-name": format!("service-{service}")},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn new_service(number: usize) -> Value {
    object(&format!("new-{number}"), &namespace(0), 200_000 + number)
}

fn object(name: &str, namespace: &str, number: usize) -> Value {
    let address = Ipv4Addr::from(0x6440_0000 + number as u32).to_string();
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_is_among_the_addresses() {
        assert_eq!(last_change(["10.0.0.1", "11.0.1.2", "11.0.0.7", "fd00::1"].into_iter()), Some(258));
        assert_eq!(last_change(["10.0.0.1"].into_iter()), None);
    }
}
