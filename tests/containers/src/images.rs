//! Replacements for the images that the examples name. Tests pull no images, so these have the real programs of this
//! machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use byname_test_support::{envoy_binary, repository};

use crate::{rootfs::Rootfs, run};

/// The label of a replacement, so that no image of a user is removed.
const LABEL: &str = "byname.stand-in";

/// The content of an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StandIn {
    /// The pinned Envoy and the system's CA certificates.
    Envoy,
    /// The program and the module with a shell, like the Dockerfile's target `cli`.
    Byname,
    /// Python and its standard library.
    Python,
    /// curl.
    Curl,
    /// openssl, a shell, and what the examples' scripts call.
    Openssl,
    /// iptables.
    Iptables,
}

/// Images that are removed on drop.
pub struct Images {
    made: Vec<String>,
}

impl Images {
    /// Makes the missing images. A pulled image of a third party is used as it is. An image of byname is an error,
    /// because it may come from other sources than the tests.
    ///
    /// # Errors
    /// If an image cannot be made. The error says what to do.
    pub fn make(wanted: &[(&str, StandIn)]) -> Result<Self> {
        let mut images = Self { made: Vec::new() };
        for (name, stand_in) in wanted {
            if images.made.iter().any(|made| made == name) {
                continue;
            }
            let format = format!("--format={{{{index .Config.Labels {LABEL:?}}}}}");
            match run("docker", &["image", "inspect", &format, name]) {
                Ok(label) if label.trim().is_empty() || label.contains("no value") => {
                    ensure!(
                        *stand_in != StandIn::Byname,
                        "the image {name} exists and would hide the build under test: run `docker image rm {name}`"
                    );
                    continue;
                }
                // A replacement that an earlier run left.
                Ok(_) | Err(_) => {}
            }
            let root = stand_in.root().with_context(|| format!("a stand-in for the image {name}"))?;
            import(&root, name)?;
            images.made.push((*name).to_owned());
        }
        Ok(images)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.made {
            if let Err(error) = run("docker", &["image", "rm", "--force", image]) {
                eprintln!("{error:#}");
            }
        }
    }
}

fn import(root: &Rootfs, name: &str) -> Result<()> {
    let archive = tempfile::NamedTempFile::new()?;
    let (archive, directory) = (archive.path().to_string_lossy(), root.path().to_string_lossy());
    run("tar", &["--create", "--file", &archive, "--owner=0", "--group=0", "--numeric-owner", "-C", &directory, "."])?;
    let label = format!("LABEL {LABEL}=1");
    let path = "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    run("docker", &["import", "--change", &label, "--change", path, &archive, name])?;
    Ok(())
}

impl StandIn {
    fn root(self) -> Result<Rootfs> {
        let root = Rootfs::new()?;
        match self {
            Self::Envoy => {
                root.program(&envoy_binary()?.canonicalize()?, Path::new("/usr/local/bin/envoy"))?;
                let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
                root.file(certificates, certificates).context("install ca-certificates")?;
            }
            Self::Byname => {
                let built = |file: &str, target: &str| -> Result<PathBuf> {
                    let file = repository().join("target").join(file);
                    ensure!(file.is_file(), "there is no {}: run `make {target}`", file.display());
                    Ok(file)
                };
                root.program(&built("native/byname", "cli")?, Path::new("/usr/local/bin/byname"))?;
                root.file(&built("byname.wasm", "build")?, Path::new("/usr/local/share/byname/byname.wasm"))?;
                for command in ["sh", "cp", "mv", "mkdir", "mktemp", "sed", "grep"] {
                    root.command(command)?;
                }
            }
            Self::Python => python(&root)?,
            Self::Curl => ["curl", "sleep"].iter().try_for_each(|command| root.command(command))?,
            Self::Openssl => openssl(&root)?,
            Self::Iptables => iptables(&root)?,
        }
        Ok(root)
    }
}

/// The interpreter and its standard library keep their paths, so that Python finds its files.
fn python(root: &Rootfs) -> Result<()> {
    let paths = "import os, sys, sysconfig; print(os.path.realpath(sys.executable), sysconfig.get_path('stdlib'))";
    let said = run("python3", &["-c", paths]).context("install Python 3")?;
    let (interpreter, library) = said.trim().split_once(' ').context("Python says where it is")?;
    let interpreter = Path::new(interpreter);
    root.program(interpreter, interpreter)?;
    root.link(interpreter, Path::new("/usr/local/bin/python3"))?;
    root.directory(Path::new(library), &["site-packages", "dist-packages", "test", "idlelib", "__pycache__"])
}

fn openssl(root: &Rootfs) -> Result<()> {
    ["chmod", "mv", "openssl", "sh"].iter().try_for_each(|command| root.command(command))?;
    let said = run("openssl", &["version", "-d"])?;
    let directory = Path::new(said.split('"').nth(1).context("openssl says where its files are")?);
    // Debian's file is a link.
    root.file(&directory.join("openssl.cnf").canonicalize()?, &directory.join("openssl.cnf"))
}

/// iptables with its extensions, which it loads at run time.
fn iptables(root: &Rootfs) -> Result<()> {
    root.command("iptables")?;
    let libraries = ["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib/aarch64-linux-gnu/xtables", "/usr/lib/xtables"];
    let extensions = libraries.iter().map(Path::new).find(|directory| directory.is_dir());
    root.directory(extensions.context("iptables' extensions are not where they are looked for")?, &[])
}
