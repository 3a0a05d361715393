//! Good configurations with one field changed: either the answers change as they should, or an error names the field.

use core::fmt;

use byname_core::{Config, Defaults};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{
    assert_balanced, cases,
    clusters::{asked_name, cluster, cluster_with_fallbacks},
    samples, share,
};
use crate::{
    fixture::{ask, with_fields},
    naive::{NaiveCluster, NaiveKind, NaiveTarget},
};

/// The path of a field.
#[derive(Clone, Debug, Default)]
struct NaivePath(Vec<NaivePathElement>);

#[derive(Clone, Debug)]
enum NaivePathElement {
    Field(String),
    Key(String),
    Index(usize),
}

impl NaivePath {
    fn field(&self, name: &str) -> Self {
        Self([self.0.clone(), vec![NaivePathElement::Field(name.to_owned())]].concat())
    }

    fn key(&self, key: &str) -> Self {
        Self([self.0.clone(), vec![NaivePathElement::Key(key.to_owned())]].concat())
    }

    fn index(&self, index: usize) -> Self {
        Self([self.0.clone(), vec![NaivePathElement::Index(index)]].concat())
    }

    /// The last name on the path, and whether a list element of it is meant.
    fn last_field(&self) -> &str {
        let name = |element: &'_ NaivePathElement| matches!(element, NaivePathElement::Field(_));
        match self.0.iter().rfind(|element| name(element)) {
            Some(NaivePathElement::Field(name)) => name,
            _ => "",
        }
    }

    /// Whether the object there has keys of the user's choice.
    fn is_map(&self) -> bool {
        matches!(self.0.last(), Some(NaivePathElement::Field(name)) if name == "services" || name == "baselines")
    }

    /// Sets the value there, or takes it out.
    fn set(&self, json: &mut Value, value: Option<Value>) {
        let (last, parents) = self.0.split_last().expect("a path");
        let mut at = json;
        for element in parents {
            at = match element {
                NaivePathElement::Field(name) | NaivePathElement::Key(name) => &mut at[name],
                NaivePathElement::Index(index) => &mut at[index],
            };
        }
        match (last, value) {
            (NaivePathElement::Index(index), Some(value)) => at[index] = value,
            (NaivePathElement::Field(name) | NaivePathElement::Key(name), Some(value)) => at[name] = value,
            (NaivePathElement::Field(name) | NaivePathElement::Key(name), None) => {
                at.as_object_mut().expect("an object").remove(name);
            }
            (NaivePathElement::Index(index), None) => _ = at.as_array_mut().expect("a list").remove(*index),
        }
    }
}

/// As errors write it.
impl fmt::Display for NaivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, element) in self.0.iter().enumerate() {
            match element {
                NaivePathElement::Field(name) if number == 0 => f.write_str(name)?,
                NaivePathElement::Field(name) => write!(f, ".{name}")?,
                NaivePathElement::Key(key) => write!(f, "[\"{key}\"]")?,
                NaivePathElement::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One field changed.
#[derive(Clone, Debug)]
struct Mutation {
    path: NaivePath,
    /// `None`: the field is left out.
    value: Option<Value>,
    /// The cluster that the configuration describes then, or the path that an error has to begin with.
    outcome: Result<NaiveCluster, String>,
}

/// Every field and value of `json` with its path.
fn walk(json: &Value, path: &NaivePath, each: &mut dyn FnMut(&NaivePath, &Value)) {
    if !path.0.is_empty() {
        each(path, json);
    }
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_map() { path.key(name) } else { path.field(name) };
                walk(value, &below, each);
            }
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| walk(value, &path.index(index), each))
        }
        _ => {}
    }
}

/// Values of the right type that this field cannot have.
fn bad_values(path: &NaivePath, value: &Value) -> Vec<Value> {
    let is_number = |value: &Value| value.is_number() || value.is_null();
    match path.last_field() {
        "version" => vec![json!(0), json!(2)],
        "namespace" | "from" | "to" | "baselines" if value.is_string() => vec![json!("A b"), json!(""), json!("a.b")],
        "ndots" => vec![json!(16), json!(256), json!(-1), json!(0.5)],
        "resolver" => vec![json!("uclibc"), json!("")],
        "host" if path.to_string().starts_with("externalNames") => vec![json!("a b"), json!("*"), json!("10.0.0.1")],
        "host" => vec![json!("a b"), json!("unlisted.example"), json!("10.0.0.1")],
        "port" if is_number(value) => vec![json!(0), json!(65_536), json!(-1)],
        "ports" if is_number(value) => vec![json!(0), json!(65_536)],
        "service" => vec![json!("x"), json!("a/b/c"), json!("A/b"), json!("nowhere/x")],
        "when" if value.is_string() => vec![json!("always")],
        "name" => vec![json!("A"), json!("a.b")],
        "clusterIPs" => vec![json!("10.0.0"), json!("127.0.0.1"), json!(["10.1.0.1", "10.1.0.2", "10.1.0.3"])],
        "addresses" => vec![json!("10.0.0"), json!("x"), json!("10.0.0.1:80")],
        "hostnames" if value.is_array() => vec![json!("A"), json!("a b"), json!(["a.b"])],
        "externalName" => vec![json!("a b"), json!("10.1"), json!(""), json!("a..b")],
        "type" => vec![json!("External"), json!("")],
        _ => vec![],
    }
}

/// Every mutation that a configuration is refused for.
fn bad_mutations(json: &Value) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    let mut add = |path: &NaivePath, value: Value, at: String| {
        mutations.push(Mutation { path: path.clone(), value: Some(value), outcome: Err(at) });
    };
    walk(json, &NaivePath::default(), &mut |path, value| {
        let wrong_type =
            if value.is_null() || value.is_number() || value.is_boolean() { json!("x") } else { json!(true) };
        add(path, wrong_type, path.to_string());
        // A fallback needs a grant only where aliases need one.
        let follows = json["externalNames"]["mode"] == "follow";
        for bad in bad_values(path, value).into_iter().filter(|bad| !follows || bad != "nowhere/x") {
            add(path, bad, path.to_string());
        }
        match value {
            Value::Object(_) if path.is_map() => {
                for key in ["x", "A/b", "a/b/c"] {
                    add(&path.key(key), json!({}), path.to_string());
                }
            }
            Value::Object(_) => {
                let unknown = path.field("unknownField");
                add(&unknown, json!(1), unknown.to_string());
            }
            _ => {}
        }
    });
    mutations
}

/// Every mutation that changes what the configuration means, and some that do not.
fn good_mutations(cluster: &NaiveCluster) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    let mut add = |path: &NaivePath, value: Option<Value>, change: &dyn Fn(&mut NaiveCluster)| {
        let mut changed = cluster.clone();
        change(&mut changed);
        mutations.push(Mutation { path: path.clone(), value, outcome: Ok(changed) });
    };
    let root = NaivePath::default();
    for ndots in 0..=15 {
        add(&root.field("dns").field("ndots"), Some(json!(ndots)), &|cluster| cluster.ndots = ndots);
    }
    add(&root.field("dns").field("ndots"), None, &|cluster| cluster.ndots = 5);
    let resolver = root.field("dns").field("resolver");
    add(&resolver, Some(json!("musl")), &|cluster| cluster.musl = true);
    add(&resolver, Some(json!("glibc")), &|cluster| cluster.musl = false);
    add(&resolver, None, &|cluster| cluster.musl = false);
    if !cluster.follows {
        // Where grants are written, a mode opens what they closed.
        add(&root.field("externalNames").field("mode"), Some(json!("follow")), &|cluster| cluster.follows = true);
        add(&root.field("externalNames").field("mode"), Some(json!("listed")), &|_| {});
    }
    let fallback = root.field("fallback");
    for baseline in ["b", "prod"] {
        let change = |cluster: &mut NaiveCluster| cluster.baseline = Some(baseline.to_owned());
        add(&fallback.field("baselines").key("a"), Some(json!(baseline)), &change);
    }
    add(&fallback.field("baselines"), None, &|cluster| cluster.baseline = None);
    add(&fallback.field("services"), None, &|cluster| cluster.fallbacks.clear());
    for (number, of) in cluster.fallbacks.iter().enumerate() {
        let path = fallback.field("services").key(&format!("{}/{}", of.of.0, of.of.1));
        add(&path, None, &|cluster| _ = cluster.fallbacks.remove(number));
        for when in [None, Some(json!([])), Some(json!(["noEndpoints", "missing"]))] {
            add(&path.field("when"), when, &|cluster| {
                (cluster.fallbacks[number].when_missing, cluster.fallbacks[number].when_no_endpoints) = (true, true);
            });
        }
        add(&path.field("when"), Some(json!(["missing"])), &|cluster| {
            (cluster.fallbacks[number].when_missing, cluster.fallbacks[number].when_no_endpoints) = (true, false);
        });
        if matches!(of.to, NaiveTarget::Service(..)) {
            for port in [None, Some(80), Some(81)] {
                add(&path.field("port"), port.map(|port| json!(port)), &|cluster| {
                    cluster.fallbacks[number].port = port;
                });
            }
        }
    }
    for (number, service) in cluster.services.iter().enumerate() {
        let path = root.field("table").field("services").key(&format!("{}/{}", service.namespace, service.name));
        add(&path, None, &|cluster| _ = cluster.services.remove(number));
        if let NaiveKind::Alias { target, port } = &service.kind {
            let same = format!("{}.", target.to_ascii_uppercase());
            add(&path.field("externalName"), Some(json!(same)), &|_| {});
            for other in ["a.example", "localhost", "a.a.svc.cluster.local", "b.prod.svc.cluster.local"] {
                add(&path.field("externalName"), Some(json!(other)), &|cluster| {
                    cluster.services[number].kind = NaiveKind::Alias { target: other.to_owned(), port: *port };
                });
            }
            for port in [None, Some(80), Some(81)] {
                add(&path.field("alias").field("port"), port.map(|port| json!(port)), &|cluster| {
                    cluster.services[number].kind = NaiveKind::Alias { target: target.clone(), port };
                });
            }
            continue;
        }
        add(&path.field("clusterIPs"), Some(json!(["None"])), &|cluster| {
            cluster.services[number].kind = NaiveKind::Headless
        });
        add(&path.field("clusterIPs"), Some(json!([])), &|cluster| cluster.services[number].kind = NaiveKind::Virtual);
        add(&path.field("endpoints"), Some(json!([])), &|cluster| cluster.services[number].endpoints.clear());
        for (index, endpoint) in service.endpoints.iter().enumerate() {
            let path = path.field("endpoints").index(index);
            add(&path, None, &|cluster| _ = cluster.services[number].endpoints.remove(index));
            for (value, ready) in [(None, true), (Some(json!(true)), true), (Some(json!(false)), false)] {
                add(&path.field("ready"), value, &|cluster| cluster.services[number].endpoints[index].ready = ready);
            }
            for hostname in [None, Some("a"), Some("prod")] {
                // A list may be one text, with spaces between its elements.
                add(&path.field("hostnames"), Some(json!(hostname.unwrap_or_default())), &|cluster| {
                    cluster.services[number].endpoints[index].hostname = hostname.map(str::to_owned);
                });
            }
            let [a, b, c, d] = endpoint.address;
            add(&path.field("addresses"), Some(json!(format!(" {a}.{b}.{c}.{d} "))), &|_| {});
            add(&path.field("addresses"), Some(json!("10.0.0.2")), &|cluster| {
                cluster.services[number].endpoints[index].address = [10, 0, 0, 2];
            });
        }
    }
    mutations
}

/// A configuration, one mutation of it, and names to ask it for.
#[derive(Debug)]
struct MutatedConfig {
    json: Value,
    mutation: Mutation,
    asked: Vec<String>,
}

fn mutated() -> impl Strategy<Value = MutatedConfig> {
    let asked = prop::collection::vec(asked_name(), 6);
    let cluster = prop_oneof![1 => cluster(), 2 => cluster_with_fallbacks()];
    (cluster, asked, any::<bool>(), any::<Index>()).prop_map(|(cluster, asked, is_good, at)| {
        let json = with_fields(json!({"version": 1}), cluster.fields());
        let mutations = if is_good { good_mutations(&cluster) } else { bad_mutations(&json) };
        let mutation = mutations[at.index(mutations.len())].clone();
        let mut mutated = json;
        mutation.path.set(&mut mutated, mutation.value.clone());
        let asked = asked.iter().map(|asked| asked.of(&cluster)).collect();
        MutatedConfig { json: mutated, mutation, asked }
    })
}

#[test]
fn generator_draws_valid_and_invalid_configurations() {
    let configs = samples(mutated());
    let is_accepted = |config: &MutatedConfig| Config::read(config.json.to_string(), &Defaults::default()).is_ok();
    assert_balanced("accepted configurations", share(&configs, is_accepted));
    let changes_answers = |config: &MutatedConfig| match &config.mutation.outcome {
        Ok(changed) => config.asked.iter().any(|asked| !changed.answer(asked).starts_with("pass")),
        Err(_) => true,
    };
    assert!(
        share(&configs, changes_answers) > 0.75,
        "only {:.3} of the configurations answer a name other than by pass",
        share(&configs, changes_answers)
    );
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn changes_its_answers_with_a_field_or_names_the_field_in_an_error(mutated in mutated()) {
        let MutatedConfig { json, mutation, asked } = mutated;
        match (Config::read(json.to_string(), &Defaults::default()), mutation.outcome) {
            (Ok(config), Ok(cluster)) => {
                for asked in asked {
                    prop_assert_eq!(ask(&config, &asked), cluster.answer(&asked), "{} of {:#}", asked, json);
                }
            }
            (Err(errors), Err(at)) => {
                let is_named = errors.listed().iter().any(|error| error.path.to_string().starts_with(&at));
                prop_assert!(is_named, "{} is not named:\n{}", at, errors);
                prop_assert!(errors.listed().iter().all(|error| error.to_string().lines().count() == 1), "{}", errors);
            }
            (Ok(_), Err(at)) => prop_assert!(false, "{} is accepted:\n{:#}", at, json),
            (Err(errors), Ok(_)) => prop_assert!(false, "{} is refused:\n{}", mutation.path, errors),
        }
    }
}
