//! Workloads: objects that hold a template from which controllers create pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{self, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Deserialize;

use super::{
    Owner, Pod,
    metadata::{GENERATED, is_of_api},
};
use crate::input::Field;

/// A Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob or Rollout of Argo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name, without its namespace.
    pub name: String,
    /// A pod of the template, with the workload as its owner.
    pub pod: Pod,
    /// `spec.replicas`.
    pub replicas: Option<i32>,
    /// Whether the object was read from an API server, which lists the workload's pods too.
    pub is_of_api: bool,
    /// Whether another workload created it, as a Deployment creates ReplicaSets.
    pub has_owner: bool,
}

/// The label that a StatefulSet adds to each pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// The kind of a workload; `None` for other kinds.
pub(super) fn kind(group: &str, kind: &str) -> Option<&'static str> {
    const KINDS: &[(&str, &str)] = &[
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("argoproj.io", "Rollout"),
    ];
    KINDS.iter().find(|known| **known == (group, kind)).map(|(_, kind)| *kind)
}

impl Workload {
    /// The path of a field of the pod template's `spec`.
    #[must_use]
    pub fn pod_field(&self, name: &str) -> Field {
        let around: &[&str] = if self.kind == "CronJob" { &["spec", "jobTemplate"] } else { &[] };
        let template = around.iter().fold(Field::default(), |field, name| field.field(name));
        template.field("spec").field("template").field("spec").field(name)
    }

    /// Whether its pods have every label of a selector: the labels of the template, and those that its controller adds.
    #[must_use]
    pub fn matches(&self, selector: &BTreeMap<String, String>) -> bool {
        selector.iter().all(|(key, value)| self.has_label(key, value))
    }

    /// Whether its pods have a label: in the template, or added by its controller.
    #[must_use]
    pub fn has_label(&self, key: &str, value: &str) -> bool {
        self.pod.labels.get(key).is_some_and(|own| own == value) || self.adds_label(key, value)
    }

    /// The value of a label of its pods; for the label of one pod, the value with the ordinal of `wanted`.
    #[must_use]
    pub fn label(&self, key: &str, wanted: &str) -> Option<String> {
        match (self.kind, key) {
            ("StatefulSet", POD_NAME) => wanted.rsplit_once('-').map(|(_, ordinal)| format!("{}-{ordinal}", self.name)),
            _ => self.pod.labels.get(key).cloned(),
        }
    }

    /// Whether its pods run to an end, so that they do not serve.
    #[must_use]
    pub fn runs_to_end(&self) -> bool {
        matches!(self.kind, "Job" | "CronJob")
    }

    /// Whether this is the workload's name, or may become it.
    fn may_be_called(&self, name: &str) -> bool {
        match self.name.split_once(GENERATED) {
            Some((beginning, _)) => name.starts_with(beginning),
            None => name == self.name,
        }
    }

    /// Whether its controller may add this label to a pod.
    fn adds_label(&self, key: &str, value: &str) -> bool {
        let is_ordinal = |text: &str| text.parse::<u32>().is_ok();
        match (self.kind, key) {
            ("StatefulSet", POD_NAME) => {
                value.rsplit_once('-').is_some_and(|(name, ordinal)| self.may_be_called(name) && is_ordinal(ordinal))
            }
            ("StatefulSet", "apps.kubernetes.io/pod-index") => is_ordinal(value),
            ("Job", "batch.kubernetes.io/job-name" | "job-name") => self.may_be_called(value),
            // A CronJob names its Jobs after itself and the time.
            ("CronJob", "batch.kubernetes.io/job-name" | "job-name") => {
                value.match_indices('-').any(|(end, _)| value.get(..end).is_some_and(|name| self.may_be_called(name)))
            }
            ("Job" | "CronJob", "batch.kubernetes.io/controller-uid" | "controller-uid")
            | ("Job" | "CronJob", "batch.kubernetes.io/job-completion-index")
            | ("Deployment" | "ReplicaSet", "pod-template-hash")
            | ("Rollout", "rollouts-pod-template-hash")
            | ("StatefulSet" | "DaemonSet", "controller-revision-hash")
            | ("DaemonSet", "pod-template-generation") => true,
            _ => false,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WorkloadObject {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: WorkloadSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkloadSpec {
    replicas: Option<i32>,
    template: Option<PodTemplateSpec>,
    job_template: Option<JobTemplate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: Option<PodTemplateSpec>,
}

impl WorkloadObject {
    /// The workload; `None` if it has no template, as a Rollout that refers to a Deployment.
    pub(super) fn into_workload(self, kind: &'static str) -> Option<Workload> {
        let is_of_api = is_of_api(&self.metadata);
        let name = self.metadata.name.unwrap_or_default();
        let has_owner = self.metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
        let template = self.spec.template.or(self.spec.job_template.and_then(|job| job.spec.template))?;
        let pod = v1::Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
        let owner = Some(Owner { kind: kind.to_owned(), name: name.clone() });
        let pod = Pod { owner, ..Pod::of(pod) };
        Some(Workload { kind, name, pod, replicas: self.spec.replicas, is_of_api, has_owner })
    }
}
