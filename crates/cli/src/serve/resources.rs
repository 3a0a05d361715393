//! What is served now: the names for the filter, a cluster with its endpoints for each port of each Service, and the keys that a filter
//! asks for by a stream of its own.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use byname_core::wire;
use byname_xds::{ResourceSource, TypeIndex};
use bytes::Bytes;

use super::{
    class::{CallerClass, StreamCaller},
    exports::{self, DefaultExport},
    keys::{self, ALL_NAMESPACES, AddressUse, ChangedKeys, Keys},
    served_service::{Addresses, ServedService, ServedServices, service_of},
    types::Types,
    view::FilterNames,
};
use crate::{
    cluster_feed::{ClusterReading, Touched},
    compile::{self, CompileOptions, PushedService, UpstreamCluster},
    daemon::log::{self, LimitedWarnings},
    envoy::PushedResources,
    input::messages,
    kubernetes::{ClusterState, NamespacedName, Visibility},
};

/// Addresses that are kept at once for the classes of callers that asked for them, over all Services.
const KEPT_ADDRESSES: usize = 1_000_000;
/// Bytes of the largest resource that is sent, but for the filter: it refuses messages of more than 4 MiB, and with them its stream.
const LARGEST: usize = 2 << 20;
/// Clusters of one Service. One with 1,000 hostnames and five ports has 5,005.
const CLUSTERS_OF_SERVICE: usize = 10_000;
/// Clusters of all Services of one namespace.
const CLUSTERS_OF_NAMESPACE: usize = 100_000;

/// The owner of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Service(NamespacedName),
    /// An alias or a fallback to a host outside.
    Aliases,
}

/// A resource that has changed.
pub(super) type ChangedResource = (TypeIndex, String);

/// All that is served.
pub(super) struct Resources {
    types: Types,
    options: CompileOptions,
    make: PushedResources,
    default_export: DefaultExport,
    services: ServedServices,
    /// What a filter asks for by a stream of its own.
    keys: Keys,
    /// The cluster domain.
    zone: String,
    /// The clusters that aliases and fallbacks lead to.
    outside: BTreeMap<String, UpstreamCluster>,
    /// The aliases that lead to each of these clusters, as far as aliases alone do and not every namespace sees every alias.
    aliases_to: BTreeMap<String, BTreeSet<NamespacedName>>,
    /// The annotations that cannot be read, by the Service that they are for.
    bad_exports: BTreeMap<NamespacedName, String>,
    /// The owners of each cluster. The first one is served.
    owners: BTreeMap<String, BTreeSet<Owner>>,
    /// The clusters with several owners.
    shared: BTreeSet<String>,
    /// The filter's configuration; `None` before the first cluster is read.
    filter: Option<FilterNames>,
    /// Whether the last update of the clusters outside, of the filter, or of everything failed, so that it is tried again.
    is_outside_old: bool,
    is_filter_old: bool,
    is_all_old: bool,
    /// The Services that are left out, and why.
    left_out: BTreeMap<NamespacedName, String>,
    /// The Services that are left out because their namespace has too many clusters, and how many clusters each would make at most.
    crowded: BTreeMap<NamespacedName, usize>,
    /// The clusters of Services, by namespace.
    clusters_of: BTreeMap<String, usize>,
    /// The resources that are too large to be sent.
    too_large: RefCell<BTreeSet<ChangedResource>>,
    /// How many addresses are kept.
    kept_addresses: Cell<usize>,
    /// Warnings of resources that are too large, which whoever writes Services can cause at any time.
    too_large_warnings: LimitedWarnings,
    /// The warnings that apply, each of which was logged once.
    told: BTreeSet<String>,
}

/// What an update has led to.
#[derive(Default)]
pub(super) struct Update {
    pub(super) changed: Vec<ChangedResource>,
    /// Why something keeps its last known good state.
    pub(super) problems: Vec<String>,
}

impl Resources {
    pub(super) fn new(
        types: Types,
        options: CompileOptions,
        make: PushedResources,
        default_export: DefaultExport,
    ) -> Self {
        Self {
            types,
            keys: Keys::new(&options.base.config),
            zone: compile::zone(&options.base.config.dns),
            options,
            make,
            default_export,
            aliases_to: BTreeMap::new(),
            bad_exports: BTreeMap::new(),
            services: BTreeMap::new(),
            outside: BTreeMap::new(),
            owners: BTreeMap::new(),
            shared: BTreeSet::new(),
            filter: None,
            is_outside_old: true,
            is_filter_old: true,
            is_all_old: true,
            left_out: BTreeMap::new(),
            crowded: BTreeMap::new(),
            clusters_of: BTreeMap::new(),
            too_large: RefCell::default(),
            kept_addresses: Cell::new(0),
            too_large_warnings: LimitedWarnings::new("were left out because of their size"),
            told: BTreeSet::new(),
        }
    }

    /// Whether there is something to serve.
    pub(super) fn is_complete(&self) -> bool {
        self.filter.is_some()
    }

    /// Keeps all that is served: what the cluster has now cannot be read.
    pub(super) fn keep(&mut self) {
        self.is_all_old = true;
    }

    /// Whether all that is served was kept at the last reading, which could not be taken.
    ///
    /// Otherwise endpoints follow the cluster, whatever is wrong with the names: a client that knows other ones is served.
    pub(super) fn is_kept(&self) -> bool {
        self.is_all_old && self.is_complete()
    }

    /// The numbers of Services, of clusters, and of Services and resources that are left out.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (
            self.services.len(),
            self.owners.len(),
            self.left_out.len() + self.keys.left_out().len() + self.too_large.borrow().len(),
        )
    }

    /// Takes a reading of the cluster.
    pub(super) fn update(&mut self, reading: &ClusterReading<'_>) -> Update {
        let cluster = &*reading.cluster;
        let (mut update, is_first) = (Update::default(), !self.is_complete());
        if let Some(lost) = self.lost(cluster) {
            self.is_all_old = true;
            update.problems.push(lost.to_owned());
            return update;
        }
        let mut keys = ChangedKeys::default();
        for name in self.touched(cluster, &reading.touched) {
            let new = self.compile(cluster, &name);
            let old = self.services.remove(&name);
            if let Some(old) = &old {
                let kept: usize = old.addresses.borrow().values().map(size).sum();
                self.kept_addresses.update(|all| all.saturating_sub(kept));
            }
            let is_alias = |service: &Option<ServedService>| service.as_ref().is_some_and(|one| one.parts.is_alias());
            let seen = |service: &Option<ServedService>| {
                service.as_ref().map(|one| (one.parts.names.clone(), one.visibility.clone()))
            };
            if seen(&old) != seen(&new) {
                self.is_filter_old = true;
                self.is_outside_old |= is_alias(&old) || is_alias(&new);
            }
            self.keys.replace(&name, old.as_ref(), new.as_ref(), &mut keys);
            self.replace(&name, old, new, &mut update.changed);
        }
        self.is_all_old = false;
        if self.is_outside_old {
            self.update_outside(&mut update);
        }
        if self.is_filter_old {
            self.update_filter(cluster, &mut keys, &mut update);
        }
        self.keys.finish(&mut keys);
        update.changed.extend(self.changed_keys(keys));
        let too_large = self.too_large.get_mut();
        if !too_large.is_empty() {
            update.changed.iter().for_each(|changed| _ = too_large.remove(changed));
        }
        if is_first {
            // There are no streams before.
            update.changed.clear();
        }
        self.tell(reading);
        update
    }

    /// Why a reading must not replace what is served: it lost all Services or EndpointSlices, as with a missing file or an empty list.
    /// If the cluster really has none left, what is served does no harm.
    fn lost(&self, cluster: &ClusterState) -> Option<&'static str> {
        if cluster.services.is_empty() && !self.services.is_empty() {
            return Some("the cluster has no Service any more");
        }
        let had_endpoints = self.services.values().any(|service| service.parts.has_endpoints());
        let has_none = cluster.slices.is_empty() && cluster.endpoints.is_empty();
        (had_endpoints && has_none).then_some("the cluster has no EndpointSlice any more")
    }

    /// The Services that may have changed.
    fn touched(&self, cluster: &ClusterState, touched: &Touched) -> BTreeSet<NamespacedName> {
        if touched.is_all || self.is_all_old {
            return cluster.services.keys().chain(self.services.keys()).chain(self.left_out.keys()).cloned().collect();
        }
        let own = self.options.base.config.table.services.iter();
        let with_subsets = own.filter(|(_, service)| !service.subsets.is_empty()).map(|(key, _)| key);
        let of_pods = with_subsets
            .filter_map(|key| NamespacedName::parse(key))
            .filter(|name| touched.pods_of.contains(&name.namespace));
        let own = cluster.services.keys().chain(self.services.keys()).chain(self.left_out.keys());
        let of_namespaces = own.filter(|name| touched.namespaces.contains(&name.namespace)).cloned();
        let of_namespaces = of_namespaces.take(if touched.namespaces.is_empty() { 0 } else { usize::MAX });
        // Others of their namespace may have gone.
        let crowded = self.crowded.iter().filter(|(name, clusters)| self.has_room(name, **clusters));
        let crowded = crowded.map(|(name, _)| name.clone());
        touched.services.iter().cloned().chain(of_pods).chain(of_namespaces).chain(crowded).collect()
    }

    /// Whether a namespace may have so many more clusters.
    fn has_room(&self, name: &NamespacedName, clusters: usize) -> bool {
        let of_namespace = self.clusters_of.get(&name.namespace).copied().unwrap_or_default();
        of_namespace.saturating_add(clusters) <= CLUSTERS_OF_NAMESPACE
    }

    /// Why the Service has too many clusters, if it has.
    fn too_many_clusters(&mut self, name: &NamespacedName, parts: &PushedService) -> Option<String> {
        let (clusters, old) = (parts.most_clusters(), self.services.get(name));
        if clusters > CLUSTERS_OF_SERVICE {
            return Some(format!(
                "Service {name}: its ports, with its subsets and the hostnames of its endpoints, make {clusters} clusters, and a Service may have \
                 {CLUSTERS_OF_SERVICE}; split it"
            ));
        }
        // It keeps its clusters, which may be fewer than it may have at most.
        if old.is_some_and(|old| old.parts.names == parts.names) {
            return None;
        }
        let more = clusters.saturating_sub(old.map_or(0, |old| old.clusters.len()));
        if self.has_room(name, more) {
            return None;
        }
        self.crowded.insert(name.clone(), clusters);
        Some(format!(
            "Service {name}: the Services of namespace {} would make more than {CLUSTERS_OF_NAMESPACE} clusters; remove ports or Services",
            name.namespace
        ))
    }

    fn compile(&mut self, cluster: &ClusterState, name: &NamespacedName) -> Option<ServedService> {
        self.left_out.remove(name);
        self.crowded.remove(name);
        self.bad_exports.remove(name);
        let compiled = PushedService::compile(cluster, cluster.service(name)?, &self.options);
        let parts = match compiled {
            Ok(parts) => parts?,
            Err(problems) => {
                let problem = problems.first().map(ToString::to_string).unwrap_or_default();
                self.left_out.insert(name.clone(), problem);
                return None;
            }
        };
        if let Some(problem) = self.too_many_clusters(name, &parts) {
            self.left_out.insert(name.clone(), problem);
            return None;
        }
        let before = self.services.get(name);
        let shared = before.map_or_else(|| Arc::new(name.clone()), |old| Arc::clone(&old.name));
        // Endpoints come and go more often than names.
        let clusters = match before.filter(|old| old.parts.names == parts.names) {
            Some(old) => old.clusters.clone(),
            None if parts.is_alias() => BTreeMap::new(),
            None => parts.clusters(&name.to_string(), &self.options).unwrap_or_default(),
        };
        let zones = parts.depends_on_zone().then(|| parts.zones().map(Into::into).collect());
        let nodes = parts.depends_on_node().then(|| parts.nodes().map(Into::into).collect());
        let (visibility, problem) = exports::visibility(cluster, name, self.default_export);
        if let Some(problem) = problem {
            self.bad_exports.insert(name.clone(), problem);
        }
        let target = parts.names.external_name.as_deref().and_then(|host| service_of(host, &self.zone)).map(Box::new);
        let addresses = RefCell::default();
        Some(ServedService { name: shared, parts, clusters, zones, nodes, visibility, target, addresses })
    }

    fn replace(
        &mut self,
        name: &NamespacedName,
        old: Option<ServedService>,
        new: Option<ServedService>,
        changed: &mut Vec<ChangedResource>,
    ) {
        let none = BTreeMap::new();
        let before = old.as_ref().map_or(&none, |old| &old.clusters);
        let after = new.as_ref().map_or(&none, |new| &new.clusters);
        self.replace_clusters(&Owner::Service(name.clone()), before, after, changed);
        let of_namespace = self.clusters_of.entry(name.namespace.clone()).or_default();
        *of_namespace = of_namespace.saturating_add(after.len()).saturating_sub(before.len());
        if *of_namespace == 0 {
            self.clusters_of.remove(&name.namespace);
        }
        if old.as_ref().map(|old| &old.parts) != new.as_ref().map(|new| &new.parts) {
            changed.extend(after.keys().map(|cluster| (self.types.endpoints, cluster.clone())));
        }
        if old.as_ref().map(|old| &old.visibility) != new.as_ref().map(|new| &new.visibility) {
            let both = |cluster: &String| [self.types.cluster, self.types.endpoints].map(|one| (one, cluster.clone()));
            changed.extend(after.keys().flat_map(both));
        }
        if let Some(new) = new {
            self.services.insert(name.clone(), new);
        }
    }

    /// Records which clusters an owner has now.
    fn replace_clusters(
        &mut self,
        owner: &Owner,
        before: &BTreeMap<String, UpstreamCluster>,
        after: &BTreeMap<String, UpstreamCluster>,
        changed: &mut Vec<ChangedResource>,
    ) {
        for cluster in before.keys().filter(|cluster| !after.contains_key(*cluster)) {
            if let Entry::Occupied(mut owners) = self.owners.entry(cluster.clone()) {
                owners.get_mut().remove(owner);
                if owners.get().len() < 2 {
                    self.shared.remove(cluster);
                }
                if owners.get().is_empty() {
                    owners.remove();
                }
            }
        }
        for cluster in after.keys() {
            let owners = self.owners.entry(cluster.clone()).or_default();
            owners.insert(owner.clone());
            if owners.len() > 1 {
                self.shared.insert(cluster.clone());
            }
        }
        for cluster in before.keys().chain(after.keys()).filter(|cluster| before.get(*cluster) != after.get(*cluster)) {
            changed.push((self.types.cluster, cluster.clone()));
            changed.push((self.types.endpoints, cluster.clone()));
        }
    }

    fn update_outside(&mut self, update: &mut Update) {
        let aliases = self.services.iter().filter(|(_, service)| service.parts.is_alias());
        let aliases = aliases.map(|(name, service)| (name.to_string(), service.parts.names.clone())).collect();
        match compile::clusters_of_aliases(aliases, &self.options) {
            Ok(after) => {
                let before = std::mem::take(&mut self.outside);
                let aliases_to = self.find_aliases_to();
                // What an alias leads to may be seen by others than before, whether or not it leads elsewhere.
                if !aliases_to.is_empty() || !self.aliases_to.is_empty() {
                    update.changed.extend(after.keys().map(|cluster| (self.types.cluster, cluster.clone())));
                }
                self.aliases_to = aliases_to;
                self.replace_clusters(&Owner::Aliases, &before, &after, &mut update.changed);
                self.outside = after;
                self.is_outside_old = false;
            }
            Err(problems) => update.problems.extend(problems.messages()),
        }
    }

    /// The aliases that lead to each cluster outside, unless every namespace sees every alias.
    fn find_aliases_to(&self) -> BTreeMap<String, BTreeSet<NamespacedName>> {
        let aliases = || self.services.iter().filter(|(_, service)| service.parts.is_alias());
        let mut found: BTreeMap<String, BTreeSet<NamespacedName>> = BTreeMap::new();
        if aliases().all(|(_, service)| service.visibility == Visibility::Everyone) {
            return found;
        }
        for (name, service) in aliases() {
            let alone = [(name.to_string(), service.parts.names.clone())].into();
            let clusters = compile::clusters_of_aliases(alone, &self.options).unwrap_or_default();
            clusters.into_keys().for_each(|cluster| _ = found.entry(cluster).or_default().insert(name.clone()));
        }
        // Fallbacks are the same for all.
        for cluster in compile::clusters_of_aliases(BTreeMap::new(), &self.options).unwrap_or_default().keys() {
            found.remove(cluster);
        }
        found
    }

    fn update_filter(&mut self, cluster: &ClusterState, keys: &mut ChangedKeys, update: &mut Update) {
        let names = self.services.iter().map(|(name, service)| (name.to_string(), service.parts.names.clone()));
        match compile::names_of(cluster, names.collect(), &self.options) {
            Ok(compiled) => {
                self.is_filter_old = false;
                self.keys.leave_out(compiled.left_out, &self.services, keys);
                let visibilities = self.services.iter().map(|(name, service)| (name, &service.visibility));
                let names = FilterNames::new(compiled.wire, compiled.text, visibilities);
                if self.filter.as_ref().is_none_or(|old| old.differs_from(&names)) {
                    self.filter = Some(names);
                    // The first of all: the window in which it is collected with the clusters that it lets go of may close at any time.
                    update.changed.insert(0, (self.types.filter, self.make.filter_name().to_owned()));
                }
            }
            Err(problems) => update.problems.extend(problems.messages()),
        }
    }

    /// Logs each warning once for as long as it applies.
    fn tell(&mut self, reading: &ClusterReading<'_>) {
        let unreadable = reading.unreadable.iter().map(ToString::to_string);
        let of_filter = self.keys.left_out().values().map(ToString::to_string);
        let left_out = self
            .left_out
            .values()
            .cloned()
            .chain(of_filter)
            .chain(unreadable)
            .map(|problem| format!("left out: {problem}"));
        let shared = self.shared.iter().map(|cluster| {
            format!(
                "steering: the cluster name {cluster:?} stands for ports of several Services, but only one of them is served; add \
                 placeholders that tell them apart: {{host}}, {{port}}, {{subset}}"
            )
        });
        let now: BTreeSet<String> = left_out.chain(shared).chain(self.bad_exports.values().cloned()).collect();
        now.difference(&self.told).for_each(|warning| log::warn(warning));
        self.told = now;
    }

    /// The cluster of this name, and the Service that it belongs to.
    fn cluster(&self, name: &str) -> Option<(&UpstreamCluster, Option<(&NamespacedName, &ServedService)>)> {
        match self.owners.get(name)?.first()? {
            Owner::Service(owner) => {
                let (owner, service) = self.services.get_key_value(owner)?;
                Some((service.clusters.get(name)?, Some((owner, service))))
            }
            Owner::Aliases => Some((self.outside.get(name)?, None)),
        }
    }

    /// Whether the caller may know of the cluster. One that stands for several Services shows nothing of any that is hidden.
    fn is_visible(&self, cluster: &str, caller: &StreamCaller) -> bool {
        let sees =
            |name: &NamespacedName| self.services.get(name).is_some_and(|one| one.visibility.includes(caller.viewer()));
        self.owners.get(cluster).into_iter().flatten().all(|owner| match owner {
            Owner::Service(name) => sees(name),
            Owner::Aliases => self.aliases_to.get(cluster).is_none_or(|aliases| aliases.iter().any(sees)),
        })
    }

    /// The changed keys as resources.
    fn changed_keys(&self, keys: ChangedKeys) -> impl Iterator<Item = ChangedResource> + use<> {
        let Types { namespaces, service, service_endpoints, address, .. } = self.types;
        let all = keys.all_namespaces.then(|| (namespaces, ALL_NAMESPACES.to_owned()));
        let of_namespaces = keys.namespaces.into_iter().map(move |name| (namespaces, name));
        let services = keys.services.into_iter().map(move |name| (service, name.to_string()));
        let endpoints = keys.endpoints.into_iter().map(move |name| (service_endpoints, name.to_string()));
        let addresses = keys.addresses.into_iter().map(move |one| (address, one.to_string()));
        all.into_iter().chain(of_namespaces).chain(services).chain(endpoints).chain(addresses)
    }

    /// The Service with this key, if the caller sees it.
    fn keyed(&self, key: &str, caller: &StreamCaller) -> Option<&ServedService> {
        self.keys.service(&self.services, &NamespacedName::parse(key)?, caller.viewer())
    }

    /// The caller's class for a resource that a filter asks for by its own stream. Modules of all schemas that ask get the same form.
    fn class_by_key(&self, resource_type: TypeIndex, name: &str, caller: &StreamCaller) -> Option<CallerClass> {
        if resource_type == self.types.namespaces {
            let mut names = self.keys.names_in(name, caller.viewer());
            if name != ALL_NAMESPACES && names.next().is_none() {
                return None;
            }
            // Views are those of the last good update: after a failed one, two namespaces may no longer see the same.
            let view = match &self.filter {
                Some(filter) if !self.is_filter_old => filter.view_of(caller.namespace.as_deref()),
                _ => caller.namespace.as_deref().map(Arc::from),
            };
            return Some(CallerClass { view, ..CallerClass::default() });
        }
        if resource_type == self.types.address {
            let address = self.keys.address(&self.services, keys::parse_address(name)?, caller.viewer())?;
            return Some(CallerClass { is_endpoint: address == AddressUse::Endpoint, ..CallerClass::default() });
        }
        self.keyed(name, caller).map(|_| CallerClass::default())
    }

    fn text_by_key(&self, resource_type: TypeIndex, name: &str, class: &CallerClass) -> String {
        let viewer = class.view.as_deref().unwrap_or_default();
        if resource_type == self.types.namespaces {
            let names = match name {
                ALL_NAMESPACES => self.keys.namespaces(viewer),
                name => {
                    let mut names: Vec<&str> = self.keys.names_in(name, viewer).collect();
                    names.sort_unstable();
                    names
                }
            };
            return names.join(" ");
        }
        if resource_type == self.types.address {
            let address = keys::parse_address(name).filter(|_| !class.is_endpoint);
            let owner = address.and_then(|address| self.keys.owner_of(address));
            return owner.map(ToString::to_string).unwrap_or_default();
        }
        let service = NamespacedName::parse(name).and_then(|name| self.services.get(&name));
        let text = match resource_type == self.types.service {
            true => keys::names_text,
            false => keys::whole_text,
        };
        service.map(text).unwrap_or_default()
    }

    fn bytes(&self, resource_type: TypeIndex, name: &str, class: &CallerClass) -> anyhow::Result<Vec<u8>> {
        if self.types.is_of_filter(resource_type) {
            return Ok(self.text_by_key(resource_type, name, class).into_bytes());
        }
        if resource_type == self.types.filter {
            let Some(filter) = &self.filter else { return Ok(Vec::new()) };
            return self.make.filter(&filter.text_for(class, &self.options));
        }
        let Some((cluster, service)) = self.cluster(name) else { return Ok(Vec::new()) };
        if resource_type == self.types.cluster {
            return self.make.cluster(name, cluster);
        }
        let Some((owner, service)) = service else { return Ok(Vec::new()) };
        if !service.addresses.borrow().contains_key(class) {
            let locality = (class.zone.as_deref(), class.node.as_deref());
            let of_class = service.parts.addresses(&owner.to_string(), &self.options, locality);
            self.keep_addresses(service, class, of_class);
        }
        let addresses = service.addresses.borrow();
        let of_class = addresses.get(class);
        let own = of_class.and_then(|of_class| of_class.get(name)).map(Vec::as_slice).unwrap_or_default();
        self.make.assignment(name, own)
    }

    /// Keeps the addresses of a Service for a class of callers. Beyond the bound those of all others are dropped, and worked out again when they
    /// are needed.
    fn keep_addresses(&self, service: &ServedService, class: &CallerClass, of_class: Addresses) {
        let kept = self.kept_addresses.get().saturating_add(size(&of_class));
        if kept > KEPT_ADDRESSES {
            self.services.values().for_each(|one| one.addresses.borrow_mut().clear());
            self.kept_addresses.set(size(&of_class));
        } else {
            self.kept_addresses.set(kept);
        }
        service.addresses.borrow_mut().insert(class.clone(), of_class);
    }
}

impl ResourceSource for Resources {
    type Caller = StreamCaller;
    type Class = CallerClass;
    type Body = Bytes;

    fn class(&self, resource_type: TypeIndex, name: &str, caller: &StreamCaller) -> Option<CallerClass> {
        if self.types.is_of_filter(resource_type) {
            return self.class_by_key(resource_type, name, caller);
        }
        if resource_type == self.types.filter {
            let filter = self.filter.as_ref().filter(|_| name == self.make.filter_name())?;
            return Some(caller.filter_class(filter.view_of(caller.namespace.as_deref())));
        }
        if !self.is_visible(name, caller) {
            return None;
        }
        let (cluster, service) = self.cluster(name)?;
        if resource_type == self.types.cluster {
            return Some(CallerClass::default());
        }
        let (_, service) = service.filter(|_| matches!(cluster, UpstreamCluster::Endpoints(_)))?;
        Some(caller.class(service.zones.as_ref(), service.nodes.as_ref()))
    }

    fn leads_to(&self, resource_type: TypeIndex, name: &str, class: &CallerClass) -> Vec<(TypeIndex, String)> {
        let lead = if resource_type == self.types.address {
            let address = keys::parse_address(name).filter(|_| !class.is_endpoint);
            let owner = address.and_then(|address| self.keys.owner_of(address));
            owner.map(|owner| (self.types.service, owner.to_string()))
        } else {
            let service = NamespacedName::parse(name).and_then(|name| self.services.get(&name));
            let target = service.and_then(|service| service.target.as_ref());
            target.map(|target| (resource_type, target.to_string()))
        };
        lead.into_iter().collect()
    }

    fn encode(&self, resource_type: TypeIndex, name: &str, class: &CallerClass) -> Option<Bytes> {
        match self.bytes(resource_type, name, class) {
            // Envoy has no such bound, and without the filter's names nothing is reached.
            Ok(bytes) if bytes.len() > LARGEST && resource_type != self.types.filter => {
                self.too_large.borrow_mut().insert((resource_type, name.to_owned()));
                let word = self.types.word(resource_type);
                self.too_large_warnings.warn(&format!(
                    "left out: {word} {}: it has {} bytes, and a resource may have {LARGEST}; split the Service, or give it fewer ports, \
                     endpoints or hints",
                    name.escape_debug(),
                    bytes.len(),
                ));
                None
            }
            Ok(bytes) => Some(bytes.into()),
            Err(error) => {
                // Envoy refuses the empty resource and keeps its last known good one.
                log::warn(&format!("{name}: {}", messages(&error).join("; ")));
                Some(Bytes::new())
            }
        }
    }
}

/// How many addresses there are, and the names beside them.
fn size(addresses: &Addresses) -> usize {
    addresses.values().map(|addresses| addresses.len() + 8).sum()
}

/// Why a configuration cannot be served, if it cannot: what the filter would have to know is not pushed.
pub(super) fn check(base: &compile::Base) -> anyhow::Result<()> {
    let config = &base.config;
    if config.server.is_some() {
        let fix = "remove the field";
        return Err(base.problem(["server"], "has no effect: the filter gets its names from byname serve", fix).into());
    }
    let own =
        config.table.services.iter().filter_map(|(key, service)| Some((Some(key), service.steering.as_ref()?.by?)));
    for (key, by) in own.chain([(None, config.steering.by)]) {
        let reason = match by {
            wire::SteeringMode::Cluster => continue,
            wire::SteeringMode::Endpoint => "needs endpoints in the filter, and serve pushes them to Envoy",
            wire::SteeringMode::Authority => "needs routes for each authority, and serve pushes none",
        };
        let field = match key {
            Some(key) => crate::input::Field::from(["table", "services", key, "steering", "by"]),
            None => crate::input::Field::from(["steering", "by"]),
        };
        return Err(base.problem(field, reason, "steer by cluster, or use byname watch").into());
    }
    Ok(())
}
