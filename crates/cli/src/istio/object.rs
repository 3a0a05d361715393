//! An object of Istio's API, and the size that the API server allows it.

use crate::{
    compile::Compiled,
    input::InputError,
    output::yaml::{Comment, Yaml, map, print},
};

/// What an object may have: `--max-request-bytes` of etcd, 1.5 MiB.
pub const MAX_OBJECT_BYTES: usize = 1_572_864;

/// An object as text, and how large the API server's store has it.
#[derive(Clone, Debug)]
pub struct IstioObject {
    /// As YAML.
    pub text: String,
    /// As JSON.
    pub bytes: usize,
}

impl IstioObject {
    /// An object `byname` in this namespace, with a comment above.
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
            let reason = format!("would have {bytes} bytes, and an object may have {MAX_OBJECT_BYTES}");
            let fix =
                "let fewer namespaces be seen with --visible, and leave --endpoints out; or push the table by ECDS";
            return Err(InputError::new(&format!("the {kind}"), reason, fix));
        }
        Ok(Self { text: print(&object), bytes })
    }
}

pub(super) fn namespace(compiled: &Compiled) -> Result<&str, InputError> {
    compiled.wire.caller.namespace.as_deref().ok_or_else(|| {
        InputError::new(
            "the object",
            "is in the namespace of its callers, and that is not said",
            "say --namespace or --pod",
        )
    })
}
