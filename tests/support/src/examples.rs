//! Every configuration in the repository that users can copy. They are found by a search, so that none is forgotten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::envoy::repository;

/// A configuration and its place in the repository.
pub struct Example {
    /// The file, and the part of it.
    pub place: String,
    /// The plugin configuration.
    pub configuration: Value,
}

/// All configurations of the bootstraps, their ECDS files, the examples and the documents.
///
/// # Errors
/// If a file cannot be read.
pub fn examples() -> Result<Vec<Example>> {
    let mut found = Vec::new();
    for directory in ["envoy", "examples", "docs", "README.md"] {
        for path in files_below(&repository().join(directory))? {
            let extension = path.extension().and_then(|extension| extension.to_str());
            // Other files may not be text.
            if !matches!(extension, Some("json" | "yaml" | "md")) {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let place = path.strip_prefix(repository()).unwrap_or(&path).display().to_string();
            match extension {
                Some("json") if place.ends_with(".schema.json") || place.starts_with("examples/monitoring/") => {}
                Some("json") => found.push(Example { configuration: parse(&place, &text)?, place }),
                Some("yaml") => {
                    for document in yaml_documents(&text).with_context(|| format!("{place} is not YAML"))? {
                        find_in_yaml(&document, &place, &mut found)?;
                    }
                }
                Some("md") => find_in_markdown(&text, &place, &mut found)?,
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The first YAML block of a document below a heading, with each line indented by `indent`.
///
/// # Errors
/// If there is no such block.
pub fn snippet(document: &str, heading: &str, indent: &str) -> Result<String> {
    let text = fs::read_to_string(repository().join(document)).with_context(|| format!("cannot read {document}"))?;
    let below = text.split_once(&format!("# {heading}\n")).map(|(_, below)| below);
    let yaml = below.and_then(|below| below.split_once("```yaml\n")?.1.split_once("```"));
    let (yaml, _) = yaml.with_context(|| format!("{document} shows no YAML below {heading:?}"))?;
    Ok(yaml.lines().map(|line| format!("{indent}{line}\n")).collect())
}

/// The documents of a YAML file.
///
/// # Errors
/// If the text is not YAML.
pub fn yaml_documents(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        files.extend(files_below(&entry?.path())?);
    }
    files.sort();
    Ok(files)
}

fn parse(place: &str, json: &str) -> Result<Value> {
    serde_json::from_str(json).with_context(|| format!("{place} is not JSON"))
}

/// Finds the `StringValue` of a Wasm plugin, which Envoy passes to the filter, and the `pluginConfig` of a WasmPlugin.
fn find_in_yaml(yaml: &Value, place: &str, found: &mut Vec<Example>) -> Result<()> {
    if yaml["@type"] == "type.googleapis.com/google.protobuf.StringValue" {
        let json = yaml["value"].as_str().unwrap_or_default();
        found.push(Example { place: place.to_owned(), configuration: parse(place, json)? });
    }
    if yaml["kind"] == "WasmPlugin" {
        let place = format!("{place}, pluginConfig");
        found.push(Example { place, configuration: yaml["spec"]["pluginConfig"].clone() });
    }
    let children = yaml.as_object().into_iter().flat_map(|map| map.values());
    for child in children.chain(yaml.as_array().into_iter().flatten()) {
        find_in_yaml(child, place, found)?;
    }
    Ok(())
}

/// Finds JSON blocks. A block below a heading that names a field, such as "## `caller`", is the value of that field.
fn find_in_markdown(text: &str, place: &str, found: &mut Vec<Example>) -> Result<()> {
    let mut field = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            field = heading.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
        }
        if line == "```json" {
            let block: String = lines.by_ref().take_while(|line| *line != "```").collect();
            let place = format!("{place}, {}", field.unwrap_or("a whole configuration"));
            let value = parse(&place, &block)?;
            let configuration = match field {
                Some(field) => json!({"version": 1, field: value}),
                None => value,
            };
            found.push(Example { place, configuration });
        }
    }
    Ok(())
}
