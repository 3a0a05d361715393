//! Forms of input that are read, and the errors for input that is not.

use crate::run::byname_with_input;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n";

fn refusal(input: &str) -> String {
    let run = byname_with_input(&["compile"], input.as_bytes());
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{input}\n{}", run.stderr);
    run.stderr
}

#[test]
fn errors_name_file_line_document_item_object_and_field() {
    for (input, expected) in [
        (
            format!("{SERVICE}---\n{SERVICE}spec:\n  ports:\n  - port: eighty\n"),
            "standard input:10: document 2, Service shop/web, spec.ports[0].port: ",
        ),
        (
            "kind: List\napiVersion: v1\nitems:\n- kind: Service\n  apiVersion: v1\n  metadata: {name: web}\n  spec: 7\n"
                .to_owned(),
            "standard input:7: document 1, items[0], Service web, spec: ",
        ),
        (
            format!("{SERVICE}spec:\n  ports:\n  - port: 70000\n"),
            "standard input:6: document 1, Service shop/web, spec.ports[0].port: 70000 is not a port; use 1 to 65535",
        ),
        (
            format!("{SERVICE}spec: {{type: Cluster}}\n"),
            "standard input:4: document 1, Service shop/web, spec.type: \"Cluster\" is not a Service type",
        ),
        (
            format!("{SERVICE}spec: {{ports: [{{port: 1, protocol: HTTP}}]}}\n"),
            "Service shop/web, spec.ports[0].protocol: \"HTTP\" is not a port protocol",
        ),
        (format!("{SERVICE}metadata: {{}}\n"), "standard input:4: document 1, Service: has the field metadata twice"),
        (
            format!("{SERVICE}spec:\n  ports:\n  - port: 80\n    port: 81\n"),
            "standard input:7: document 1, Service shop/web: has the field port twice; keep one of the two",
        ),
        (format!("{SERVICE}spec: {{<<: 7}}\n"), "has a merge key (<<) without a mapping"),
        (format!("{SERVICE}spec: *nowhere\n"), "standard input:4"),
        (format!("{SERVICE}spec: [\n"), "is not valid YAML or JSON"),
        (format!("{SERVICE}spec: {{selector: {{~: b}}}}\n"), "standard input:4: document 1: has a key that is not a string: null,"),
        (format!("{SERVICE}spec:\n  selector:\n    null: b\n"), "standard input:6: document 1: has a key that is not a string"),
        (format!("{SERVICE}spec: {{selector: {{? : b}}}}\n"), "has a key that is not a string"),
        (
            format!("{SERVICE}spec:\n  selector: {{app: y}}\n"),
            "standard input:5: document 1, Service shop/web, spec.selector.app: is the boolean true, not a string; \
             put the value in quotes: in YAML an unquoted y, yes, on or true is a boolean",
        ),
        (
            format!("{SERVICE}spec:\n  selector: {{version: 1.0}}\n"),
            "spec.selector.version: is the number 1, not a string; put the value in quotes: it is a number",
        ),
        ("apiVersion: v1\n".to_owned(), "the input has no Service; "),
        ("apiVersion: v1\nmetadata: {}\n".to_owned(), "left out: standard input:1: document 1, kind: is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n".to_owned(), "Service, metadata.name: is missing; set a name"),
        ("- kind: Service\n".to_owned(), "skipped 1 file that is not for Kubernetes: standard input"),
        ("kind: List\nitems:\n- 7\n".to_owned(), "items[0] is not an object"),
        (
            format!("{SERVICE}---\n{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n"),
            "standard input:5: document 2, Service shop/web: differs from the object of the same name at standard input:1",
        ),
    ] {
        let refusal = refusal(&input);
        assert!(refusal.contains(expected), "{input}\n{refusal}");
    }
}

#[test]
fn errors_of_all_objects_are_listed_and_counted() {
    let bad: String = (0..30)
        .map(|index| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{index}, namespace: shop}}\nspec: {{type: X}}\n"
            )
        })
        .collect();
    let refusal = refusal(&bad);
    assert_eq!(refusal.lines().count(), 21, "{refusal}");
    assert!(refusal.contains("and 10 more"), "{refusal}");
}

#[test]
fn reads_yaml_and_json_as_people_and_programs_write_it() {
    let expected = "\"shop/web\": {\"clusterIPs\":\"10.0.0.1\"}";
    for input in [
        format!("{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n"),
        format!("\u{feff}{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n"),
        format!("{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n").replace('\n', "\r\n"),
        format!("---\n{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n---\n---\n# nothing\n"),
        format!("{SERVICE}spec: &spec\n  clusterIP: 10.0.0.1\nother: *spec\n"),
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.0.0.1"}}"#
            .to_owned(),
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"web\", \"namespace\": \
         \"shop\", \"annotations\": {\"a\": \"\\u003c\\/\\u2028\\t\\\"\"}},\n\t\"spec\": {\"clusterIP\": \"10.0.0.1\"}\n}\n"
            .to_owned(),
        "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: web, namespace: shop}\n  spec: {clusterIP: \
         10.0.0.1}\n"
            .to_owned(),
        // The same object twice, as in two overlapping dumps of one cluster.
        format!("{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n---\n{SERVICE}spec: {{clusterIP: 10.0.0.1}}\n"),
        format!("{SERVICE}spec: {{clusterIP: 10.0.0.1, ports: null, selector: ~}}\nstatus: null\n"),
    ] {
        let run = byname_with_input(&["compile"], input.as_bytes());
        assert_eq!(run.status, 0, "{input}\n{}", run.stderr);
        assert!(run.stdout.contains(expected), "{input}\n{}", run.stdout);
    }
}

#[test]
fn skipped_kinds_are_counted() {
    let input = format!(
        "{SERVICE}---\nkind: ConfigMap\napiVersion: v1\n---\nkind: Service\napiVersion: serving.knative.dev/v1\n"
    );
    let run = byname_with_input(&["compile"], input.as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("skipped 2 objects of kinds that byname does not read: 1 ConfigMap, 1 Service"),
        "{}",
        run.stderr
    );
}
