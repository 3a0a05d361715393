//! What charts, overlays and patches have, and no dump of an API server.

use byname_cli::lint::LintReport;

use crate::{byname, ids, judge, parse, stdout};

const DEPLOYMENT: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{name: http, containerPort: 8080}]}]}
";

fn service(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{{spec}}}\n")
}

fn of(text: &str) -> LintReport {
    judge(&parse(text))
}

/// kubectl takes the last value without a word.
#[test]
fn a_label_that_is_given_twice_has_its_last_value() {
    let twice = DEPLOYMENT.replace("labels: {app: web}", "labels: {app: old, app: web}");
    let port = service("selector: {app: web}, ports: [{port: 80, targetPort: htpp}]");
    assert_eq!(ids(&of(&format!("{port}{twice}"))), ["BN020"]);
    for field in ["labels", "annotations"] {
        let text = port.replace("name: web", &format!("name: web, {field}: {{a: x, a: z}}"));
        assert_eq!(ids(&of(&text)), [""; 0], "{field}");
    }
}

#[test]
fn a_template_is_named_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("service.yaml");
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ include \"web.fullname\" . }}\n";
    for text in [text, &text.replace("name: {{", "{{- range .Values.names }}\n  name: {{")] {
        std::fs::write(&file, text).unwrap();
        let output = byname(&["lint", "-f", file.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        let way = "; it is a template: read what `helm template` or another renderer prints, or leave the file out with --exclude\n";
        assert!(output.status.code() == Some(2) && error.contains(way), "{error}");
    }
}

/// The pod of `helm test` has the chart's labels, and no container port of the Service's name.
#[test]
fn a_pod_without_the_named_port_is_no_second_workload() {
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: test-connection, labels: {app: web}}\nspec: {containers: [{name: wget}]}\n";
    let of_port = |target: &str| {
        let text = service(&format!("selector: {{app: web}}, ports: [{{port: 80, targetPort: {target}}}]"));
        ids(&of(&format!("{text}{DEPLOYMENT}{pod}")))
    };
    assert_eq!(of_port("http"), [""; 0]);
    assert_eq!(of_port("8080"), ["BN002"]);
}

#[test]
fn a_patch_of_a_service_has_no_ports_to_judge() {
    let route = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec: {parentRefs: [{name: main}], \
                 rules: [{backendRefs: [{name: web, port: 80}]}]}\n";
    assert_eq!(ids(&of(&format!("{}{route}", service("type: NodePort")))), [""; 0]);
    assert_eq!(ids(&of(&format!("{}{route}", service("ports: [{port: 81}]")))), ["BN041"]);
}

/// The empty EndpointSlice of a workload without pods.
const EMPTY: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, uid: a, resourceVersion: '1'}, spec: {clusterIP: 10.96.0.7,
   selector: {app: web}, ports: [{port: 80}]}}
- {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x, namespace: shop, uid: b, resourceVersion: '1',
   labels: {kubernetes.io/service-name: web}}, addressType: IPv4, endpoints: null, ports: null}
";

#[test]
fn a_service_without_a_pod_has_one_finding() {
    let pod = "- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: other, uid: c, resourceVersion: '1'}, spec: {containers: []}}\n";
    assert_eq!(ids(&of(&format!("{EMPTY}{pod}"))), ["BN001"]);
    // Without any pod in the input, BN001 does not run.
    let report = of(EMPTY);
    assert_eq!(ids(&report), ["BN010"]);
    let fix = &report.findings.iter().find(|finding| finding.rule.id == "BN010").unwrap().fix;
    assert_eq!(fix, "compare the selector with the labels of the pods: none has them, or none has an address yet");
}

#[test]
fn a_protocol_that_does_not_exist_has_one_finding() {
    let text = service("selector: {app: web}, ports: [{name: http, port: 80, protocol: HTTP}]");
    assert_eq!(ids(&of(&format!("{text}{DEPLOYMENT}"))), ["BN080"]);
}

/// One Service that is left out stops no comparison of the others.
#[test]
fn a_namespace_that_cannot_exist_stops_no_diff() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services.yaml");
    let wrong = service("ports: [{port: 80}]").replace("name: web", "name: web, namespace: \"${NS}\"");
    std::fs::write(&file, format!("{wrong}---\n{}", service("ports: [{port: 80}]"))).unwrap();
    let file = file.to_str().unwrap();
    for args in [&["diff", file, file] as &[&str], &["diff", "--against-dns", file]] {
        let output = byname(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0), "{args:?}: {error}{}", stdout(&output));
    }
}
