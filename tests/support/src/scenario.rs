//! The rows of the demo, as data: what is asked, and what has to come of it. The demo shows them and the tests ask them in
//! every form, so that the two cannot drift apart.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    client::{Connection, Reply, RequestForm},
    envoy::Envoy,
    push::EcdsFile,
    upstream::TestUpstream,
};

/// The bootstrap of the demo.
pub const BOOTSTRAP: &str = "ecds.yaml";

/// Its upstreams, by the port that the bootstrap has for them.
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

/// Its endpoints that the filter chooses from, by the port that its table has for them.
pub(crate) const ENDPOINTS: [(u16, &str); 2] = [(18088, "pod web-0, in eu-a"), (18089, "pod web-1, in eu-b")];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoCaller {
    /// A pod in the namespace `shop`.
    Shop,
    /// A pod in the namespace `prod`.
    Prod,
}

impl DemoCaller {
    /// Its namespace.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Prod => "prod",
        }
    }

    /// The port that its sidecar has in the bootstrap.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Shop => 15001,
            Self::Prod => 15002,
        }
    }
}

/// What has to come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedReply {
    /// An upstream gets it.
    Upstream {
        /// Who answers.
        name: &'static str,
        /// The authority with which it arrives.
        authority: &'static str,
    },
    /// The sidecar answers it.
    Local {
        /// HTTP status.
        status: u16,
    },
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Who asks.
    pub caller: DemoCaller,
    /// The authority that is sent.
    pub asked: &'static str,
    /// What the row shows.
    pub shows: &'static str,
    /// What has to come of it.
    pub expected: ExpectedReply,
    /// The reason that is counted.
    pub reason: &'static str,
}

impl Row {
    /// Whether Envoy takes the authority in this form. It refuses a request line whose host holds an underscore or a
    /// comma, by its own parser and before any filter.
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
    upstream(DemoCaller::Prod, PAYMENTS_SHOP, "the whole name", "payments in shop", PAYMENTS_SHOP, "service"),
    upstream(DemoCaller::Prod, "payments.shop.svc.cluster.local.", "with a trailing dot", "payments in shop", PAYMENTS_SHOP, "service"),
    upstream(DemoCaller::Shop, "PAYMENTS.Prod", "in upper case", "payments in prod", PAYMENTS_PROD, "service"),
    upstream(DemoCaller::Prod, "orders:9090", "another port", "orders in prod", "orders.prod.svc.cluster.local:9090", "service"),
    upstream(DemoCaller::Prod, "_http._tcp.orders", "a port by its name", "orders in prod", "orders.prod.svc.cluster.local:9090", "service"),
    upstream(DemoCaller::Shop, "db-0.db", "one pod of a StatefulSet", "pod db-0", "db-0.db.shop.svc.cluster.local", "endpoint"),
    upstream(DemoCaller::Prod, "db-1.db.shop", "another, from prod", "pod db-1", "db-1.db.shop.svc.cluster.local", "endpoint"),
    upstream(DemoCaller::Shop, "10.96.0.11", "a cluster IP", "payments in prod", PAYMENTS_PROD, "cluster_ip"),
    upstream(DemoCaller::Shop, "pay", "an alias", "payments in shop", PAYMENTS_SHOP, "alias"),
    upstream(DemoCaller::Shop, "checkout", "an alias of an alias", "payments in shop", PAYMENTS_SHOP, "alias"),
    upstream(DemoCaller::Shop, "weather", "an alias, allowed to leave", "weather.example.com", "weather.example.com:8080", "external"),
    upstream(DemoCaller::Shop, "web", "the endpoint in its own zone", "pod web-0, in eu-a", "web.shop.svc.cluster.local", "service"),
    upstream(DemoCaller::Shop, "cart", "no endpoints, but a fallback", "payments in shop", PAYMENTS_SHOP, "fallback_no_endpoints"),
    upstream(DemoCaller::Shop, "orders:9090", "only in the baseline, prod", "orders in prod", "orders.prod.svc.cluster.local:9090", "baseline"),
    local(DemoCaller::Shop, "partner", "one that is not allowed to", 403, "alias_denied"),
    local(DemoCaller::Shop, "bank", "one into prod, not granted", 403, "alias_denied"),
    local(DemoCaller::Shop, "round", "aliases in a circle", 508, "alias_loop"),
    local(DemoCaller::Shop, "empty", "a Service without endpoints", 503, "no_endpoints"),
    local(DemoCaller::Shop, "payments,payments", "two hosts in one", 400, "bad_authority"),
    upstream(DemoCaller::Shop, "payments:8080", "a port it does not have", "passthrough", "payments:8080", "port_not_found"),
    upstream(DemoCaller::Shop, "www.example.org", "an unknown name", "passthrough", "www.example.org", "name_not_found"),
];

/// The row that is asked again after [`moved`] is pushed.
pub const MOVED: Row = upstream(
    DemoCaller::Shop,
    "pay",
    "the alias, after a push",
    "payments-v2 in shop",
    "payments-v2.shop.svc.cluster.local",
    "alias",
);

/// `filter` with the alias `pay` led elsewhere, as the next version of the table.
///
/// # Errors
/// Where the filter is not the demo's.
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

/// An Envoy with all upstreams of the demo.
pub struct Stage {
    /// The Envoy.
    pub envoy: Envoy,
    _upstreams: Vec<TestUpstream>,
}

impl Stage {
    /// Starts all of it.
    ///
    /// # Errors
    /// Those of [`crate::EnvoyBuilder::start`].
    pub async fn start() -> Result<Self> {
        let mut builder = Envoy::builder(BOOTSTRAP);
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

    /// A connection to the sidecar of `caller`.
    ///
    /// # Errors
    /// Where it does not listen.
    pub async fn connect(&self, caller: DemoCaller, form: RequestForm) -> Result<Connection> {
        Connection::open(self.envoy.port(caller.port()), form).await
    }

    /// Asks a row on `connection`, and finds the reason by what was counted meanwhile.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn ask(&self, row: &Row, connection: &mut Connection) -> Result<RowOutcome> {
        let before = self.envoy.reasons().await?;
        let reply = connection.get(row.asked, &[]).await?;
        let after = self.envoy.reasons().await?;
        Ok(RowOutcome { reply, reason: counted(&before, &after) })
    }
}

/// The reasons that were counted more often after than before, each with a `+` between: it should be one.
fn counted(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let more = |(name, count): &(&String, &u64)| before.get(*name).copied().unwrap_or_default() < **count;
    after.iter().filter(more).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("+")
}

/// What came of a row.
#[derive(Clone, Debug)]
pub struct RowOutcome {
    /// The answer.
    pub reply: Reply,
    /// The reason that was counted.
    pub reason: String,
}

impl RowOutcome {
    /// What `row` expects and this is not; `None` where all is as it has to be.
    #[must_use]
    pub fn differs(&self, row: &Row) -> Option<String> {
        let reply = &self.reply;
        let mut wrong = Vec::new();
        let mut expect = |what: &str, is: &str, should: &str| {
            if is != should {
                wrong.push(format!("{what} is {is:?} and should be {should:?}"));
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
