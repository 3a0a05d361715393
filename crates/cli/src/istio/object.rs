//! An object of Istio's API, and the API server's limit on its size.

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

impl IstioObject {
    /// Builds an object named `byname` in this namespace, with a comment at its start.
    pub(super) fn new(
        (api_version, kind): (&'static str, &'static str),
        comment: Comment,
        namespace: &str,
        spec: Yaml,
    ) -> Result<Self, InputError> {
        let object = map! {
            "apiVersion": Yaml::commented(comment, api_version),
            "kind": kind,
            "metadata": map! { "name": "byname", "namespace": namespace.to_owned() },
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

pub(super) fn namespace(compiled: &Compiled) -> Result<&str, InputError> {
    compiled.wire.caller.namespace.as_deref().ok_or_else(|| {
        InputError::new(
            "the object",
            "needs the namespace of its clients, and none is given",
            "pass --namespace or --pod",
        )
    })
}
