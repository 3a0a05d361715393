//! `byname lint`: each rule on a cluster with the mistake and on a fixed cluster, the output formats, and ignored
//! findings.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "lint/charts.rs"]
mod charts;
#[path = "lint/ci.rs"]
mod ci;
#[path = "lint/deployed.rs"]
mod deployed;
#[path = "lint/knowledge.rs"]
mod knowledge;
#[path = "lint/precision.rs"]
mod precision;
#[path = "lint/reports.rs"]
mod reports;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use byname_cli::{
    input::{Excluded, InputNode, InputValue, ReadOptions, Source, read_stream},
    kubernetes::is_read,
    lint::{Finding, Ignore, IgnoredBy, LintInput, LintOptions, LintReport, json, lint, rules, sarif, text},
};
use proptest::{collection, prelude::*, sample};
use serde_json::Value;

const HOSTILE: &str = "tests/clusters/hostile.yaml";
const CLEAN: &str = "../../examples/cluster/shop.yaml";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint")
}

fn read(path: &Path) -> LintInput {
    let options = ReadOptions { is_needed: is_read, excluded: Excluded::default(), is_strict: true };
    LintInput::read(&[Source::Path(path.to_owned())], &options, &mut |_| ()).unwrap().0
}

fn parse(yaml: &str) -> LintInput {
    let mut objects = LintInput::default();
    read_stream(yaml.as_bytes(), "test.yaml", &mut |object| objects.add(object)).unwrap();
    objects
}

fn judge(objects: &LintInput) -> LintReport {
    lint(objects, &LintOptions::default())
}

/// The rules with findings that are not ignored.
fn ids(report: &LintReport) -> Vec<&'static str> {
    report.open().map(|finding| finding.rule.id).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Runs the program in the directory of its crate.
fn byname(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1").args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn each_rule_finds_its_mistake_and_nothing_else() {
    for rule in rules() {
        let cluster = read(&fixtures().join(rule.id).join("fail.yaml"));
        assert_eq!(ids(&judge(&cluster)), [rule.id], "{}", rule.id);
    }
}

#[test]
fn each_fixed_cluster_has_no_findings() {
    for rule in rules() {
        let cluster = read(&fixtures().join(rule.id).join("pass.yaml"));
        let report = judge(&cluster);
        assert_eq!(ids(&report), [""; 0], "{}", rule.id);
        assert!(!report.not_run.values().flatten().any(|one| one.id == rule.id), "{} was not run", rule.id);
    }
}

/// An object with a field that is not used and does not fit is read by its used fields alone.
#[test]
fn rules_use_no_field_that_is_not_listed_as_used() {
    let report = |file: &Path, is_unfit: bool| {
        let mut objects = LintInput::default();
        let text = fs::read(file).unwrap();
        read_stream(&*text, "test.yaml", &mut |mut object| {
            if let Some(InputValue::Map(metadata)) = object.node.get_mut("metadata").map(|node| &mut node.value)
                && is_unfit
            {
                let unfit = InputNode { line: 1, value: InputValue::Bool(true) };
                metadata.push(("creationTimestamp".into(), unfit));
            }
            objects.add(object)
        })
        .unwrap();
        json(&judge(&objects))
    };
    let folders = rules().map(|rule| fixtures().join(rule.id));
    let files = folders.flat_map(|folder| ["fail.yaml", "pass.yaml"].map(|name| folder.join(name)));
    for file in files.chain([fixtures().join("../clusters/hostile.yaml")]) {
        assert_eq!(report(&file, true), report(&file, false), "{}", file.display());
    }
}

#[test]
fn clean_cluster_has_no_findings() {
    let report = judge(&read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CLEAN)));
    assert!(report.findings.is_empty(), "{}", plain(&report));
    assert!(report.not_run.is_empty());
}

#[test]
fn ids_are_sorted_and_names_are_unique() {
    let ids: Vec<&str> = rules().map(|rule| rule.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let names: BTreeSet<&str> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), ids.len());
}

#[test]
fn every_rule_has_fixtures_and_a_section_in_the_docs() {
    let ids: BTreeSet<String> = rules().map(|rule| rule.id.to_owned()).collect();
    let directories = fs::read_dir(fixtures()).unwrap();
    let directories: BTreeSet<String> = directories
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("BN"))
        .collect();
    assert_eq!(ids, directories);

    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint.md");
    let document = fs::read_to_string(document).unwrap();
    let sections: BTreeSet<String> =
        document.lines().filter_map(|line| line.strip_prefix("### BN")).map(|number| format!("BN{number}")).collect();
    assert_eq!(ids, sections);
    for rule in rules() {
        let (_, section) = document.split_once(&format!("### {}\n", rule.id)).unwrap();
        let begins = format!("\n`{}`, {}", rule.name, rule.severity);
        assert!(section.starts_with(&begins), "{}: the section does not begin with {begins:?}", rule.id);
        let section = section.split("\n### ").next().unwrap();
        assert!(section.contains("# wrong") && section.contains("# fixed"), "{} has no example", rule.id);
    }
}

#[test]
fn findings_point_to_the_line_of_their_field() {
    let mut files: Vec<PathBuf> = rules().map(|rule| fixtures().join(rule.id).join("fail.yaml")).collect();
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(HOSTILE));
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = content.lines().collect();
        for Finding { rule, field, line, .. } in judge(&read(&file)).findings {
            let found = lines[line as usize - 1];
            let key = field.rsplit('.').next().unwrap();
            let has_it = match key.split_once('[') {
                // Items and whole objects begin with a dash.
                Some(_) => found.trim().starts_with("- "),
                None => found.contains(&format!("{key}:")) || found.starts_with("- "),
            };
            assert!(has_it, "{}: {} {field} is not in line {line}: {found}", file.display(), rule.id);
        }
    }
}

#[test]
fn reports_of_the_hostile_cluster_match_their_snapshots() {
    let output = byname(&["lint", "-f", HOSTILE]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("hostile_text", stdout(&output));
    insta::assert_snapshot!("hostile_json", stdout(&byname(&["lint", "-f", HOSTILE, "-o", "json"])));
    let sarif = stdout(&byname(&["lint", "-f", HOSTILE, "-o", "sarif"]));
    let version = concat!(r#""version": ""#, env!("CARGO_PKG_VERSION"), '"');
    insta::assert_snapshot!("hostile_sarif", sarif.replace(version, r#""version": "VERSION""#));
}

#[test]
fn list_of_rules_matches_its_snapshot() {
    let output = byname(&["lint", "--list-rules"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("rules", stdout(&output));
}

#[test]
fn exit_status_tells_findings_from_errors() {
    let warned = fixtures().join("BN056/fail.yaml");
    let warned = warned.to_str().unwrap();
    let info = fixtures().join("BN074/fail.yaml");
    let info = info.to_str().unwrap();
    let suffix = fixtures().join("BN062/fail.yaml");
    let suffix = suffix.to_str().unwrap();
    let rows: &[(&[&str], i32)] = &[
        (&["-f", CLEAN], 0),
        (&["-f", CLEAN, "--fail-on", "info"], 0),
        (&["-f", HOSTILE], 1),
        (&["-f", HOSTILE, "--fail-on", "never"], 0),
        (&["-f", warned], 1),
        (&["-f", warned, "--fail-on", "error"], 0),
        (&["-f", warned, "--ignore", "BN056=until the balancer is there"], 0),
        (&["-f", warned, "--ignore", "BN056:shop/web=until the balancer is there"], 0),
        (&["-f", warned, "--ignore", "BN056:shop/cart=until the balancer is there"], 1),
        (&["-f", suffix, "--ignore", "BN062:com=nobody asks for example.com"], 0),
        (&["-f", info], 0),
        (&["-f", info, "--fail-on", "info"], 1),
        (&["-f", "there-is-no-such-file.yaml"], 2),
        (&["-f", "Cargo.toml", "--strict"], 2),
        (&["-f", warned, "--ignore", "BN056"], 2),
        (&["-f", warned, "--ignore", "BN056= "], 2),
        (&["-f", warned, "--ignore", "BN999=why"], 2),
        (&["-f", warned, "--ignore", "BN056:=why"], 2),
        (&["-f", warned, "--cluster-domain", "a..b"], 2),
    ];
    for (args, status) in rows {
        let output = byname(&[&["lint"], *args].concat());
        assert_eq!(output.status.code(), Some(*status), "{args:?}: {output:?}");
    }
    let output = byname(&["lint", "-f", warned, "--ignore", "BN999=why"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("byname lint --list-rules prints all rules"));
}

#[test]
fn output_file_has_the_whole_report_without_colours() {
    let directory = tempfile::tempdir().unwrap();
    for (format, begin) in [("text", "tests/clusters/hostile.yaml:"), ("json", "[\n"), ("sarif", "{\n")] {
        let file = directory.path().join(format);
        let mut args = vec!["lint", "-f", HOSTILE, "--fail-on", "never"];
        args.extend(["-o", format, "--output-file", file.to_str().unwrap()]);
        let output = byname(&args);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
        let written = fs::read_to_string(file).unwrap();
        assert!(written.starts_with(begin) && !written.contains('\u{1b}'), "{format}: {written:.200}");
    }
}

#[test]
fn ignored_findings_are_counted_and_listed() {
    let cluster = read(&fixtures().join("BN056/fail.yaml"));
    let ignores = vec!["BN056:shop/web=until the balancer is there".parse::<Ignore>().unwrap()];
    let report = lint(&cluster, &LintOptions { ignores, ..LintOptions::default() });
    assert!(plain(&report).starts_with("no issues in 1 Service; "));
    assert!(plain(&report).contains("\n1 finding ignored, with reasons\n"));
    let listed: Value = serde_json::from_str(&json(&report)).unwrap();
    let ignored = serde_json::json!({"by": "flag", "reason": "until the balancer is there"});
    assert_eq!(listed[0]["ignored"], ignored);
    let listed: Value = serde_json::from_str(&sarif(&report)).unwrap();
    let suppressions = serde_json::json!([{"kind": "external", "justification": "until the balancer is there"}]);
    assert_eq!(listed["runs"][0]["results"][0]["suppressions"], suppressions);
}

/// The report as text, without colours.
fn plain(report: &LintReport) -> String {
    text(report, false)
}

#[test]
fn annotations_ignore_findings_of_their_object() {
    let fixture = fs::read_to_string(fixtures().join("BN062/fail.yaml")).unwrap();
    let of_namespace = "    labels:\n      kubernetes.io/metadata.name: com";
    assert!(fixture.contains(of_namespace));
    let with = |value: &str| {
        let annotation = format!("    annotations:\n      byname/ignore-BN062: {value}\n{of_namespace}");
        judge(&parse(&fixture.replace(of_namespace, &annotation)))
    };
    let report = with("nobody here asks for example.com");
    assert_eq!(ids(&report), [""; 0]);
    let ignored = report.findings[0].ignored.as_ref().unwrap();
    assert_eq!((ignored.by, ignored.reason.as_str()), (IgnoredBy::Annotation, "nobody here asks for example.com"));
    let results: Value = serde_json::from_str(&sarif(&report)).unwrap();
    assert_eq!(results["runs"][0]["results"][0]["suppressions"][0]["kind"], "inSource");

    // An ignore without a reason has no effect, and is a finding itself.
    assert_eq!(ids(&with("\" \"")), ["BN062", "BN090"]);
}

#[test]
fn annotations_of_pods_ignore_findings() {
    let fixture = fs::read_to_string(fixtures().join("BN064/fail.yaml")).unwrap();
    let (before, pod) = fixture.split_once("  kind: Pod\n  metadata:\n").unwrap();
    let annotations = "    annotations:\n      byname/ignore-BN064: it asks nobody\n";
    let report = judge(&parse(&format!("{before}  kind: Pod\n  metadata:\n{annotations}{pod}")));
    assert_eq!((ids(&report).len(), report.findings.len()), (0, 1));
}

#[test]
fn rules_do_not_run_without_the_kinds_they_need() {
    let service = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
";
    let report = judge(&parse(service));
    assert_eq!(ids(&report), [""; 0]);
    let missing: Vec<&str> = report.not_run.keys().copied().collect();
    assert_eq!(missing, ["EndpointSlice", "Node", "Pod", "Pod or workload"]);
    let written = plain(&report);
    let rules = rules().count();
    let verdict = format!(
        "no issues in 1 Service; 16 of {rules} rules did not run: the input has no EndpointSlice, no Node, no Pod or workload\n"
    );
    assert!(written.starts_with(&verdict), "{written}");
    let line = "rules not run because the input has no Pod or workload: BN001, BN002, BN005, BN020, BN021; add pods to kubectl get";
    assert!(written.contains(line), "{written}");
    let line = "rules that need a dump to know what is missing, because manifests may lack it: BN004, BN014, BN036, BN040, BN055 (Service)";
    assert!(written.contains(line), "{written}");
}

#[test]
fn objects_of_unread_namespaces_are_not_missing() {
    // The dump has one namespace of many, and the alias points to another namespace.
    let alias = "
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {type: ExternalName, externalName: api.billing.svc.cluster.local}
";
    assert_eq!(ids(&judge(&parse(alias))), [""; 0]);
    let manifest = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    assert_eq!(ids(&judge(&parse(&format!("{alias}{manifest}")))), [""; 0]);
    let namespaces = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, uid: u1}\n";
    assert_eq!(ids(&judge(&parse(&format!("{alias}{namespaces}")))), ["BN036"]);
    // With another cluster domain, the target is an external name.
    let options = LintOptions { domain: "example.org".into(), ..LintOptions::default() };
    assert_eq!(ids(&lint(&parse(&format!("{alias}{namespaces}")), &options)), [""; 0]);
}

#[test]
fn a_chain_of_more_than_ten_aliases_is_a_loop() {
    let link = |from: usize| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: n{from}, namespace: shop}}\n\
             spec: {{type: ExternalName, externalName: n{}.shop.svc.cluster.local}}\n",
            from + 1
        )
    };
    let chain = |links: usize| {
        let end =
            format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: n{links}, namespace: shop}}\nspec: {{}}\n");
        ids(&judge(&parse(&format!("{}{end}", (0..links).map(link).collect::<String>()))))
    };
    assert_eq!(chain(10), [""; 0]);
    assert_eq!(chain(11), ["BN032"]);
}

#[test]
fn valid_services_have_no_findings() {
    let slice = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: https, port: 8443, protocol: UDP}]
endpoints: [{addresses: [10.244.1.9]}]
---
";
    let rows = [
        // HTTP/3 uses the name https. A UDP port and a TCP port may share a number.
        "{clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: https, port: 80, protocol: UDP}]}",
        // The target may also be a public name, so lint cannot judge it.
        "{type: ExternalName, externalName: web.example}",
        // A Service without a status comes from a manifest.
        "{type: LoadBalancer, ports: [{name: http, port: 80}]}",
        "{clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}",
    ];
    for spec in rows {
        let service =
            format!("{slice}apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n");
        assert_eq!(ids(&judge(&parse(&service))), [""; 0], "{spec}");
    }
}

/// A Service `web` with this spec, and one EndpointSlice for each element of `slices`.
fn web(spec: &str, slices: &[&str]) -> String {
    let mut objects =
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{{spec}}}\n");
    for (number, fields) in slices.iter().enumerate() {
        objects.push_str(&format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-{number}, namespace: shop, \
             labels: {{kubernetes.io/service-name: web}}}}, {fields}}}\n"
        ));
    }
    objects
}

#[test]
fn services_and_endpoints_are_read_as_the_filter_reads_them() {
    const FQDN: &str =
        "addressType: FQDN, ports: [{name: https, port: 443}], endpoints: [{addresses: [partner.example.com]}]";
    const HTTPS: &str = "clusterIP: 10.96.0.1, ports: [{name: https, port: 443}]";
    const BOTH: &str = "clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: https, port: 443}]";
    const HTTP_SLICE: &str =
        "addressType: IPv4, ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.1.0.9]}]";
    let of_conditions = |conditions: &str| {
        let fields = "addressType: IPv4, ports: [{name: https, port: 443}]";
        format!("{fields}, endpoints: [{{addresses: [10.1.0.9], conditions: {conditions}}}]")
    };
    let ports = |ports: &str| web(&format!("clusterIP: 10.96.0.1, ports: [{ports}]"), &[]);
    let rows: &[(&str, String, &[&str])] = &[
        ("an FQDN slice has no endpoints", web(HTTPS, &[FQDN]), &["BN011"]),
        (
            "an FQDN slice has no endpoints for a selector",
            web(&format!("{HTTPS}, selector: {{app: web}}"), &[FQDN]),
            &["BN010"],
        ),
        ("an FQDN slice has no ports", web(BOTH, &[HTTP_SLICE, FQDN]), &["BN015", "BN019"]),
        ("nil conditions are ready", web(HTTPS, &[&of_conditions("{}")]), &[]),
        ("nil ready is ready", web(HTTPS, &[&of_conditions("{serving: false, terminating: true}")]), &[]),
        ("nil serving is serving", web(HTTPS, &[&of_conditions("{ready: false, terminating: true}")]), &[]),
        (
            "nil terminating is not terminating",
            web(HTTPS, &[&of_conditions("{ready: false, serving: true}")]),
            &["BN010"],
        ),
        (
            "a port without a number is no port",
            web(HTTPS, &[&HTTP_SLICE.replace("name: http, port: 8080", "name: https, port: 0")]),
            &["BN015"],
        ),
        (
            "a port without a number hides no other port",
            web(HTTPS, &[&HTTP_SLICE.replace("{name: http", "{name: https}, {name: https")]),
            // An API server refuses two ports of one name.
            &["BN079"],
        ),
        (
            "appProtocol in another case, TLS and plaintext",
            ports(
                "{name: one, port: 443, targetPort: 80, appProtocol: HTTPS}, {name: two, port: 80, appProtocol: Http}",
            ),
            &["BN022"],
        ),
        ("appProtocol in another case, over UDP", ports("{port: 80, protocol: UDP, appProtocol: HTTP}"), &["BN023"]),
        ("a word of Kubernetes in another case", ports("{port: 80, appProtocol: kubernetes.io/H2C}"), &[]),
        (
            "an unknown word with its prefix in another case",
            ports("{port: 80, appProtocol: Kubernetes.io/x}"),
            // An API server refuses the prefix.
            &["BN079"],
        ),
        ("h2c is plaintext over TCP", ports("{port: 80, protocol: UDP, appProtocol: kubernetes.io/h2c}"), &["BN023"]),
        (
            "headless by clusterIPs alone",
            web("clusterIPs: [None], ports: [{port: 80}], sessionAffinity: ClientIP", &[]),
            // An API server wants clusterIP too.
            &["BN070", "BN079"],
        ),
    ];
    for (claim, objects, expected) in rows {
        assert_eq!(ids(&judge(&parse(objects))), *expected, "{claim}");
    }
    let report = judge(&parse(&web(HTTPS, &[FQDN])));
    let message = "the Service has no selector, and kube-proxy and DNS ignore addressType FQDN (EndpointSlice web-0)";
    assert_eq!(report.findings[0].message, message);
}

#[test]
fn a_port_that_no_endpoint_serves_is_found() {
    let service = |address: &str| web(&format!("{address}, ports: [{{name: http, port: 80}}]"), &[]);
    let (virtual_service, headless) = (service("clusterIP: 10.96.0.1"), service("clusterIP: None"));
    let slice = |name: &str, ports: &str, conditions: &str| {
        format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-{name}, namespace: shop, labels: \
             {{kubernetes.io/service-name: web}}}}, addressType: IPv4, ports: {ports}, endpoints: [{{addresses: [10.1.0.9], \
             conditions: {conditions}}}]}}\n"
        )
    };
    let endpoints = |ports: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Endpoints, metadata: {{name: web, namespace: shop}}, subsets: [{{addresses: [{{ip: \
             10.1.0.9}}], ports: {ports}}}]}}\n"
        )
    };
    const HTTP: &str = "[{name: http, port: 8080}]";
    let old = slice("old", HTTP, "{ready: false}");
    let draining = slice("old", HTTP, "{ready: false, terminating: true}");
    let rows: &[(&str, String, Option<&str>)] = &[
        (
            "a rollout that renames the port",
            format!("{old}{}", slice("new", "[]", "{}")),
            Some(
                "the endpoints that can serve have no port 80 (http, TCP): EndpointSlice web-new; those with the port are not ready",
            ),
        ),
        ("an endpoint with the port is ready", format!("{old}{}", slice("new", HTTP, "{}")), None),
        ("an endpoint with the port still serves", format!("{draining}{}", slice("new", "[]", "{}")), None),
        (
            "the slice with the port is empty",
            format!("{}{}", old.replace("endpoints: [", "endpoints: [], x: ["), slice("new", "[]", "{}")),
            Some("the endpoints that can serve have no port 80 (http, TCP): EndpointSlice web-new"),
        ),
        (
            "an unnamed port",
            slice("new", "[{port: 80}, {name: tls, port: 443}]", "{}"),
            Some("no EndpointSlice has port 80 (http, TCP); the EndpointSlices have an unnamed TCP port, tls/TCP"),
        ),
        (
            "a port without a number",
            slice("new", "[{name: http}]", "{}"),
            Some("no EndpointSlice has port 80 (http, TCP); the EndpointSlices have http/TCP without a number"),
        ),
        (
            "an Endpoints object without ports",
            endpoints("[]"),
            Some("the Endpoints object has no port 80 (http, TCP); it has no ports"),
        ),
        (
            "an Endpoints object with another port",
            endpoints("[{name: tls, port: 443}]"),
            Some("the Endpoints object has no port 80 (http, TCP); it has tls/TCP"),
        ),
    ];
    for (claim, slices, message) in rows {
        for (service, why) in [(&virtual_service, "every request to the port fails"), (&headless, "without the filter")]
        {
            let report = judge(&parse(&format!("{service}{slices}")));
            let found = report.findings.iter().filter(|finding| finding.rule.id == "BN015");
            let found: Vec<(&str, bool)> =
                found.map(|finding| (finding.message.as_str(), finding.why.contains(why))).collect();
            assert_eq!(found, message.map(|message| (message, true)).as_slice(), "{claim}");
            assert!(message.is_none_or(|_| plain(&report).contains(why)), "{claim}: {}", plain(&report));
        }
    }
}

#[test]
fn a_stray_address_of_an_endpoints_object_is_in_its_field() {
    let service = web("clusterIP: 10.96.0.1, ports: [{port: 80}]", &[]);
    let report = judge(&parse(&format!(
        "{service}---\n{{apiVersion: v1, kind: Endpoints, metadata: {{name: web, namespace: shop}}, subsets: [{{addresses: [{{ip: \
         10.1.0.9}}, {{ip: fd00::9}}], ports: [{{port: 80}}]}}]}}\n"
    )));
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.rule.id, finding.field.as_str())).collect();
    assert_eq!(found, [("BN018", "subsets[0].addresses[1].ip")]);
}

#[test]
fn sarif_has_what_code_scanning_needs() {
    let output = byname(&["lint", "-f", HOSTILE, "-o", "sarif"]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let descriptors = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(descriptors.len(), rules().count());
    for descriptor in descriptors {
        for field in ["shortDescription", "fullDescription", "help"] {
            assert!(descriptor[field]["text"].as_str().is_some_and(|text| text.len() < 1024), "{descriptor}");
        }
    }
    let results = run["results"].as_array().unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(descriptors[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], HOSTILE);
        assert!(location["region"]["startLine"].as_u64().unwrap() > 0);
    }
}

#[test]
fn sarif_paths_are_uris() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = directory.path().join("ä b#.yaml");
    fs::copy(fixtures().join("BN056/fail.yaml"), &file).unwrap();
    let log: Value = serde_json::from_str(&sarif(&judge(&read(&file)))).unwrap();
    let uri = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str();
    assert!(uri.unwrap().starts_with("file:///") && uri.unwrap().ends_with("/%C3%A4%20b%23.yaml"), "{uri:?}");
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let evil = r"\u001b[31m\u202e\u0007\u0085\u200b\ufeff";
    let objects = format!(
        r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "a{evil}", "namespace": "n{evil}",
            "annotations": {{"byname/ignore-{evil}": "{evil}", "byname/ignore-BN035": "why{evil}"}}}},
            "spec": {{"type": "ExternalName", "externalName": "x{evil}",
                "ports": [{{"name": "{evil}", "port": 80, "nodePort": 1, "appProtocol": "kubernetes.io/{evil}"}}]}}}}"#
    );
    let report = judge(&parse(&objects));
    assert_eq!(ids(&report), ["BN037", "BN079", "BN080", "BN090"]);
    assert!(report.findings.iter().any(|finding| finding.rule.id == "BN035" && finding.ignored.is_some()));
    let hides = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}\u{feff}".contains(c));
    for written in [plain(&report), json(&report), sarif(&report)] {
        assert!(!written.contains(hides), "{written:?}");
    }
    // Escaped in JSON and SARIF, the names keep their value.
    let listed: Value = serde_json::from_str(&json(&report)).unwrap();
    assert_eq!(listed[0]["object"]["name"], "a\u{1b}[31m\u{202e}\u{7}\u{85}\u{200b}\u{feff}");
    for args in [&["-o", "text"][..], &["-o", "json"], &["-o", "sarif"]] {
        let output = byname(&[&["lint", "-f", HOSTILE], args].concat());
        assert!(!stdout(&output).contains(hides));
        assert!(!String::from_utf8(output.stderr).unwrap().contains(hides));
    }
}

/// The findings for a Service and two pods with these owners and labels, which the Service selects.
fn owned(owners: [(&str, &str); 2], labels: [&str; 2]) -> Vec<&'static str> {
    let mut objects = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 80}]}
"
    .to_owned();
    for (number, ((kind, name), labels)) in owners.into_iter().zip(labels).enumerate() {
        objects.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web-{number}, namespace: shop, labels: {{app: web{labels}}}, \
             ownerReferences: [{{apiVersion: v1, kind: {kind}, name: {name}, uid: u, controller: true}}]}}\n\
             spec: {{containers: [{{name: app}}]}}\n"
        ));
    }
    ids(&judge(&parse(&objects)))
}

#[test]
fn versions_of_one_workload_count_as_one_workload() {
    let plain = ["", ""];
    assert_eq!(owned([("ReplicaSet", "a"), ("ReplicaSet", "b")], plain), ["BN002"]);
    assert_eq!(owned([("StatefulSet", "a"), ("StatefulSet", "a")], plain), [""; 0]);
    assert_eq!(owned([("Node", "node-1"), ("Node", "node-2")], plain), [""; 0]);
    let deployment = [", pod-template-hash: 1a", ", pod-template-hash: 2b"];
    assert_eq!(owned([("ReplicaSet", "a-1a"), ("ReplicaSet", "a-2b")], deployment), [""; 0]);
    let rollout = [", rollouts-pod-template-hash: 1a", ", rollouts-pod-template-hash: 2b"];
    assert_eq!(owned([("ReplicaSet", "a-1a"), ("ReplicaSet", "a-2b")], rollout), [""; 0]);
    assert_eq!(owned([("ReplicaSet", "a-1a"), ("ReplicaSet", "b-2b")], rollout), ["BN002"]);
}

#[test]
fn a_gateway_backend_needs_a_tcp_port() {
    let fixture = fs::read_to_string(fixtures().join("BN041/pass.yaml")).unwrap();
    let udp = fixture.replace("protocol: TCP", "protocol: UDP").replace("name: http\n", "name: media\n");
    assert_eq!(ids(&judge(&parse(&udp))), ["BN020", "BN041"]);
}

#[test]
fn hints_are_judged_per_address_family() {
    let slice = |family: &str, first: &str, second: &str, hint: &str| {
        format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-{}, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{{port: 8080}}]
endpoints: [{{addresses: ['{first}']{hint}}}, {{addresses: ['{second}']{hint}}}]
",
            family.to_ascii_lowercase()
        )
    };
    let service = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ipFamilies: [IPv4, IPv6], ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}
";
    let (v4, v6) = (["10.244.1.9", "10.244.2.9"], ["fd00::1:9", "fd00::2:9"]);
    let node = ", hints: {forNodes: [{name: node-1}]}";
    let one_family = format!("{service}{}{}", slice("IPv4", v4[0], v4[1], node), slice("IPv6", v6[0], v6[1], ""));
    assert_eq!(ids(&judge(&parse(&one_family))), [""; 0]);
    let half = one_family.replacen(node, "", 1);
    assert_eq!(ids(&judge(&parse(&half))), ["BN016"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// An object with missing lines is refused when it is read, or it is judged without a crash.
    #[test]
    fn incomplete_objects_never_crash_the_rules(
        fixture in sample::select(rules().map(|rule| rule.id).collect::<Vec<_>>()),
        lost in collection::vec(any::<sample::Index>(), 1..6),
    ) {
        let whole = fs::read_to_string(fixtures().join(fixture).join("fail.yaml")).unwrap();
        let mut lines: Vec<&str> = whole.lines().collect();
        for index in lost {
            lines.remove(index.index(lines.len()));
        }
        let mut cluster = LintInput::default();
        let left = lines.join("\n");
        if read_stream(left.as_bytes(), "test.yaml", &mut |object| cluster.add(object)).is_ok() {
            let report = judge(&cluster);
            let in_file = 1..=u32::try_from(lines.len()).unwrap();
            prop_assert!(report.findings.iter().all(|finding| in_file.contains(&finding.line)), "{left}");
            prop_assert!(serde_json::from_str::<Value>(&json(&report)).is_ok());
            prop_assert!(!plain(&report).is_empty());
        }
    }
}

/// Usual parts of clusters and repositories that look like mistakes.
#[test]
fn usual_manifests_have_no_findings() {
    const WEB: &str = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.0.0.1, \
                       selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}";
    for (usual, objects) in [
        (
            "manifests beside a slice that was written by hand",
            vec![
                WEB,
                "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}, spec: {clusterIP: None, ports: [{port: 1}]}}",
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: db-1, namespace: shop, \
                 labels: {kubernetes.io/service-name: db}}, ports: [{port: 1}], endpoints: [{addresses: [192.0.2.1]}]}",
            ],
        ),
        (
            "manifests with a bare pod",
            vec![
                WEB,
                "{apiVersion: v1, kind: Pod, metadata: {name: job, namespace: shop, labels: {app: job}}, spec: {containers: [{name: c}]}}",
            ],
        ),
        (
            "the slices, Ingresses and pods of a namespace whose Services were not read",
            vec![
                WEB,
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: a-1, namespace: other, \
                 labels: {kubernetes.io/service-name: a}}, ports: [{port: 1}], endpoints: [{addresses: [192.0.2.1]}]}",
                "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, namespace: other}, spec: {defaultBackend: \
                 {service: {name: a, port: {number: 80}}}}}",
                "{apiVersion: v1, kind: Pod, metadata: {name: a-0, namespace: other}, spec: {subdomain: a, containers: [{name: c}]}}",
            ],
        ),
        (
            "a redirect of the AWS load balancer controller",
            vec![
                WEB,
                "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: a, namespace: shop}, spec: {defaultBackend: \
                 {service: {name: ssl-redirect, port: {name: use-annotation}}}}}",
            ],
        ),
        (
            "what kubectl create --dry-run prints",
            vec![
                "{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: shop}, spec: {type: LoadBalancer, selector: {app: lb}, \
                 ports: [{port: 80}]}, status: {loadBalancer: {}}}",
            ],
        ),
        (
            "TLS that ends at the load balancer",
            vec![
                "{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: shop}, spec: {type: LoadBalancer, selector: {app: lb}, \
                 ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8080}]}}",
            ],
        ),
        (
            "a slice for several clusters",
            vec![
                WEB,
                "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: a-1, namespace: shop, \
                 labels: {multicluster.kubernetes.io/service-name: a}}, ports: [{port: 1}], endpoints: [{addresses: [192.0.2.1]}]}",
            ],
        ),
        (
            "a backend without weight",
            vec![
                WEB,
                "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec: {rules: \
                 [{backendRefs: [{name: web, port: 80}, {name: next, port: 80, weight: 0}]}]}}",
            ],
        ),
    ] {
        let report = judge(&parse(&objects.join("\n---\n")));
        let found: Vec<String> =
            report.open().map(|finding| format!("{} {}", finding.rule.id, finding.message)).collect();
        assert!(found.is_empty(), "{usual}: {found:?}");
    }
}

#[test]
fn a_request_mirror_is_checked_as_a_backend() {
    let text = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: u1}, spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}}\n\
                ---\n{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, namespace: shop}, spec: {rules: \
                [{backendRefs: [{name: web, port: 80}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: \
                80}}}]}]}}\n";
    assert_eq!(ids(&judge(&parse(text))), ["BN040"]);
}

#[test]
fn an_ignore_without_a_finding_is_reported() {
    let ignore = |text: &str| byname(&["lint", "-f", CLEAN, "--ignore", text]);
    let output = ignore("BN040:shop/typo=on purpose");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--ignore BN040:shop/typo: no finding matches"));
}
