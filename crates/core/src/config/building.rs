//! A configuration that is being compiled: all but the table at once, then the Services one by one.

use core::mem::take;

use alloc::{boxed::Box, string::String};

use super::{
    Config, Defaults, DestinationPort, ServicesLeftOut,
    caller::{compile_caller, compile_zone},
    header::compile_header,
    services::ServiceReader,
};
use crate::{
    discovery::Discovery,
    limits::MAX_COUNTED_SERVICES,
    names::Locality,
    policy::{Modes, Policy},
    steer::Steering,
    table::{ServiceSpec, Table},
    wire::{self, ExternalNamesMode, FieldErrorType, FieldErrors, FieldPathRef, Gateways, LeftOut},
};

/// The beginnings of the ids that Istio gives to its gateways; those of sidecars begin with `sidecar~`.
const GATEWAY_IDS: [&str; 2] = ["router~", "waypoint~"];

pub(super) struct Building {
    config: Config,
    errors: FieldErrors,
}

impl Building {
    /// Compiles everything but the table, which gets room for this many Services.
    #[inline(never)]
    pub(super) fn begin(mut wire: wire::Config<ServiceReader>, services: usize, defaults: &Defaults<'_>) -> Self {
        let mut errors = take(&mut wire.table.services.errors);
        if wire.version != wire::VERSION {
            errors.add(&FieldPathRef::root("version"), wire.version, FieldErrorType::UnsupportedVersion);
        }
        wire.check_requires(&mut errors);
        let is_gateway = defaults.id.is_some_and(|id| GATEWAY_IDS.iter().any(|prefix| id.starts_with(prefix)));
        let is_passive = is_gateway && wire.gateways == Gateways::Pass;
        if is_gateway {
            // Whoever asks a gateway would reach by an alias what only the gateway may reach (CVE-2021-25740).
            wire.external_names.mode.get_or_insert(ExternalNamesMode::Listed);
        }
        let zone = compile_zone(&wire.dns.cluster_domain, &mut errors);
        let caller = compile_caller(&wire, &zone, defaults, &mut errors);
        let steering = Steering::compile(&wire.steering, &mut errors);
        // Clients connect to a gateway itself.
        let destination_port = DestinationPort::compile(&wire, &mut errors).filter(|_| !is_gateway);
        let mut compile_trace_header = |field, name: &Option<String>| {
            let trace = FieldPathRef::root("trace");
            name.as_deref().map(|name| compile_header(name, &trace.field(field), &wire, &mut errors))
        };
        let trace_header = compile_trace_header("requestHeader", &wire.trace.request_header);
        let trace_response_header = compile_trace_header("responseHeader", &wire.trace.response_header);
        let counted_services = usize::try_from(wire.stats.services).unwrap_or(usize::MAX);
        if wire.stats.services > MAX_COUNTED_SERVICES {
            let stats = FieldPathRef::root("stats");
            errors.add(&stats.field("services"), wire.stats.services, FieldErrorType::TooLarge(MAX_COUNTED_SERVICES));
        }
        let modes = Modes::compile(&mut wire, &mut errors);
        let locality = Locality { node: caller.node.clone(), zone: caller.zone.clone() };
        let policy = Policy::compile(&wire, zone, locality, &mut errors);
        let room = if is_passive { 0 } else { services };
        let config = Config {
            caller,
            table: Table::with_room(wire.table.version, policy, room),
            steering,
            destination_port,
            is_passive,
            left_out: LeftOut::default(),
            first_configuration: wire.first_configuration,
            services_left_out: ServicesLeftOut::default(),
            trace_header,
            trace_response_header,
            access_log: wire.access_log,
            counted_services,
            discovery: None,
            modes,
        };
        let mut building = Self { config, errors };
        building.begin_discovery(wire.server.as_ref());
        building
    }

    /// A server fills the table when requests need it. A gateway that passes everything on needs none.
    fn begin_discovery(&mut self, server: Option<&wire::Server>) {
        if let Some(server) = server {
            let discovery = Discovery::compile(server, &mut self.errors);
            if !self.config.is_passive {
                self.config.table.fill_on_demand();
                self.config.discovery = Some(Box::new(discovery));
            }
        }
    }

    /// Puts a Service into the table. A gateway that passes everything on needs none.
    pub(super) fn add(&mut self, spec: ServiceSpec) {
        if !self.config.is_passive {
            self.config.table.add(spec, &mut self.errors);
        }
    }

    /// The whole configuration.
    ///
    /// # Errors
    /// All errors of its meaning.
    pub(super) fn finish(self) -> Result<Config, FieldErrors> {
        self.errors.or(self.config)
    }
}

impl Config {
    /// Compiles a configuration as a whole.
    pub(super) fn compile(mut wire: wire::Config<ServiceReader>, defaults: &Defaults<'_>) -> Result<Self, FieldErrors> {
        let specs = take(&mut wire.table.services.specs);
        let mut building = Building::begin(wire, specs.len(), defaults);
        specs.into_iter().for_each(|spec| building.add(spec));
        building.finish()
    }
}
