//! The hand-written part of a configuration, from the file of `--config`.

use std::{collections::BTreeSet, path::Path};

use byname_core::wire;

use crate::{
    input::{self, Field, InputError},
    kubernetes::{Lines, NamespacedName, Sourced},
};

/// A configuration without the fields that come from Kubernetes.
#[derive(Clone, Debug)]
pub struct Base {
    /// The configuration.
    pub config: wire::Config,
    file: Option<Sourced<()>>,
}

impl Default for Base {
    fn default() -> Self {
        Self { config: wire::Config { version: wire::VERSION, ..wire::Config::default() }, file: None }
    }
}

impl Base {
    /// Reads a configuration from a YAML or JSON file in the form that docs/configuration.md describes.
    ///
    /// # Errors
    /// If the file is not a configuration, or sets fields that come from Kubernetes.
    pub fn read(path: &Path) -> Result<Self, InputError> {
        let (node, place) = input::read_document(path)?;
        let config: wire::Config = node.read().map_err(|unreadable| {
            let fix = unreadable.fix().unwrap_or("see docs/configuration.md for the fields");
            InputError::at(&place, unreadable.why, fix)
                .at_line(unreadable.line)
                .with_field(if unreadable.field == "." { "" } else { &*unreadable.field })
        })?;
        let base = Self { config, file: Some(Sourced { object: (), place, lines: Lines::new(&node), version: 0 }) };
        // The program writes what its output requires, so that the filter would not see this.
        let mut required = base.config.requires.iter().enumerate();
        if let Some((index, name)) = required.find(|(_, name)| !wire::FEATURES.contains(&name.as_str())) {
            let reason = format!("{name:?} is a feature that this program does not know");
            return Err(base.problem(
                Field::from(["requires"]).item(index),
                reason,
                "update byname, or remove the feature",
            ));
        }
        if base.config.observe_percent.is_some() && !base.config.may_observe() {
            return Err(base.problem(
                ["observePercent"],
                "has no effect, because no request is observed",
                "set mode to observe, or remove the field",
            ));
        }
        if base.config.table.packed.is_some() {
            return Err(base.problem(
                ["table", "packed"],
                "comes from Kubernetes",
                "keep only alias, subsets and steering of single Services, under table.services",
            ));
        }
        for (key, service) in &base.config.table.services {
            let of_kubernetes = wire::Service {
                alias: None,
                subsets: wire::Service::default().subsets,
                steering: None,
                ..service.clone()
            };
            if of_kubernetes != wire::Service::default() {
                return Err(base.problem(
                    ["table", "services", key],
                    "sets fields that come from Kubernetes",
                    "keep only alias, subsets and steering",
                ));
            }
        }
        Ok(base)
    }

    /// The settings of a configuration that is in use.
    #[must_use]
    pub fn of(config: wire::Config) -> Self {
        Self { config, file: None }
    }

    /// The settings that a compiled configuration has apart from what comes from Kubernetes, and whether its table has endpoints: with
    /// them, other objects give a table that can be compared with it.
    #[must_use]
    pub fn of_configuration(config: &wire::Config) -> (Self, bool) {
        let mut settings = config.clone();
        let has_endpoints = settings.table.services.values().any(|service| service.endpoints.is_some());
        settings.table.services.retain(|_, service| {
            let wire::Service { alias, subsets, steering, .. } = std::mem::take(service);
            *service = wire::Service { alias, subsets, steering, ..wire::Service::default() };
            *service != wire::Service::default()
        });
        (Self::of(settings), has_endpoints)
    }

    /// Whether the file sets this field, such as `["steering", "by"]`.
    #[must_use]
    pub fn says(&self, field: impl Into<Field>) -> bool {
        self.file.as_ref().is_some_and(|file| file.lines.exactly(&field.into()).is_some())
    }

    /// Namespaces with Services whose subsets select pods by label, so that their Pods are needed.
    #[must_use]
    pub fn namespaces_of_labels(&self) -> BTreeSet<String> {
        let services = self.config.table.services.iter();
        let by_labels = services.filter(|(_, service)| service.subsets.iter().any(|(_, one)| !one.labels.is_empty()));
        by_labels.filter_map(|(key, _)| Some(NamespacedName::parse(key)?.namespace)).collect()
    }

    /// An error at a field of the file.
    #[must_use]
    pub fn problem(&self, field: impl Into<Field>, reason: impl Into<String>, fix: impl Into<String>) -> InputError {
        let field = field.into();
        match &self.file {
            Some(file) => InputError::at(&file.place, reason, fix).at_line(file.line(&field)).with_field(field),
            None => InputError::new("the configuration", reason, fix).with_field(field),
        }
    }
}
