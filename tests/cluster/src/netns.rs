//! Network namespaces for pods with a sidecar: each has the addresses and ports of its own pod.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::cluster::run;

/// Makes the namespace, whose file is $1, and a pair of devices between it and the namespace of the cluster, where it is $2. $3 is
/// the pod's address. The cluster's loopback device has the addresses of all pods; a more specific route in the same table wins. The kernel
/// takes its time to delete the device of an earlier pod.
const CREATE: &str = "set -e
unshare --net=$1 true
ip link delete $2 2>/dev/null || :
ip link add $2 type veth peer name $2-pod
ip link set $2-pod netns $1 name eth0
ip link set $2 up
nsenter --net=$1 sh -c '
  ip link set lo up
  ip address add '$3'/32 dev eth0
  ip link set eth0 up
  ip route add 10.244.0.1 dev eth0
  ip route add default via 10.244.0.1'
ip route replace $3/32 dev $2 table local
echo 1 >/proc/sys/net/ipv4/ip_forward";

/// The network namespace of a pod, which ends with the value and the processes in it.
pub(crate) struct PodNetwork {
    file: PathBuf,
}

impl PodNetwork {
    /// Makes one whose file is `file`. `device` is the name of its device in the cluster's namespace.
    pub(crate) fn create(file: PathBuf, device: &str, address: &str) -> Result<Self> {
        fs::write(&file, "")?;
        let network = Self { file };
        run("sh", &["-c", CREATE, "sh", &network.file.display().to_string(), device, address], None)?;
        Ok(network)
    }

    /// A command that runs the program of `arguments` in the namespace.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.file.display())).args(arguments);
        command
    }

    /// Whether the process with this folder in /proc runs in the namespace.
    pub(crate) fn has(&self, process: &Path) -> Result<bool> {
        // Processes end at any time.
        let Ok(namespace) = fs::metadata(process.join("ns/net")) else { return Ok(false) };
        let own = fs::metadata(&self.file)?;
        Ok((own.dev(), own.ino()) == (namespace.dev(), namespace.ino()))
    }

    /// The file that stands for it.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        // Else the file cannot be removed. Where creation failed there is nothing to unmount.
        let _ = Command::new("umount").arg(&self.file).status();
    }
}
