//! Forms in which kubectl prints and reads objects, with the values that it reads.

use std::{fs, io::Read, path::Path};

use byname_cli::input::{Excluded, InputErrors, RawObject, ReadOptions, Source, read, read_stream};
use serde_json::{Value, json};

use crate::run::{byname, byname_with_input};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n";

/// The objects of `input`, up to the first error.
fn objects(input: &[u8]) -> Result<Vec<RawObject>, String> {
    let mut objects = Vec::new();
    let read = read_stream(input, "input", &mut |object| {
        objects.push(object);
        Ok(())
    });
    read.map(|()| objects).map_err(|error| error.to_string())
}

/// The values of the only object of `input`, without kind and name.
fn fields(input: &str) -> Value {
    let objects = objects(input.as_bytes()).unwrap_or_else(|error| panic!("{input}\n{error}"));
    let [object] = objects.as_slice() else { panic!("{} objects in {input}", objects.len()) };
    let mut value: Value = object.node.read().unwrap();
    for field in ["apiVersion", "kind", "metadata"] {
        value.as_object_mut().unwrap().remove(field);
    }
    value
}

fn kinds_and_names(objects: &[RawObject]) -> Vec<String> {
    objects.iter().map(|object| format!("{} {}", object.kind, object.metadata("name").unwrap_or_default())).collect()
}

/// kubectl prints a text without quotes if YAML 1.1 has it as text, and reads `yes` and `0x50` as YAML 1.1 has them.
#[test]
fn plain_scalars_are_those_of_kubectl() {
    for (scalar, value) in [
        // Texts that look like numbers: commit hashes beyond the range of a double, sets of CPUs, names, times.
        ("1e43567", json!("1e43567")),
        ("7e4021", json!("7e4021")),
        ("5e309", json!("5e309")),
        ("1E999", json!("1E999")),
        ("-1e999", json!("-1e999")),
        (".5e999", json!(".5e999")),
        ("+.5e999", json!("+.5e999")),
        ("1.e400", json!("1.e400")),
        ("0-3", json!("0-3")),
        ("0+7", json!("0+7")),
        ("0-65535", json!("0-65535")),
        ("00-1", json!("00-1")),
        ("1:30", json!("1:30")),
        ("190:20:30", json!("190:20:30")),
        ("2026-01-02", json!("2026-01-02")),
        ("2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
        ("0b2", json!("0b2")),
        ("0xg", json!("0xg")),
        ("_1", json!("_1")),
        ("1e", json!("1e")),
        (".", json!(".")),
        ("+", json!("+")),
        ("=", json!("=")),
        ("yEs", json!("yEs")),
        ("nUll", json!("nUll")),
        ("!!str 12", json!("12")),
        ("! 12", json!("12")),
        ("!own 12", json!("12")),
        ("!!binary aGVsbG8=", json!("hello")),
        ("'12'", json!("12")),
        // Numbers.
        ("0x50", json!(80)),
        ("0X50", json!(80)),
        ("-0x1F", json!(-31)),
        ("017", json!(15)),
        ("0o17", json!(15)),
        ("08", json!(8)),
        ("0b101", json!(5)),
        ("8_080", json!(8080)),
        ("1e3", json!(1000)),
        ("8e1", json!(80)),
        ("5.", json!(5)),
        (".5", json!(0.5)),
        ("1_0.5", json!(10.5)),
        ("1e-400", json!(0)),
        ("-0", json!(0)),
        ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ("99999999999999999999", json!(1e20)),
        ("!!int '0x10'", json!(16)),
        ("!!float 1", json!(1)),
        // Words.
        ("yes", json!(true)),
        ("On", json!(true)),
        ("y", json!(true)),
        ("NO", json!(false)),
        ("off", json!(false)),
        ("n", json!(false)),
        ("TRUE", json!(true)),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("", json!(null)),
    ] {
        assert_eq!(fields(&format!("kind: Thing\nspec: {scalar}\n")), json!({"spec": value}), "{scalar}");
    }
    for scalar in ["!!int one", "!!bool 1", "!!null x", "!!binary '?'"] {
        let error = objects(format!("kind: Thing\nspec: {scalar}\n").as_bytes()).unwrap_err();
        assert!(error.starts_with("input:2: document 1: is not "), "{error}");
    }
}

#[test]
fn a_dump_with_number_like_texts_is_compiled() {
    let dump = format!(
        "{SERVICE}  labels:\n    commit: 4e55551\n    cpus: 0-1\nspec:\n  clusterIP: 10.0.0.1\n  ports:\n  - port: 0x50\n    \
         targetPort: 8_080\n  publishNotReadyAddresses: yes\n  selector:\n    commit: 4e55551\n"
    );
    let dump = dump.replace("metadata: {name: web, namespace: shop}", "metadata:\n  name: web\n  namespace: shop");
    let run = byname_with_input(&["compile"], dump.as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("\"shop/web\""), "{}", run.stdout);
}

#[test]
fn layouts_are_those_of_kubectl() {
    for (layout, value) in [
        // A bracket closes in the column of its key, or in column 0.
        ("spec:\n  args: [\n    a,\n    b\n  ]\n", json!({"spec": {"args": ["a", "b"]}})),
        ("spec:\n- args: [\n    {a: 1},\n  ]\n", json!({"spec": [{"args": [{"a": 1}]}]})),
        ("spec: {\n  a: 1\n}\n", json!({"spec": {"a": 1}})),
        ("spec:\n  a:\n    b: [\n1\n]\n", json!({"spec": {"a": {"b": [1]}}})),
        // Quoted text goes on at the left edge.
        ("spec:\n  hooks: '[\n1,\n\n2]'\n", json!({"spec": {"hooks": "[ 1,\n2]"}})),
        ("spec:\n  a: \"b \\\nc\"\n", json!({"spec": {"a": "b c"}})),
        // Tabs separate, but do not indent.
        ("spec:\ta\n", json!({"spec": "a"})),
        ("spec: [\n\ta,\n\tb\n]\n", json!({"spec": ["a", "b"]})),
        // Merge keys.
        ("a: &a {v: 1, w: 2}\nspec:\n  <<: *a\n  w: 3\n", json!({"a": {"v": 1, "w": 2}, "spec": {"v": 1, "w": 3}})),
        ("spec:\n  w: 3\n  <<: {w: 2}\n", json!({"spec": {"w": 2}})),
        (
            "a: &a {v: 1}\nb: &b {v: 2, w: 2}\nspec: {<<: [*a, *b]}\n",
            json!({"a": {"v": 1}, "b": {"v": 2, "w": 2}, "spec": {"v": 1, "w": 2}}),
        ),
        // Keys that are not strings.
        (
            "spec: {1: a, yes: b, 0x10: c, 1.50: d, 1e9: e}\n",
            json!({"spec": {"1": "a", "true": "b", "16": "c", "1.5": "d", "1e+09": "e"}}),
        ),
        ("spec:\n  ? a\n  : b\n", json!({"spec": {"a": "b"}})),
        ("spec: [a: b, c]\n", json!({"spec": [{"a": "b"}, "c"]})),
        // Line breaks of Unicode are breaks in YAML.
        ("spec: 'a\u{85}b'\n", json!({"spec": "a b"})),
        ("spec: \"a\u{2028}b\"\n", json!({"spec": "a\u{2028}b"})),
        ("spec: a\u{2029} b\n", json!({"spec": "a\u{2029}b"})),
        // The last line of a block needs no line break.
        ("spec: |\n  a\n  b", json!({"spec": "a\nb\n"})),
        ("spec: >-\n\n  a\n  b\n\n   c\n  d\n", json!({"spec": "\na b\n\n c\nd"})),
        ("spec: |+2\n   a\n\n", json!({"spec": " a\n\n"})),
        ("spec: # why\n- a\n- # nothing\n-\n  - b\n", json!({"spec": ["a", null, ["b"]]})),
        ("spec: \"\\ud83e\\udd80\\u00e9\\/\"\n", json!({"spec": "🦀é/"})),
        ("... \n", json!({})),
    ] {
        let input = format!("apiVersion: example.com/v1\nkind: Thing\n{layout}");
        assert_eq!(fields(&input), value, "{input}");
        let windows = input.replace('\n', "\r\n");
        assert_eq!(fields(&windows), value, "{windows}");
    }
}

#[test]
fn json_keeps_its_own_rules() {
    let long = "k".repeat(5000);
    let input = format!(
        "{{\"kind\": \"Thing\", \"spec\": {{\"{long}\"\n: \"a\u{2028}b\u{85}\", \"b\":[1,{{}}],\t\"c\":\"\\ud800\"}}}}{{\"kind\":\"Other\"}}\n"
    );
    let objects = objects(input.as_bytes()).unwrap();
    assert_eq!(kinds_and_names(&objects), ["Thing ", "Other "]);
    assert_eq!((objects[0].place.line, objects[1].place.document, objects[1].place.line), (1, 2, 2));
    let spec: Value = objects[0].node.get("spec").unwrap().read().unwrap();
    assert_eq!(spec, json!({(long): "a\u{2028}b\u{85}", "b": [1, {}], "c": "\u{fffd}"}));
}

/// A whole cluster is one JSON document, in one line if a program wrote it.
#[test]
fn a_list_in_json_may_be_larger_than_an_object() {
    let item =
        format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"data\":{{\"a\":\"{}\"}}}},", "x".repeat(1 << 20));
    let items = std::iter::repeat_n(item, 40).collect::<String>();
    let input = format!("{{\"apiVersion\":\"v1\",\"items\":[{}],\"kind\":\"List\"}}", items.trim_end_matches(','));
    assert_eq!(objects(input.as_bytes()).unwrap().len(), 40);
}

#[test]
fn reads_utf_16_and_joined_files() {
    let text = format!("{SERVICE}# 🦀\nspec: {{clusterIP: 10.0.0.1}}\n");
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{text}").replace('\n', "\r\n").encode_utf16().flat_map(bytes).collect()
    };
    let joined =
        format!("\u{feff}{text}---\n\u{feff}{}\u{feff}---\n{}", text.replace("web", "api"), text.replace("web", "db"));
    let (of_windows, with_comments) =
        (joined.replace('\n', "\r\n"), joined.replace("---\n\u{feff}a", "---\n\u{feff}# file\na"));
    let with_separators = format!("\u{feff}---\n{text}---\n\u{feff}---\n{text}---\n\u{feff}\n{text}");
    let joined_utf_16: Vec<u8> = joined.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let three = vec!["Service web", "Service api", "Service db"];
    for (input, names) in [
        (utf_16(u16::to_le_bytes), vec!["Service web"]),
        (utf_16(u16::to_be_bytes), vec!["Service web"]),
        (joined.into_bytes(), three.clone()),
        (of_windows.into_bytes(), three.clone()),
        (with_comments.into_bytes(), three.clone()),
        (joined_utf_16, three),
        (with_separators.into_bytes(), vec!["Service web"; 3]),
    ] {
        let objects = objects(&input).unwrap();
        assert_eq!(kinds_and_names(&objects), names);
        assert!(objects.iter().all(|object| object.api_version == "v1"), "a mark is part of no key: {objects:?}");
    }
    // Characters that end at the edge of a block.
    let long = format!("\u{feff}kind: Thing\nspec: '{}'\n", "a🦀🦀".repeat(3000));
    let utf_16: Vec<u8> = long.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(objects(&utf_16).unwrap()[0].node.get("spec").unwrap().text().unwrap().chars().count(), 9000);
    let broken = objects(&[0xff, 0xfe, b'a', 0, 0, 0xd8, b'b', 0]).unwrap_err();
    assert!(broken.contains("is not valid UTF-16"), "{broken}");
    let odd = objects(&[0xff, 0xfe, b'a', 0, b'b']).unwrap_err();
    assert!(odd.contains("is not valid UTF-16"), "{odd}");
}

#[test]
fn null_is_an_empty_value() {
    let input = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: , annotations: {note: }}
spec: {clusterIP: None, selector: , ports: }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
ports:
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs:
  hostnames:
  rules:
  - backendRefs:
    filters:
  - filters: [{type: RequestMirror, requestMirror: }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web, namespace: shop}
spec:
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec: {rules: , tls: [{hosts: }]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, ownerReferences: }
spec: {containers: , initContainers: , hostAliases: }
status: {conditions: , podIPs: }
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
status: {addresses: , conditions: }
";
    for command in [&["compile"] as &[&str], &["lint"]] {
        let run = byname_with_input(command, input.as_bytes());
        assert!(run.status < 2, "{command:?}\n{}", run.stderr);
    }
}

/// Every object with an empty text, or another value, that the API server takes for none.
const WITH_DEFAULTS: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {NAMESPACE name: web}
  spec: {TYPE clusterIP: 10.0.0.1, selector: {app: web}, ports: [{PROTOCOL name: http, port: 80}, {name: tls, port: 443, targetPort: tls}]}
- {apiVersion: v1, kind: Service, metadata: {NAMESPACE name: db}, spec: {clusterIP: 10.0.0.2, ports: [{TARGET port: 5432}]}}
- {apiVersion: v1, kind: Endpoints, metadata: {NAMESPACE name: db}, subsets: [{addresses: [{ip: 10.1.0.9}], ports: [{PROTOCOL port: 5432}]}]}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {NAMESPACE name: web-1, labels: {kubernetes.io/service-name: web}}
  addressType: IPv4
  ports: [{name: http, port: 80}]
  endpoints: [{addresses: [10.1.0.1], targetRef: {NAMESPACE kind: Pod, name: web-0}}]
- apiVersion: v1
  kind: Pod
  metadata: {NAMESPACE name: web-0, labels: {app: web}}
  spec: {DNS containers: [{name: web, ports: [{PROTOCOL name: http, containerPort: 80}]}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {NAMESPACE name: web}
  spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, ports: [{PROTOCOL containerPort: 80}]}]}}}
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata: {NAMESPACE name: web}
  spec: {defaultBackend: {service: {name: web, port: {PORT number: 81}}}}
- {apiVersion: route.openshift.io/v1, kind: Route, metadata: {NAMESPACE name: web}, spec: {to: {KIND name: web}, port: {ROUTE}}}
";

#[test]
fn empty_texts_are_the_defaults_of_the_api_server() {
    let plain = |text: &str| {
        let words = ["NAMESPACE", "TYPE", "PROTOCOL", "TARGET", "DNS", "PORT", "KIND", "ROUTE"];
        words.into_iter().fold(text.to_owned(), |text, word| {
            text.replace(&format!("{word} "), "").replace(&format!("{{{word}}}"), "{}")
        })
    };
    let results = |text: &str| {
        let explain: &[&str] = &["explain", "web", "-n", "default"];
        [&["compile"] as &[&str], &["lint"], explain].map(|args| {
            let run = byname_with_input(args, text.as_bytes());
            (run.status, run.stdout, run.stderr)
        })
    };
    let expected = results(&plain(WITH_DEFAULTS));
    assert_eq!(expected.each_ref().map(|(status, ..)| *status), [0, 1, 0], "{expected:?}");
    for (word, given) in [
        ("NAMESPACE ", "namespace: '', "),
        ("NAMESPACE ", "namespace: , "),
        ("TYPE ", "type: '', sessionAffinity: '', "),
        ("PROTOCOL ", "protocol: '', "),
        ("TARGET ", "targetPort: '', "),
        ("TARGET ", "targetPort: 0, "),
        ("DNS ", "dnsPolicy: '', nodeName: '', hostname: '', subdomain: '', "),
        ("PORT ", "name: '', "),
        ("KIND ", "kind: '', "),
        ("{ROUTE}", "{targetPort: }"),
        ("{ROUTE}", "{targetPort: ''}"),
    ] {
        let text = plain(&WITH_DEFAULTS.replace(word, given));
        assert_eq!(results(&text), expected, "{given}");
    }
    // This default is for a field that is absent.
    let policy = plain(&WITH_DEFAULTS.replace("TYPE ", "internalTrafficPolicy: '', "));
    assert_eq!(byname_with_input(&["compile"], policy.as_bytes()).status, 2);
}

/// Placeholders of templates, and null where the API server reads zero.
#[test]
fn a_field_that_is_not_used_may_have_any_type() {
    let service = format!("{SERVICE}spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: htpp}}]}}\n");
    let container = "containers: [{name: web, ports: [{name: http, containerPort: 80}], ";
    let template = |spec: &str| format!("template: {{metadata: {{labels: {{app: web}}}}, spec: {{{spec}}}}}");
    let workload = |spec: &str| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec: {{{spec}}}\n")
    };
    let pod = |fields: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-0, namespace: shop, labels: {{app: web}}}}\n{fields}\n"
        )
    };
    let limits = format!("{container}resources: {{limits: {{cpu: , memory: 1Gi}}}}}}]");
    for (other, is_selected) in [
        (workload(&template(&limits)), true),
        (pod(&format!("spec: {{{limits}}}")), true),
        (pod(&format!("spec: {{{container}}}], volumes: [{{name: a, fc: {{lun: $LUN}}}}]}}")), true),
        (pod(&format!("spec: {{{container}}}], securityContext: 7}}\nstatus: {{startTime: soon}}")), true),
        (workload(&format!("{}, strategy: {{rollingUpdate: {{maxSurge: }}}}", template(&format!("{container}}}]")))), true),
        (SERVICE.replace("web", "api") + "status: {conditions: [{type: A, status: 'True', lastTransitionTime: }]}\n", false),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, namespace: shop, generation: one}\n\
             addressType: IPv4\n"
                .to_owned(),
            false,
        ),
        ("apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus: {images: {}, capacity: {cpu: }}\n".to_owned(), false),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, creationTimestamp: 1}\n".to_owned(), false),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, namespace: shop}\nspec: {defaultBackend: {resource: \
             7}}\n"
                .to_owned(),
            false,
        ),
        (
            "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: a, namespace: shop, generation: one}\nspec: {port: \
             {targetPort: }}\n"
                .to_owned(),
            false,
        ),
    ] {
        let text = format!("{service}---\n{other}");
        for command in ["lint", "compile"] {
            let run = byname_with_input(&[command, "--strict"], text.as_bytes());
            assert!(run.status < 2, "{command}\n{other}\n{}", run.stderr);
            let is_judged = run.stdout.contains("error[BN020]");
            assert_eq!(is_judged, is_selected && command == "lint", "{other}\n{}", run.stdout);
        }
    }
    // Beside it, a field that is used has to fit.
    let both = pod(&format!("spec:\n  {limits}\n  hostNetwork: maybe"));
    let run = byname_with_input(&["lint"], format!("{service}---\n{both}").as_bytes());
    let expected =
        "standard input:11: document 2, Pod shop/web-0, spec.hostNetwork: is the string \"maybe\", not true or false";
    assert!(run.status == 2 && run.stderr.contains(expected), "{}", run.stderr);
}

#[test]
fn a_field_twice_counts_only_where_the_object_is_read() {
    let deployment = "---\nkind: Deployment\napiVersion: apps/v1\nspec: {replicas: 1, replicas: 2}\n";
    let run = byname_with_input(&["compile"], format!("{SERVICE}{deployment}").as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
}

#[test]
fn typed_lists_give_their_items_a_kind() {
    let items = "- metadata: {name: a}\n- metadata: {name: b}\n";
    for input in [
        format!("kind: ServiceList\napiVersion: v1\nitems:\n{items}"),
        format!("apiVersion: v1\nitems:\n{items}kind: ServiceList\nmetadata: {{resourceVersion: \"\"}}\n"),
        format!("items:\n{items}kind: ServiceList\napiVersion: v1\n"),
        format!("---\n# from jq -S\nitems:\n{items}apiVersion: v1\nkind: ServiceList\n"),
        "{\"apiVersion\":\"v1\",\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}],\"kind\":\"ServiceList\"}".to_owned(),
        format!("apiVersion: v1\nitems: &items\n{items}kind: ServiceList\n").replace(" &items", ""),
    ] {
        let objects = objects(input.as_bytes()).unwrap();
        assert_eq!(kinds_and_names(&objects), ["Service a", "Service b"], "{input}");
        assert!(objects.iter().all(|object| object.api_version == "v1"), "{input}");
        let line = input.lines().position(|line| line.contains("name: b") || line.contains("\"b\"")).unwrap() + 1;
        assert_eq!((objects[1].place.item, objects[1].place.line as usize), (Some(1), line), "{input}");
    }
    // More documents follow, and errors have their lines.
    let follows = format!("apiVersion: v1\nitems:\n{items}kind: ServiceList\n---\n{SERVICE}---\nkind: {{\n");
    let error = objects(follows.as_bytes()).unwrap_err();
    assert!(error.starts_with("input:12: document 3: "), "{error}");
    let unknown = objects(format!("items:\n{items}").as_bytes()).unwrap_err();
    assert!(unknown.starts_with("input:2: document 1, items[0], kind: is missing"), "{unknown}");
    for empty in [
        "apiVersion: v1\nitems: []\nkind: ServiceList\n",
        "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"items\":null}",
    ] {
        assert!(objects(empty.as_bytes()).unwrap().is_empty(), "{empty}");
        let run = byname_with_input(&["lint"], format!("{empty}\n").as_bytes());
        assert!(!run.stderr.contains("skipped"), "{}", run.stderr);
    }
}

/// A list whose kind comes last is held in a temporary file, not in memory.
#[test]
fn a_large_typed_list_may_have_its_kind_last() {
    let item = format!("- metadata: {{name: web}}\n  spec: '{}'\n", "x".repeat(100_000));
    let items = std::iter::repeat_n(item, 100).collect::<String>();
    let input = format!("apiVersion: v1\nitems:\n{items}kind: PodList\n");
    let mut lines = Vec::new();
    read_stream(input.as_bytes(), "input", &mut |object| {
        assert_eq!(object.kind, "Pod");
        lines.push(object.place.line);
        Ok(())
    })
    .unwrap();
    assert_eq!((lines.len(), lines[0], lines[99]), (100, 3, 201));
}

#[test]
fn the_last_state_of_a_watch_counts() {
    let event = |event: &str, name: &str, ip: &str| {
        format!(
            "object:\n  apiVersion: v1\n  kind: Service\n  metadata: {{name: {name}, namespace: shop}}\n  spec: {{clusterIP: \
             10.0.0.{ip}}}\ntype: {event}\n"
        )
    };
    let events = [
        event("ADDED", "web", "1"),
        event("ADDED", "api", "2"),
        event("ADDED", "db", "3"),
        event("MODIFIED", "web", "4"),
        event("DELETED", "api", "2"),
        event("DELETED", "db", "3"),
        event("ADDED", "db", "5"),
        "object: {kind: Service, apiVersion: v1, metadata: {resourceVersion: \"9\"}}\ntype: BOOKMARK\n".to_owned(),
    ];
    let run = byname_with_input(&["compile"], events.join("---\n").as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("\"shop/web\": {\"clusterIPs\":\"10.0.0.4\"}"), "{}", run.stdout);
    assert!(run.stdout.contains("\"shop/db\": {\"clusterIPs\":\"10.0.0.5\"}"), "{}", run.stdout);
    assert!(!run.stdout.contains("shop/api"), "{}", run.stdout);
    let json = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}}\n\
                {\"type\":\"DELETED\",\"object\":{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}}}\n";
    assert!(objects(json.as_bytes()).unwrap().is_empty());
}

/// The output of `kubectl cluster-info dump`, whose logs may be anything.
#[test]
fn reads_a_cluster_info_dump() {
    let list = |kind: &str, name: &str| {
        format!(
            "{{\n    \"kind\": \"{kind}List\",\n    \"apiVersion\": \"v1\",\n    \"metadata\": {{}},\n    \"items\": [\n        \
                 {{\"metadata\": {{\"name\": \"{name}\", \"namespace\": \"shop\"}}}}\n    ]\n}}\n"
        )
    };
    let logs = b"==== START logs for container app of pod shop/web-0 ====\n{ \"level\": \"info\" \x1b[0m \xff\n---\n\
                 ==== END logs for container other of pod shop/web-0 ====\nlast==== END logs for container app of pod shop/web-0 ====\n";
    let [nodes, pods, services] = [list("Node", "node-1"), list("Pod", "web-0"), list("Service", "web")];
    let dump = [nodes.as_bytes(), pods.as_bytes(), logs, logs, services.as_bytes()];
    let read = objects(&dump.concat()).unwrap();
    assert_eq!(kinds_and_names(&read), ["Node node-1", "Pod web-0", "Service web"]);
    assert_eq!((read[1].place.line, read[2].place.line), (14, 32));

    // The end stands across the edge of what is read at once.
    let [start, end] =
        ["START", "END"].map(|word| format!("==== {word} logs for container app of pod shop/web-0 ====\n"));
    let long = format!("{start}{}{end}{services}", "x".repeat((1 << 16) - 10)).into_bytes();
    assert_eq!(kinds_and_names(&objects(&long).unwrap()), ["Service web"]);
    let cut = objects(start.as_bytes()).unwrap_err();
    assert!(cut.contains("has logs of a container without the line that ends them"), "{cut}");

    let directory = tempfile::tempdir().unwrap();
    let namespace = directory.path().join("shop");
    fs::create_dir_all(namespace.join("web-0")).unwrap();
    fs::write(directory.path().join("nodes.json"), nodes).unwrap();
    fs::write(namespace.join("services.json"), services).unwrap();
    fs::write(namespace.join("events.json"), "{\"kind\":\"EventList\",\"apiVersion\":\"v1\",\"items\":[]}").unwrap();
    fs::write(namespace.join("web-0/logs.txt"), logs).unwrap();
    assert_eq!(kinds_and_names(&of_path(directory.path()).unwrap()), ["Node node-1", "Service web"]);
    let run = byname(&["compile", "-f", directory.path().to_str().unwrap()]);
    assert_eq!(run.status, 0, "{}", run.stderr);
}

fn of_path(path: &Path) -> Result<Vec<RawObject>, InputErrors> {
    let mut objects = Vec::new();
    let options = ReadOptions { is_needed: |_, _| true, excluded: Excluded::default(), is_strict: true };
    read(&[Source::Path(path.to_owned())], &options, &mut |_| {}, &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    Ok(objects)
}

/// A pipe brings its bytes in any pieces.
#[test]
fn pieces_of_any_size_are_read_alike() {
    struct OneByte<'t>(&'t [u8]);
    impl Read for OneByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }
    let text = format!("\u{feff}{SERVICE}spec: {{externalName: é🦀}}\n---\n{SERVICE}");
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for input in [text.as_bytes(), &utf_16] {
        let mut count = 0;
        let reader = std::io::BufReader::with_capacity(1, OneByte(input));
        read_stream(reader, "input", &mut |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 2);
    }
}
