//! Which Services have an address: as a cluster IP, or as that of an endpoint, ready or not.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use byname_core::{is_special, wire};

use crate::kubernetes::NamespacedName;

/// The addresses of all Services. Each names its Services, whose names are shared.
pub(super) struct AddressIndex {
    /// Whether endpoints may have addresses of this machine: `table.singleMachine`.
    single_machine: bool,
    cluster_ips: HashMap<IpAddr, Owners>,
    endpoints: HashMap<IpAddr, Owners>,
}

/// The Services that have an address. Nearly every address has one.
enum Owners {
    One(Arc<NamespacedName>),
    Several(BTreeSet<Arc<NamespacedName>>),
}

impl AddressIndex {
    pub(super) fn new(single_machine: bool) -> Self {
        Self { single_machine, cluster_ips: HashMap::new(), endpoints: HashMap::new() }
    }

    /// Records the addresses that a Service has now, and returns those that it has lost or got.
    pub(super) fn replace(
        &mut self,
        name: &Arc<NamespacedName>,
        before: Option<&wire::Service>,
        after: Option<&wire::Service>,
    ) -> BTreeSet<IpAddr> {
        let mut changed = BTreeSet::new();
        let [old, new] = [before, after].map(|service| service.map(cluster_ips).unwrap_or_default());
        exchange(&mut self.cluster_ips, name, (&old, &new), &mut changed);
        // Most changes are of a few endpoints, and a change of names leaves all of them.
        if before.map(|service| &service.endpoints) != after.map(|service| &service.endpoints) {
            let [old, new] = [before, after].map(|service| service.map(|it| self.endpoints_of(it)).unwrap_or_default());
            exchange(&mut self.endpoints, name, (&old, &new), &mut changed);
        }
        changed
    }

    /// All addresses of a Service.
    pub(super) fn all_of(&self, service: &wire::Service) -> BTreeSet<IpAddr> {
        let mut all = cluster_ips(service);
        all.append(&mut self.endpoints_of(service));
        all
    }

    /// The Services that have the address as a cluster IP.
    pub(super) fn with_cluster_ip(&self, address: IpAddr) -> impl Iterator<Item = &NamespacedName> {
        owners(&self.cluster_ips, address)
    }

    /// The Services with an endpoint that has the address.
    pub(super) fn with_endpoint(&self, address: IpAddr) -> impl Iterator<Item = &NamespacedName> {
        owners(&self.endpoints, address)
    }

    /// The addresses that the filter takes: it drops those that no other machine can reach.
    fn endpoints_of(&self, service: &wire::Service) -> BTreeSet<IpAddr> {
        let addresses = service.endpoints.iter().flatten().flat_map(|group| group.addresses.iter());
        let addresses = addresses.filter_map(|address| address.parse().ok());
        addresses.filter(|address| self.single_machine || !is_special(*address)).collect()
    }
}

/// The cluster IPs of a Service; none if it is headless.
fn cluster_ips(service: &wire::Service) -> BTreeSet<IpAddr> {
    service.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect()
}

fn owners(index: &HashMap<IpAddr, Owners>, address: IpAddr) -> impl Iterator<Item = &NamespacedName> {
    let (one, several) = match index.get(&address) {
        Some(Owners::One(name)) => (Some(name), None),
        Some(Owners::Several(names)) => (None, Some(names)),
        None => (None, None),
    };
    one.into_iter().chain(several.into_iter().flat_map(|names| names.iter())).map(|name| &**name)
}

/// Takes an owner of the addresses `old` from those that are not in `new`, and adds it to those that are only in `new`.
fn exchange(
    index: &mut HashMap<IpAddr, Owners>,
    name: &Arc<NamespacedName>,
    (old, new): (&BTreeSet<IpAddr>, &BTreeSet<IpAddr>),
    changed: &mut BTreeSet<IpAddr>,
) {
    for address in old.difference(new) {
        changed.insert(*address);
        if let Entry::Occupied(mut owners) = index.entry(*address)
            && owners.get_mut().remove(name)
        {
            owners.remove();
        }
    }
    for address in new.difference(old) {
        changed.insert(*address);
        match index.entry(*address) {
            Entry::Occupied(mut owners) => owners.get_mut().insert(name),
            Entry::Vacant(free) => _ = free.insert(Owners::One(Arc::clone(name))),
        }
    }
}

impl Owners {
    fn insert(&mut self, name: &Arc<NamespacedName>) {
        match self {
            Self::One(one) if one == name => {}
            Self::One(one) => *self = Self::Several([Arc::clone(one), Arc::clone(name)].into()),
            Self::Several(names) => _ = names.insert(Arc::clone(name)),
        }
    }

    /// Removes an owner, and returns whether none is left.
    fn remove(&mut self, name: &NamespacedName) -> bool {
        match self {
            Self::One(one) => **one == *name,
            Self::Several(names) => {
                names.retain(|other| **other != *name);
                if let (Some(last), 1) = (names.first().cloned(), names.len()) {
                    *self = Self::One(last);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(cluster_ips: &Value, endpoints: &Value) -> wire::Service {
        serde_json::from_value(json!({"clusterIPs": cluster_ips, "ports": [{"port": 80}], "endpoints": endpoints}))
            .unwrap()
    }

    fn shown<'n>(names: impl Iterator<Item = &'n NamespacedName>) -> String {
        names.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn knows_every_service_with_an_address() {
        let name = |name: &str| Arc::new(NamespacedName::new("shop", name));
        let (web, api, address) = (name("web"), name("api"), |text: &str| text.parse::<IpAddr>().unwrap());
        let mut index = AddressIndex::new(false);
        let group = json!([{"addresses": "10.0.0.1 10.0.0.2", "ready": false}, {"addresses": "169.254.169.254"}]);
        let first = service(&json!(["10.96.0.1", "fd00::1"]), &group);
        assert_eq!(index.replace(&web, None, Some(&first)).len(), 4, "no special address");
        let second = service(&json!(["None"]), &json!([{"addresses": "10.0.0.2 10.0.0.3"}]));
        assert_eq!(index.replace(&api, None, Some(&second)).len(), 2);
        assert_eq!(shown(index.with_cluster_ip(address("fd00::1"))), "shop/web");
        assert_eq!(shown(index.with_endpoint(address("10.0.0.2"))), "shop/api shop/web");
        assert_eq!(shown(index.with_endpoint(address("169.254.169.254"))), "");

        let third = service(&json!(["10.96.0.2"]), &json!([{"addresses": "10.0.0.1"}]));
        let changed: Vec<String> =
            index.replace(&web, Some(&first), Some(&third)).iter().map(ToString::to_string).collect();
        assert_eq!(changed, ["10.0.0.2", "10.96.0.1", "10.96.0.2", "fd00::1"]);
        assert_eq!(shown(index.with_endpoint(address("10.0.0.2"))), "shop/api");
        index.replace(&web, Some(&third), None);
        index.replace(&api, Some(&second), None);
        assert!(index.endpoints.is_empty() && index.cluster_ips.is_empty());
    }
}
