//! Rules that hold for every request with every valid configuration.

use std::net::SocketAddr;

use byname_core::{
    Authority, Balance, Chooser, Config, Destination, FakeEnv, Host, LocalReply, Plan, Reason, Request, Resolution,
    Route, Service, limits::MAX_NAME_BYTES,
};

use crate::fixture::{decide, decide_traced, decide_with};

/// The longest local reply lists the longest possible candidates of a search list; a trace adds ten aliases.
const MAX_LINE_BYTES: usize = 64 * (MAX_NAME_BYTES + 64);

/// The outcome of a request, in a form that can be compared with other outcomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    reason: Reason,
    routed: Option<(String, u16)>,
    cluster: Option<String>,
    authority: Option<String>,
    dynamic_host: Option<(String, u16)>,
    endpoint: Option<String>,
}

/// Decides `request`, checks the rules for a single decision, and returns the decision. `used` is the plan of an earlier request.
pub(crate) fn decided(config: &Config, zone: &str, request: Request<'_>, used: &mut Plan) -> Decided {
    let mut plan = Plan::default();
    let resolution = decide(config, request, &mut plan);
    let decided = Decided::new(&resolution, &plan, zone);
    check_plan(&plan);
    match &resolution {
        Resolution::Route(route) => check_route(config, zone, request, route),
        Resolution::Pass(pass) => {
            assert_eq!(plan.dynamic_host(), None, "a passed request is not routed");
            assert!(plan.authority().is_none() || pass.target.is_some(), "only an alias's target has another name");
        }
        Resolution::Refuse(_) => assert_eq!(
            (plan.cluster(), plan.authority()),
            (None, None),
            "a refused request has no cluster and no authority"
        ),
    }

    let (traced, trace) = decide_traced(config, request, used);
    assert_eq!(Decided::new(&traced, used, zone), decided, "neither a trace nor an earlier request changes a decision");
    check_line(&trace.to_string());
    check_line(&config.trace_line(request, &traced, &trace));
    let decision = config.decision(&traced, used, None).to_string();
    for value in [trace.header_value(), decision] {
        check_line(&value);
        assert!(value.is_ascii(), "{value:?} is not a header value");
    }

    if let Resolution::Refuse(refusal) = resolution {
        check_local_reply(&config.local_reply(request, refusal), decided.reason);
    }
    decided
}

impl Decided {
    fn new(resolution: &Resolution<'_>, plan: &Plan, zone: &str) -> Self {
        let routed = match resolution {
            Resolution::Route(route) => Some((host(&route.destination, zone), route.port)),
            Resolution::Pass(_) | Resolution::Refuse(_) => None,
        };
        Self {
            reason: resolution.reason(),
            routed,
            cluster: plan.cluster().map(Into::into),
            authority: plan.authority().map(Into::into),
            dynamic_host: plan.dynamic_host().map(|(host, port)| (host.to_owned(), port)),
            endpoint: plan.endpoint().map(Into::into),
        }
    }
}

fn host(destination: &Destination<'_>, zone: &str) -> String {
    let mut host = String::new();
    destination.write_host(zone, &mut host);
    host
}

/// The values for headers are header values, and a new authority is canonical.
fn check_plan(plan: &Plan) {
    for value in [plan.cluster(), plan.authority()].into_iter().flatten() {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value:?} is not a header value");
    }
    if let Some(authority) = plan.authority() {
        let parsed = Authority::try_from(authority.as_bytes());
        assert_eq!(parsed.map(|parsed| parsed.to_string()).as_deref(), Ok(authority), "the new authority is canonical");
    }
    if let Some((host, port)) = plan.dynamic_host() {
        let parsed = Authority::try_from(host.as_bytes());
        assert!(port > 0 && parsed.is_ok_and(|parsed| matches!(parsed.host(), Host::Name { .. })), "{host}:{port}");
    }
}

/// A route ends at an entry of the table, and the entry's full name resolves to the same entry.
fn check_route(config: &Config, zone: &str, request: Request<'_>, route: &Route<'_>) {
    let service = match &route.destination {
        Destination::Service(service) | Destination::Endpoint(service, _) => service,
        Destination::Pod(name) => {
            assert!(name.strip_suffix(zone).is_some_and(|rest| rest.ends_with(".pod.")), "{name} is a pod");
            return;
        }
        Destination::External(host) => {
            assert!(matches!(
                route.reason,
                Reason::External | Reason::FallbackMissing | Reason::FallbackNoEndpoints | Reason::Baseline
            ));
            let metadata = ["localhost", "metadata.google.internal", "metadata", "instance-data"];
            assert!(!metadata.contains(host) && !host.ends_with(".localhost"), "{host} is always refused");
            return;
        }
    };
    check_endpoint(config, request, service, route);
    let own = config.table.get(service.namespace(), service.name());
    assert!(own.is_some_and(|own| core::ptr::eq(own, *service)), "the Service is an entry of the table");
    // A fallback has another cluster IP than the Service that it stands in for.
    if let Ok(Host::Ip(address)) = Authority::try_from(request.authority).map(|authority| *authority.host())
        && route.reason != Reason::FallbackNoEndpoints
    {
        assert!(service.cluster_ips().contains(&address), "{address} is its cluster IP");
    }
    // A port name may be one that only the endpoints of a headless Service have, which no other name reaches.
    if !route.is_pod_port
        && service.ports().iter().any(|port| (port.name(), port.port()) == (route.port_name, route.port))
    {
        let whole = host(&route.destination, zone);
        let absolute = format!("{whole}.:{}", route.port);
        let again = decide(config, Request { authority: absolute.as_bytes(), ..request }, &mut Plan::default());
        let Resolution::Route(again) = again else { panic!("{absolute} is {again:?}, and was routed") };
        assert_eq!(
            (host(&again.destination, zone), again.port),
            (whole, route.port),
            "the full name resolves to the same"
        );
        assert_eq!(again.port_name, route.port_name);
    }
}

/// The picked endpoint is usable, whatever the random numbers.
fn check_endpoint(config: &Config, request: Request<'_>, service: &Service, route: &Route<'_>) {
    for seed in 0..4 {
        let mut balance = Balance::default();
        let mut env = FakeEnv { seed, ..FakeEnv::default() };
        let mut chooser = Chooser { balance: &mut balance, env: &mut env };
        let mut plan = Plan::default();
        decide_with(config, request, &mut chooser, &mut plan);
        let Some(endpoint) = plan.endpoint() else { return };
        let address: SocketAddr = endpoint.parse().expect("address and port");
        assert!(address.port() > 0, "{endpoint}");
        assert!(route.endpoints().is_some_and(|all| all.contains(&address)), "{endpoint} is not one of the route's");
        if route.is_pod_port {
            assert_eq!(address.port(), route.port, "{endpoint} is not at the port asked for");
        } else if let (Destination::Service(_), Some((_, mut usable))) =
            (&route.destination, service.usable(route.port_name))
        {
            assert!(usable.any(|usable| usable == address), "{endpoint} is not usable");
        }
        assert!(config.table.knows_address(address.ip()), "{endpoint} is not in the table");
        if let Some(ticket) = plan.take_ticket() {
            config.done(ticket, Some(503), &mut chooser);
        }
    }
}

fn check_local_reply(reply: &LocalReply, reason: Reason) {
    assert_eq!(reply.reason, reason);
    assert!((400..600).contains(&reply.status) && (1..=16).contains(&reply.grpc_status), "{reply:?}");
    check_line(reply.body.strip_suffix('\n').expect("the body ends with a line feed"));
}

/// A text for a log or a body is one line of bounded length.
fn check_line(line: &str) {
    assert!(!line.chars().any(char::is_control), "{line:?} is more than one line");
    assert!(line.len() <= MAX_LINE_BYTES, "{} bytes", line.len());
}
