//! A filter that does nothing, written like the SDK's examples and shipped as compiled: it exports every callback of
//! the SDK, and Envoy calls each one.

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

/// The entry point of the module. The macro writes a public function without docs, hence the module around it.
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root));
    }}
}
