//! Any bytes as a configuration.

use byname_core::{
    Config, Defaults, FieldErrorType, FieldErrors, Plan, Request, Scheme,
    limits::{MAX_LISTED_ERRORS, MAX_QUOTED_CHARS, MAX_SYNTAX_ERROR_CHARS},
};
use serde_json::Value;

use crate::rules::decided;

/// Services of a configuration that are resolved by name.
const MAX_ASKED_SERVICES: usize = 8;

/// The path of an error: a few elements, each cut unless it is a field's name.
const MAX_PATH_CHARS: usize = 1_000;

/// The longest way to escape a character, `\u{10ffff}`.
const MAX_ESCAPED_CHARS: usize = 10;

/// Bytes are a configuration or an error of bounded length. A configuration decides every request.
pub fn configuration(bytes: &[u8]) {
    let defaults = Defaults { namespace: Some("shop"), zone: None, ..Defaults::default() };
    match Config::read(bytes, &defaults) {
        Err(errors) => check_errors(&errors),
        Ok(config) => ask(&config, &serde_json::from_slice(bytes).expect("Config::read has parsed it")),
    }
}

fn check_errors(errors: &FieldErrors) {
    assert!(!errors.is_empty(), "an error has a reason");
    assert!(errors.listed().len() <= MAX_LISTED_ERRORS);
    for error in errors.listed() {
        let most =
            if error.error_type == FieldErrorType::Malformed { MAX_SYNTAX_ERROR_CHARS } else { MAX_QUOTED_CHARS };
        let path = error.path.to_string();
        assert!(path.chars().count() <= MAX_PATH_CHARS, "{} characters", path.chars().count());
        assert!(error.found.chars().count() <= most * MAX_ESCAPED_CHARS + 1, "{}", error.found);
        let line = error.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?} is more than a line");
    }
}

/// Decides a few fixed requests and some for the names in `json`, the same configuration.
fn ask(config: &Config, json: &Value) {
    let zone = json["dns"]["clusterDomain"].as_str().unwrap_or("cluster.local");
    let zone = zone.strip_suffix('.').unwrap_or(zone).to_ascii_lowercase();
    let mut asked: Vec<String> =
        ["", "payments", "db-0.db:8080", "_http._tcp.payments", "10.96.0.10", "a,b", "x.example."]
            .map(str::to_owned)
            .into();
    let services = json["table"]["services"].as_object();
    for (key, service) in services.into_iter().flatten().take(MAX_ASKED_SERVICES) {
        let (namespace, name) = key.split_once('/').unwrap_or_default();
        asked.push(format!("{name}.{namespace}"));
        asked.push(format!("{name}.{namespace}.svc.{zone}."));
        if let Some(port) = service["ports"].as_array().and_then(|ports| ports.last()) {
            asked.push(format!("{name}.{namespace}:{}", port["port"]));
            asked.push(format!("_{}._tcp.{name}.{namespace}", port["name"].as_str().unwrap_or_default()));
        }
        asked.extend(first_text(&service["clusterIPs"]).map(|address| match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        }));
        let group = &service["endpoints"][0];
        asked.extend(first_text(&group["hostnames"]).map(|hostname| format!("{hostname}.{name}.{namespace}")));
        asked.extend(first_text(&group["addresses"]).map(|address| {
            let dashed = address.replace(['.', ':'], "-");
            format!("{dashed}.{namespace}.pod.{zone}")
        }));
    }
    let mut used = Plan::default();
    for authority in &asked {
        for scheme in [Scheme::Http, Scheme::Https] {
            decided(config, &zone, Request::new(authority, scheme), &mut used);
        }
    }
}

/// The first element of a list, which is a JSON list or one text.
fn first_text(list: &Value) -> Option<&str> {
    list.as_str().or_else(|| list[0].as_str())?.split_ascii_whitespace().next()
}
