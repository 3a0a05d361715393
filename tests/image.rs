//! The module's images, as Istio's agent reads them, and the Dockerfile, which makes the same image.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic fails the test")]

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use byname_test_support::{
    image::{Layout, OCI_LAYER},
    module, repository,
};

#[test]
fn both_images_contain_the_shipped_module() -> Result<()> {
    let layout = Layout::open(&repository().join("target/image")).context("run `make image`")?;
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(layout.tags()?, [version, &format!("{version}-artifact")]);
    for tag in layout.tags()? {
        assert!(layout.wasm_plugin(tag)? == module()?, "the image {tag} holds another module: run `make image`");
    }
    let standard = layout.manifest(version)?.content;
    assert_eq!(standard["layers"].as_array().map(Vec::len), Some(1), "{standard}");
    assert_eq!(standard["layers"][0]["mediaType"], OCI_LAYER);
    Ok(())
}

/// An instruction of the Dockerfile and its arguments.
type Instruction = (String, Vec<String>);

/// The stages of the Dockerfile: each begins with its FROM.
fn stages() -> Result<Vec<Vec<Instruction>>> {
    let text = fs::read_to_string(repository().join("Dockerfile"))?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let mut stages: Vec<Vec<Instruction>> = Vec::new();
    for line in lines.join("\n").replace("\\\n", " ").lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(instruction) = words.next() else { continue };
        if instruction == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().context("the Dockerfile begins with FROM")?.push((instruction, words.collect()));
    }
    Ok(stages)
}

/// Each COPY makes a layer, and Istio's agent reads the last layer.
#[test]
fn the_dockerfile_ends_with_one_layer_with_only_the_module() -> Result<()> {
    let stages = stages()?;
    let last = stages.last().context("the Dockerfile has stages")?;
    assert_eq!(last[0].1, ["scratch", "AS", "module"]);
    let layers: Vec<&Instruction> = last[1..].iter().filter(|(name, _)| name != "LABEL").collect();
    let [(copy, arguments)] = layers[..] else { panic!("the last stage has other than one layer: {layers:?}") };
    assert_eq!(copy, "COPY");
    assert_eq!(arguments, &["--from=module-build", "/byname/target/byname.wasm", "/plugin.wasm"]);
    Ok(())
}

#[test]
fn the_dockerfile_uses_the_makefile_and_the_projects_compiler() -> Result<()> {
    let stages = stages()?;
    let toolchain = fs::read_to_string(repository().join("rust-toolchain.toml"))?;
    let channel =
        toolchain.split_once("channel = \"").and_then(|(_, rest)| rest.split('"').next()).context("channel")?;
    assert_eq!(stages[0][0].1[0], format!("rust:{channel}-slim-bookworm"));
    // A program linked on one Debian release runs on the same release.
    let named = |name: &str| {
        let stage = stages.iter().find(|stage| stage[0].1.last().is_some_and(|last| last == name));
        stage.with_context(|| format!("the Dockerfile has no stage {name}"))
    };
    let program = named("cli")?;
    assert_eq!(program[0].1[0], "debian:bookworm-slim");
    for (instruction, arguments) in [
        ("USER", "65532:65532"),
        ("ENTRYPOINT", "[\"byname\"]"),
        // The paths that the examples use.
        ("COPY", "--from=module-build /byname/target/byname.wasm /usr/local/share/byname/"),
        ("COPY", "--from=program-build /byname/target/native/byname /usr/local/bin/"),
    ] {
        let words = arguments.split(' ').map(str::to_owned).collect();
        assert!(program.contains(&(instruction.to_owned(), words)), "no {instruction} {arguments}");
    }
    for (stage, target) in [("sources", "toolchain"), ("module-build", "build"), ("program-build", "cli")] {
        let run = ("RUN".to_owned(), vec!["make".to_owned(), target.to_owned()]);
        assert!(named(stage)?.contains(&run), "{stage} does not run make {target}");
    }
    // The build context holds only the sources, so that no stage copies what another machine built.
    let ignored = fs::read_to_string(repository().join(".dockerignore"))?;
    let ignored: BTreeSet<&str> = ignored.lines().collect();
    assert!(ignored.contains("*") && ignored.contains("**/target") && !ignored.contains("!target"));
    let manifest = fs::read_to_string(repository().join("Cargo.toml"))?;
    let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split(']').next()).context("members")?;
    let needed = members.split('"').skip(1).step_by(2).filter_map(|member| member.split('/').next());
    for needed in needed.chain(["src", "Cargo.toml", "Cargo.lock", "Makefile", "LICENSE", "rust-toolchain.toml"]) {
        assert!(ignored.contains(&*format!("!{needed}")), "{needed} is excluded from the image's context");
    }
    for file in ignored.iter().filter_map(|line| line.strip_prefix('!')) {
        assert!(repository().join(file).exists(), "{file} is allowed in the image's context but does not exist");
    }
    Ok(())
}
