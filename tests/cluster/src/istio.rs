//! Istio: istiod, a registry of images, and the pods of a mesh.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{
    crashing_module,
    image::{Layout, sha256},
    module, repository,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, run},
    coredns::{CoreDns, resolv_conf},
    netns::PodNetwork,
    part::{Part, eventually},
    pod::{NAMESPACE, PROXY_USER, Pod, PodOptions, enter, run_part},
    watch::byname_program,
};

/// Addresses on the loopback device of the cluster's namespace that no pod gets.
const ISTIOD: &str = "10.244.255.252";
const REGISTRY: &str = "10.244.255.253";
const OUTSIDE: &str = "10.244.255.254";
/// A host outside of the cluster, of examples/istio.
pub const HOST_OUTSIDE: &str = "api.weather.example.com";
/// Where the host outside answers without TLS.
pub const OUTSIDE_HTTP: &str = "10.244.255.254:80";
/// The registry by the name that examples/istio has.
const REGISTRY_HOST: &str = "registry.example.com";
/// The module `crashing.wasm` of [`HOST_OUTSIDE`] crashes at a request with so many headers. A sidecar's have fewer than twenty.
pub const CRASHING_HEADERS: i32 = 60;
/// Repository of the image in the registry, and its tag there as in target/image.
const IMAGE: (&str, &str) = ("byname", "0.1.0");
/// Another tag of the same image in the registry.
const LATEST: &str = "latest";
/// Kinds of Istio's objects that tests apply.
const KINDS: &str = "wasmplugins.extensions.istio.io,trafficextensions.extensions.istio.io,envoyfilters.networking.istio.io,\
    virtualservices.networking.istio.io,destinationrules.networking.istio.io,sidecars.networking.istio.io,\
    serviceentries.networking.istio.io,gateways.networking.istio.io,peerauthentications.security.istio.io,\
    authorizationpolicies.security.istio.io,telemetries.telemetry.istio.io";
/// The mesh's configuration: Envoy's own build has none of the filters that report to Istio's providers. A Telemetry object turns on
/// the access log, which shows byname's decision of each request.
const MESH: &str = r#"
defaultProviders: {}
trustDomain: cluster.local
extensionProviders:
- name: access-log
  envoyFileAccessLog:
    path: /var/lib/access.log
    logFormat:
      text: "path=%REQ(:PATH)% status=%RESPONSE_CODE% authority=%REQ(:AUTHORITY)% milliseconds=%DURATION% %FILTER_STATE(wasm.byname:PLAIN)%\n"
"#;
/// Runs a program as in a container of a pod: with the pod's own /etc and /var/lib. $1 is the pod's folder.
const CONTAINER: &str = "set -e
pod=$1
shift
mount -t tmpfs tmpfs $pod/overlay
mkdir $pod/overlay/upper $pod/overlay/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=$pod/overlay/upper,workdir=$pod/overlay/work /etc
rm -f /etc/hosts /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt
cp $pod/files/hosts $pod/files/resolv.conf /etc/
mkdir -p /etc/ssl/certs /etc/byname/ecds
cp $pod/files/ca-certificates.crt /etc/ssl/certs/
mount --bind $pod/ecds /etc/byname/ecds
mount --bind $pod/lib /var/lib
cd $pod
export PATH=$pod/bin:$PATH
exec \"$@\"";

/// `pilot-agent request`. The program has istiod too, one of whose packages warns on the standard output before anything else.
const PILOT_AGENT: &str = r#"#!/bin/sh
answer=$(PROGRAM "$@") || exit
printf '%s\n' "$answer" | grep -v 'was registered multiple times'
"#;

/// A mesh that runs until it is dropped.
pub struct Istio<'c> {
    cluster: &'c Cluster,
    istiod: Part,
    registry: Part,
    outside: [Part; 2],
    dns: CoreDns,
    directory: TempDir,
    /// Where the source of Istio is, in Go's cache of modules.
    source: PathBuf,
    digest: String,
    pods: Cell<u32>,
}

impl<'c> Istio<'c> {
    /// Starts istiod, CoreDNS, a registry that has the module's image, and a host outside of the cluster; waits until all are ready.
    ///
    /// # Errors
    /// If a part does not start, with the tail of its log.
    pub fn start(cluster: &'c Cluster) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("byname-istio-").tempdir()?;
        // The proxy's user reads what is in it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let modules = repository().join("tests/cluster/istio");
        let list = ["-C", &modules.display().to_string(), "list", "-m", "-f", "{{.Dir}}", "istio.io/istio"];
        let source = PathBuf::from(run("go", &list, None)?.trim());
        let crds = source.join("manifests/charts/base/files/crd-all.gen.yaml").display().to_string();
        cluster.kubectl(&["create", "-f", &crds])?;
        cluster.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--all",
            "--timeout=60s",
            "customresourcedefinitions",
        ])?;
        cluster.apply(&mesh_config())?;
        let authority = Authority::create(directory.path())?;
        let listen = format!("{REGISTRY}:443");
        let arguments = ["registry", &listen, &authority.certificate, &authority.key];
        let registry = Part::start("istio", "registry", directory.path(), &arguments)?;
        let digest = push_image(&authority)?;
        let outside = start_outside(directory.path(), &authority)?;
        let istiod = start_istiod(cluster, directory.path(), "")?;
        let dns = CoreDns::start(cluster)?;
        let mut istio = Self { cluster, istiod, registry, outside, dns, directory, source, digest, pods: Cell::new(0) };
        istio.istiod.wait_until(|_| is_ready())?;
        eventually("istiod publishes its root certificate", || {
            Ok(istio.root_certificate().is_ok_and(|text| !text.is_empty()))
        })?;
        Ok(istio)
    }

    /// The `url` and `sha256` of a WasmPlugin that runs the module that ships.
    #[must_use]
    pub fn image(&self) -> (String, &str) {
        (format!("oci://{REGISTRY_HOST}/{}:{}", IMAGE.0, IMAGE.1), &self.digest)
    }

    /// The `url` of the same image as the tag `latest`.
    #[must_use]
    pub fn latest_image(&self) -> String {
        format!("oci://{REGISTRY_HOST}/{}:{LATEST}", IMAGE.0)
    }

    /// How often the registry was asked for the image's manifest.
    #[must_use]
    pub fn pulls(&self) -> usize {
        self.registry.log().matches(&format!("GET /v2/{}/manifests/", IMAGE.0)).count()
    }

    /// Ends all of Istio's objects but `objects`, and applies those.
    ///
    /// # Errors
    /// If the API refuses one.
    pub fn apply_only(&self, objects: &[Value]) -> Result<()> {
        self.cluster.kubectl(&["delete", KINDS, "--all", "--all-namespaces", "--wait=false"])?;
        if !objects.is_empty() {
            self.cluster.apply(objects)?;
        }
        Ok(())
    }

    /// Runs `byname` on the Services that the cluster has.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn compile(&self, arguments: &[&str]) -> Result<String> {
        let file = self.directory.path().join("cluster.yaml");
        fs::write(&file, self.cluster.dump("services,endpointslices")?)?;
        let file = file.display().to_string();
        run(&byname_program()?.display().to_string(), &[&["compile", "-f", &file], arguments].concat(), None)
    }

    /// Starts a server in the cluster's namespace of the network: that of a pod without a sidecar, or outside of the cluster.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_server(&self, name: &str, listen: &str) -> Result<Part> {
        let arguments = ["server", "--name", name, "--listen", listen];
        Part::start("istio", &format!("{name}-{listen}"), self.directory.path(), &arguments)
    }

    /// Starts a sidecar for a pod, which it creates, and waits until the kubelet would call it ready.
    ///
    /// # Errors
    /// If it does not become ready, with the tail of its log.
    pub fn start_pod(&self, pod: &PodOptions<'_>) -> Result<Pod> {
        self.start_pod_with_searches(pod, &[])
    }

    /// The same for a pod with these `dnsConfig.searches`.
    ///
    /// # Errors
    /// If it does not become ready, with the tail of its log.
    pub fn start_pod_with_searches(&self, pod: &PodOptions<'_>, searches: &[&str]) -> Result<Pod> {
        let PodOptions { namespace, name, labels, is_gateway } = *pod;
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let folder = self.directory.path().join(format!("{namespace}-{name}"));
        let network = folder.join("network");
        // What `kubectl exec` and `kubectl logs` are answered with.
        let annotations = json!({
            "test.byname.dev/network": &network,
            "test.byname.dev/enter": json!(enter(&network, &folder, &[])).to_string(),
            "test.byname.dev/log": self.directory.path().join(format!("{namespace}-{name}.log")),
        });
        let containers = json!([
            {"name": "main", "image": "example.com/main"},
            {"name": "istio-proxy", "image": "example.com/proxyv2"},
        ]);
        // No ports: nothing but the pod's own programs answers on its address.
        let spec = match searches {
            [] => json!({"containers": containers}),
            _ => json!({"containers": containers, "dnsConfig": {"searches": searches}}),
        };
        self.cluster.apply(&[json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": name, "labels": labels, "annotations": annotations},
            "spec": spec,
        })])?;
        let get = |path: &str| {
            self.cluster.kubectl(&["get", "pod", name, "-n", namespace, "-o", &format!("jsonpath={{{path}}}")])
        };
        let mut address = String::new();
        eventually("the pod has an address", || {
            address = get(".status.podIP")?;
            Ok(!address.is_empty())
        })?;
        self.write_files(&folder, pod, &labels, searches)?;
        let number = self.pods.get();
        self.pods.set(number + 1);
        let network = PodNetwork::create(network, &format!("pod{number}"), &address)?;
        let mut pod = Pod {
            kubeconfig: self.cluster.admin(),
            agent: None,
            network,
            folder,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            address,
        };
        if !is_gateway {
            // Istio's init container.
            let program = repository().join("target/cluster/istio").display().to_string();
            let rules = [
                "iptables",
                "-p",
                "15001",
                "-z",
                "15006",
                "-u",
                PROXY_USER,
                "-m",
                "REDIRECT",
                "-i",
                "*",
                "-b",
                "*",
                "-d",
                "15090,15021,15020",
            ];
            run_part(pod.network.command(&[&[program.as_str()], &rules[..]].concat())).context("the redirect")?;
        }
        pod.start_agent(self.directory.path(), is_gateway)?;
        Ok(pod)
    }

    fn write_files(
        &self,
        folder: &Path,
        pod: &PodOptions<'_>,
        labels: &BTreeMap<&str, &str>,
        searches: &[&str],
    ) -> Result<()> {
        let PodOptions { namespace, name, .. } = *pod;
        let folders = [
            "bin",
            "overlay",
            "ecds",
            "lib/istio/data",
            "files",
            "etc/istio/proxy",
            "etc/istio/pod",
            "var/run/secrets/tokens",
            "var/run/secrets/istio",
        ];
        for name in folders {
            fs::create_dir_all(folder.join(name))?;
        }
        let uid = self.cluster.kubectl(&["get", "pod", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}"])?;
        let token = self.cluster.kubectl(&[
            "create",
            "token",
            "default",
            "-n",
            namespace,
            "--audience=istio-ca",
            "--bound-object-kind=Pod",
            &format!("--bound-object-name={name}"),
            &format!("--bound-object-uid={uid}"),
        ])?;
        let lines: String = labels.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect();
        let program = repository().join("target/cluster/istio").canonicalize()?;
        let files = [
            (
                "files/hosts",
                format!(
                    "127.0.0.1 localhost\n{ISTIOD} istiod.{NAMESPACE}.svc\n{OUTSIDE} {HOST_OUTSIDE}\n{REGISTRY} {REGISTRY_HOST}\n"
                ),
            ),
            ("files/resolv.conf", resolv_conf(namespace, searches)),
            ("files/ca-certificates.crt", fs::read_to_string(self.directory.path().join("outside.crt"))?),
            ("etc/istio/pod/labels", lines),
            (
                "files/bootstrap.json",
                fs::read_to_string(self.source.join("tools/packaging/common/envoy_bootstrap.json"))?,
            ),
            ("var/run/secrets/tokens/istio-token", token.trim().to_owned()),
            ("var/run/secrets/istio/root-cert.pem", self.root_certificate()?),
            ("container", CONTAINER.to_owned()),
            ("bin/pilot-agent", PILOT_AGENT.replace("PROGRAM", &program.display().to_string())),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text)?;
        }
        fs::set_permissions(folder.join("bin/pilot-agent"), fs::Permissions::from_mode(0o755))?;
        run("chown", &["-R", &format!("{PROXY_USER}:{PROXY_USER}"), &folder.display().to_string()], None)?;
        Ok(())
    }

    fn root_certificate(&self) -> Result<String> {
        let path = "jsonpath={.data.root-cert\\.pem}";
        self.cluster.kubectl(&["get", "configmap", "istio-ca-root-cert", "-n", NAMESPACE, "-o", path])
    }

    /// The last lines of each log.
    #[must_use]
    pub fn tails(&self) -> String {
        let parts = [("istiod", &self.istiod), ("registry", &self.registry)];
        let outside = self.outside.iter().map(|part| ("host outside", part));
        let tail = |(name, part): (&str, &Part)| format!("== {name}\n{}", part.tail());
        let tails: String = parts.into_iter().chain(outside).map(tail).collect();
        format!("{tails}== coredns\n{}", self.dns.tail())
    }
}

/// istiod alone, which serves its clients in plaintext too.
pub struct Istiod {
    part: Part,
    _directory: TempDir,
}

impl Istiod {
    /// Where it serves in plaintext.
    pub const PLAINTEXT: &str = "127.0.0.1:15010";

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start, with the tail of its log.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        cluster.apply(&mesh_config())?;
        let mut part = start_istiod(cluster, directory.path(), Self::PLAINTEXT)?;
        part.wait_until(|_| is_ready())?;
        Ok(Self { part, _directory: directory })
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.part.id()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.part.tail()
    }
}

/// The namespace of istiod, and the configuration of its mesh.
fn mesh_config() -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": NAMESPACE, "name": "istio"},
            "data": {"mesh": MESH, "meshNetworks": "networks: {}"},
        }),
    ]
}

fn is_ready() -> bool {
    run("curl", &["-sf", "-m", "2", "http://127.0.0.1:15080/ready"], None).is_ok()
}

/// Starts istiod. It serves in plaintext on `plaintext`, unless that is empty.
fn start_istiod(cluster: &Cluster, directory: &Path, plaintext: &str) -> Result<Part> {
    let folder = directory.join("istiod");
    fs::create_dir(&folder)?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "cd $1 && shift && exec \"$@\"", "sh"])
        .arg(&folder)
        .arg(repository().join("target/cluster/istio"))
        .args([
            "istiod",
            "--httpAddr=127.0.0.1:15080",
            "--httpsAddr=127.0.0.1:15017",
            "--monitoringAddr=127.0.0.1:15014",
        ])
        .args([
            &format!("--secureGRPCAddr={ISTIOD}:15012"),
            &format!("--grpcAddr={plaintext}"),
            "--clusterID=Kubernetes",
        ])
        .arg(format!("--kubeconfig={}", cluster.admin().display()))
        .envs([
            ("POD_NAMESPACE", NAMESPACE),
            ("POD_NAME", "istiod-0"),
            ("PILOT_CERT_PROVIDER", "istiod"),
            ("CLUSTER_ID", "Kubernetes"),
            // Filters that Envoy's own build has not.
            ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
            ("PILOT_ENABLE_ALPN_FILTER", "false"),
        ]);
    Part::spawn(command, "istiod", directory)
}

/// A certificate for the hosts outside of the cluster, which is its own authority.
struct Authority {
    certificate: String,
    key: String,
}

impl Authority {
    fn create(directory: &Path) -> Result<Self> {
        let file = |name: &str| directory.join(name).display().to_string();
        let (certificate, key) = (file("outside.crt"), file("outside.key"));
        let names = format!("subjectAltName=DNS:{HOST_OUTSIDE},DNS:{REGISTRY_HOST}");
        let request =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=outside", "-addext", &names];
        run("openssl", &[&request[..], &["-keyout", &key, "-out", &certificate]].concat(), None)?;
        Ok(Self { certificate, key })
    }
}

/// The host outside, with TLS and without.
fn start_outside(directory: &Path, authority: &Authority) -> Result<[Part; 2]> {
    let (https, http) = (format!("{OUTSIDE}:443"), OUTSIDE_HTTP.to_owned());
    let server = ["server", "--name=outside", "--listen"];
    let modules = directory.join("modules");
    fs::create_dir(&modules)?;
    fs::write(modules.join("byname.wasm"), module()?)?;
    fs::write(modules.join("crashing.wasm"), crashing_module(CRASHING_HEADERS)?)?;
    let modules = modules.display().to_string();
    let tls = ["--certificate", &authority.certificate, "--key", &authority.key, "--modules", &modules];
    Ok([
        Part::start("istio", "outside-https", directory, &[&server[..], &[&https], &tls].concat())?,
        Part::start("istio", "outside-http", directory, &[&server[..], &[&http]].concat())?,
    ])
}

/// Pushes the image of `make image` as skopeo would, and returns the digest of its manifest.
fn push_image(authority: &Authority) -> Result<String> {
    let resolve = format!("{REGISTRY_HOST}:443:{REGISTRY}");
    let curl = ["-sf", "-m", "20", "--cacert", &authority.certificate, "--resolve", &resolve];
    let layout = repository().join("target/image");
    let image = Layout::open(&layout).context("there is no image; run `make image`")?;
    let (name, tag) = IMAGE;
    ensure!(
        image.wasm_plugin(tag)? == module()?,
        "target/image has another module than target/byname.wasm; run `make image`"
    );
    let manifest = image.manifest(tag)?;
    eventually("the registry answers", || {
        Ok(run("curl", &[&curl[..], &[&format!("https://{REGISTRY_HOST}/v2/")]].concat(), None).is_ok())
    })?;
    let layers = manifest.content.get("layers").and_then(Value::as_array).context("the manifest has no layers")?;
    let send = |method: &str, url: &str, media_type: &str, file: &Path| {
        let (media_type, file) = (format!("content-type: {media_type}"), format!("@{}", file.display()));
        run("curl", &[&curl[..], &["-X", method, "-H", &media_type, "--data-binary", &file, url]].concat(), None)
    };
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    for descriptor in layers.iter().chain(manifest.content.get("config")) {
        let digest = descriptor.get("digest").and_then(Value::as_str).context("a descriptor has no digest")?;
        send(
            "POST",
            &format!("https://{REGISTRY_HOST}/v2/{name}/blobs/uploads/?digest={digest}"),
            "application/octet-stream",
            &blob(digest),
        )?;
    }
    let media_type =
        manifest.content.get("mediaType").and_then(Value::as_str).context("the manifest has no media type")?;
    for tag in [tag, LATEST] {
        send(
            "PUT",
            &format!("https://{REGISTRY_HOST}/v2/{name}/manifests/{tag}"),
            media_type,
            &blob(&manifest.digest),
        )?;
    }
    let hex = manifest.digest.strip_prefix("sha256:").context("a SHA-256")?;
    ensure!(sha256(&fs::read(blob(&manifest.digest))?) == hex, "the manifest is another");
    Ok(hex.to_owned())
}
