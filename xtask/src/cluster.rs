//! Runs the tests against a real cluster: builds its parts, and gives the tests namespaces of their own.

mod licences;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::image::sha256;

/// The Go modules below `tests/cluster`. Each is a program of its own, because their dependencies clash.
const PARTS: [&str; 3] = ["kubernetes", "coredns", "istio"];
/// Commands that the tests need, and Debian's packages that have them.
const COMMANDS: [(&str, &str); 5] =
    [("ip", "iproute2"), ("unshare", "util-linux"), ("iptables", "iptables"), ("curl", "curl"), ("openssl", "openssl")];
/// No symbols, and the version that the API server reports; its own release scripts set it in the same way.
const LINKER_FLAGS: &str = "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3";
/// Prepares the network namespace: its loopback device has the addresses of pods, of nodes and of the DNS server.
const NETWORK: &str = "set -e
ip link set lo up
ip addr add 10.244.0.1/16 dev lo
ip addr add 10.96.0.10/32 dev lo
ip -6 route add local fd00:10:244::/64 dev lo
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
exec \"$@\"";

/// Runs the tests, or only those of the test target `target`.
pub(crate) fn test(root: &Path, target: Option<&str>) -> Result<()> {
    ensure!(is_root()?, "make test-cluster needs root: it makes network namespaces and redirects traffic in them");
    prepare(root)?;
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut arguments = vec!["test", "--package", "byname-cluster"];
    if let Some(target) = target {
        arguments.extend(["--test", target]);
    }
    // Built outside, where the registry can be reached.
    run(without_own_variables(Command::new(&cargo).args(&arguments).arg("--no-run").current_dir(root)))?;
    let mut tests = in_namespaces(&cargo);
    // One cluster at a time: each has the same ports.
    tests.args(&arguments).args(["--offline", "--", "--test-threads=1", "--nocapture"]);
    run(without_own_variables(tests.current_dir(root)))
}

/// Measures `byname serve` with simulated sidecars, and istiod beside it where that can run.
pub(crate) fn bench_fleet(root: &Path, quick: bool, part: Option<&str>) -> Result<()> {
    let program = root.join("target/native/byname-fleet").display().to_string();
    let has_go = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    let mut bench = match is_root()? && has_go {
        true => {
            prepare(root)?;
            let mut bench = in_namespaces(&program);
            bench.arg("--istiod");
            bench
        }
        false => {
            println!("istiod is left out: it needs root and Go, as make test-cluster does");
            Command::new(&program)
        }
    };
    if quick {
        bench.arg("--quick");
    }
    if let Some(part) = part {
        bench.args(["--part", part]);
    }
    run(bench.current_dir(root))
}

fn is_root() -> Result<bool> {
    let user = Command::new("id").arg("-u").output().context("id cannot be run; install coreutils")?;
    Ok(user.stdout == b"0\n")
}

/// Installs and builds what a cluster needs.
fn prepare(root: &Path) -> Result<()> {
    install_missing()?;
    PARTS.iter().try_for_each(|part| build(root, part))
}

/// Runs a program in namespaces of its own. Whatever it leaves running ends with the namespace of processes.
fn in_namespaces(program: &str) -> Command {
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", NETWORK, "sh", program]);
    command
}

/// Removes the variables that `cargo run` sets for this program. Build scripts that read them, such as ring's, would run again, and
/// cargo would compile everything above them again, each time.
fn without_own_variables(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let is_own =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if is_own {
            command.env_remove(name);
        }
    }
    command
}

fn install_missing() -> Result<()> {
    let is_missing = |command: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {command}")]).output();
        !found.is_ok_and(|output| output.status.success())
    };
    let missing: Vec<_> =
        COMMANDS.iter().filter(|(command, _)| is_missing(command)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let words = missing.join(" ");
    println!("installing Debian packages: {words}");
    let script = format!("apt-get update -qq && apt-get install -qq --yes --no-install-recommends {words} >/dev/null");
    run(Command::new("sh").args(["-c", &script]).env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("the tests need {words}; install them"))
}

/// Builds a part into `target/cluster`, unless its sources are those that it was last built from.
fn build(root: &Path, part: &str) -> Result<()> {
    let source = root.join("tests/cluster").join(part);
    let target = root.join("target/cluster");
    fs::create_dir_all(&target)?;
    let (program, stamp) = (target.join(part), target.join(format!("{part}.sources")));
    let sources = digest(&source)?;
    if program.is_file() && fs::read_to_string(&stamp).is_ok_and(|last| last == sources) {
        return Ok(());
    }
    println!("building tests/cluster/{part}: up to 20 minutes with an empty Go build cache, seconds with a warm one");
    let program = program.to_str().context("a path in UTF-8")?;
    run(Command::new("go").args(["build", LINKER_FLAGS, "-o", program, "."]).current_dir(&source))?;
    licences::check(&source)?;
    fs::write(stamp, sources)?;
    Ok(())
}

/// A digest of all files of a folder.
fn digest(folder: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend_from_slice(file.file_name().context("a file")?.as_encoded_bytes());
        all.extend(fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?);
    }
    Ok(sha256(&all))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("{program} cannot be run; is it installed?"))?;
    ensure!(status.success(), "{program} failed ({status})");
    Ok(())
}
