//! The objects of Istio's that deploy byname.

use std::collections::BTreeMap;

use byname_core::FieldError;

use super::{deployed_configuration::DeployedConfiguration, patches::Patches, reach::Reach};
use crate::{
    input::RawObject,
    kubernetes::{ObjectError, ObjectName, Sourced},
    output::count,
};

/// An object that deploys byname: a WasmPlugin or TrafficExtension with byname's configuration, or any EnvoyFilter.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The sidecars that it applies to.
    pub reach: Reach,
    /// byname's configuration, if it holds one.
    pub configuration: Option<DeployedConfiguration>,
    /// What an EnvoyFilter changes.
    pub patches: Patches,
}

/// Such objects by name.
pub type Deployments = BTreeMap<ObjectName, Sourced<Deployed>>;

/// Whether objects of this kind may deploy byname.
#[must_use]
pub fn may_be_deployed(kind: &str) -> bool {
    matches!(kind, "WasmPlugin" | "TrafficExtension" | "EnvoyFilter")
}

impl Deployed {
    /// Reads an object; `None` if it does not deploy byname.
    #[must_use]
    pub fn of(raw: &RawObject) -> Option<(ObjectName, Sourced<Self>)> {
        if !may_be_deployed(&raw.kind) {
            return None;
        }
        let name = ObjectName::of_raw(raw)?;
        let configuration = DeployedConfiguration::of(raw);
        let patches = if raw.kind == "EnvoyFilter" { Patches::of(raw) } else { Patches::default() };
        if configuration.is_none() && raw.kind != "EnvoyFilter" {
            return None;
        }
        let deployed = Self { reach: Reach::of(raw, &name), configuration, patches };
        Some((name, Sourced::new(deployed, raw)))
    }

    /// Whether it adds byname's filter.
    #[must_use]
    pub fn adds_filter(&self) -> bool {
        self.configuration.is_some() || self.patches.add_filter
    }
}

/// The errors for which the filter refuses the configuration of this object; the last one counts those that the filter does not list.
#[must_use]
pub fn refusals(name: &ObjectName, deployed: &Sourced<Deployed>) -> Vec<ObjectError> {
    let Some(configuration) = &deployed.object.configuration else { return Vec::new() };
    let Err(refused) = &configuration.read else { return Vec::new() };
    let error = |error: &FieldError| {
        let (field, reason) = configuration.error(error);
        deployed.problem(name.clone(), field, reason, error.error_type.fix())
    };
    let more = refused.count() - refused.listed().len();
    let more = (more > 0).then(|| {
        let reason = format!("has {}", count(more, "more error", "more errors"));
        deployed.problem(name.clone(), configuration.field.clone(), reason, "correct the errors that are listed first")
    });
    refused.listed().iter().map(error).chain(more).collect()
}
