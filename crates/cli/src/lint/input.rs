//! What lint checks: the objects of a cluster, and the objects of Istio's that deploy byname.

use std::collections::{BTreeMap, btree_map::Entry};

use super::unknown_fields::{self, UnknownField};
use crate::{
    input::{self, InputError, InputErrors, LeftOut, RawObject, ReadOptions, Source},
    istio::{Deployed, Deployments},
    kubernetes::{ClusterState, ObjectName},
};

/// The objects that lint checks.
#[derive(Debug, Default)]
pub struct LintInput {
    /// The cluster.
    pub cluster: ClusterState,
    /// The objects that deploy byname, and all EnvoyFilters.
    pub deployed: Deployments,
    /// The fields of Services and EndpointSlices that the API does not define.
    pub(super) unknown_fields: BTreeMap<ObjectName, Vec<UnknownField>>,
}

impl LintInput {
    /// Reads objects, and reports the bytes read to `progress`. Returns what was left out as well.
    ///
    /// # Errors
    /// If an object that is needed is invalid: every error in the input.
    pub fn read(
        sources: &[Source],
        options: &ReadOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, LeftOut), InputErrors> {
        let mut all = Self::default();
        let left_out = input::read(sources, options, progress, &mut |object| all.add(object))?;
        Ok((all, left_out))
    }

    /// Adds an object from the input.
    ///
    /// # Errors
    /// If the object does not fit its kind, or differs from an earlier object of the same name.
    pub fn add(&mut self, raw: RawObject) -> Result<(), InputError> {
        if let Some((name, deployed)) = Deployed::of(&raw) {
            match self.deployed.entry(name) {
                Entry::Vacant(free) => drop(free.insert(deployed)),
                Entry::Occupied(mut earlier) if deployed.replaces(earlier.get()) => drop(earlier.insert(deployed)),
                // Overlays of one object may all be in a directory. The first one counts, as of workloads.
                Entry::Occupied(_) => {}
            }
        }
        let unknown = unknown_fields::of(&raw);
        if !unknown.is_empty()
            && let Some(name) = ObjectName::of_raw(&raw)
        {
            self.unknown_fields.insert(name, unknown);
        }
        self.cluster.add(raw).map_err(|problem| match problem.is_of_two_files() {
            true => problem.with_fix("keep one of the two, or check each file by itself with --each-file"),
            false => problem,
        })
    }
}
