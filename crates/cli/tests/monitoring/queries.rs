//! The queries of the alerts and the dashboard of `examples/monitoring`, and what they need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use byname_test_support::{repository, yaml_documents};
use promql_parser::{
    label::MatchOp,
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use regex::Regex;
use serde_json::Value;

pub(crate) const MONITORING: &str = "examples/monitoring";
/// Labels that Prometheus adds from the scrape target.
const TARGET: [&str; 2] = ["namespace", "pod"];

/// A scraped line.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Series {
    pub(crate) fn name(&self) -> &str {
        &self.labels["__name__"]
    }
}

pub(crate) fn scraped(text: &str) -> Vec<Series> {
    let one = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix("\"}").into_iter().flat_map(|labels| labels.split("\","));
        let pairs = labels.map(|label| label.split_once("=\"").unwrap()).chain([("__name__", name)]);
        let labels = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Series { labels, value: value.parse().unwrap() }
    };
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(one).collect()
}

/// What queries about `byname serve` name: its own metrics, and those of its sidecars.
const OF_SERVE: [&str; 3] = ["byname_serve_", "byname_stream_", "byname-server"];

/// Every query of the alerts, the dashboard and its variables that is about `byname serve`, or every other one, with the labels that its
/// text or legend shows.
pub(crate) fn asked(of_serve: bool) -> Vec<(String, BTreeSet<String>)> {
    let read = |name: &str| fs::read_to_string(repository().join(MONITORING).join(name)).unwrap();
    let shown = Regex::new(r"\{\{ *(?:\$labels\.)?([a-z_]+) *\}\}").unwrap();
    let labels = |text: &str| shown.captures_iter(text).map(|found| found[1].to_owned()).collect();
    let mut asked = Vec::new();
    let alerts = yaml_documents(&read("alerts.yaml")).unwrap();
    for rule in alerts[0]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        asked.push((rule["expr"].as_str().unwrap().to_owned(), labels(&rule["annotations"].to_string())));
    }
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    for target in dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()) {
        for target in target {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            asked.push((expression, labels(target["legendFormat"].as_str().unwrap())));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["definition"].as_str().and_then(|query| query.strip_prefix("label_values("));
        if let Some((selector, label)) = query.and_then(|query| query.strip_suffix(')')?.rsplit_once(", ")) {
            asked.push((selector.to_owned(), [label.to_owned()].into()));
        }
    }
    asked.retain(|(expression, _)| OF_SERVE.iter().any(|part| expression.contains(part)) == of_serve);
    let filled = |text: String| text.replace("$namespace", ".*").replace("$pod", ".*");
    asked.into_iter().map(|(expression, labels)| (filled(expression), labels)).collect()
}

/// The selectors of a query, and the labels that it groups or joins by.
#[derive(Default)]
struct Parts {
    selectors: Vec<VectorSelector>,
    labels: BTreeSet<String>,
}

impl ExprVisitor for Parts {
    type Error = String;

    fn pre_visit(&mut self, part: &Expr) -> Result<bool, String> {
        let by = match part {
            Expr::VectorSelector(selector) => {
                self.selectors.push(selector.clone());
                None
            }
            Expr::MatrixSelector(matrix) => {
                self.selectors.push(matrix.vs.clone());
                None
            }
            Expr::Aggregate(aggregate) => aggregate.modifier.as_ref(),
            Expr::Binary(binary) => binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()),
            _ => None,
        };
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = by {
            self.labels.extend(labels.labels.iter().cloned());
        }
        Ok(true)
    }
}

/// The metrics, label values and labels of `expression` and `shown` that `there` lacks.
pub(crate) fn missing(expression: &str, shown: &BTreeSet<String>, there: &[Series]) -> Vec<String> {
    let mut parts = Parts::default();
    walk_expr(&mut parts, &parser::parse(expression).unwrap_or_else(|error| panic!("{error}: {expression}"))).unwrap();
    let mut missing = Vec::new();
    let mut known: BTreeSet<&str> = TARGET.into();
    for selector in &parts.selectors {
        let name = selector.name.as_deref().unwrap_or_default();
        let of_name: Vec<_> = there.iter().filter(|series| series.name() == name).collect();
        if of_name.is_empty() {
            missing.push(name.to_owned());
        }
        known.extend(of_name.iter().flat_map(|series| series.labels.keys().map(String::as_str)));
        for matcher in selector.matchers.matchers.iter().filter(|matcher| !TARGET.contains(&&*matcher.name)) {
            assert!(
                matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_)),
                "{expression}: this test knows no other matchers"
            );
            // A matcher lists alternatives, and each alternative must exist.
            for value in matcher.value.split('|') {
                let one = Regex::new(&format!("^(?:{value})$")).unwrap();
                if !of_name
                    .iter()
                    .any(|series| series.labels.get(&matcher.name).is_some_and(|label| one.is_match(label)))
                {
                    missing.push(format!("{name}{{{}=~{value:?}}}", matcher.name));
                }
            }
        }
    }
    if parts.selectors.is_empty() {
        missing.push("any metric".to_owned());
    }
    missing.extend(parts.labels.iter().chain(shown).filter(|label| !known.contains(&***label)).cloned());
    missing
}
