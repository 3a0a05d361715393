//! Namespaces that a user names: their form, and whether they exist.

use std::{collections::BTreeSet, fmt::Display};

use anyhow::bail;
use byname_core::is_label;

use crate::{kubernetes::ClusterState, output};

/// Parses the name of a namespace.
pub(super) fn parse_namespace(text: &str) -> Result<String, String> {
    match text {
        "" => Err("pass a namespace".to_owned()),
        text if is_label(text) => Ok(text.to_owned()),
        _ => Err("use a lower-case DNS label: at most 63 of a-z, 0-9 and \"-\"".to_owned()),
    }
}

/// The namespaces that an input has.
#[derive(Debug, Default)]
pub(super) struct KnownNamespaces {
    names: BTreeSet<String>,
    /// Whether it has all Namespace objects of a cluster. A namespace without Services and Pods may exist otherwise.
    is_complete: bool,
}

impl KnownNamespaces {
    pub(super) fn of(cluster: &ClusterState) -> Self {
        let names = cluster.all_namespaces().into_iter().map(str::to_owned).collect();
        Self { names, is_complete: cluster.lists_any("Namespace") }
    }

    pub(super) fn add(&mut self, names: impl IntoIterator<Item = String>, is_complete: bool) {
        self.names.extend(names);
        self.is_complete |= is_complete;
    }

    /// Warns of each namespace of `--namespace` that `place` does not have.
    ///
    /// # Errors
    /// If one of them does not exist.
    pub(super) fn check<'n>(&self, named: impl IntoIterator<Item = &'n String>, place: &str) -> anyhow::Result<()> {
        for namespace in self.missing(named) {
            if self.is_complete {
                bail!("--namespace {namespace}: {place} has no such namespace; {}", self.choice());
            }
            self.warn(namespace, place);
        }
        Ok(())
    }

    /// Warns of each namespace of `--namespace` that `place` does not have, even if it does not exist.
    pub(super) fn check_leniently<'n>(&self, named: impl IntoIterator<Item = &'n String>, place: &str) {
        self.missing(named).for_each(|namespace| self.warn(namespace, place));
    }

    fn missing<'n>(&self, named: impl IntoIterator<Item = &'n String>) -> impl Iterator<Item = &'n String> {
        named.into_iter().filter(|namespace| !self.names.contains(*namespace))
    }

    fn warn(&self, namespace: &str, place: &str) {
        output::warn(&format!("--namespace {namespace}: {place} has no object of this namespace; {}", self.choice()));
    }

    fn choice(&self) -> String {
        choice("its namespaces", &self.names)
    }
}

/// What to do about a namespace that is not among these, which `called` are.
pub(super) fn choice(called: &str, names: &BTreeSet<impl Display>) -> String {
    match names.is_empty() {
        true => "check the name".to_owned(),
        false => format!("{called} are {}", output::some(names)),
    }
}
