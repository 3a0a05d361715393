//! Releases. The version is defined in Cargo.toml. Every other mention must match, and is raised with it.

use std::{
    env, fs,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::image::{LAYOUT, VERSION, artifact_tag};

const CHANGELOG: &str = "CHANGELOG.md";
const UNRELEASED: &str = "## [Unreleased]\n";
/// The notes of the release.
const NOTES: &str = "target/release-notes.md";

/// Checks that `tag` is the version and that the changelog has notes for it. Writes the notes to [`NOTES`].
pub(crate) fn check(root: &Path, tag: &str) -> Result<()> {
    ensure!(
        tag == format!("v{VERSION}"),
        "the tag {tag} does not match the version {VERSION} of Cargo.toml: v{VERSION} is its tag"
    );
    images_are_of(root, VERSION)?;
    let changelog = fs::read_to_string(root.join(CHANGELOG))?;
    let notes = notes(&changelog, VERSION)?;
    fs::create_dir_all(root.join("target"))?;
    fs::write(root.join(NOTES), notes).with_context(|| format!("cannot write {NOTES}"))?;
    println!("{tag} matches Cargo.toml and {CHANGELOG}; the release notes are in {NOTES}");
    Ok(())
}

/// The changelog's notes for a version, below a heading with its date: `## [1.2.3] - 2026-01-31`.
fn notes<'a>(changelog: &'a str, version: &str) -> Result<&'a str> {
    let heading = format!("\n## [{version}] - ");
    let advice = || format!("{CHANGELOG} has no heading {:?} with its date: run `make release`", heading.trim());
    let (_, below) = changelog.split_once(&heading).with_context(advice)?;
    let (date, text) = below.split_once('\n').with_context(advice)?;
    let is_date = date.len() == 10 && date.split('-').all(|part| part.parse::<u16>().is_ok());
    ensure!(is_date, "{CHANGELOG} has {date:?} for {version}, which is no date");
    let text = text.split("\n## ").next().unwrap_or(text).trim();
    ensure!(!text.is_empty(), "{CHANGELOG} has no notes for {version}");
    Ok(text)
}

/// Raises the version to `next`, and prints the remaining steps.
pub(crate) fn raise(root: &Path, next: &str) -> Result<()> {
    // Equal is allowed, because the first version of Cargo.toml is released without being raised.
    ensure!(parts(next)? >= parts(VERSION)?, "{next} is below {VERSION}");
    let changelog = fs::read_to_string(root.join(CHANGELOG))?;
    ensure!(!changelog.contains(&format!("\n## [{next}]")), "{CHANGELOG} has {next} already");
    let date = Command::new("date").args(["-u", "+%F"]).output().context("date cannot be run")?;
    let date = String::from_utf8(date.stdout)?;
    let heading = format!("{UNRELEASED}\n## [{next}] - {}\n", date.trim());
    let old = format!("version = \"{VERSION}\"\nedition");
    replace(&root.join("Cargo.toml"), &old, &old.replace(VERSION, next))?;
    replace(&root.join(CHANGELOG), UNRELEASED, &heading)?;
    for (path, text) in places(root)? {
        let mut raised = text.clone();
        for version in image_versions(&text).into_iter().rev() {
            raised.replace_range(version, next);
        }
        if raised != text {
            fs::write(&path, raised)?;
        }
    }
    for manifest in ["Cargo.toml", "crates/core/fuzz/Cargo.toml"] {
        let status = Command::new("cargo")
            .args(["update", "--workspace", "--quiet", "--manifest-path", manifest])
            .current_dir(root)
            .status()
            .context("cargo cannot be run")?;
        ensure!(status.success(), "cargo could not update the lock file of {manifest}");
    }
    images_are_of(root, next)?;
    println!("The version is {next}. Look at `git diff`, commit it, and then: git tag -a v{next}");
    Ok(())
}

/// The numbers of a version, which compare like versions.
fn parts(version: &str) -> Result<[u32; 3]> {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    let parts = parts.and_then(|parts| <[u32; 3]>::try_from(parts).ok());
    parts.with_context(|| format!("{version:?} is not a version; use a form such as 1.2.3"))
}

fn replace(path: &Path, old: &str, new: &str) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.matches(old).count() == 1, "{} must contain {old:?} exactly once", path.display());
    Ok(fs::write(path, text.replace(old, new))?)
}

/// All text files from which users may copy the name of an image.
fn places(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut left = ["README.md", "crates/cli/src", "docs", "envoy", "examples"].map(|place| root.join(place)).to_vec();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if let Ok(text) = String::from_utf8(fs::read(&path)?) {
            found.push((path, text));
        }
    }
    Ok(found)
}

fn images_are_of(root: &Path, version: &str) -> Result<()> {
    for (path, text) in places(root)? {
        for named in image_versions(&text).into_iter().filter_map(|place| text.get(place)) {
            ensure!(named == version, "{} names an image of {named}, but the version is {version}", path.display());
        }
    }
    Ok(())
}

/// The places of versions of byname's images in `text`: `byname:1.2.3`, `byname-more:1.2.3`, or kustomize's
/// `newTag: 1.2.3`.
fn image_versions(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let names = ["byname", "newTag"].into_iter().flat_map(|name| text.match_indices(name));
    for (start, name) in names {
        let rest = text.get(start..).unwrap_or_default();
        let is_more = |next: char| next.is_ascii_lowercase() || next == '-';
        let (name, mark) = match name {
            "newTag" => (rest.strip_prefix(name).unwrap_or_default(), ": "),
            _ => (rest.trim_start_matches(is_more), ":"),
        };
        let Some(version) = name.strip_prefix(mark) else { continue };
        let after = version.trim_start_matches(|next: char| next.is_ascii_digit() || next == '.');
        let version = version.get(..version.len() - after.len()).unwrap_or_default().trim_end_matches('.');
        if parts(version).is_ok() {
            let start = start + rest.len() - name.len() + mark.len();
            found.push(start..start + version.len());
        }
    }
    found
}

/// Pushes both images to `image` with skopeo, which keeps the bytes of a manifest and so its digest.
pub(crate) fn push(root: &Path, image: &str) -> Result<()> {
    // Names in a registry are lower case, but GitHub owners may have capitals.
    let image = image.to_lowercase();
    log_in(&image)?;
    for tag in [VERSION.to_owned(), artifact_tag(VERSION)] {
        let status = Command::new("skopeo")
            .args(["copy", "--preserve-digests"])
            .arg(format!("oci:{LAYOUT}:{tag}"))
            .arg(format!("docker://{image}:{tag}"))
            .current_dir(root)
            .status()
            .context("skopeo cannot be run: install it, or see docs/releasing.md for other ways")?;
        ensure!(status.success(), "skopeo could not push {image}:{tag} (see the error above)");
    }
    Ok(())
}

/// Logs in as `REGISTRY_USER` with `REGISTRY_TOKEN` if both are set. Otherwise an earlier login is used.
fn log_in(image: &str) -> Result<()> {
    let (Ok(user), Ok(token)) = (env::var("REGISTRY_USER"), env::var("REGISTRY_TOKEN")) else { return Ok(()) };
    let registry = image.split('/').next().unwrap_or(image);
    let mut skopeo = Command::new("skopeo")
        .args(["login", "--username", &user, "--password-stdin", registry])
        .stdin(Stdio::piped())
        .spawn()
        .context("skopeo cannot be run: install it, or see docs/releasing.md for other ways")?;
    // On standard input, because every process can read arguments.
    skopeo.stdin.take().context("skopeo has an input")?.write_all(token.as_bytes())?;
    ensure!(skopeo.wait()?.success(), "skopeo could not log in to {registry} (see the error above)");
    Ok(())
}

#[cfg(test)]
mod tests {
    use byname_test_support::repository;

    use super::*;

    #[test]
    fn every_image_has_the_version_of_cargo_toml() -> Result<()> {
        images_are_of(&repository(), VERSION)?;
        let refused = images_are_of(&repository(), "9.9.9").expect_err("the examples name an image");
        assert!(refused.to_string().contains(&format!("an image of {VERSION}, but the version is 9.9.9")), "{refused}");
        Ok(())
    }

    #[test]
    fn finds_the_versions_of_images() {
        let text = "oci://r.example/byname:1.2.3\nbyname-module:1.20.3-artifact, byname: 1.2.3 byname:1.2, byname:4.5.6. newTag: 7.8.9\n";
        let found: Vec<&str> = image_versions(text).into_iter().filter_map(|place| text.get(place)).collect();
        assert_eq!(found, ["1.2.3", "1.20.3", "4.5.6", "7.8.9"]);
    }

    #[test]
    fn the_changelog_has_an_unreleased_section() -> Result<()> {
        let changelog = fs::read_to_string(repository().join(CHANGELOG))?;
        assert_eq!(changelog.matches(UNRELEASED).count(), 1);
        let sections = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
        for heading in changelog.lines().filter_map(|line| line.strip_prefix("### ")) {
            assert!(sections.contains(&heading), "{heading} is not a section of Keep a Changelog");
        }
        Ok(())
    }

    #[test]
    fn a_release_needs_a_matching_tag_and_notes() {
        let log =
            "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n### Added\n\n- This.\n\n## [1.2.2] - soon\n";
        assert_eq!(notes(log, "1.2.3").expect("notes"), "### Added\n\n- This.");
        assert!(notes(log, "1.2.2").expect_err("no date").to_string().contains("no date"));
        assert!(notes(log, "1.2.4").expect_err("no heading").to_string().contains("no heading"));
        let refused = check(&repository(), "v9.9.9").expect_err("another tag");
        assert!(refused.to_string().contains(&format!("v{VERSION} is its tag")), "{refused}");
    }

    #[test]
    fn versions_are_three_numbers_and_compare_numerically() -> Result<()> {
        assert!(parts("0.10.0")? > parts("0.9.1")?);
        for version in ["1.2", "1.2.3.4", "v1.2.3", "1.2.x", ""] {
            assert!(parts(version).is_err(), "{version}");
        }
        Ok(())
    }
}
