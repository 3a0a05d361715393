//! CoreDNS, and programs that ask it through glibc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::repository;

use crate::{
    cluster::{Cluster, run},
    part::Part,
};

/// Address of the DNS server. The network namespace has it on its loopback device.
const ADDRESS: &str = "10.96.0.10";

/// A CoreDNS that answers for the cluster on port 53.
pub struct CoreDns {
    part: Part,
}

impl CoreDns {
    /// Starts it, and waits until it has read the cluster. No name outside the cluster's domain exists.
    ///
    /// # Errors
    /// If it does not start, with the tail of its log.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let file = cluster.directory().join("Corefile");
        let kubeconfig = cluster.admin();
        fs::write(
            &file,
            format!(
                ".:53 {{\n  ready 127.0.0.1:8181\n  errors\n  kubernetes cluster.local in-addr.arpa ip6.arpa {{\n    \
                 kubeconfig {}\n    pods insecure\n    ttl 0\n  }}\n  template ANY ANY . {{\n    rcode NXDOMAIN\n  }}\n}}\n",
                kubeconfig.display()
            ),
        )?;
        let arguments = ["-conf", &file.display().to_string()];
        let mut part = Part::start("coredns", "coredns", cluster.directory(), &arguments)?;
        let ready = || run("curl", &["-sf", "http://127.0.0.1:8181/ready", "-m", "2"], None).is_ok();
        part.wait_until(|_| ready())?;
        Ok(Self { part })
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.part.tail()
    }
}

/// The `/etc/resolv.conf` that the kubelet writes for a pod with dnsPolicy ClusterFirst, and with these `dnsConfig.searches`.
pub(crate) fn resolv_conf(namespace: &str, searches: &[&str]) -> String {
    let own = format!("{namespace}.svc.cluster.local");
    let search = [&[&*own, "svc.cluster.local", "cluster.local"], searches].concat().join(" ");
    format!("search {search}\nnameserver {ADDRESS}\noptions ndots:5 timeout:2 attempts:2\n")
}

/// Programs of a pod: their `/etc/resolv.conf` is the one that the kubelet writes for the pod.
pub struct DnsClient {
    /// Content of `/etc/resolv.conf`.
    resolv_conf: String,
}

impl DnsClient {
    /// A client in a namespace with dnsPolicy ClusterFirst.
    #[must_use]
    pub fn of_namespace(namespace: &str) -> Self {
        Self { resolv_conf: resolv_conf(namespace, &[]) }
    }

    /// Looks up names through glibc: the addresses of each, none for a name that does not resolve.
    ///
    /// # Errors
    /// If the program that asks fails.
    pub fn look_up(&self, names: &[String], directory: &Path) -> Result<BTreeMap<String, BTreeSet<IpAddr>>> {
        let file = directory.join("resolv.conf");
        fs::write(&file, &self.resolv_conf)?;
        let program = repository().join("tests/cluster/look_up.py");
        // A mount namespace for this program alone: glibc reads no other path.
        let script = format!("mount --bind {} /etc/resolv.conf && exec python3 {}", file.display(), program.display());
        let printed = run("unshare", &["--mount", "sh", "-c", &script], Some(&names.join("\n")))?;
        let mut answers = BTreeMap::new();
        for line in printed.lines() {
            let (name, addresses) = line.split_once('\t').context("a name and its addresses")?;
            let addresses: Result<BTreeSet<IpAddr>, _> = addresses.split_whitespace().map(str::parse).collect();
            answers.insert(name.to_owned(), addresses?);
        }
        ensure!(
            answers.len() == names.iter().collect::<BTreeSet<_>>().len(),
            "not every name was looked up:\n{printed}"
        );
        Ok(answers)
    }
}
