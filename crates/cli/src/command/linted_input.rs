//! The input of `byname lint`, checked: all files together, or each by itself.

use std::collections::BTreeSet;

use anyhow::bail;

use super::{
    args::Input,
    live::{Needs, own_namespaces},
};
use crate::{
    kubernetes::NamespacedName,
    lint::{self, LintInput, LintOptions, LintReport},
};

/// The report, and what was checked.
#[derive(Debug)]
pub(super) struct LintedInput {
    pub(super) report: LintReport,
    /// The Services of all files; with each file by itself, one name may be here several times.
    pub(super) services: Vec<NamespacedName>,
    pub(super) namespaces: BTreeSet<String>,
    /// Whether there was any object to check.
    pub(super) has_objects: bool,
}

impl LintedInput {
    /// Checks the objects of all files, or of a live cluster, together. `named` are the namespaces that the user named.
    pub(super) fn of_all_files(input: &Input, named: &[String], options: &LintOptions) -> anyhow::Result<Self> {
        let origin = input.origin()?;
        let needs = Needs::of_lint(&own_namespaces(named, origin.namespace().unwrap_or_default()));
        let objects = input.read_any(&origin, &needs)?;
        Self::new(&objects, lint::lint(&objects, options)).checked(input)
    }

    /// Checks the objects of each file by itself.
    pub(super) fn of_each_file(input: &Input, options: &LintOptions) -> anyhow::Result<Self> {
        let nothing = LintInput::default();
        let mut all = Self::new(&nothing, lint::lint_file(&nothing, options));
        input.read_each(&mut |objects| {
            let Self { report, services, namespaces, has_objects } =
                Self::new(objects, lint::lint_file(objects, options));
            all.report.append(report);
            all.services.extend(services);
            all.namespaces.extend(namespaces);
            all.has_objects |= has_objects;
        })?;
        // An entry of the baseline may match a finding of any file.
        all.report.stale = options.baseline.as_ref().map_or(0, |baseline| baseline.stale(&all.report.findings));
        all.checked(input)
    }

    fn new(LintInput { cluster, deployed, .. }: &LintInput, report: LintReport) -> Self {
        let of_deployed = deployed.keys().map(|name| &*name.namespace);
        Self {
            report,
            services: cluster.services.keys().cloned().collect(),
            namespaces: cluster.all_namespaces().into_iter().chain(of_deployed).map(str::to_owned).collect(),
            has_objects: !cluster.read.is_empty(),
        }
    }

    /// # Errors
    /// With `--strict`, if there was nothing to check.
    fn checked(self, input: &Input) -> anyhow::Result<Self> {
        if input.is_strict() && !self.has_objects {
            bail!(
                "the input has no objects to check; \
                 pass the output of kubectl get svc,endpointslices,pods,nodes,ingresses -A -o yaml"
            );
        }
        Ok(self)
    }
}
