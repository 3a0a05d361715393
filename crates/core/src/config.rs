//! The whole configuration: read and compiled, or refused with every error.
//!
//! [`Config::read`] builds a configuration from pushed JSON. [`Config::resolve`] and then [`Config::plan`] decide a request,
//! and [`Config::local_reply`] words a refusal. This module is the top of the crate: it may use every other module, and no
//! other module may use it. It has no rules of its own for names or for steering.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::mem::swap;

use crate::{
    balance::Ticket,
    discovery::{Discovery, StreamAction},
    limits::MAX_FIRST_READS,
    names::{Caller, may_have_port},
    policy::Modes,
    report::{Decision, LocalReply, trace_line},
    resolve::{self, Refusal, Request, Resolution, Trace, trace::Difference},
    steer::{Chooser, Plan, PlanRequest, Steering},
    table::Table,
    wire::{self, FieldErrors, FirstConfiguration, LeftOut},
};

mod building;
mod caller;
mod destination_port;
mod first;
mod header;
mod observing;
mod reading;
mod services;

pub use caller::Defaults;
pub use destination_port::DestinationPort;
pub use first::ServicesLeftOut;
pub use reading::{ConfigReading, ReadingStep};

use first::BadServices;
use services::ServiceReader;

/// A compiled configuration.
#[derive(Debug)]
pub struct Config {
    /// The pod whose requests are decided.
    pub caller: Caller,
    /// What is known of the cluster.
    pub table: Table,
    /// How requests are steered.
    pub steering: Steering,
    destination_port: Option<DestinationPort>,
    is_passive: bool,
    left_out: LeftOut,
    first_configuration: FirstConfiguration,
    services_left_out: ServicesLeftOut,
    trace_header: Option<Box<str>>,
    trace_response_header: Option<Box<str>>,
    access_log: bool,
    counted_services: usize,
    discovery: Option<Box<Discovery>>,
    /// `None`: no request is observed.
    modes: Option<Box<Modes>>,
}

impl Config {
    /// Reads a configuration, one Service at a time. Owned input is freed before the table is built.
    ///
    /// # Errors
    /// Every error of the configuration. Broken syntax, an unknown field and a value of the wrong type end the reading at once;
    /// errors of meaning are collected.
    #[inline(never)]
    pub fn read(json: impl AsRef<[u8]>, defaults: &Defaults<'_>) -> Result<Self, FieldErrors> {
        let (wire, left_out) = wire::read_configuration(json.as_ref(), &ServiceReader::default)?;
        drop(json);
        Self::unpack(wire, left_out, defaults)
    }

    /// Reads a configuration that [`Config::read`] has `refused`, without the Services that cannot be taken. Each attempt finds more of
    /// them, up to [`MAX_FIRST_READS`]. `is_first` is asked only if the configuration asks for this.
    ///
    /// # Errors
    /// `refused`, if the configuration does not ask for this or is not the first; else every error that is not of a Service.
    #[inline(never)]
    pub fn read_first(
        json: &[u8],
        refused: FieldErrors,
        defaults: &Defaults<'_>,
        is_first: &dyn Fn() -> bool,
    ) -> Result<Self, FieldErrors> {
        let asked = wire::read_header(json).map_or(FirstConfiguration::Refuse, |header| header.first_configuration);
        if asked == FirstConfiguration::Refuse || !is_first() {
            return Err(refused);
        }
        let (mut bad, mut found) = (BadServices::default(), refused);
        for _ in 0..MAX_FIRST_READS {
            if !bad.add(&found) {
                break;
            }
            let read = wire::read_configuration(json, &|| ServiceReader::without(&bad.keys))
                .and_then(|(wire, unknown)| Self::unpack(wire, unknown, defaults));
            match read {
                Ok(config) => return Ok(Self { services_left_out: bad.into_left_out(), ..config }),
                Err(more) => found = more,
            }
        }
        Err(found)
    }

    /// Whether Services may be left out of a first configuration.
    #[must_use]
    pub fn may_leave_out_services(&self) -> bool {
        self.first_configuration == FirstConfiguration::LeaveOut
    }

    /// The Services that were left out of a first configuration.
    #[must_use]
    pub fn services_left_out(&self) -> &ServicesLeftOut {
        &self.services_left_out
    }

    #[inline(never)]
    fn unpack(
        mut wire: wire::Config<ServiceReader>,
        mut left_out: LeftOut,
        defaults: &Defaults<'_>,
    ) -> Result<Self, FieldErrors> {
        let (is_newer, has_services) = (wire.is_newer(), !wire.table.services.is_empty());
        wire::unpack(&mut wire.table, has_services, is_newer.then_some(&mut left_out))?;
        Ok(Self { left_out, ..Self::compile(wire, defaults)? })
    }

    /// Compiles a configuration that is not JSON.
    ///
    /// # Errors
    /// Every error of meaning, as [`Config::read`] collects them.
    pub fn from_wire(mut wire: wire::Config, defaults: &Defaults<'_>) -> Result<Self, FieldErrors> {
        wire.unpack()?;
        let wire::Table { version, single_machine, services, packed } = wire.table;
        let wire = wire::Config {
            version: wire.version,
            minor: wire.minor,
            requires: wire.requires,
            first_configuration: wire.first_configuration,
            mode: wire.mode,
            mode_exceptions: wire.mode_exceptions,
            observe_percent: wire.observe_percent,
            caller: wire.caller,
            dns: wire.dns,
            steering: wire.steering,
            destination_port: wire.destination_port,
            gateways: wire.gateways,
            unknown_names: wire.unknown_names,
            external_names: wire.external_names,
            fallback: wire.fallback,
            trace: wire.trace,
            access_log: wire.access_log,
            stats: wire.stats,
            server: wire.server,
            table: wire::Table { version, single_machine, services: services.into(), packed },
        };
        Self::compile(wire, defaults)
    }

    /// Whether every request is passed on without the control header, because this Envoy is a gateway.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.is_passive
    }

    /// The fields of a newer program that were left out.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// How to find the port that the connection of a request to `authority` was going to. `None` where it is not needed: the
    /// authority has a port, or traffic is not redirected.
    #[must_use]
    pub fn destination_port(&self, authority: &[u8]) -> Option<&DestinationPort> {
        self.destination_port.as_ref().filter(|_| !may_have_port(authority))
    }

    /// The header whose presence asks for a trace.
    #[must_use]
    pub fn trace_header(&self) -> Option<&str> {
        self.trace_header.as_deref()
    }

    /// The header in which the local reply to a traced request shows the trace.
    #[must_use]
    pub fn trace_response_header(&self) -> Option<&str> {
        self.trace_response_header.as_deref()
    }

    /// Whether decisions are kept for the access log.
    #[must_use]
    pub fn access_log(&self) -> bool {
        self.access_log
    }

    /// The number of Services that get a counter of their own.
    #[must_use]
    pub fn counted_services(&self) -> usize {
        self.counted_services
    }

    /// The first half of a decision: what `request` resolves to. Notes every step in `trace`, if given.
    #[must_use]
    pub fn resolve(&self, request: Request<'_>, trace: Option<&mut Trace>) -> Resolution<'_> {
        resolve::resolve(&self.table, &self.caller, request, trace)
    }

    /// The second half of a decision: writes into `plan` what is done to a request with this resolution.
    pub fn plan(
        &self,
        resolution: &Resolution<'_>,
        request: Request<'_>,
        chooser: &mut Chooser<'_>,
        plan: &mut Plan,
        trace: Option<&mut Trace>,
    ) {
        let zone = &self.table.policy().zone;
        let request = PlanRequest { request, zone, identity: self.caller.identity, chooser, trace };
        self.steering.plan(resolution, request, plan);
    }

    /// What the table is filled by, where a server fills it when requests need it.
    #[must_use]
    pub fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_deref()
    }

    /// What the table is filled by, and the table.
    pub fn discover(&mut self) -> Option<(&mut Discovery, &mut Table)> {
        self.discovery.as_deref_mut().map(|discovery| (discovery, &mut self.table))
    }

    /// Asks the server for what a request needs whose reason is [`Reason::Unanswered`]. Returns whether the request may wait; else it has to
    /// be decided as it is. `id` tells the request from others, and `since` is when it began to wait, in milliseconds, if it has waited.
    #[cold]
    #[inline(never)]
    pub fn ask(
        &mut self,
        request: Request<'_>,
        (id, since): (u32, Option<u64>),
        now: u64,
        actions: &mut Vec<StreamAction>,
    ) -> bool {
        let keys = resolve::unanswered_keys(&self.table, &self.caller, request);
        self.discover().is_some_and(|(discovery, table)| discovery.ask(now, (id, since), keys, table, actions))
    }

    /// Goes on from an `earlier` configuration, whose stream has ended: this one knows what that one was told, unless it is for another
    /// namespace, and has the requests decided that wait. That one knows nothing any more; it may go on from this one later. If this one
    /// asks no server, whoever passes the events has to decide them.
    pub fn go_on(&mut self, earlier: &mut Self, now: u64) {
        let is_same = self.caller.namespace() == earlier.caller.namespace();
        if let (Some(discovery), Some(before)) = (&mut self.discovery, &mut earlier.discovery) {
            swap(discovery, before);
            discovery.go_on(before, (&mut earlier.table, is_same), &mut self.table, now);
        }
    }

    /// Records the end of a request that was decided here. `status` is its HTTP status; `None` where the client went away first, or
    /// where the status says nothing of the endpoint. Returns whether the endpoint is ejected for it.
    pub fn done(&self, ticket: Ticket, status: Option<u16>, chooser: &mut Chooser<'_>) -> bool {
        chooser.balance.done(ticket, status, chooser.env, &self.table)
    }

    /// A traced decision as one line of a log.
    #[must_use]
    pub fn trace_line(&self, request: Request<'_>, resolution: &Resolution<'_>, trace: &Trace) -> String {
        trace_line(request, self.caller.namespace(), resolution, trace)
    }

    /// A decision as an access log shows it. `observed` is what would be different, if the request is only observed.
    #[must_use]
    pub fn decision<'p>(
        &self,
        resolution: &Resolution<'_>,
        plan: &'p Plan,
        observed: Option<Difference>,
    ) -> Decision<'p> {
        Decision { reason: resolution.reason(), plan, table_version: self.table.version(), observed }
    }

    /// The local reply to a `request` that was refused. Its words need every step, so the request is resolved once more: only a
    /// refusal pays for its words.
    #[must_use]
    pub fn local_reply(&self, request: Request<'_>, refusal: Refusal) -> LocalReply {
        let (resolution, trace) = self.trace(request);
        debug_assert!(
            matches!(resolution, Resolution::Refuse(again) if again == refusal),
            "a resolution can be repeated"
        );
        LocalReply::new(refusal, request, self.caller.namespace(), &trace)
    }
}
