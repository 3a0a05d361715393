//! The picture of the dashboard: a sidecar with some trouble, a real Prometheus that scrapes it, and a plot of its
//! data.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Pinned, so that the same data gives the same picture.
const MATPLOTLIB: &str = "matplotlib==3.11.2";
const SECONDS: u64 = 180;
/// Labels that Prometheus would have for the containers of a pod.
const TARGET: &str = "labels: {namespace: shop, pod: web-7d9c-x2x4p}";
/// Names that the workload requests. A popular name occurs several times.
const NAMES: [&str; 12] =
    ["web", "web", "web", "orders", "web", "payments", "pay", "web", "cart", "payments", "orders.shop", "web"];

/// Runs everything, and writes docs/pictures/dashboard.png.
pub(crate) async fn run(root: &Path) -> Result<()> {
    let prometheus = env::var_os("PROMETHEUS").map(PathBuf::from);
    let prometheus = prometheus.filter(|path| path.is_file()).context(
        "PROMETHEUS names no program: set PROMETHEUS=/path/to/prometheus; Debian's package `prometheus` has it",
    )?;
    let python = plotting_python(&root.join("target/plot"))?;
    let directory = tempfile::Builder::new().prefix("byname-dashboard-").tempdir()?;
    let (cluster, output) = (directory.path().join("cluster"), directory.path().join("ecds"));
    fs::create_dir(&cluster)?;
    fs::create_dir(&output)?;
    let mut shop = Shop::open(&cluster).await?;
    shop.write()?;
    let watch_port = free_port()?;
    let _watch = watch(root, directory.path(), watch_port)?;
    while !output.join("byname.yaml").exists() {
        sleep(Duration::from_millis(20)).await;
    }
    let passthrough = TestUpstream::start("passthrough").await?;
    let envoy = Envoy::builder("endpoint.yaml").upstream(18080, &passthrough).following(&output).start().await?;
    let port = free_port()?;
    let _prometheus = scrape(&prometheus, directory.path(), port, [envoy.port(9901), watch_port])?;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..4).map(|client| tokio::spawn(ask(envoy.port(15001), client, Arc::clone(&stop)))).collect();
    println!("{SECONDS} seconds of load and trouble");
    sleep(Duration::from_secs(5)).await;
    let start = since_the_epoch()?;
    shop.live(&output.join("byname.yaml")).await?;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    let drawn = Command::new(python)
        .arg(root.join("docs/pictures/dashboard.py"))
        .args([format!("http://127.0.0.1:{port}"), start.to_string(), since_the_epoch()?.to_string()])
        .arg(root.join("docs/pictures/dashboard.png"))
        .status()?;
    ensure!(drawn.success(), "the picture could not be drawn");
    Ok(())
}

/// A process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, log: &Path) -> Result<Running> {
    let log = fs::File::create(log)?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    Ok(Running(child.with_context(|| format!("{} cannot be run", command.get_program().display()))?))
}

fn plotting_python(environment: &Path) -> Result<PathBuf> {
    let python = environment.join("bin/python3");
    if !python.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(environment).status()?;
        ensure!(made.success(), "python3 makes no virtual environment: install python3-venv");
    }
    let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", MATPLOTLIB]).status()?;
    ensure!(installed.success(), "pip could not install {MATPLOTLIB} (see the error above)");
    Ok(python)
}

fn watch(root: &Path, directory: &Path, port: u16) -> Result<Running> {
    let program = root.join("target/native/byname");
    ensure!(program.is_file(), "there is no {}: run `make cli`", program.display());
    let base = directory.join("base.json");
    let config = json!({
        "version": 1,
        "steering": {"by": "endpoint", "outlierDetection": {"consecutive5xxErrors": 3, "baseEjectionTimeSeconds": 15}},
        "fallback": {"services": {"shop/cart": {"service": "shop/web"}}},
        "table": {"singleMachine": true},
    });
    fs::write(&base, config.to_string())?;
    let mut command = Command::new(program);
    command.args(["watch", "--namespace", "shop", "--filter-name", "byname-endpoint"]);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--from-dir"]).arg(directory.join("cluster"));
    command.arg("--config").arg(base).arg("--module").arg(root.join("target/byname.wasm"));
    command.arg("--output-file").arg(directory.join("ecds/byname.yaml"));
    start(&mut command, &directory.join("watch.log"))
}

fn scrape(program: &Path, directory: &Path, port: u16, targets: [u16; 2]) -> Result<Running> {
    let job = |name: &str, path: &str, port: u16| {
        format!(
            "- {{job_name: {name}, metrics_path: {path}, static_configs: [{{targets: ['127.0.0.1:{port}'], {TARGET}}}]}}\n"
        )
    };
    let [envoy, watch] = targets;
    let config = directory.join("prometheus.yaml");
    let jobs = job("envoy", "/stats/prometheus", envoy) + &job("watch", "/metrics", watch);
    fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}"))?;
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    start(&mut command, &directory.join("prometheus.log"))
}

/// Sends the requests of one workload in the pod.
async fn ask(port: u16, client: usize, stop: Arc<AtomicBool>) -> Result<()> {
    let mut connection = Connection::open(port, RequestForm::Host).await?;
    for (turn, name) in NAMES.into_iter().cycle().skip(client).enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Some requests have a misspelt or an invalid name.
        let name = match turn % 400 {
            13 | 213 => "paymets",
            40 => "partner",
            _ => name,
        };
        connection.get(name, &[]).await?;
        sleep(Duration::from_millis(8)).await;
    }
    Ok(())
}

/// The Services of a namespace, and the changes to them.
struct Shop {
    file: PathBuf,
    upstreams: Vec<Option<TestUpstream>>,
    ports: Vec<u16>,
    /// Services without requests.
    others: usize,
    payments_are_ready: bool,
    cart_is_ready: bool,
}

impl Shop {
    async fn open(directory: &Path) -> Result<Self> {
        let mut upstreams = Vec::new();
        for name in ["web-1", "web-2", "web-3", "orders", "payments", "cart"] {
            upstreams.push(Some(TestUpstream::start(name).await?));
        }
        let ports = upstreams.iter().flatten().map(TestUpstream::port).collect();
        let file = directory.join("shop.json");
        Ok(Self { file, upstreams, ports, others: 20, payments_are_ready: true, cart_is_ready: true })
    }

    /// Replaces the dump that `kubectl get` would print, in one step.
    fn write(&self) -> Result<()> {
        let mut items = Vec::new();
        let port = |index: usize| self.ports.get(index).copied().unwrap_or_default();
        let mut add = |name: &str, endpoints: &[(u16, bool)]| {
            let address = format!("10.96.{}.{}", items.len() / 250, items.len() % 250 + 1);
            items.push(service(name, &json!({"clusterIP": address, "ports": [{"name": "http", "port": 80}]})));
            items.extend(endpoints.iter().map(|(port, is_ready)| slice(name, *port, *is_ready)));
        };
        add("web", &[0, 1, 2].map(|index| (port(index), true)));
        add("orders", &[(port(3), true)]);
        add("payments", &[(port(4), self.payments_are_ready)]);
        add("cart", &[(port(5), self.cart_is_ready)]);
        for number in 0..self.others {
            add(&format!("other-{number}"), &[(8080, true), (8081, true)]);
        }
        let alias = |name: &str| json!({"type": "ExternalName", "externalName": name});
        items.push(service("pay", &alias("payments.shop.svc.cluster.local")));
        items.push(service("partner", &alias("api.partner.example")));
        let next = self.file.with_extension("next");
        fs::write(&next, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        Ok(fs::rename(&next, &self.file)?)
    }

    /// Runs for three minutes. Services are added all the time. An endpoint of `web` dies and returns. `payments`, and
    /// later `cart`, has no ready endpoint. Then a push is broken, and then an input file.
    async fn live(&mut self, pushed: &Path) -> Result<()> {
        let begun = Instant::now();
        for second in 1..=SECONDS {
            match second {
                30 => drop(self.upstreams.get_mut(2).and_then(Option::take)),
                55 => {
                    let port = self.ports.get(2).copied().unwrap_or_default();
                    self.upstreams.push(Some(TestUpstream::start_at("web-3", port).await?));
                }
                70 => self.payments_are_ready = false,
                82 => self.payments_are_ready = true,
                95 => self.cart_is_ready = false,
                120 => self.cart_is_ready = true,
                132 => replace(pushed, "resources: [")?,
                150 => replace(&self.file, "{\"items\": [")?,
                _ => {}
            }
            if second % 12 == 0 {
                self.others += 2;
            }
            let changes =
                matches!(second, 70 | 82 | 95 | 120) || (second % 12 == 0 && second != 132 && second < SECONDS);
            if changes {
                self.write()?;
            }
            sleep(Duration::from_secs(second).saturating_sub(begun.elapsed())).await;
        }
        Ok(())
    }
}

fn replace(file: &Path, text: &str) -> Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, text)?;
    Ok(fs::rename(&next, file)?)
}

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

fn slice(name: &str, port: u16, is_ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop",
            "name": format!("{name}-{port}"),
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": is_ready, "serving": is_ready}}],
    })
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn since_the_epoch() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())
}
