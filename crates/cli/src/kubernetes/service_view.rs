//! A Service as every command reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::LazyLock,
};

use byname_core::wire::IpFamily;
use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};

use super::{
    AddressType, EndpointView, NamespacedName, Objects, ServicePortView, SliceView, Sourced,
    endpoints_object::{EndpointsMirror, EndpointsObject},
    is_of_api,
};

/// The word in place of a cluster IP that makes a Service headless.
const HEADLESS: &str = "None";

static NO_SPEC: LazyLock<ServiceSpec> = LazyLock::new(ServiceSpec::default);

/// A Service with its ports, its addresses and its endpoints.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'c> {
    /// Namespace and name.
    pub name: &'c NamespacedName,
    /// The object and where it was read.
    pub source: &'c Sourced<Service>,
    /// `spec`, for the fields that the view does not read.
    pub spec: &'c ServiceSpec,
    /// How clients reach the Service.
    pub form: ServiceForm,
    all_slices: &'c Objects<EndpointSlice>,
    slice_names: Option<&'c BTreeSet<NamespacedName>>,
    /// The EndpointSlices that mirror the Service's Endpoints object, if the input lacks them.
    mirrors: &'c [EndpointsMirror],
}

/// How clients reach a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceForm {
    /// By the external name that the Service is an alias for.
    ExternalName,
    /// By the addresses of its pods.
    Headless,
    /// By its cluster IPs.
    Virtual,
    /// By cluster IPs that the API server has yet to assign, as in a manifest.
    Unassigned,
}

impl ServiceForm {
    fn of(spec: &ServiceSpec) -> Self {
        if spec.type_.as_deref() == Some("ExternalName") {
            return Self::ExternalName;
        }
        match cluster_ips(spec).next() {
            None => Self::Unassigned,
            Some(_) if cluster_ips(spec).any(|address| address == HEADLESS) => Self::Headless,
            Some(_) => Self::Virtual,
        }
    }
}

impl<'c> ServiceView<'c> {
    /// `slice_names` are the names in `all_slices` that belong to the Service. `endpoints` is its Endpoints object.
    pub(super) fn new(
        name: &'c NamespacedName,
        source: &'c Sourced<Service>,
        all_slices: &'c Objects<EndpointSlice>,
        slice_names: Option<&'c BTreeSet<NamespacedName>>,
        endpoints: Option<&'c EndpointsObject>,
    ) -> Self {
        let spec = source.object.spec.as_ref().unwrap_or(&NO_SPEC);
        let mut view = Self { name, source, spec, form: ServiceForm::of(spec), all_slices, slice_names, mirrors: &[] };
        let endpoints = endpoints.filter(|endpoints| view.counts(endpoints));
        view.mirrors = endpoints.map_or(&[], |endpoints| &endpoints.mirrors);
        view
    }

    /// Whether an Endpoints object decides which endpoints the Service has.
    pub(super) fn counts(&self, endpoints: &EndpointsObject) -> bool {
        let mut slices = self.own_slices().filter(SliceView::counts);
        match self.selector() {
            // A controller overwrites what a person writes for a Service with a selector, and the control plane does not mirror it.
            Some(_) => endpoints.is_of_api && slices.next().is_none(),
            // kube-proxy adds the object's mirror to what else was written. A dump has the mirror, unless there is none.
            None => {
                let stands_for = |slice: SliceView<'_>| {
                    slice.is_mirror() || endpoints.is_of_api && is_of_api(&slice.source.object.metadata)
                };
                !endpoints.skips_mirror && !slices.any(stands_for)
            }
        }
    }

    /// Whether the Service was read from an API server. A manifest lacks what the API server assigns.
    #[must_use]
    pub fn is_of_api(&self) -> bool {
        is_of_api(&self.source.object.metadata)
    }

    /// Whether it is an alias for another name.
    #[must_use]
    pub fn is_external_name(&self) -> bool {
        self.form == ServiceForm::ExternalName
    }

    /// Whether its name resolves to the addresses of its pods.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.form == ServiceForm::Headless
    }

    /// Whether it has cluster IPs, or gets them when it is created.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self.form, ServiceForm::Virtual | ServiceForm::Unassigned)
    }

    /// `spec.type`, with its default, which also stands for an empty word.
    #[must_use]
    pub fn type_word(&self) -> &'c str {
        self.spec.type_.as_deref().filter(|word| !word.is_empty()).unwrap_or("ClusterIP")
    }

    /// The Service's cluster IPs, as text. A headless Service has `None`.
    pub fn cluster_ips(&self) -> impl Iterator<Item = &'c str> + use<'c> {
        cluster_ips(self.spec)
    }

    /// `spec.ipFamilies`, the preferred family first, then the family that the API server may add. Without the field, the family of the
    /// only cluster IP.
    pub fn ip_families(&self) -> impl Iterator<Item = IpFamily> + use<'c> {
        let listed = self.spec.ip_families.iter().flatten().filter_map(|family| match family.as_str() {
            "IPv4" => Some(IpFamily::IPv4),
            "IPv6" => Some(IpFamily::IPv6),
            _ => None,
        });
        let listed_families = self.spec.ip_families.as_deref().unwrap_or_default();
        let added = match listed_families {
            [family] if self.may_become_dual_stack() => {
                Some(if family == "IPv6" { IpFamily::IPv4 } else { IpFamily::IPv6 })
            }
            _ => None,
        };
        let of_address =
            (listed_families.is_empty() && self.cluster_ips().count() == 1).then(|| self.address_family()).flatten();
        listed.chain(added).chain(of_address)
    }

    /// Whether the API server may add the other family to a manifest. It also writes `clusterIPs`.
    fn may_become_dual_stack(&self) -> bool {
        let policy = self.spec.ip_family_policy.as_deref();
        let is_unseen = !self.is_of_api() && self.spec.cluster_ips.as_ref().is_none_or(Vec::is_empty);
        is_unseen && matches!(policy, Some("PreferDualStack" | "RequireDualStack"))
    }

    /// The family of its first cluster IP.
    #[must_use]
    pub fn address_family(&self) -> Option<IpFamily> {
        Some(match self.cluster_ips().next()?.parse().ok()? {
            IpAddr::V4(_) => IpFamily::IPv4,
            IpAddr::V6(_) => IpFamily::IPv6,
        })
    }

    /// The family of EndpointSlices that kube-proxy ignores, because the Service has the other family alone.
    #[must_use]
    pub fn stray_family(&self) -> Option<IpFamily> {
        let mut families = self.ip_families();
        let (Some(own), None) = (families.next(), families.next()) else { return None };
        let (other, of_other) = match own {
            IpFamily::IPv4 => (IpFamily::IPv6, AddressType::IPv6),
            IpFamily::IPv6 => (IpFamily::IPv4, AddressType::IPv4),
        };
        let is_single_stack = self.is_virtual() && !self.may_become_dual_stack();
        (is_single_stack && self.slices().any(|slice| slice.address_type == of_other)).then_some(other)
    }

    /// The Service's ports, of every protocol.
    pub fn ports(&self) -> impl Iterator<Item = ServicePortView<'c>> + use<'c> {
        self.spec.ports.iter().flatten().enumerate().map(|(index, port)| ServicePortView::new(index, port))
    }

    /// The Service's selector; `None` if the control plane makes no endpoints for the Service.
    #[must_use]
    pub fn selector(&self) -> Option<&'c BTreeMap<String, String>> {
        self.spec.selector.as_ref().filter(|selector| !selector.is_empty())
    }

    /// Whether each of its endpoints counts as ready.
    #[must_use]
    pub fn publishes_not_ready(&self) -> bool {
        self.spec.publish_not_ready_addresses.unwrap_or(false)
    }

    /// All EndpointSlices of the Service, including EndpointSlices whose endpoints do not count, and those that mirror its Endpoints
    /// object.
    pub fn all_slices(&self) -> impl Iterator<Item = SliceView<'c>> + use<'c> {
        let (name, publishes_not_ready) = (self.name, self.publishes_not_ready());
        let mirrors = self.mirrors.iter().map(move |mirror| SliceView::of_mirror(name, mirror));
        self.own_slices().chain(mirrors).map(move |slice| SliceView { publishes_not_ready, ..slice })
    }

    /// The EndpointSlices of the input that name the Service.
    fn own_slices(&self) -> impl Iterator<Item = SliceView<'c>> + use<'c> {
        let all_slices = self.all_slices;
        let slices = self.slice_names.into_iter().flatten().filter_map(|name| all_slices.get_key_value(name));
        slices.map(|(name, source)| SliceView::new(name, source))
    }

    /// The EndpointSlices of the Service whose endpoints count.
    pub fn slices(&self) -> impl Iterator<Item = SliceView<'c>> + use<'c> {
        self.all_slices().filter(SliceView::counts)
    }

    /// The Service's endpoints, by EndpointSlice. An endpoint that moves between EndpointSlices appears twice.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointView<'c>> + use<'c> {
        self.slices().flat_map(|slice| slice.endpoints())
    }
}

fn cluster_ips(spec: &ServiceSpec) -> impl Iterator<Item = &str> {
    let listed = spec.cluster_ips.iter().flatten();
    // API servers without dual stack, and people, set only `clusterIP`.
    let alone = spec.cluster_ip.iter().filter(|_| spec.cluster_ips.as_ref().is_none_or(Vec::is_empty));
    listed.chain(alone).map(String::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(type_: Option<&str>, cluster_ip: Option<&str>, cluster_ips: &[&str]) -> ServiceForm {
        ServiceForm::of(&ServiceSpec {
            type_: type_.map(str::to_owned),
            cluster_ip: cluster_ip.map(str::to_owned),
            cluster_ips: Some(cluster_ips.iter().map(|ip| (*ip).to_owned()).collect()),
            ..ServiceSpec::default()
        })
    }

    #[test]
    fn either_field_makes_a_service_headless() {
        assert_eq!(form(None, Some("None"), &[]), ServiceForm::Headless);
        assert_eq!(form(None, None, &["None"]), ServiceForm::Headless);
        assert_eq!(form(Some("ClusterIP"), Some("None"), &["None"]), ServiceForm::Headless);
    }

    #[test]
    fn a_manifest_without_an_address_is_not_headless() {
        assert_eq!(form(None, None, &[]), ServiceForm::Unassigned);
        assert_eq!(form(Some("NodePort"), Some(""), &[]), ServiceForm::Unassigned);
        assert_eq!(form(None, Some("10.96.0.1"), &[]), ServiceForm::Virtual);
        assert_eq!(form(None, None, &["10.96.0.1", "fd00::1"]), ServiceForm::Virtual);
    }

    #[test]
    fn the_type_makes_an_alias_whatever_addresses_there_are() {
        assert_eq!(form(Some("ExternalName"), Some("None"), &[]), ServiceForm::ExternalName);
        assert_eq!(form(Some("ExternalName"), Some("10.96.0.1"), &[]), ServiceForm::ExternalName);
    }
}
