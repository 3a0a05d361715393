//! A small proxy-wasm host for what no client can send and no Envoy would do: any status from any host function,
//! malformed header maps, and configuration buffers that shrink. It records every call and counts fuel, the
//! interpreter's measure of work, which is the same on every machine.
//!
//! Envoy's real behaviour is tested in Envoy.

use std::{fmt, sync::OnceLock};

use anyhow::{Context, Result, anyhow};
use wasmi::{Config, Engine, Instance, Memory, Module, Store, WasmParams, WasmResults};

use crate::{
    envoy::module,
    host_functions::linker,
    host_state::{HostState, NANOSECONDS},
};

/// Enough for any single call into the module. An endless loop runs out of fuel.
const FUEL: u64 = 100_000_000_000;

/// A VM with the shipped module.
pub struct SmallHost {
    store: Store<HostState>,
    instance: Instance,
    memory: Memory,
}

/// The module's decision about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The stream continues.
    Continue,
    /// The stream stops: the module has sent a local reply, or waits for a server.
    Pause,
}

impl SmallHost {
    /// Creates a VM for a plugin that is called `byname`.
    ///
    /// # Errors
    /// If the module is not built or does not start.
    pub fn new() -> Result<Self> {
        static COMPILED: OnceLock<std::result::Result<(Engine, Module), String>> = OnceLock::new();
        let compiled = COMPILED.get_or_init(|| {
            let engine = Engine::new(Config::default().consume_fuel(true));
            let module = module().and_then(|bytes| Ok(Module::new(&engine, bytes)?));
            module.map(|module| (engine, module)).map_err(|error| format!("{error:#}"))
        });
        let (engine, module) = compiled.as_ref().map_err(|error| anyhow!("{error}"))?;
        Self::start(engine, module)
    }

    /// Creates a VM with another module than the shipped one.
    ///
    /// # Errors
    /// If the module is invalid or does not start.
    pub fn of(module: &[u8]) -> Result<Self> {
        let engine = Engine::new(Config::default().consume_fuel(true));
        let module = Module::new(&engine, module)?;
        Self::start(&engine, &module)
    }

    fn start(engine: &Engine, module: &Module) -> Result<Self> {
        let mut state = HostState::default();
        state.properties.insert("plugin_name".to_owned(), b"byname".to_vec());
        let mut store = Store::new(engine, state);
        store.set_fuel(FUEL)?;
        let instance = linker(engine)?.instantiate_and_start(&mut store, module)?;
        let memory = instance.get_memory(&store, "memory").context("the module exports no memory")?;
        let mut host = Self { store, instance, memory };
        host.call::<(), ()>("_initialize", ())?;
        Ok(host)
    }

    /// The state of the host.
    #[must_use]
    pub fn state(&self) -> &HostState {
        self.store.data()
    }

    /// The state of the host, for changes.
    pub fn state_mut(&mut self) -> &mut HostState {
        self.store.data_mut()
    }

    /// Configures a new root context, as Envoy does at a configuration push. Returns whether the module
    /// accepts it.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn configure(&mut self, root: u32, configuration: &str) -> Result<bool> {
        self.state_mut().configuration = configuration.into();
        let bytes = u32::try_from(configuration.len())?;
        self.configure_with_length(root, bytes)
    }

    /// [`SmallHost::configure`] with the configuration of the state, and this length announced to the module.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn configure_with_length(&mut self, root: u32, bytes: u32) -> Result<bool> {
        self.state_mut().effective = root;
        Ok(self.call::<_, u32>("proxy_on_configure", (root, bytes))? != 0)
    }

    /// Creates the context of a stream in a root context.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn create(&mut self, stream: u32, root: u32) -> Result<()> {
        self.state_mut().effective = stream;
        self.call("proxy_on_context_create", (stream, root))
    }

    /// Calls a root context as a timer does.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn tick(&mut self, root: u32) -> Result<()> {
        self.state_mut().effective = root;
        self.call("proxy_on_tick", root)
    }

    /// Lets time pass, with the ticks of the timers that run. A timer whose root context was deleted runs on, and calls nobody.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn pass(&mut self, milliseconds: u64) -> Result<()> {
        let end = self.state().now + milliseconds * NANOSECONDS;
        loop {
            let next =
                self.state().timers.iter().map(|(root, (_, at))| (*at, *root)).min().filter(|(at, _)| *at <= end);
            let Some((at, root)) = next else { break };
            let state = self.state_mut();
            state.now = state.now.max(at);
            if let Some((period, next)) = state.timers.get_mut(&root) {
                *next += u64::from(*period) * NANOSECONDS;
            }
            if !self.state().deleted.contains(&root) {
                self.tick(root)?;
            }
        }
        self.state_mut().now = end;
        Ok(())
    }

    /// Passes the request headers to the module.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn request_headers(&mut self, stream: u32, headers: &[(&str, &[u8])]) -> Result<Action> {
        self.state_mut().headers =
            headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        let count = u32::try_from(headers.len())?;
        self.state_mut().effective = stream;
        let action = self.call::<_, u32>("proxy_on_request_headers", (stream, count, 1_u32))?;
        if action == 0 {
            return Ok(Action::Continue);
        }
        let headers = self.state().headers.clone();
        self.state_mut().paused.insert(stream, headers);
        Ok(Action::Pause)
    }

    /// Ends a context.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn delete(&mut self, context: u32) -> Result<()> {
        self.state_mut().effective = context;
        self.call::<_, ()>("proxy_on_delete", context)?;
        let state = self.state_mut();
        state.paused.remove(&context);
        state.deleted.insert(context);
        Ok(())
    }

    /// Passes a message of the stream `token` of a root context to the module.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn grpc_receive(&mut self, root: u32, token: u32, message: &[u8]) -> Result<()> {
        let state = self.state_mut();
        (state.effective, state.grpc_message) = (root, message.to_vec());
        let bytes = u32::try_from(message.len())?;
        self.call("proxy_on_grpc_receive", (root, token, bytes))
    }

    /// Ends the stream `token` of a root context with a gRPC status.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn grpc_close(&mut self, root: u32, token: u32, status: u32) -> Result<()> {
        self.state_mut().effective = root;
        self.call("proxy_on_grpc_close", (root, token, status))
    }

    /// Runs a whole stream: sends a request for `authority` over `http`, and ends it.
    ///
    /// # Errors
    /// If the module crashes.
    pub fn ask(&mut self, stream: u32, authority: &[u8]) -> Result<Action> {
        let headers: [(&str, &[u8]); 4] =
            [(":authority", authority), (":path", b"/"), (":method", b"GET"), (":scheme", b"http")];
        let action = self.request_headers(stream, &headers)?;
        self.delete(stream)?;
        Ok(action)
    }

    /// Pages of linear memory, each of 64 kB.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.memory.size(&self.store)
    }

    /// The fuel that the module has used since the last call.
    ///
    /// # Errors
    /// If the interpreter does not count fuel.
    pub fn take_fuel(&mut self) -> Result<u64> {
        let used = FUEL - self.store.get_fuel()?;
        self.store.set_fuel(FUEL)?;
        Ok(used)
    }

    /// The value of a 64-bit integer that the module exports.
    ///
    /// # Errors
    /// If it exports none of this name.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let global = self.instance.get_global(&self.store, name).with_context(|| format!("no global {name}"))?;
        let value = global.get(&self.store).i64().with_context(|| format!("{name} is no 64-bit integer"))?;
        Ok(value.cast_unsigned())
    }

    fn call<P: WasmParams + Copy + fmt::Debug, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&self.store, name)?;
        function.call(&mut self.store, parameters).map_err(|error| anyhow!("{name}{parameters:?} crashed: {error}"))
    }
}
