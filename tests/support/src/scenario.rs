//! The rows of the demo, as data: a request and its expected outcome. The demo shows them and the tests send them in every form,
//! so that demo and tests cannot drift apart.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    client::{Connection, Reply, RequestForm},
    envoy::{Envoy, EnvoyBuilder},
    push::EcdsFile,
    upstream::TestUpstream,
};

/// The bootstrap of the demo.
pub const BOOTSTRAP: &str = "ecds.yaml";

/// Upstreams of the demo, by their port in the bootstrap.
pub const UPSTREAMS: [(u16, &str); 8] = [
    (18080, "passthrough"),
    (18081, "payments in shop"),
    (18082, "payments in prod"),
    (18083, "payments-v2 in shop"),
    (18084, "pod db-0"),
    (18085, "pod db-1"),
    (18086, "orders in prod"),
    (18087, "weather.example.com"),
];

/// Endpoints that the filter chooses from, by their port in the table.
pub(crate) const ENDPOINTS: [(u16, &str); 2] = [(18088, "pod web-0, in eu-a"), (18089, "pod web-1, in eu-b")];

/// The caller of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoCaller {
    /// A pod in the namespace `shop`.
    Shop,
    /// A pod in the namespace `prod`.
    Prod,
}

impl DemoCaller {
    /// The caller's namespace.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Prod => "prod",
        }
    }

    /// The port of the caller's sidecar in the bootstrap.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Shop => 15001,
            Self::Prod => 15002,
        }
    }
}

/// The expected outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedReply {
    /// An upstream answers.
    Upstream {
        /// Name of the upstream.
        name: &'static str,
        /// The authority that the upstream receives.
        authority: &'static str,
    },
    /// The filter sends a local reply.
    Local {
        /// HTTP status.
        status: u16,
    },
}

/// One row of the demo.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The caller.
    pub caller: DemoCaller,
    /// The authority that is sent.
    pub asked: &'static str,
    /// The behaviour that the row shows.
    pub shows: &'static str,
    /// The expected outcome.
    pub expected: ExpectedReply,
    /// The expected reason, as it is counted.
    pub reason: &'static str,
}

impl Row {
    /// Whether Envoy accepts the authority in this form. Its parser refuses a request line whose host has an underscore or a
    /// comma, before any filter runs.
    #[must_use]
    pub fn can_be_sent_as(&self, form: RequestForm) -> bool {
        form != RequestForm::Proxy || !self.asked.contains(['_', ','])
    }
}

const fn upstream(
    caller: DemoCaller,
    asked: &'static str,
    shows: &'static str,
    name: &'static str,
    authority: &'static str,
    reason: &'static str,
) -> Row {
    Row { caller, asked, shows, expected: ExpectedReply::Upstream { name, authority }, reason }
}

const fn local(caller: DemoCaller, asked: &'static str, shows: &'static str, status: u16, reason: &'static str) -> Row {
    Row { caller, asked, shows, expected: ExpectedReply::Local { status }, reason }
}

const PAYMENTS_SHOP: &str = "payments.shop.svc.cluster.local";
const PAYMENTS_PROD: &str = "payments.prod.svc.cluster.local";

/// All rows.
#[rustfmt::skip]
pub const ROWS: [Row; 25] = [
    upstream(DemoCaller::Shop, "payments", "a short name, from shop", "payments in shop", PAYMENTS_SHOP, "service"),
    upstream(DemoCaller::Prod, "payments", "the same name, from prod", "payments in prod", PAYMENTS_PROD, "service"),
    upstream(DemoCaller::Shop, "payments.prod", "svc.ns", "payments in prod", PAYMENTS_PROD, "service"),
    upstream(DemoCaller::Shop, "payments.prod.svc", "svc.ns.svc", "payments in prod", PAYMENTS_PROD, "service"),
    upstream(DemoCaller::Prod, PAYMENTS_SHOP, "the full name", "payments in shop", PAYMENTS_SHOP, "service"),
    upstream(DemoCaller::Prod, "payments.shop.svc.cluster.local.", "with a trailing dot", "payments in shop", PAYMENTS_SHOP, "service"),
    upstream(DemoCaller::Shop, "PAYMENTS.Prod", "in upper case", "payments in prod", PAYMENTS_PROD, "service"),
    upstream(DemoCaller::Prod, "orders:9090", "another port", "orders in prod", "orders.prod.svc.cluster.local:9090", "service"),
    upstream(DemoCaller::Prod, "_http._tcp.orders", "a port by its name", "orders in prod", "orders.prod.svc.cluster.local:9090", "service"),
    upstream(DemoCaller::Shop, "db-0.db", "one pod of a StatefulSet", "pod db-0", "db-0.db.shop.svc.cluster.local", "endpoint"),
    upstream(DemoCaller::Prod, "db-1.db.shop", "another pod, from prod", "pod db-1", "db-1.db.shop.svc.cluster.local", "endpoint"),
    upstream(DemoCaller::Shop, "10.96.0.11", "a cluster IP", "payments in prod", PAYMENTS_PROD, "cluster_ip"),
    upstream(DemoCaller::Shop, "pay", "an alias", "payments in shop", PAYMENTS_SHOP, "alias"),
    upstream(DemoCaller::Shop, "checkout", "an alias of an alias", "payments in shop", PAYMENTS_SHOP, "alias"),
    upstream(DemoCaller::Shop, "weather", "an alias to an allowed host", "weather.example.com", "weather.example.com:8080", "external"),
    upstream(DemoCaller::Shop, "web", "endpoint in the caller's zone", "pod web-0, in eu-a", "web.shop.svc.cluster.local", "service"),
    upstream(DemoCaller::Shop, "cart", "no endpoints, but a fallback", "payments in shop", PAYMENTS_SHOP, "fallback_no_endpoints"),
    upstream(DemoCaller::Shop, "orders:9090", "only in the baseline (prod)", "orders in prod", "orders.prod.svc.cluster.local:9090", "baseline"),
    local(DemoCaller::Shop, "partner", "a TLS alias, host not listed", 403, "alias_denied"),
    upstream(DemoCaller::Shop, "bank", "an alias to prod", "payments in prod", PAYMENTS_PROD, "alias"),
    local(DemoCaller::Shop, "round", "an alias loop", 508, "alias_loop"),
    local(DemoCaller::Shop, "empty", "a Service without endpoints", 503, "no_endpoints"),
    local(DemoCaller::Shop, "payments,payments", "two hosts in one header", 400, "bad_authority"),
    upstream(DemoCaller::Shop, "payments:8080", "a port the Service lacks", "passthrough", "payments:8080", "port_not_found"),
    upstream(DemoCaller::Shop, "www.example.org", "an unknown name", "passthrough", "www.example.org", "name_not_found"),
];

/// The row that is sent after [`moved`] is pushed.
pub const MOVED: Row = upstream(
    DemoCaller::Shop,
    "pay",
    "the alias, after a push",
    "payments-v2 in shop",
    "payments-v2.shop.svc.cluster.local",
    "alias",
);

/// `filter` with a new target for the alias `pay`, as the next version of the table.
///
/// # Errors
/// If the filter is not the demo's.
pub fn moved(mut filter: EcdsFile) -> Result<EcdsFile> {
    let service = filter.configuration.pointer_mut("/table/services/shop~1pay/externalName");
    ensure!(service.is_some(), "the table has no alias shop/pay");
    if let Some(service) = service {
        *service = "payments-v2.shop.svc.cluster.local".into();
    }
    if let Some(version) = filter.configuration.pointer_mut("/table/version") {
        *version = 2.into();
    }
    Ok(filter)
}

/// An Envoy with all upstreams of the demo, running.
pub struct Stage {
    /// The Envoy.
    pub envoy: Envoy,
    _upstreams: Vec<TestUpstream>,
}

impl Stage {
    /// Starts Envoy and the upstreams.
    ///
    /// # Errors
    /// As [`crate::EnvoyBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::start_with(Envoy::builder(BOOTSTRAP)).await
    }

    /// Starts the Envoy of a builder with the bootstrap of the demo, and the upstreams.
    ///
    /// # Errors
    /// As [`crate::EnvoyBuilder::start`].
    pub async fn start_with(mut builder: EnvoyBuilder) -> Result<Self> {
        let mut upstreams = Vec::new();
        for (port, name) in UPSTREAMS {
            let upstream = TestUpstream::start(name).await?;
            builder = builder.upstream(port, &upstream);
            upstreams.push(upstream);
        }
        for (port, name) in ENDPOINTS {
            let upstream = TestUpstream::start(name).await?;
            builder = builder.edit(&port.to_string(), &upstream.port().to_string());
            upstreams.push(upstream);
        }
        Ok(Self { envoy: builder.start().await?, _upstreams: upstreams })
    }

    /// Opens a connection to the sidecar of `caller`.
    ///
    /// # Errors
    /// If the sidecar does not listen.
    pub async fn connect(&self, caller: DemoCaller, form: RequestForm) -> Result<Connection> {
        Connection::open(self.envoy.port(caller.port()), form).await
    }

    /// Sends a row on `connection`, and finds the reason by the counters before and after.
    ///
    /// # Errors
    /// If there is no reply.
    pub async fn ask(&self, row: &Row, connection: &mut Connection) -> Result<RowOutcome> {
        let before = self.envoy.reasons().await?;
        let reply = connection.get(row.asked, &[]).await?;
        let after = self.envoy.reasons().await?;
        Ok(RowOutcome { reply, reason: counted(&before, &after) })
    }
}

/// The reasons whose counter rose, joined with `+`. Exactly one is expected.
fn counted(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let more = |(name, count): &(&String, &u64)| before.get(*name).copied().unwrap_or_default() < **count;
    after.iter().filter(more).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("+")
}

/// The outcome of a row.
#[derive(Clone, Debug)]
pub struct RowOutcome {
    /// The reply.
    pub reply: Reply,
    /// The reason that was counted.
    pub reason: String,
}

impl RowOutcome {
    /// The caller, the requested name, what the row shows, and who answered: the demo's columns.
    #[must_use]
    pub fn cells(&self, row: &Row) -> [String; 4] {
        let reply = &self.reply;
        let answered = match reply.said("upstream") {
            name if name.is_empty() => format!("{} {}", reply.status, self.reason),
            name => name,
        };
        [row.caller.namespace().to_owned(), row.asked.to_owned(), row.shows.to_owned(), answered]
    }

    /// The differences from what `row` expects; `None` if there are none.
    #[must_use]
    pub fn differs(&self, row: &Row) -> Option<String> {
        let reply = &self.reply;
        let mut wrong = Vec::new();
        let mut expect = |what: &str, is: &str, should: &str| {
            if is != should {
                wrong.push(format!("{what} is {is:?}, expected {should:?}"));
            }
        };
        expect("the reason", &self.reason, row.reason);
        match row.expected {
            ExpectedReply::Upstream { name, authority } => {
                expect("the status", &reply.status.to_string(), "200");
                expect("the upstream", &reply.said("upstream"), name);
                expect("its authority", &reply.said("authority"), authority);
            }
            ExpectedReply::Local { status } => {
                expect("the status", &reply.status.to_string(), &status.to_string());
                expect("x-byname-reason", reply.header("x-byname-reason"), row.reason);
                expect("the body's lines", &reply.body.lines().count().to_string(), "1");
                expect("the upstream", &reply.said("upstream"), "");
            }
        }
        (!wrong.is_empty()).then(|| format!("{:?} from {}: {}", row.asked, row.caller.namespace(), wrong.join(", ")))
    }
}
