//! Precision and recall of the rules, and the table of both in the docs.
//!
//! Precision: `sets/` has manifests in the shapes of well-known projects, which work. Recall: each rule's `fail.yaml` is a dump, and
//! the test makes manifests of it as a team would have written them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use byname_cli::{
    input::read_stream,
    lint::{LintReport, Rule, Severity, rules},
};
use serde_json::{Map, Value, json};

use crate::{fixtures, judge, parse, read};

/// The files of `sets/`, sorted.
fn sets() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(fixtures().join("sets")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn well_known_manifests_have_no_warnings() {
    assert!(sets().len() >= 10);
    for file in sets() {
        let report = judge(&read(&file));
        let found = report.findings.iter().filter(|finding| finding.rule.severity > Severity::Info);
        let found: Vec<String> = found.map(|finding| format!("{} {}", finding.rule.id, finding.message)).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
}

#[test]
fn a_directory_of_manifests_is_one_cluster() {
    let report = judge(&read(&fixtures().join("sets")));
    let found = report.findings.iter().filter(|finding| finding.rule.severity > Severity::Info);
    let found: Vec<String> = found.map(|finding| format!("{} {}", finding.rule.id, finding.message)).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The objects of a file.
fn objects(file: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    read_stream(fs::read(file).unwrap().as_slice(), "dump", &mut |raw| {
        objects.push(raw.node.read::<Value>().unwrap());
        Ok(())
    })
    .unwrap();
    objects
}

fn keep(map: &mut Value, keys: &[&str]) {
    if let Some(map) = map.as_object_mut() {
        map.retain(|key, _| keys.contains(&key.as_str()));
    }
}

/// The manifests that a dump was made of: without nodes, EndpointSlices that the control plane wrote, status, and fields that the API
/// server sets; pods of a workload become its template.
fn as_manifests(objects: Vec<Value>) -> String {
    let addresses: Vec<String> = objects.iter().map(|object| object["spec"]["clusterIP"].to_string()).collect();
    let mut manifests: BTreeMap<String, Value> = BTreeMap::new();
    for (number, mut object) in objects.into_iter().enumerate() {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let labels = object["metadata"]["labels"].clone();
        let is_managed = labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io";
        if kind == "Node" || is_managed {
            continue;
        }
        let owner = object["metadata"]["ownerReferences"][0].clone();
        keep(&mut object["metadata"], &["name", "namespace", "labels", "annotations"]);
        object.as_object_mut().unwrap().remove("status");
        let spec = object["spec"].as_object_mut().map(std::mem::take).unwrap_or_default();
        let mut spec: Map<String, Value> = spec.into_iter().filter(|(key, _)| !is_set_by_server(key)).collect();
        if kind == "Service" && spec.get("clusterIP").is_some_and(|ip| ip != "None") {
            let ip = spec["clusterIP"].to_string();
            // Two Services have one address only if a manifest pins it.
            if addresses.iter().filter(|other| **other == ip).count() == 1 {
                spec.remove("clusterIP");
            }
        }
        if !spec.is_empty() {
            object["spec"] = spec.clone().into();
        }
        if kind == "Pod" && owner["controller"] == true && owner["kind"] != "Node" {
            let hash = labels["pod-template-hash"].as_str().unwrap_or_default();
            let name = owner["name"].as_str().unwrap();
            let (name, kind) = match owner["kind"].as_str().unwrap() {
                "ReplicaSet" => (name.trim_end_matches(hash).trim_end_matches('-'), "Deployment"),
                kind => (name, kind),
            };
            let mut labels = labels.clone();
            if let Some(labels) = labels.as_object_mut() {
                labels.retain(|key, _| {
                    !key.ends_with("-hash") && !key.contains("pod-name") && !key.contains("pod-index")
                });
            }
            let namespace = &object["metadata"]["namespace"];
            let key = format!("{kind} {namespace}/{name}");
            object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace},
                "spec": {"template": {"metadata": {"labels": labels}, "spec": spec}}});
            manifests.entry(key).or_insert(object);
        } else {
            manifests.insert(format!("{number:03}"), object);
        }
    }
    let documents: Vec<String> = manifests.values().map(Value::to_string).collect();
    documents.join("\n---\n")
}

fn is_set_by_server(field: &str) -> bool {
    ["clusterIPs", "ipFamilies", "ipFamilyPolicy", "nodeName"].contains(&field)
}

/// What a rule finds of its own mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recall {
    Found,
    /// The rule says that it needs a dump.
    NeedsDump,
    Missed,
}

fn recall(rule: &Rule, report: &LintReport) -> Recall {
    let needs = || report.not_run.values().chain(report.in_part.values()).flatten().any(|one| one.id == rule.id);
    if report.findings.iter().any(|finding| finding.rule.id == rule.id) {
        Recall::Found
    } else if needs() {
        Recall::NeedsDump
    } else {
        Recall::Missed
    }
}

fn in_manifests(rule: &Rule) -> Recall {
    let dump = objects(&fixtures().join(rule.id).join("fail.yaml"));
    let by_hand = fixtures().join(rule.id).join("manifest.yaml");
    match by_hand.exists() {
        true => recall(rule, &judge(&read(&by_hand))),
        false => recall(rule, &judge(&parse(&as_manifests(dump)))),
    }
}

#[test]
fn no_rule_misses_its_mistake_without_saying_so() {
    for rule in rules() {
        let dump = recall(rule, &judge(&read(&fixtures().join(rule.id).join("fail.yaml"))));
        assert_eq!(dump, Recall::Found, "{} in a dump", rule.id);
    }
    let missed: Vec<&str> = rules().filter(|rule| in_manifests(rule) == Recall::Missed).map(|rule| rule.id).collect();
    assert_eq!(missed, [""; 0], "in manifests");
}

/// A label or a port name with two letters swapped.
fn with_typo(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let is_pair = |pair: &[u8]| pair[0] != pair[1] && pair.iter().all(u8::is_ascii_lowercase);
    let at = bytes.windows(2).rposition(is_pair)?;
    bytes.swap(at, at + 1);
    String::from_utf8(bytes).ok()
}

/// The number of Services of a set for which a typo is found, and the number of all.
fn found_typos(objects: &[Value], rule: &str, mutate: impl Fn(&mut Value) -> bool) -> (usize, usize) {
    let (mut found, mut all) = (0, 0);
    for (index, object) in objects.iter().enumerate().filter(|(_, object)| object["kind"] == "Service") {
        let mut changed = objects.to_vec();
        if !mutate(&mut changed[index]) {
            continue;
        }
        all += 1;
        let documents: Vec<String> = changed.iter().map(Value::to_string).collect();
        let report = judge(&parse(&documents.join("\n---\n")));
        let name = object["metadata"]["name"].as_str().unwrap();
        found += usize::from(report.findings.iter().any(|one| one.rule.id == rule && one.object.name == name));
    }
    (found, all)
}

/// Puts a typo into the last label of the selector that is a word.
fn mistype_selector(service: &mut Value) -> bool {
    let Some(selector) = service["spec"]["selector"].as_object_mut() else { return false };
    let words = selector.iter_mut().rev();
    let Some((value, typo)) =
        words.filter_map(|(_, value)| with_typo(value.as_str()?).map(|typo| (value, typo))).next()
    else {
        return false;
    };
    *value = typo.into();
    true
}

/// Puts a typo into the first targetPort that is a name.
fn mistype_target_port(service: &mut Value) -> bool {
    let ports = service["spec"]["ports"].as_array_mut().into_iter().flatten();
    let mut named = ports.filter_map(|port| Some((with_typo(port["targetPort"].as_str()?)?, port)));
    let Some((typo, port)) = named.next() else { return false };
    port["targetPort"] = typo.into();
    true
}

/// The sums over all sets.
fn typos(rule: &str, mutate: impl Fn(&mut Value) -> bool) -> (usize, usize) {
    let counts = sets().into_iter().map(|file| found_typos(&objects(&file), rule, &mutate));
    counts.fold((0, 0), |(found, all), (more, of)| (found + more, all + of))
}

#[test]
fn typos_in_well_known_manifests_are_found() {
    let (selectors, target_ports) = (typos("BN001", mistype_selector), typos("BN020", mistype_target_port));
    assert!(selectors.0 * 10 >= selectors.1 * 8, "{selectors:?}");
    assert!(target_ports.0 * 10 >= target_ports.1 * 8, "{target_ports:?}");
}

/// `UPDATE_DOCS=1 cargo test` writes the table anew.
#[test]
fn the_table_of_precision_and_recall_is_current() {
    const BEGIN: &str = "<!-- begin: written by a test -->\n";
    const END: &str = "<!-- end -->";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint.md");
    let document = fs::read_to_string(&file).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(file, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            shown, table,
            "UPDATE_DOCS=1 cargo test --package byname --test lint precision writes the table anew"
        );
    }
}

fn table() -> String {
    let reports: Vec<LintReport> = sets().iter().map(|file| judge(&read(file))).collect();
    let services: usize = reports.iter().map(|report| report.services).sum();
    let findings: Vec<_> = reports.iter().flat_map(|report| &report.findings).collect();
    let alarms = findings.iter().filter(|finding| finding.rule.severity > Severity::Info).count();
    let all = rules().count();
    let found = rules().filter(|rule| in_manifests(rule) == Recall::Found).count();
    let (selectors, target_ports) = (typos("BN001", mistype_selector), typos("BN020", mistype_target_port));
    let harmful = rules().filter(|rule| rule.severity > Severity::Info).count();
    let mut table = format!(
        "{all} of {all} rules find their mistake in a dump, and {found} of {all} in manifests; the other {} say that they need a dump. \
         In {} sets of manifests with {services} Services, the {harmful} rules of severity warning or error have {alarms} false alarms. \
         Lint finds a typo in {} of {} selectors of these sets, and in {} of {} named targetPorts; the others select \
         pods that an operator creates, or labels that are set while a pod runs.\n\n\
         | rule | severity | in a dump | in manifests | in sets that work |\n|---|---|---|---|---|\n",
        all - found,
        reports.len(),
        selectors.0,
        selectors.1,
        target_ports.0,
        target_ports.1,
    );
    for rule in rules() {
        let manifests = match in_manifests(rule) {
            Recall::Found => "found",
            Recall::NeedsDump => "needs a dump",
            Recall::Missed => "missed",
        };
        let count = findings.iter().filter(|finding| finding.rule.id == rule.id).count();
        let id = rule.id;
        let anchor = id.to_ascii_lowercase();
        let severity = rule.severity;
        let _ = writeln!(table, "| [{id}](#{anchor}) `{}` | {severity} | found | {manifests} | {count} |", rule.name);
    }
    table
}
