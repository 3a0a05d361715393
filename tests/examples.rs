//! The filter and the JSON schema accept every configuration that users can copy from the repository.

#![allow(clippy::expect_used, reason = "a panic fails the test")]

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use byname_core::{Config, Defaults, Reason, Request, Scheme, Trace, wire};
use byname_test_support::{examples, repository};
use serde_json::{Value, json};

const SCHEMA: &str = "docs/configuration.schema.json";
const EVERY_FIELD: &str = "examples/configuration/every-field.json";

#[test]
fn the_filter_and_the_schema_accept_every_configuration() -> Result<()> {
    let examples = examples()?;
    let defaults = Defaults { namespace: Some("shop"), zone: Some("eu-a"), ..Defaults::default() };
    let schema = schema()?;
    for example in &examples {
        let read = Config::read(example.configuration.to_string(), &defaults);
        assert!(read.is_ok(), "{}: {}", example.place, read.unwrap_err());
        let validated = schema.validate(&example.configuration);
        assert!(validated.is_ok(), "{}: {}", example.place, validated.unwrap_err());
    }
    // The configurations are found by a search, so check that it finds them everywhere.
    for place in [
        "docs/endpoints.md",
        "docs/configuration.md",
        "envoy/cluster.yaml",
        "envoy/ecds/",
        "examples/istio",
        "every-field.json",
    ] {
        assert!(examples.iter().any(|example| example.place.contains(place)), "no configuration was found in {place}");
    }
    Ok(())
}

#[test]
fn the_schema_is_up_to_date() -> Result<()> {
    let committed = fs::read_to_string(repository().join(SCHEMA))?;
    assert!(committed == wire::Config::json_schema_text(), "{SCHEMA} is not up to date: run `make schema`");
    Ok(())
}

/// No alias in an example points to a missing Service.
#[test]
fn every_alias_in_the_repository_has_a_target() -> Result<()> {
    let defaults = Defaults { namespace: Some("shop"), zone: None, ..Defaults::default() };
    let mut aliases = 0;
    for example in examples()? {
        let config = Config::read(example.configuration.to_string(), &defaults)?;
        let services = example.configuration["table"]["services"].as_object().cloned().unwrap_or_default();
        for (key, service) in services.iter().filter(|(_, service)| service["type"] == "ExternalName") {
            let (namespace, name) = key.split_once('/').expect("it was read");
            let authority = format!("{name}.{namespace}.svc.cluster.local");
            let request = Request::new(&authority, Scheme::Http);
            let mut trace = Trace::new(config.table.version());
            let resolution = config.resolve(request, Some(&mut trace));
            let in_cluster = service["externalName"].as_str().is_some_and(|target| target.ends_with(".cluster.local"));
            let is_missing = resolution.reason() == Reason::NameNotFound;
            assert!(!(in_cluster && is_missing), "{}: {key}: {trace}", example.place);
            aliases += 1;
        }
    }
    assert!(aliases > 10, "{aliases} aliases");
    Ok(())
}

/// An editor marks what the filter would refuse for its form.
#[test]
fn the_schema_refuses_unreadable_configurations() -> Result<()> {
    let schema = schema()?;
    for configuration in [
        json!({}),
        json!([1]),
        json!({"version": 1, "tables": {}}),
        json!({"version": 1, "dns": {"nDots": 5}}),
        json!({"version": 1, "dns": ["cluster.local"]}),
        json!({"version": 1, "steering": {"by": "header"}}),
        json!({"version": 1, "table": {"services": {"shop/a": {"ports": [{"port": 70000}]}}}}),
        json!({"version": 1, "table": {"services": {"shop/a": {"ports": [{"port": 80, "targetPort": 8080}]}}}}),
        json!({"version": 1, "table": {"services": {"shop/a": {"endpoints": [{"addresses": ["10.0.0.1 10.0.0.2"]}]}}}}),
        json!({"version": 1, "table": {"services": {"shop/a": {"type": "Headless"}}}}),
    ] {
        assert!(!schema.is_valid(&configuration), "{configuration}");
        let error = Config::read(configuration.to_string(), &Defaults::default()).expect_err("it is refused");
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
    Ok(())
}

#[test]
fn every_field_is_documented() -> Result<()> {
    fn fields(schema: &Value, found: &mut Vec<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            found.extend(properties.keys().cloned());
        }
        let children = schema.as_object().into_iter().flat_map(|map| map.values());
        children.chain(schema.as_array().into_iter().flatten()).for_each(|child| fields(child, found));
    }
    let document = fs::read_to_string(repository().join("docs/configuration.md"))?;
    let mut found = Vec::new();
    fields(&serde_json::from_str(&fs::read_to_string(repository().join(SCHEMA))?)?, &mut found);
    assert!(found.len() > 50, "{found:?}");
    for field in found {
        // Alone in a table cell, or as part of a path.
        let forms = [format!("`{field}`"), format!(".{field}`"), format!("`{field}[]"), format!("`{field}.")];
        let is_there = forms.iter().any(|form| document.contains(form));
        assert!(is_there, "docs/configuration.md does not document {field}");
    }
    Ok(())
}

/// Every field of the schema occurs, though not all in one object, because some fields exclude each other.
#[test]
fn the_example_of_every_field_has_every_field() -> Result<()> {
    /// Walks the schema along with the example's values, and records for each field whether a value has it.
    fn walk(root: &Value, schema: &Value, within: &str, there: &[&Value], has: &mut BTreeMap<String, bool>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            return walk(root, &root["$defs"][name], name, there, has);
        }
        // For `anyOf` of a type and `null`, the type comes first.
        if let Some(one) = schema["anyOf"].get(0).filter(|one| one.get("$ref").is_some()) {
            return walk(root, one, within, there, has);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let inside: Vec<&Value> = there.iter().filter_map(|object| object.get(name)).collect();
            *has.entry(format!("{within}.{name}")).or_default() |= !inside.is_empty();
            walk(root, field, within, &inside, has);
        }
        if schema["additionalProperties"].is_object() {
            let maps = there.iter().filter_map(|map| map.as_object());
            let values: Vec<&Value> = maps.flat_map(|map| map.values()).collect();
            walk(root, &schema["additionalProperties"], within, &values, has);
        }
        if schema["items"].is_object() {
            let items: Vec<&Value> = there.iter().filter_map(|list| list.as_array()).flatten().collect();
            walk(root, &schema["items"], within, &items, has);
        }
    }
    let schema: Value = serde_json::from_str(&fs::read_to_string(repository().join(SCHEMA))?)?;
    let example: Value = serde_json::from_str(&fs::read_to_string(repository().join(EVERY_FIELD))?)?;
    let mut has = BTreeMap::new();
    walk(&schema, &schema, "Config", &[&example], &mut has);
    assert!(has.len() > 90, "{has:?}");
    // A packed table takes the place of the Services, which the example has.
    let is_packed = |field: &str| field == "Table.packed" || field.starts_with("Packed.");
    let missing: Vec<&String> =
        has.iter().filter(|(field, has)| !**has && !is_packed(field)).map(|(field, _)| field).collect();
    assert!(missing.is_empty(), "{EVERY_FIELD} lacks {missing:?}");
    Ok(())
}

/// Replaces each value of the example by values of other types, one at a time. The filter can read the result exactly
/// if the schema accepts it.
#[test]
fn the_schema_accepts_exactly_the_readable_configurations() -> Result<()> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        for (key, value) in value.as_object().into_iter().flatten() {
            found.push(format!("{at}/{}", escaped(key)));
            places(value, &format!("{at}/{}", escaped(key)), found);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            found.push(format!("{at}/{index}"));
            places(value, &format!("{at}/{index}"), found);
        }
    }
    let schema = schema()?;
    let example: Value = serde_json::from_str(&fs::read_to_string(repository().join(EVERY_FIELD))?)?;
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(256),
        json!(65_536),
        json!(""),
        json!("x"),
        json!("a b"),
        json!([]),
        json!(["x", "y"]),
        json!(["a b"]),
        json!([1]),
        json!([null]),
        json!([{}]),
        json!({}),
        json!({"nope": 1}),
        json!({"x": "y"}),
        json!({"x": {}}),
        json!({"x": null}),
    ];
    let mut found = Vec::new();
    places(&example, "", &mut found);
    assert!(found.len() > 150, "{} places", found.len());
    let mut differ = Vec::new();
    for place in &found {
        for other in &others {
            let mut changed = example.clone();
            *changed.pointer_mut(place).expect("it was found") = other.clone();
            let read = Config::read(changed.to_string(), &Defaults::default());
            let can_be_read = read.err().is_none_or(|problems| !problems.to_string().contains("cannot be read"));
            if can_be_read != schema.is_valid(&changed) {
                differ.push(format!("{place} as {other}: it can{} be read", if can_be_read { "" } else { "not" }));
            }
        }
    }
    assert!(differ.is_empty(), "the schema disagrees:\n{}", differ.join("\n"));
    Ok(())
}

fn schema() -> Result<jsonschema::Validator> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(repository().join(SCHEMA))?)?;
    jsonschema::draft202012::meta::validate(&schema).map_err(|error| error.to_owned())?;
    Ok(jsonschema::validator_for(&schema)?)
}
