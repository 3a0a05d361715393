//! The files of a release, in `target/dist`, checked as somebody would who downloads them.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use byname_test_support::image::{Layout, sha256};

use crate::{
    image::{LAYOUT, VERSION, append, gzip},
    module::SHIPPED,
    sbom::Shipped,
};

const DIST: &str = "target/dist";
const PROGRAM: &str = "target/native/byname";
const SUMS: &str = "SHA256SUMS";

/// Packs the results of `make build`, `make cli` and `make image`.
pub(crate) fn make(root: &Path) -> Result<()> {
    let dist = root.join(DIST);
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(&dist)?;
    let host = host()?;
    let program = format!("byname-{VERSION}-{host}");
    let module = Shipped { package: "byname-filter", directory: ".", target: "wasm32-unknown-unknown" };
    let native = Shipped { package: "byname", directory: "crates/cli", target: &host };
    let files: [(String, Vec<u8>); 6] = [
        (format!("byname-{VERSION}.wasm"), read(root, SHIPPED)?),
        (format!("byname-{VERSION}-image.tar"), image(root)?),
        (format!("byname-{VERSION}.schema.json"), read(root, "docs/configuration.schema.json")?),
        (format!("{program}.tar.gz"), packed_program(root, &program)?),
        (format!("byname-{VERSION}.wasm.cdx.json"), module.sbom(root)?.into()),
        (format!("{program}.cdx.json"), native.sbom(root)?.into()),
    ];
    let mut sums = BTreeMap::new();
    for (name, content) in files {
        fs::write(dist.join(&name), &content).with_context(|| format!("cannot write {name}"))?;
        sums.insert(name, sha256(&content));
    }
    let sums: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    fs::write(dist.join(SUMS), &sums)?;
    check(root, &dist, &program)?;
    print!("{sums}");
    Ok(())
}

fn read(root: &Path, path: &str) -> Result<Vec<u8>> {
    fs::read(root.join(path)).with_context(|| format!("cannot read {path}: run `make dist`"))
}

/// The target triple of the program.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc cannot be run")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

/// A tar of the images' directory, for `docker load` and `skopeo copy oci-archive:`.
fn image(root: &Path) -> Result<Vec<u8>> {
    let layout = root.join(LAYOUT);
    let mut archive = tar::Builder::new(Vec::new());
    for path in files(&layout)? {
        append(&mut archive, &path, 0o644, &fs::read(layout.join(&path))?)?;
    }
    Ok(archive.into_inner()?)
}

/// The files below `directory`, in order, as relative paths.
fn files(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(directory)?.to_str().context("a name is text")?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn packed_program(root: &Path, directory: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, &format!("{directory}/byname"), 0o755, &read(root, PROGRAM)?)?;
    for file in ["CHANGELOG.md", "LICENSE", "README.md"] {
        append(&mut archive, &format!("{directory}/{file}"), 0o644, &read(root, file)?)?;
    }
    for (shell, file) in [("bash", "byname.bash"), ("fish", "byname.fish"), ("zsh", "_byname")] {
        let script = output(Command::new(root.join(PROGRAM)).args(["completions", shell]))?;
        append(&mut archive, &format!("{directory}/completions/{file}"), 0o644, script.as_bytes())?;
    }
    gzip(&archive.into_inner()?)
}

/// Checks that the files are complete, that module and image hold the tested module, and that the program starts.
fn check(root: &Path, dist: &Path, program: &str) -> Result<()> {
    verify(dist)?;
    let wasm = read(root, SHIPPED)?;
    ensure!(fs::read(dist.join(format!("byname-{VERSION}.wasm")))? == wasm, "the module differs from {SHIPPED}");
    let unpacked = tempfile::Builder::new().prefix("byname-dist-").tempdir()?;
    let image = fs::File::open(dist.join(format!("byname-{VERSION}-image.tar")))?;
    tar::Archive::new(image).unpack(unpacked.path())?;
    let layout = Layout::open(unpacked.path())?;
    for tag in layout.tags()? {
        ensure!(layout.wasm_plugin(tag)? == wasm, "the module in the image {tag} differs from {SHIPPED}");
    }
    let packed = fs::File::open(dist.join(format!("{program}.tar.gz")))?;
    tar::Archive::new(flate2::read::GzDecoder::new(packed)).unpack(unpacked.path())?;
    let says = output(Command::new(unpacked.path().join(program).join("byname")).arg("--version"))?;
    ensure!(says == format!("byname {VERSION}\n"), "the program reports {says:?} instead of {VERSION}");
    Ok(())
}

/// Checks the checksum of every file, and that every file has one.
fn verify(dist: &Path) -> Result<()> {
    let sums = fs::read_to_string(dist.join(SUMS)).with_context(|| format!("cannot read {SUMS}"))?;
    let mut named = Vec::new();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").with_context(|| format!("{SUMS} has a line {line:?}"))?;
        let content = fs::read(dist.join(name)).with_context(|| format!("{SUMS} names {name}"))?;
        ensure!(sha256(&content) == sum, "{name} does not match its checksum in {SUMS}");
        named.push(name.to_owned());
    }
    named.push(SUMS.to_owned());
    named.sort();
    let there = files(dist)?;
    ensure!(there == named, "{SUMS} must list exactly these files: {there:?}");
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{:?} cannot be run", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_needs_a_matching_checksum() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let dist = directory.path();
        fs::write(dist.join("a"), "one")?;
        fs::write(dist.join(SUMS), format!("{}  a\n", sha256(b"one")))?;
        verify(dist)?;
        fs::write(dist.join("b"), "two")?;
        assert!(verify(dist).expect_err("b has no sum").to_string().contains("must list exactly"));
        fs::remove_file(dist.join("b"))?;
        fs::write(dist.join("a"), "two")?;
        assert!(verify(dist).expect_err("a is another").to_string().contains("a does not match"));
        fs::remove_file(dist.join("a"))?;
        assert!(verify(dist).expect_err("a is gone").to_string().contains("names a"));
        Ok(())
    }
}
