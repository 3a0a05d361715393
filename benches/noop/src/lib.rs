//! A filter that does nothing, written as the SDK's examples are and shipped as the compiler leaves it: every callback of
//! the SDK is exported, and Envoy calls each one.

use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(NoopStream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct NoopStream;

impl Context for NoopStream {}

impl HttpContext for NoopStream {}

/// What the host calls first. The macro writes a public function without docs, so it stands in a module of its own.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root));
    }}
}
