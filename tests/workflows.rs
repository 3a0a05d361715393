//! GitHub's workflows run only Makefile targets, which anybody can run.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use byname_test_support::{repository, yaml_documents};
use serde_json::Value;

/// Every workflow, by the name of its file.
fn workflows() -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(".github/workflows"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let documents = yaml_documents(&fs::read_to_string(&path)?).with_context(|| name.clone())?;
        found.extend(documents.into_iter().map(|document| (name.clone(), document)));
    }
    assert!(found.len() >= 2, "there are workflows for changes and for releases");
    Ok(found)
}

/// The targets that `make help` lists.
fn targets() -> Result<BTreeSet<String>> {
    let makefile = fs::read_to_string(repository().join("Makefile"))?;
    let listed = makefile.lines().filter(|line| line.contains("## "));
    Ok(listed.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect())
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"].as_object().into_iter().flatten()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// The problem of a step, if it has one.
fn complaint(step: &Value, targets: &BTreeSet<String>) -> Option<String> {
    if let Some(action) = step["uses"].as_str() {
        let commit = action.split_once('@').map_or("", |(_, commit)| commit);
        let pinned = commit.len() == 40 && commit.chars().all(|digit| digit.is_ascii_hexdigit());
        return (!pinned).then(|| format!("{action} is not pinned by a commit"));
    }
    let Some(run) = step["run"].as_str() else { return Some(format!("{step} neither runs nor uses anything")) };
    if run.contains("${{") {
        return Some(format!("{run:?} has words of GitHub's put into a shell: hand them over by env"));
    }
    run.lines().find_map(|line| {
        // A target with quoted values, so that no other command can follow.
        let is_value = |word: &str| word.split_once("=\"").is_some_and(|(_, value)| value.ends_with('"'));
        let mut words = line.strip_prefix("make ").unwrap_or_default().split_whitespace();
        let known = words.next().is_some_and(|target| targets.contains(target)) && words.all(is_value);
        (!known).then(|| format!("{line:?} is no target of the Makefile"))
    })
}

#[test]
fn every_step_is_a_target_of_the_makefile_or_a_pinned_action() -> Result<()> {
    let targets = targets()?;
    for (file, workflow) in workflows()? {
        let mut seen = 0;
        for (name, job) in jobs(&workflow) {
            for step in steps(job) {
                assert_eq!(complaint(step, &targets), None, "{file}, {name}");
                seen += 1;
            }
        }
        assert!(seen > 1, "{file} has no steps");
    }
    Ok(())
}

#[test]
fn other_steps_are_refused() -> Result<()> {
    let targets = targets()?;
    let rows = [
        (r#"{"run": "make nothing"}"#, "is no target"),
        (r#"{"run": "make test\ncargo test"}"#, "is no target"),
        (r#"{"run": "make lint && cargo test"}"#, "is no target"),
        (r#"{"run": "make test TAG=${{ github.ref }}"}"#, "by env"),
        (r#"{"uses": "actions/checkout@v5"}"#, "not pinned"),
        (r#"{"name": "nothing"}"#, "neither"),
    ];
    for (step, expected) in rows {
        let found = complaint(&serde_json::from_str(step)?, &targets).unwrap_or_default();
        assert!(found.contains(expected), "{step}: {found:?}");
    }
    Ok(())
}

/// A compromised step has only its job's permissions, and every job has a time limit.
#[test]
fn jobs_have_minimal_permissions_and_a_time_limit() -> Result<()> {
    let mut writing = Vec::new();
    for (file, workflow) in workflows()? {
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{file}");
        for (name, job) in jobs(&workflow) {
            assert!(job["timeout-minutes"].is_u64(), "{file}, {name} has no time limit");
            if !job["permissions"].is_null() {
                writing.push(format!("{file}, {name}: {}", job["permissions"]));
            }
        }
    }
    assert_eq!(writing, [r#"release.yml, release: {"contents":"write","packages":"write"}"#]);
    Ok(())
}
