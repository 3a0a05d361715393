//! istiod and `byname watch` beside `byname serve`: the same Services in a real Kubernetes API, and the same clients.

use std::{future::Future, path::Path, time::Duration};

use anyhow::{Context, Result};
use byname_cluster::{Cluster, ClusterOptions, Istiod};
use byname_test_support::{SeededRandom, ServeProcess};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, Request, header::CONTENT_TYPE};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::{
    task::{JoinSet, block_in_place},
    time::{Instant, interval, sleep},
};

use crate::{
    dialect::Dialect,
    fleet::{Fleet, NAMES, SETTLED},
    process::{cpu_time, memory},
    recorder::{Recorder, quantile},
    report::{FleetReport, Measured},
    sidecar::Upstream,
    synthetic::{CHANGED, ClusterSize, first_addresses, namespace, slice, slice_name},
    watch::WatchProcess,
};

/// Objects that are written at once.
const WRITES: usize = 32;
/// New clients a second. istiod takes 25 on two processors.
const STARTS_PER_SECOND: usize = 20;
/// Changes of endpoints a second.
const RATE: u32 = 10;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct BesidePlan {
    pub(crate) cluster: ClusterSize,
    /// The clients of istiod, and of `byname serve`.
    pub(crate) clients: usize,
    /// Processes of `byname watch`.
    pub(crate) watches: usize,
    /// Time for which endpoints change.
    pub(crate) time: Duration,
}

/// A real API with the Services, and nobody but the measurement that changes them.
struct RealCluster {
    cluster: Cluster,
    client: kube::Client,
    addresses: Vec<Vec<u32>>,
    random: SeededRandom,
}

/// What one of the programs took.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    memory_for_each: f64,
    cpu_to_connect: f64,
    bytes_to_connect: f64,
    cores: f64,
    last_receipt: Duration,
}

/// Measures each program alone, one after the other, and adds its figures to the report.
pub(crate) async fn measure(plan: &BesidePlan, report: &mut FleetReport) -> Result<()> {
    let mut cluster = RealCluster::start(plan.cluster).await?;
    let admin = cluster.cluster.admin();
    let ClusterSize { services, endpoints } = plan.cluster;
    let on = format!("on a real API with {services} Services × {endpoints} endpoints");

    report.begin(format!("byname serve {on}, {} clients", plan.clients));
    let server = ServeProcess::start(&admin, &[]).await?;
    let upstream = Upstream { addresses: vec![server.address], tls: None, dialect: Dialect::Envoy };
    let of_serve = clients(plan, &mut cluster, report, server.id(), upstream).await?;
    drop(server);

    report.begin(format!("istiod {on}, {} clients: all clusters, endpoints of {NAMES}", plan.clients));
    let istiod = block_in_place(|| Istiod::start(&cluster.cluster))?;
    let address = Istiod::PLAINTEXT.parse()?;
    let upstream = Upstream { addresses: vec![address], tls: None, dialect: Dialect::Istio };
    let of_istiod = clients(plan, &mut cluster, report, istiod.id(), upstream).await;
    let of_istiod = of_istiod.with_context(|| istiod.tail())?;
    drop(istiod);

    report.begin(format!("byname watch {on}, {} at once", plan.watches));
    let of_watch = watches(plan, &mut cluster, report, &admin).await?;

    report.begin("byname serve takes as 1, for each client");
    let times = |other: f64, own: f64| Measured::Ratio(other / own.max(f64::MIN_POSITIVE));
    report.add("memory, istiod", "", &[times(of_istiod.memory_for_each, of_serve.memory_for_each)]);
    report.add("memory, byname watch", "", &[times(of_watch.memory_for_each, of_serve.memory_for_each)]);
    report.add("CPU to connect, istiod", "", &[times(of_istiod.cpu_to_connect, of_serve.cpu_to_connect)]);
    report.add("bytes to connect, istiod", "", &[times(of_istiod.bytes_to_connect, of_serve.bytes_to_connect)]);
    report.add("CPU while endpoints change, istiod", "", &[times(of_istiod.cores, of_serve.cores)]);
    report.add("CPU while endpoints change, byname watch", "", &[times(of_watch.cores, of_serve.cores)]);
    let seconds = |taken: Taken| taken.last_receipt.as_secs_f64();
    report.add("from a change to its last receipt, p50, istiod", "", &[times(seconds(of_istiod), seconds(of_serve))]);
    Ok(())
}

/// Connects the clients to a control plane, and changes endpoints.
async fn clients(
    plan: &BesidePlan,
    cluster: &mut RealCluster,
    report: &mut FleetReport,
    process: u32,
    upstream: Upstream,
) -> Result<Taken> {
    sleep(SETTLED).await;
    let (cpu, resident) = (cpu_time(process)?, memory(process, "VmRSS")?);
    report.add("memory without clients", "", &[Measured::Bytes(resident as f64)]);
    let services = plan.cluster.services;
    let fleet = Fleet::start_at(plan.clients, upstream, services, STARTS_PER_SECOND).await?;
    sleep(SETTLED).await;
    let each = |number: f64| number / plan.clients as f64;
    let mut taken = Taken {
        memory_for_each: each(memory(process, "VmRSS")?.saturating_sub(resident) as f64),
        cpu_to_connect: each((cpu_time(process)? - cpu).as_secs_f64()),
        bytes_to_connect: each(fleet.recorder.bytes() as f64),
        ..Taken::default()
    };
    report.add("memory for each", "", &[Measured::Bytes(taken.memory_for_each)]);
    report.add("CPU to connect, for each", "", &[Measured::Time(Duration::from_secs_f64(taken.cpu_to_connect))]);
    report.add("bytes to connect, for each", "", &[Measured::Bytes(taken.bytes_to_connect)]);
    let first = fleet.recorder.changes();
    let cores = cluster.churn(&fleet.recorder, plan.time, || cpu_time(process)).await?;
    taken.cores = each(cores);
    report.add(format!("CPU at {RATE} changes of endpoints a second"), "", &[Measured::Cores(cores)]);
    let last = fleet.recorder.latencies(first).last;
    let both = [0.5, 0.99].map(|part| quantile(&last, part).unwrap_or_default());
    report.add("from a change to its last receipt, p50 and p99", "", &both.map(Measured::Time));
    report.add("changes that a client received", "", &[Measured::Count(last.len() as f64)]);
    taken.last_receipt = both[0];
    Ok(taken)
}

async fn watches(
    plan: &BesidePlan,
    cluster: &mut RealCluster,
    report: &mut FleetReport,
    kubeconfig: &Path,
) -> Result<Taken> {
    let directory = tempfile::tempdir()?;
    let mut watches = Vec::new();
    for number in 0..plan.watches {
        watches.push(WatchProcess::start(kubeconfig, &directory.path().join(format!("{number}.json")))?);
    }
    for watch in &watches {
        watch.wait_for_table().await;
    }
    sleep(SETTLED).await;
    let used = || watches.iter().map(|watch| cpu_time(watch.id())).sum::<Result<Duration>>();
    let cores = cluster.churn(&Recorder::default(), plan.time, used).await?;
    let mut resident = 0;
    for watch in &watches {
        resident += memory(watch.id(), "VmRSS")?;
    }
    let each = |number: f64| number / plan.watches as f64;
    let taken = Taken { memory_for_each: each(resident as f64), cores: each(cores), ..Taken::default() };
    report.add("memory of each", "", &[Measured::Bytes(taken.memory_for_each)]);
    report.add(format!("CPU of each at {RATE} changes of endpoints a second"), "", &[Measured::Cores(taken.cores)]);
    Ok(taken)
}

impl RealCluster {
    async fn start(size: ClusterSize) -> Result<Self> {
        let cluster = block_in_place(|| Cluster::start(ClusterOptions { serves: false }))?;
        let kubeconfig = Kubeconfig::read_from(cluster.admin())?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = kube::Client::try_from(config)?;
        let addresses = (0..size.services).map(|service| first_addresses(service, size.endpoints)).collect();
        let all = Self { cluster, client, addresses, random: SeededRandom(1) };
        let last = namespace(size.services.saturating_sub(1));
        for number in 0.. {
            let name = format!("namespace-{number}");
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            send(&all.client, Method::POST, "/api/v1/namespaces", &object).await?;
            if name == last {
                break;
            }
        }
        let writes = (0..size.services).map(|service| all.create(service));
        stream::iter(writes).buffer_unordered(WRITES).try_collect::<Vec<()>>().await?;
        Ok(all)
    }

    fn create(&self, service: usize) -> impl Future<Output = Result<()>> + use<> {
        let (client, namespace) = (self.client.clone(), namespace(service));
        let slice = self.slice(service);
        // Without a selector, so that no controller writes its endpoints.
        let object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("service-{service}")},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]},
        });
        async move {
            send(&client, Method::POST, &format!("/api/v1/namespaces/{namespace}/services"), &object).await?;
            send(&client, Method::POST, &slices_of(&namespace), &slice).await
        }
    }

    fn slice(&self, service: usize) -> Value {
        slice(service, self.addresses.get(service).map_or(&[], Vec::as_slice))
    }

    /// Changes endpoints of random Services for a time. Returns how many cores `used` meanwhile.
    async fn churn(&mut self, recorder: &Recorder, time: Duration, used: impl Fn() -> Result<Duration>) -> Result<f64> {
        let (mut ticks, mut writes) = (interval(Duration::from_secs(1) / RATE), JoinSet::new());
        let (before, start) = (used()?, Instant::now());
        while start.elapsed() < time {
            ticks.tick().await;
            let service = self.random.below(self.addresses.len() as u64) as usize;
            let number = recorder.begin_change();
            if let Some(addresses) = self.addresses.get_mut(service) {
                let endpoints = addresses.len();
                if let Some(address) = addresses.get_mut(number % endpoints.max(1)) {
                    *address = CHANGED + number as u32;
                }
            }
            let path = format!("{}/{}", slices_of(&namespace(service)), slice_name(service));
            let (client, slice) = (self.client.clone(), self.slice(service));
            writes.spawn(async move { send(&client, Method::PUT, &path, &slice).await });
        }
        while let Some(written) = writes.join_next().await {
            written??;
        }
        sleep(SETTLED).await;
        Ok((used()? - before).as_secs_f64() / start.elapsed().as_secs_f64())
    }
}

fn slices_of(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

async fn send(client: &kube::Client, method: Method, path: &str, object: &Value) -> Result<()> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    let request = request.body(serde_json::to_vec(object)?)?;
    client.request_text(request).await.with_context(|| format!("cannot write to {path}"))?;
    Ok(())
}
