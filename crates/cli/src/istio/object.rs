//! An object of Istio's API: where it is put, which pods it is for, and the API server's limit on its size.

use std::collections::BTreeMap;

use crate::{
    compile::Compiled,
    input::InputError,
    output::yaml::{Comment, Yaml, map, print},
};

/// The size limit of an object in bytes: `--max-request-bytes` of etcd, 1.5 MiB.
pub const MAX_OBJECT_BYTES: usize = 1_572_864;

/// An object as text, and its size in the API server's store.
#[derive(Clone, Debug)]
pub struct IstioObject {
    /// The object as YAML.
    pub text: String,
    /// The size of the object as JSON, in bytes.
    pub bytes: usize,
}

/// The sidecars that an object is for.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The mesh's root namespace. An object there is for every namespace: each sidecar knows its own.
    pub root_namespace: String,
    /// The labels of the pods; empty for all pods.
    pub selector: BTreeMap<String, String>,
    /// The revision of the control plane; `None` for every one.
    pub revision: Option<String>,
}

impl Placement {
    /// The namespace of an object with `compiled`: its caller's, or the root namespace.
    pub(super) fn namespace<'p>(&'p self, compiled: &'p Compiled) -> &'p str {
        compiled.wire.caller.namespace.as_deref().unwrap_or(&self.root_namespace)
    }

    /// The selector in the field that has this name; nothing for all pods.
    pub(super) fn selector(&self, field: &'static str) -> Yaml {
        let labels: Vec<_> =
            self.selector.iter().map(|(key, value)| (key.clone().into(), Yaml::from(value.clone()))).collect();
        match labels.is_empty() {
            true => Yaml::Null,
            false => Yaml::Map(vec![(field.into(), Yaml::Map(labels))]),
        }
    }
}

impl IstioObject {
    /// Builds an object named `byname`, with a comment at its start.
    pub(super) fn new(
        (api_version, kind): (&'static str, &'static str),
        comment: Comment,
        compiled: &Compiled,
        placement: &Placement,
        spec: Yaml,
    ) -> Result<Self, InputError> {
        let revision = placement.revision.clone().map(|revision| map! { "istio.io/rev": revision });
        let object = map! {
            "apiVersion": Yaml::commented(comment, api_version),
            "kind": kind,
            "metadata": map! {
                "name": "byname",
                "namespace": placement.namespace(compiled).to_owned(),
                "labels": revision,
            },
            "spec": spec,
        };
        let bytes = object.json().to_string().len();
        if bytes > MAX_OBJECT_BYTES {
            let reason = format!("would have {bytes} bytes, and the limit is {MAX_OBJECT_BYTES}");
            let fix = "limit the namespaces with --visible and leave out --endpoints, or push the table by ECDS";
            return Err(InputError::new(&format!("the {kind}"), reason, fix));
        }
        Ok(Self { text: print(&object), bytes })
    }
}
