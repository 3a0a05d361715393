//! The order of findings, fixes to paste, the baseline and fingerprints.

use std::{collections::BTreeSet, fs};

use byname_cli::lint::{Baseline, IgnoredBy, LintOptions, Severity, json, lint, sarif};
use serde_json::Value;

use crate::{HOSTILE, byname, fixtures, judge, parse, plain, read, stdout};

#[test]
fn findings_of_one_service_stand_together_and_the_worst_first() {
    let report = judge(&read(std::path::Path::new(HOSTILE)));
    let groups: Vec<String> = report
        .findings
        .iter()
        .map(|finding| finding.service.as_ref().map_or(finding.object.to_string(), ToString::to_string))
        .collect();
    let mut seen = BTreeSet::new();
    for (number, group) in groups.iter().enumerate() {
        let is_new = number == 0 || groups[number - 1] != *group;
        assert!(!is_new || seen.insert(group), "{group} stands in two places");
        if !is_new {
            assert!(report.findings[number - 1].rule.severity >= report.findings[number].rule.severity, "{group}");
        }
    }
    let worst: Vec<Severity> = report
        .findings
        .chunk_by(|one, other| one.service == other.service && one.object == other.object)
        .map(|chunk| chunk[0].rule.severity)
        .collect();
    assert_eq!(worst[0], Severity::Error);
}

#[test]
fn slices_and_ingresses_stand_with_their_service() {
    let objects = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, uid: u1}
spec: {clusterIP: 10.96.0.9, externalIPs: [203.0.113.4], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: zoo, namespace: shop, uid: u2}
spec: {externalIPs: [203.0.113.5], selector: {app: zoo}, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, uid: u3, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop, uid: u4}
spec: {defaultBackend: {service: {name: web, port: {number: 81}}}}
";
    let report = judge(&parse(objects));
    let found: Vec<(&str, &str)> =
        report.findings.iter().map(|finding| (finding.rule.id, &*finding.object.kind)).collect();
    let expected = [("BN012", "EndpointSlice"), ("BN041", "Ingress"), ("BN056", "Service"), ("BN056", "Service")];
    assert_eq!(found, expected);
    let written = plain(&report);
    let command = r#"kubectl patch ingress front -n shop --type json -p '[{"op":"add","path":"/spec/defaultBackend/service/port/number","value":80}]'"#;
    assert!(written.contains(command), "{written}");
    assert!(written.contains(
        r#"kubectl patch service web -n shop --type json -p '[{"op":"remove","path":"/spec/externalIPs"}]'"#
    ));
}

#[test]
fn a_baseline_hides_what_it_has_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (file, objects) = (directory.path().join("baseline.json"), directory.path().join("objects.yaml"));
    let (file, path) = (file.to_str().unwrap(), objects.to_str().unwrap());
    let old = fs::read_to_string(fixtures().join("BN056/fail.yaml")).unwrap();
    fs::write(&objects, &old).unwrap();
    let run = |args: &[&str]| byname(&[&["lint", "-f", path], args].concat());
    assert_eq!(run(&[]).status.code(), Some(1));
    let written = run(&["--write-baseline", file]);
    assert_eq!((written.status.code(), stdout(&written).as_str()), (Some(0), ""));
    let output = run(&["--baseline", file]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("\n1 finding ignored, in the baseline\n"), "{output:?}");
    // The line may change.
    fs::write(&objects, format!("# a comment\n\n{old}")).unwrap();
    assert_eq!(run(&["--baseline", file]).status.code(), Some(0));
    // A finding of another rule is new.
    let new = "---\napiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: shop}\nspec: {selector: {a: b}, externalIPs: [203.0.113.9], ports: [{port: 80}]}\n";
    fs::write(&objects, format!("{old}{new}")).unwrap();
    let output = run(&["--baseline", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("0 errors, 1 warning"), "{output:?}");
    // A baseline that is written with a baseline keeps its entries.
    assert_eq!(run(&["--baseline", file, "--write-baseline", file]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(file).unwrap().matches("BN056").count(), 2);
    // Entries that match nothing are counted.
    fs::write(&objects, &old).unwrap();
    let output = run(&["--baseline", file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 entry of the baseline match no finding any more"), "{said}");
}

/// Windows PowerShell writes UTF-16 when it copies a file's text, and some editors put a mark in front of UTF-8.
#[test]
fn a_baseline_is_read_in_every_encoding() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("baseline.json");
    let fixture = ["lint", "-f", "tests/lint/BN056/fail.yaml"];
    let run = |option: &str| byname(&[&fixture[..], &[option, file.to_str().unwrap()]].concat());
    run("--write-baseline");
    let text = format!("\u{feff}{}", fs::read_to_string(&file).unwrap());
    for bytes in [text.clone().into_bytes(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()] {
        fs::write(&file, bytes).unwrap();
        let output = run("--baseline");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_unreadable_baseline_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("baseline.json");
    let run = || byname(&["lint", "-f", "tests/lint/BN056/fail.yaml", "--baseline", file.to_str().unwrap()]);
    for content in
        [None, Some("{"), Some("[]"), Some(r#"{"version": 2, "findings": []}"#), Some(r#"{"version": 1, "found": []}"#)]
    {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let output = run();
        assert_eq!(output.status.code(), Some(2), "{content:?}");
        assert!(
            String::from_utf8(output.stderr).unwrap().contains("write the file with --write-baseline"),
            "{content:?}"
        );
    }
}

#[test]
fn findings_with_a_reason_stay_out_of_the_baseline() {
    let cluster = read(&fixtures().join("BN056/fail.yaml"));
    let ignores = vec!["BN056=until the balancer is there".parse().unwrap()];
    let report = lint(&cluster, &LintOptions { ignores, ..LintOptions::default() });
    assert_eq!(report.baseline().text(), "{\n  \"version\": 1,\n  \"findings\": []\n}\n");
}

#[test]
fn the_baseline_is_in_json_and_not_in_sarif() {
    let cluster = read(&fixtures().join("BN056/fail.yaml"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("baseline.json");
    fs::write(&file, judge(&cluster).baseline().text()).unwrap();
    let baseline = Some(Baseline::read(&file).unwrap());
    let report = lint(&cluster, &LintOptions { baseline, ..LintOptions::default() });
    assert_eq!(report.findings[0].ignored.as_ref().unwrap().by, IgnoredBy::Baseline);
    let listed: Value = serde_json::from_str(&json(&report)).unwrap();
    assert_eq!(listed[0]["ignored"]["by"], "baseline");
    let log: Value = serde_json::from_str(&sarif(&report)).unwrap();
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn fingerprints_are_unique_and_stay_when_lines_move() {
    let fingerprints = |text: &str| -> Vec<String> {
        let log: Value = serde_json::from_str(&sarif(&judge(&parse(text)))).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        let prints = results.iter().map(|one| one["partialFingerprints"]["primaryLocationLineHash"].as_str().unwrap());
        prints.map(str::to_owned).collect()
    };
    let text = fs::read_to_string(HOSTILE).unwrap();
    let before = fingerprints(&text);
    assert!(before.len() > 40);
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len());
    assert_eq!(fingerprints(&format!("# moved\n\n{text}")), before);
}

#[test]
fn a_name_with_shell_characters_is_never_in_a_command() {
    let objects = "apiVersion: v1\nkind: Service\nmetadata: {name: 'a; reboot', namespace: '$(id)', uid: u1}\n\
                   spec: {externalIPs: [203.0.113.4], ports: [{name: http, port: 80}]}\n";
    assert!(!plain(&judge(&parse(objects))).contains("kubectl patch"));
}
