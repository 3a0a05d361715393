//! The whole configuration, read and compiled: whole, or refused with every reason.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};
use core::{net::IpAddr, str::FromStr};

use serde::Deserialize;

use crate::{
    answer::Answer,
    balance::Ticket,
    caller::{Caller, Whereabouts},
    decision::Decision,
    fallback,
    header::check_header,
    limits::{
        MAX_COUNTED_SERVICES, MAX_NDOTS, MAX_SEARCH_DOMAINS, MAX_SERVICES, MAX_SHOWN_AUTHORITY_BYTES, MAX_ZONE_BYTES,
    },
    name::{Name, is_label},
    pieces::Pieces,
    plan::{Chooser, Plan},
    policy::Policy,
    problem::{Fault, Place, Problems},
    read::{Form, Map, Read},
    rendezvous,
    resolve::{Request, Resolution},
    search::{Domain, Resolver, SearchPath},
    service::Service,
    steer::{Asked, Steering},
    syntax,
    table::Table,
    trace::{Trace, shown},
    walk::Walk,
    wire,
};

/// A configuration that can be asked.
#[derive(Debug)]
pub struct Config {
    /// Who asks.
    pub caller: Caller,
    /// What is known of the cluster.
    pub table: Table,
    /// How requests are steered.
    pub steering: Steering,
    trace_header: Option<Box<str>>,
    trace_response_header: Option<Box<str>>,
    access_log: bool,
    counted_services: usize,
}

/// What the surroundings say where the configuration does not.
#[derive(Clone, Debug, Default)]
pub struct Defaults<'a> {
    /// The caller's namespace.
    pub namespace: Option<&'a str>,
    /// The caller's zone.
    pub zone: Option<&'a str>,
    /// What tells this Envoy from all others: the node's id.
    pub id: Option<&'a str>,
}

impl Config {
    /// Reads a configuration, one Service at a time. Where it owns the text, the table takes the memory of that when it was
    /// read.
    ///
    /// # Errors
    /// All that is wrong with it. Broken syntax, a field that is not known and a value of the wrong form end the reading
    /// at once; errors of meaning are collected.
    #[inline(never)]
    pub fn read(json: impl AsRef<[u8]>, defaults: &Defaults<'_>) -> Result<Self, Problems> {
        let text = json.as_ref();
        let mut reader = serde_json::Deserializer::from_slice(text);
        let wire = wire::Config::deserialize(&mut reader).and_then(|wire| reader.end().map(|()| wire));
        let wire = wire.map_err(|error| Problems::from(syntax::locate(&error, text)))?;
        drop(json);
        Self::compile(wire, defaults)
    }

    /// [`Config::read`] of a text.
    ///
    /// # Errors
    /// Those of [`Config::read`].
    pub fn from_json(json: &str, defaults: &Defaults<'_>) -> Result<Self, Problems> {
        Self::read(json, defaults)
    }

    #[inline(never)]
    fn compile(mut wire: wire::Config<Services>, defaults: &Defaults<'_>) -> Result<Self, Problems> {
        let mut problems = core::mem::take(&mut wire.table.services.problems);
        if wire.version != wire::VERSION {
            problems.add(&Place::root("version"), wire.version, Fault::Version);
        }
        let zone = compile_zone(&wire.dns.cluster_domain, &mut problems);
        let caller = compile_caller(&wire, &zone, defaults, &mut problems);
        let steering = Steering::compile(&wire.steering, &mut problems);
        let mut compile_trace_header = |field, name: &Option<String>| {
            let trace = Place::root("trace");
            let at = trace.field(field);
            name.as_deref().map(|name| {
                check_header(name, &at, &mut problems);
                if name == wire.steering.control_header {
                    problems.add(&at, name, Fault::SameHeader);
                }
                Box::from(name)
            })
        };
        let trace_header = compile_trace_header("requestHeader", &wire.trace.request_header);
        let trace_response_header = compile_trace_header("responseHeader", &wire.trace.response_header);
        let counted_services = usize::try_from(wire.stats.services).unwrap_or(usize::MAX);
        if counted_services > MAX_COUNTED_SERVICES {
            let stats = Place::root("stats");
            problems.add(&stats.field("services"), counted_services, Fault::TooMany(MAX_COUNTED_SERVICES));
        }
        let there = Whereabouts { node: caller.node.clone(), zone: caller.zone.clone() };
        let policy = Policy::compile(&wire, zone, there, &mut problems);
        let table = Table::of(wire.table.version, policy, wire.table.services.compiled, &mut problems);
        let access_log = wire.access_log;
        problems.or(Self { caller, table, steering, trace_header, trace_response_header, access_log, counted_services })
    }

    /// The header whose presence asks for a trace.
    #[must_use]
    pub fn trace_header(&self) -> Option<&str> {
        self.trace_header.as_deref()
    }

    /// The header in which a traced request's answer shows the trace.
    #[must_use]
    pub fn trace_response_header(&self) -> Option<&str> {
        self.trace_response_header.as_deref()
    }

    /// Whether decisions are kept for the access log.
    #[must_use]
    pub fn access_log(&self) -> bool {
        self.access_log
    }

    /// How many Services get a counter of their own.
    #[must_use]
    pub fn counted_services(&self) -> usize {
        self.counted_services
    }

    /// What `request` means, and into `plan` what is done to it. What has to be chosen is chosen with `chooser`.
    pub fn decide(&self, request: Request<'_>, chooser: &mut Chooser<'_>, plan: &mut Plan) -> Resolution<'_> {
        let resolution = self.resolve(request, None);
        self.plan(&resolution, request, chooser, plan, None);
        resolution
    }

    /// [`Config::decide`], with every step.
    pub fn decide_traced(
        &self,
        request: Request<'_>,
        chooser: &mut Chooser<'_>,
        plan: &mut Plan,
    ) -> (Resolution<'_>, Trace) {
        let mut trace = Trace::new(self.table.version());
        let resolution = self.resolve(request, Some(&mut trace));
        self.plan(&resolution, request, chooser, plan, Some(&mut trace));
        (resolution, trace)
    }

    /// The first half of a decision: what `request` means. Its steps are noted in `trace`.
    #[must_use]
    pub fn resolve(&self, request: Request<'_>, trace: Option<&mut Trace>) -> Resolution<'_> {
        Walk::new(&self.table, &self.caller, trace).resolve(request)
    }

    /// The second half: into `plan` what is done to a request with this `resolution`.
    pub fn plan(
        &self,
        resolution: &Resolution<'_>,
        request: Request<'_>,
        chooser: &mut Chooser<'_>,
        plan: &mut Plan,
        trace: Option<&mut Trace>,
    ) {
        let asked = Asked { request, zone: &self.table.policy().zone, identity: self.caller.identity };
        self.steering.plan(resolution, asked, chooser, plan, trace);
    }

    /// A request that was decided here is over, with this HTTP status; `None`: its client went away first, or it says nothing
    /// of the endpoint. Says whether the endpoint is ejected for it.
    pub fn done(&self, ticket: Ticket, status: Option<u16>, chooser: &mut Chooser<'_>) -> bool {
        chooser
            .balance
            .done(ticket, status, chooser.ambient, &|balance, now| self.table.ejected_beside(&ticket, balance, now))
    }

    /// A traced decision as a line of log: what was asked, by whom, what came of it and every step.
    #[must_use]
    pub fn log_line(&self, request: Request<'_>, resolution: &Resolution<'_>, trace: &Trace) -> String {
        let asked = shown(request.authority, MAX_SHOWN_AUTHORITY_BYTES);
        let namespace = self.caller.namespace();
        format!("byname: \"{asked}\" from namespace {namespace}: {}: {trace}", resolution.reason())
    }

    /// What was decided, for an access log.
    #[must_use]
    pub fn decision<'p>(&self, resolution: &Resolution<'_>, plan: &'p Plan) -> Decision<'p> {
        Decision { reason: resolution.reason(), plan, table_version: self.table.version() }
    }

    /// What a refused `request` is answered; `None` where it is not refused. It walks the whole way once more for its
    /// words, which a request that is steered never pays for.
    #[must_use]
    pub fn answer(&self, request: Request<'_>) -> Option<Answer> {
        let mut trace = Trace::new(self.table.version());
        match self.resolve(request, Some(&mut trace)) {
            Resolution::Refuse(reason) => Some(Answer::new(reason, request, self.caller.namespace(), &trace)),
            Resolution::Route(_) | Resolution::Pass(_) => None,
        }
    }
}

/// The Services of a table, each compiled as soon as it is read, so that no two are held in their wire form at once.
#[derive(Default)]
struct Services {
    /// The one that is being read, and what it is called.
    current: wire::Service,
    key: String,
    compiled: Pieces<Service>,
    problems: Problems,
}

impl Read for Services {
    fn expected(&self) -> &'static str {
        "an object of Services by \"namespace/name\""
    }

    fn form(&mut self) -> Form<'_> {
        Form::Map(self)
    }
}

impl Map for Services {
    fn value(&mut self, key: &str) -> Option<&mut dyn Read> {
        key.clone_into(&mut self.key);
        self.current = wire::Service::default();
        Some(&mut self.current)
    }

    fn has_read(&mut self) {
        match Service::compile(&self.key, &self.current) {
            Ok(_) if self.compiled.len() >= MAX_SERVICES => {
                let at = Place::root("table");
                self.problems.add(&at.field("services"), &self.key, Fault::TooMany(MAX_SERVICES));
            }
            Ok(service) => self.compiled.push(service),
            Err(problems) => self.problems.append(problems),
        }
    }
}

/// A domain in canonical form.
#[inline(never)]
fn compile_domain(text: &str, at: &Place<'_>, problems: &mut Problems) -> Box<str> {
    match Name::parse_absolute(text) {
        Ok(name) => name.as_str().into(),
        Err(_) => {
            problems.add(at, text, Fault::Name);
            Box::default()
        }
    }
}

#[inline(never)]
fn compile_zone(text: &str, problems: &mut Problems) -> Box<str> {
    let dns = Place::root("dns");
    let at = dns.field("clusterDomain");
    let zone = compile_domain(text, &at, problems);
    if zone.len() > MAX_ZONE_BYTES {
        problems.add(&at, zone.len(), Fault::TooMany(MAX_ZONE_BYTES));
    }
    if Name::parse(zone.as_bytes()).is_ok_and(|name| name.looks_like_ipv4()) {
        problems.add(&at, text, Fault::LooksLikeIpv4);
    }
    zone
}

#[inline(never)]
fn compile_caller(
    config: &wire::Config<Services>,
    zone: &str,
    defaults: &Defaults<'_>,
    problems: &mut Problems,
) -> Caller {
    let at = Place::root("caller");
    let wire = &config.caller;
    let namespace = wire.namespace.as_deref().or(defaults.namespace).unwrap_or_default();
    let in_namespace = at.field("namespace");
    if namespace.is_empty() {
        problems.add(&in_namespace, "", Fault::NoNamespace);
    } else if !is_label(namespace) {
        problems.add(&in_namespace, namespace, Fault::Label);
    }
    let pod_ip = wire.pod_ip.as_deref().and_then(|text| match IpAddr::from_str(text) {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => {
            problems.add(&at.field("podIP"), text, Fault::Address);
            None
        }
    });
    let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(Box::from);
    Caller {
        namespace: namespace.into(),
        zone: known(wire.zone.as_deref().or(defaults.zone)),
        node: known(wire.node.as_deref()),
        pod_ip,
        search: compile_search(&config.dns, namespace, zone, problems),
        baseline: fallback::baseline(&config.fallback, namespace, zone, problems),
        identity: match (pod_ip, defaults.id) {
            (Some(address), _) => Some(rendezvous::score_of(0, address, 0)),
            (None, Some(id)) if !id.is_empty() => Some(rendezvous::hash(id.as_bytes())),
            _ => None,
        },
    }
}

#[inline(never)]
fn compile_search(dns: &wire::Dns, namespace: &str, zone: &str, problems: &mut Problems) -> SearchPath {
    let at = Place::root("dns");
    if dns.ndots > MAX_NDOTS {
        problems.add(&at.field("ndots"), dns.ndots, Fault::TooMany(usize::from(MAX_NDOTS)));
    }
    let mut suffixes: Vec<Box<str>> = Vec::new();
    let mut add = |texts: &[String], at: &Place<'_>| {
        for (index, text) in texts.iter().enumerate() {
            suffixes.push(match text.as_str() {
                "." => Box::default(),
                text => compile_domain(text, &at.index(index), problems),
            });
        }
    };
    let defaults = [format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), String::from(zone)];
    match &dns.searches {
        Some(searches) => add(searches, &at.field("searches")),
        // Made of parts that are checked where they stand.
        None if is_label(namespace) && !zone.is_empty() => add(&defaults, &at),
        None => {}
    }
    add(&dns.extra_searches, &at.field("extraSearches"));
    if suffixes.len() > MAX_SEARCH_DOMAINS {
        problems.add(&at.field("searches"), suffixes.len(), Fault::TooMany(MAX_SEARCH_DOMAINS));
    }
    let resolver = match dns.resolver {
        wire::Resolver::Glibc => Resolver::Glibc,
        wire::Resolver::Musl => Resolver::Musl,
    };
    let domains = suffixes.iter().map(|suffix| Domain::new(suffix, zone)).collect();
    SearchPath::new(domains, dns.ndots, resolver)
}
