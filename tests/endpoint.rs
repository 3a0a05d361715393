//! Steering by endpoint in a real Envoy: the filter picks an endpoint, and an `ORIGINAL_DST` cluster connects to it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use byname_test_support::{
    Connection, EcdsFile, Envoy, EnvoyBuilder, FORMS, Reply, RequestForm, TestResult, TestUpstream, with_fields,
};
use serde_json::{Value, json};
use tokio::time::sleep;

const LISTENER: u16 = 15001;

/// An Envoy of `envoy/endpoint.yaml`, to which tests push tables.
struct Sidecar {
    envoy: Envoy,
    /// The filter as the repository has it.
    filter: EcdsFile,
    /// The version of the next table. Envoy ignores a file with unchanged content.
    version: AtomicU64,
    _passthrough: TestUpstream,
}

impl Sidecar {
    async fn start(workers: u32) -> Result<Self> {
        Self::start_edited(|builder| builder.concurrency(workers)).await
    }

    async fn start_edited(edit: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder) -> Result<Self> {
        let passthrough = TestUpstream::start("passthrough").await?;
        let envoy = edit(Envoy::builder("endpoint.yaml").upstream(18080, &passthrough)).start().await?;
        let filter = envoy.filter("endpoint")?;
        Ok(Self { envoy, filter, version: AtomicU64::new(2), _passthrough: passthrough })
    }

    /// Pushes a table of these Services, with more fields at the top of the configuration.
    async fn push(&self, services: Value, fields: Value) -> Result<()> {
        let mut filter = self.filter.clone();
        filter.configuration["table"]["version"] = self.version.fetch_add(1, Ordering::Relaxed).into();
        filter.configuration["table"]["services"] = services;
        filter.configuration = with_fields(filter.configuration, fields);
        self.envoy.push("endpoint", &filter, "config_reload").await
    }

    async fn connect(&self, form: RequestForm) -> Result<Connection> {
        Connection::open(self.envoy.port(LISTENER), form).await
    }

    /// The number of replies by upstream. Each request has a connection of its own, so that all workers take part.
    async fn answers(&self, authority: &str, requests: usize) -> Result<BTreeMap<String, usize>> {
        let mut answers = BTreeMap::new();
        for _ in 0..requests {
            let reply = self.connect(RequestForm::Host).await?.get(authority, &[]).await?;
            *answers.entry(who(&reply)).or_insert(0) += 1;
        }
        Ok(answers)
    }

    async fn count(&self, reason: &str) -> Result<u64> {
        self.envoy.stat(&format!("wasmcustom.byname.{reason}")).await
    }
}

/// The upstream that answered, or the status of the reply.
fn who(reply: &Reply) -> String {
    match reply.said("upstream") {
        name if name.is_empty() => reply.status.to_string(),
        name => name,
    }
}

/// A group with one endpoint, on the port of `upstream`.
fn endpoint(upstream: &TestUpstream, fields: Value) -> Value {
    with_fields(json!({"addresses": "127.0.0.1", "ports": {"http": upstream.port()}}), fields)
}

fn service(endpoints: Vec<Value>) -> Value {
    json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints})
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Sends requests until `stop` is set. Returns the failures, and the number of replies by upstream.
async fn load(mut connection: Connection, stop: Arc<AtomicBool>) -> Result<(Vec<String>, BTreeMap<String, u64>)> {
    let (mut wrong, mut answers) = (Vec::new(), BTreeMap::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("web", &[]).await?;
        if reply.status != 200 {
            wrong.push(format!("{} {}", reply.status, reply.body));
        }
        *answers.entry(who(&reply)).or_insert(0) += 1;
    }
    Ok((wrong, answers))
}

/// Each of 20 endpoints is replaced: a new endpoint starts, the old one serves while it terminates, leaves the table,
/// and then stops.
#[tokio::test]
async fn a_rolling_update_under_load_fails_no_request() -> TestResult {
    const ENDPOINTS: usize = 20;
    let sidecar = Sidecar::start(2).await?;
    let mut upstreams = Vec::new();
    for number in 0..ENDPOINTS {
        upstreams.push(TestUpstream::start(&format!("old-{number}")).await?);
    }
    let mut endpoints: Vec<Value> = upstreams.iter().map(|upstream| endpoint(upstream, json!({}))).collect();
    sidecar.push(json!({"shop/web": service(endpoints.clone())}), json!({})).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for form in FORMS.into_iter().chain(FORMS) {
        clients.push(tokio::spawn(load(sidecar.connect(form).await?, Arc::clone(&stop))));
    }
    for number in 0..ENDPOINTS {
        let next = TestUpstream::start(&format!("new-{number}")).await?;
        endpoints[number] = endpoint(&upstreams[number], json!({"ready": false, "serving": true, "terminating": true}));
        endpoints.push(endpoint(&next, json!({})));
        sidecar.push(json!({"shop/web": service(endpoints.clone())}), json!({})).await?;
        endpoints[number] = endpoints.pop().expect("the next");
        sidecar.push(json!({"shop/web": service(endpoints.clone())}), json!({})).await?;
        // Requests in flight still end at the removed endpoint, as in a pod's grace period.
        sleep(Duration::from_millis(50)).await;
        upstreams[number] = next;
    }
    sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut wrong, mut answers) = (Vec::new(), BTreeMap::new());
    for client in clients {
        let (more, answered) = client.await??;
        wrong.extend(more);
        for (name, count) in answered {
            *answers.entry(name).or_insert(0) += count;
        }
    }
    assert!(wrong.is_empty(), "{} of {answers:?}: {:?}", wrong.len(), wrong.first());
    let new = answers.keys().filter(|name| name.starts_with("new-")).count();
    assert_eq!(new, ENDPOINTS, "every new endpoint was reached: {answers:?}");
    assert!(answers.values().sum::<u64>() > 500, "enough requests: {answers:?}");
    assert_eq!(sidecar.count("reason.no_endpoints").await?, 0);
    assert_eq!(sidecar.envoy.stat("http.outbound.downstream_cx_destroy_local").await?, 0, "Envoy closed no connection");
    Ok(())
}

/// Envoy's node is in the zone eu-a.
#[tokio::test]
async fn prefers_the_callers_zone_and_falls_back() -> TestResult {
    let sidecar = Sidecar::start(1).await?;
    let (here, there) = (TestUpstream::start("here").await?, TestUpstream::start("there").await?);
    let web = |endpoints| json!({"shop/web": with_fields(service(endpoints), json!({"trafficDistribution": "PreferSameZone"}))});
    let zone = |upstream, zone: &str| endpoint(upstream, json!({"zone": zone}));
    let rows = [
        (vec![zone(&here, "eu-a"), zone(&there, "eu-b")], vec!["here"], "both zones"),
        (vec![zone(&there, "eu-b")], vec!["there"], "no endpoint in the caller's zone"),
        (vec![zone(&here, "eu-a"), endpoint(&there, json!({}))], vec!["here", "there"], "one endpoint without a zone"),
        (
            vec![endpoint(&here, json!({"zone": "eu-a", "ready": false})), zone(&there, "eu-b")],
            vec!["there"],
            "the endpoint in the caller's zone is not ready",
        ),
    ];
    for (endpoints, expected, why) in rows {
        sidecar.push(web(endpoints), json!({})).await?;
        let answers = sidecar.answers("web", 12).await?;
        assert_eq!(answers.into_keys().collect::<BTreeSet<_>>(), names(&expected), "{why}");
    }
    Ok(())
}

#[tokio::test]
async fn session_affinity_keeps_clients_at_their_endpoint() -> TestResult {
    let sidecar = Sidecar::start(2).await?;
    let mut upstreams = Vec::new();
    for number in 0..5 {
        upstreams.push(TestUpstream::start(&format!("pod-{number}")).await?);
    }
    let all = || upstreams.iter().map(|upstream| endpoint(upstream, json!({}))).collect::<Vec<_>>();
    let by_user = json!({"steering": {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}});
    let services = json!({
        "shop/sticky": with_fields(service(all()), json!({"sessionAffinity": "ClientIP"})),
        "shop/users": with_fields(service(all()), by_user),
        "shop/any": service(all()),
    });
    sidecar.push(services.clone(), json!({})).await?;
    let sticky = sidecar.answers("sticky", 20).await?;
    assert_eq!(sticky.len(), 1, "a pod keeps one endpoint, whichever worker serves it: {sticky:?}");
    assert_eq!(sidecar.answers("any", 40).await?.len(), 5, "without affinity all endpoints take part");
    let mut users = BTreeMap::new();
    for round in 0..2 {
        for user in 0..100 {
            let user = format!("user-{user}");
            let reply = sidecar.connect(RequestForm::Http2).await?.get("users", &[("x-user", &user)]).await?;
            let known = users.entry(user).or_insert_with(|| who(&reply));
            assert_eq!(*known, who(&reply), "round {round}");
        }
        // Pushing the same table again moves no client.
        sidecar.push(services.clone(), json!({})).await?;
    }
    assert_eq!(users.values().collect::<BTreeSet<_>>().len(), 5, "a hundred users are spread: {users:?}");
    assert_eq!(sidecar.answers("sticky", 6).await?.into_keys().next(), sticky.into_keys().next());
    Ok(())
}

/// Runs one worker, because each worker watches endpoints on its own. The ejection time is an hour for the endpoint
/// that must stay ejected and a second for the endpoint that must return, so that slow machines pass too.
#[tokio::test]
async fn a_killed_endpoint_is_ejected_and_returns() -> TestResult {
    let sidecar = Sidecar::start(1).await?;
    let (good, bad) = (TestUpstream::start("good").await?, TestUpstream::start("bad").await?);
    let ejecting = |seconds: u64| {
        let outliers = json!({
            "consecutive5xxErrors": 3, "baseEjectionTimeSeconds": seconds, "maxEjectionPercent": 50,
        });
        let both = service(vec![endpoint(&good, json!({})), endpoint(&bad, json!({}))]);
        with_fields(both, json!({"steering": {"outlierDetection": outliers}}))
    };
    let services = json!({"shop/web": ejecting(3_600), "shop/brief": ejecting(1)});
    sidecar.push(services.clone(), json!({})).await?;
    assert_eq!(sidecar.answers("web", 10).await?, [("bad".to_owned(), 5), ("good".to_owned(), 5)].into());

    let port = bad.port();
    drop(bad);
    let until_three_have_failed = [("503".to_owned(), 3), ("good".to_owned(), 3)].into();
    assert_eq!(sidecar.answers("web", 6).await?, until_three_have_failed, "round robin");
    assert_eq!(sidecar.count("endpoint_ejections").await?, 1);
    assert_eq!(sidecar.answers("web", 10).await?, [("good".to_owned(), 10)].into());
    // A push keeps ejections.
    sidecar.push(services, json!({})).await?;
    assert_eq!(sidecar.answers("web", 10).await?, [("good".to_owned(), 10)].into());
    // Each Service has its own ejections, even for the same endpoints.
    assert_eq!(sidecar.answers("brief", 6).await?, until_three_have_failed);
    assert_eq!((sidecar.count("endpoint_ejections").await?, sidecar.count("endpoint_returns").await?), (2, 0));

    let _back = TestUpstream::start_at("bad", port).await?;
    let start = Instant::now();
    while !sidecar.answers("brief", 2).await?.contains_key("bad") {
        assert!(start.elapsed() < Duration::from_secs(30), "the endpoint does not return");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sidecar.count("endpoint_returns").await?, 1);
    assert_eq!(sidecar.answers("brief", 10).await?, [("bad".to_owned(), 5), ("good".to_owned(), 5)].into());

    // Statuses of 500 and above also eject an endpoint, but never the last one.
    for _ in 0..20 {
        let reply = sidecar.connect(RequestForm::Host).await?.get_path("web", "/status/500", &[]).await?;
        assert_eq!((reply.status, who(&reply).as_str()), (500, "good"));
    }
    assert_eq!(sidecar.count("endpoint_ejections").await?, 2);
    for _ in 0..20 {
        sidecar.connect(RequestForm::Host).await?.get_path("brief", "/status/500", &[]).await?;
    }
    assert!(sidecar.count("endpoint_ejections").await? > 2);
    sidecar.envoy.wait_for_log(&format!("endpoint 127.0.0.1 port {port} is ejected")).await
}

/// Envoy answers gRPC with 200 if it cannot reach the upstream.
#[tokio::test]
async fn failed_connections_of_grpc_requests_eject_as_well() -> TestResult {
    let sidecar = Sidecar::start(1).await?;
    let (good, bad) = (TestUpstream::start("good").await?, TestUpstream::start("bad").await?);
    let web = service(vec![endpoint(&good, json!({})), endpoint(&bad, json!({}))]);
    sidecar.push(json!({"shop/web": web}), json!({})).await?;
    drop(bad);
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let reply = sidecar.connect(RequestForm::Http2).await?.get("web", &grpc).await?;
        statuses.push(reply.header("grpc-status").to_owned());
    }
    assert_eq!(statuses.iter().filter(|status| *status == "14").count(), 3, "{statuses:?}");
    assert_eq!(sidecar.count("endpoint_ejections").await?, 1);
    Ok(())
}

#[tokio::test]
async fn fallbacks_serve_only_while_they_are_needed() -> TestResult {
    let sidecar = Sidecar::start(2).await?;
    let (own, staging, spare) =
        (TestUpstream::start("own").await?, TestUpstream::start("staging").await?, TestUpstream::start("spare").await?);
    let fallback = json!({
        "baselines": {"shop": "staging"},
        "services": {"shop/cart": {"service": "shop/spare", "when": ["noEndpoints"]}},
    });
    let services = |own_search: Vec<Value>, cart: Vec<Value>| {
        let mut services = json!({
            "staging/search": service(vec![endpoint(&staging, json!({}))]),
            "shop/spare": service(vec![endpoint(&spare, json!({}))]),
            "shop/cart": service(cart),
        });
        if !own_search.is_empty() {
            services["shop/search"] = service(own_search);
        }
        services
    };
    let own_endpoint = || vec![endpoint(&own, json!({}))];
    for (own_search, cart, search_by, cart_by) in [
        (vec![], own_endpoint(), "staging", "own"),
        (own_endpoint(), vec![], "own", "spare"),
        (vec![], own_endpoint(), "staging", "own"),
    ] {
        sidecar.push(services(own_search, cart), json!({"fallback": fallback})).await?;
        for (asked, by) in [("search", search_by), ("cart", cart_by)] {
            let reply = sidecar.connect(RequestForm::Host).await?.get(asked, &[]).await?;
            assert_eq!(who(&reply), by, "{asked}");
        }
    }
    let reply = sidecar.connect(RequestForm::Host).await?.get("search", &[]).await?;
    assert_eq!(
        reply.said("authority"),
        "search.staging.svc.cluster.local",
        "the host header names the Service that answers"
    );
    let reasons = sidecar.envoy.reasons().await?;
    assert_eq!((reasons["baseline"], reasons["fallback_no_endpoints"], reasons["service"]), (3, 1, 3));
    Ok(())
}

#[tokio::test]
async fn clients_cannot_choose_an_endpoint() -> TestResult {
    let sidecar = Sidecar::start(1).await?;
    let (web, secret) = (TestUpstream::start("web").await?, TestUpstream::start("secret").await?);
    sidecar.push(json!({"shop/web": service(vec![endpoint(&web, json!({}))])}), json!({})).await?;
    let address = format!("127.0.0.1:{}", secret.port());
    let forged = [
        vec![("x-envoy-original-dst-host", address.as_str())],
        vec![("x-byname-cluster", "original-dst"), ("x-envoy-original-dst-host", &address)],
        vec![("x-byname-cluster", "original-dst"), ("x-byname-cluster", "original-dst-tls")],
    ];
    for form in FORMS {
        for headers in &forged {
            for (asked, by) in [("web", "web"), ("nope", "passthrough"), (address.as_str(), "passthrough")] {
                let reply = sidecar.connect(form).await?.get(asked, headers).await?;
                assert_eq!(who(&reply), by, "{form:?} {asked} {headers:?}");
                assert!(reply.sent_on("x-byname-cluster").is_empty());
            }
        }
    }
    Ok(())
}

/// Names of a StatefulSet's pods, and of its headless Service.
#[tokio::test]
async fn an_endpoints_name_picks_exactly_that_endpoint() -> TestResult {
    let sidecar = Sidecar::start(2).await?;
    let (db_0, db_1) = (TestUpstream::start("db-0").await?, TestUpstream::start("db-1").await?);
    let endpoints = vec![endpoint(&db_0, json!({"hostnames": "db-0"})), endpoint(&db_1, json!({"hostnames": "db-1"}))];
    sidecar.push(json!({"shop/db": with_fields(service(endpoints), json!({"clusterIPs": "None"}))}), json!({})).await?;
    for name in ["db-0", "db-1"] {
        assert_eq!(sidecar.answers(&format!("{name}.db"), 6).await?, [(name.to_owned(), 6)].into());
    }
    assert_eq!(sidecar.answers("db", 12).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_upstream_protocol_is_the_clients_or_the_ports() -> TestResult {
    let sidecar = Sidecar::start(1).await?;
    let web = TestUpstream::start("web").await?;
    let port = |app_protocol: &str| {
        let mut service = service(vec![endpoint(&web, json!({}))]);
        service["ports"][0]["appProtocol"] = app_protocol.into();
        service
    };
    let services = json!({"shop/any": port("http"), "shop/h2c": port("kubernetes.io/h2c"), "shop/grpc": port("grpc")});
    sidecar
        .push(services, json!({"steering": {"by": "endpoint", "originalDst": {"http2Cluster": "original-dst-http2"}}}))
        .await?;
    for (asked, form, version) in [
        ("any", RequestForm::Host, "HTTP/1.1"),
        ("any", RequestForm::Http2, "HTTP/2.0"),
        ("h2c", RequestForm::Host, "HTTP/2.0"),
        ("grpc", RequestForm::Http2, "HTTP/2.0"),
    ] {
        let reply = sidecar.connect(form).await?.get(asked, &[("content-type", "application/grpc")]).await?;
        assert_eq!((reply.status, reply.said("version").as_str()), (200, version), "{asked} {form:?}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_ports_use_tls_clusters_and_never_plaintext() -> TestResult {
    let host = "secure.shop.svc.cluster.local";
    let (secure, certificate) = TestUpstream::start_tls("secure", host).await?;
    let (weather, weather_certificate) = TestUpstream::start_tls("weather", "weather.example.com").await?;
    let (other, other_certificate) = TestUpstream::start_tls("other", "other.example.com").await?;
    let directory = tempfile::tempdir()?;
    let trusted = directory.path().join("ca.pem");
    std::fs::write(&trusted, certificate + &weather_certificate + &other_certificate)?;
    let sidecar = Sidecar::start_edited(|builder| {
        let builder = builder.edit("/etc/ssl/certs/ca-certificates.crt", &trusted.display().to_string());
        builder.edit("18443", &weather.port().to_string())
    })
    .await?;
    let tls = |upstream| {
        let mut service = service(vec![endpoint(upstream, json!({}))]);
        service["ports"][0]["appProtocol"] = "https".into();
        service
    };
    let mut services = sidecar.filter.configuration["table"]["services"].clone();
    services["shop/secure"] = tls(&secure);
    services["shop/wrong"] = tls(&other);
    sidecar.push(services, json!({})).await?;
    for form in FORMS {
        let reply = sidecar.connect(form).await?.get("secure", &[]).await?;
        assert_eq!((who(&reply), reply.said("authority")), ("secure".into(), host.into()), "{form:?} {}", reply.body);
        let reply = sidecar.connect(form).await?.get("weather", &[]).await?;
        assert_eq!(who(&reply), "weather", "{form:?} an external name: {}", reply.body);
        // A certificate for another name gives a 503.
        assert_eq!(who(&sidecar.connect(form).await?.get("wrong", &[]).await?), "503", "{form:?}");
    }
    Ok(())
}

/// With a cluster for each Service, these Services would take 880 MB.
#[tokio::test]
async fn ten_thousand_services_add_no_clusters() -> TestResult {
    const SERVICES: usize = 10_000;
    let sidecar = Sidecar::start(2).await?;
    let clusters = sidecar.envoy.stat("cluster_manager.active_clusters").await?;
    let mut upstreams = Vec::new();
    for number in 0..10 {
        upstreams.push(TestUpstream::start(&format!("upstream-{number}")).await?);
    }
    let services: serde_json::Map<String, Value> = (0..SERVICES)
        .map(|number| {
            let ready = endpoint(&upstreams[number % 10], json!({}));
            let addresses: Vec<String> =
                (0..9).map(|other| format!("10.{}.{}.{other}", number / 250, number % 250)).collect();
            let not_ready = json!({"addresses": addresses.join(" "), "ready": false});
            (format!("team-{}/web-{number}", number % 7), service(vec![ready, not_ready]))
        })
        .collect();
    sidecar.push(services.into(), json!({})).await?;
    assert_eq!(sidecar.count("table.services").await?, SERVICES as u64);
    assert_eq!(sidecar.count("table.endpoints").await?, 10 * SERVICES as u64);
    let mut connection = sidecar.connect(RequestForm::Http2).await?;
    for number in (0..SERVICES).step_by(37) {
        let reply = connection.get(&format!("web-{number}.team-{}", number % 7), &[]).await?;
        assert_eq!(who(&reply), format!("upstream-{}", number % 10), "web-{number}");
    }
    assert_eq!(sidecar.envoy.stat("cluster_manager.active_clusters").await?, clusters);
    assert!(clusters <= 6, "{clusters} clusters");
    Ok(())
}
