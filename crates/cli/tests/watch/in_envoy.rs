//! `byname watch` with a real Envoy.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use byname_test_support::{Connection, RequestForm, TestUpstream, kubernetes::KubernetesApi};
use serde_json::json;

use crate::program::{WatchProcess, endpoint, eventually, service, slice_with_port};

/// The maximum time from a change to the last request by the old table.
const BOUND: Duration = Duration::from_secs(1);
/// A time by which every change has taken effect.
const WHILE: Duration = Duration::from_millis(1500);

/// The time, the status and the upstream of every reply.
type Answers = Arc<Mutex<Vec<(Instant, u16, String)>>>;

/// Sends requests for `web` until `stop` is set.
async fn load(port: u16, answers: Answers, stop: Arc<AtomicBool>) {
    let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("web", &[]).await.unwrap();
        answers.lock().unwrap().push((Instant::now(), reply.status, reply.said("upstream")));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_change_reaches_a_running_envoy_within_a_second() {
    let (one, two) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("two").await.unwrap());
    let passthrough = TestUpstream::start("passthrough").await.unwrap();
    let of =
        |upstream: &TestUpstream, ready| slice_with_port("shop/web", &[endpoint("127.0.0.1", ready)], upstream.port());
    let api = KubernetesApi::start().await.unwrap();
    api.put(service("shop/web"));
    api.put(of(&one, true));
    api.put(of(&two, true));
    let config = json!({"version": 1, "steering": {"by": "endpoint"}, "table": {"singleMachine": true}});
    let program = WatchProcess::by_endpoint(&api, &config).await;
    let envoy = program.envoy(&passthrough).await;
    let (answers, stop) = (Answers::default(), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> =
        (0..4).map(|_| tokio::spawn(load(envoy.port(15001), Arc::clone(&answers), Arc::clone(&stop)))).collect();
    let answered_since = |start: Instant| -> BTreeSet<String> {
        let answers = answers.lock().unwrap();
        answers.iter().filter(|(at, ..)| *at > start).map(|(_, _, who)| who.clone()).collect()
    };
    let mut took = Vec::new();
    for change in 0..5 {
        let start = Instant::now();
        eventually("both answer", || answered_since(start).len() == 2).await;
        let begun = Instant::now();
        if change % 2 == 0 {
            api.put(of(&two, false));
        } else {
            api.delete(&of(&two, true));
        }
        tokio::time::sleep(WHILE).await;
        let last = answers.lock().unwrap().iter().filter(|(_, _, who)| who == "two").map(|(at, ..)| *at).max();
        took.push(last.unwrap().saturating_duration_since(begun));
        api.put(of(&two, true));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request fails");
    }
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    let wrong: Vec<_> = answers.iter().filter(|(_, status, who)| *status != 200 || who == "passthrough").collect();
    assert!(wrong.is_empty(), "of {} requests: {wrong:?}", answers.len());
    took.sort();
    println!("from the API's change to the last request to that endpoint: {took:?}, {} requests", answers.len());
    assert!(took[took.len() / 2] < BOUND, "{took:?}; its log:\n{}", program.log());
    let refused = envoy.stat("extension_config_discovery.http_filter.byname-endpoint.update_rejected").await.unwrap();
    assert_eq!((refused, program.metric("errors_total{kind=\"Service\"}").await), (0, 0.0));
}
