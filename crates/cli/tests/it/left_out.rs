//! One document or file that cannot be read stops nothing else, unless it may hold an object that byname needs.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use byname_cli::input::{Excluded, ReadOptions, read_from};
use tempfile::TempDir;

use crate::run::{Run, byname, byname_with_input, of, program};

const COMMANDS: [&[&str]; 4] =
    [&["lint", "-f"], &["compile", "-f"], &["explain", "web", "-n", "shop", "-f"], &["diff", "."]];

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  clusterIP: None\n  ports: \
         [{{port: 80}}]\n"
    )
}

const REVISION: &str = "apiVersion: apps/v1\nkind: ControllerRevision\nmetadata: {name: web, namespace: shop}\n";
const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n";

struct Directory(TempDir);

impl Directory {
    fn of(files: &[(&str, &str)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| directory.put(name, text));
        directory
    }

    fn put(&self, name: &str, text: &str) {
        let file = self.file(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command on the directory, which it names by `.`.
    fn run(&self, args: &[&str], more: &[&str]) -> Run {
        of(program().current_dir(self.0.path()).args(args).arg(".").args(more).output().unwrap())
    }
}

/// Files of other programs, as repositories have them beside manifests.
const OTHERS: [(&str, &str); 9] = [
    ("kustomization.yaml", "resources: [web.yaml]\ncommonLabels: {app: web}\n"),
    ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
    ("chart/values.yaml", "service:\n  kind: Service\n  port: 80\nitems: [a, b]\n"),
    ("dashboard.json", "{\"title\": \"web\", \"panels\": [{\"type\": \"graph\", \"kind\": \"Service\"}]}"),
    ("package.json", "{\"name\": \"web\", \"version\": \"1.0.0\"}\n"),
    ("playbook.yml", "- hosts: all\n  tasks: []\n"),
    ("word.yaml", "hello\n"),
    ("empty.yaml", ""),
    ("comment.yaml", "# nothing\n---\n"),
];

#[test]
fn files_of_other_programs_are_skipped_with_one_note() {
    let directory = Directory::of(&OTHERS);
    directory.put("web.yaml", &service("web"));
    for command in COMMANDS {
        let run = directory.run(command, &[]);
        assert_eq!(run.status, 0, "{command:?}: {}", run.shown());
        let notes: Vec<&str> = run.stderr.lines().filter(|line| line.contains("not for Kubernetes")).collect();
        let expected = "note: skipped 9 files that are not for Kubernetes: ";
        // `diff` reads both states.
        assert_eq!(notes.len(), if command[0] == "diff" { 2 } else { 1 }, "{command:?}: {}", run.stderr);
        assert!(notes[0].starts_with(expected) && notes[0].ends_with(" and 6 more"), "{notes:?}");
        assert!(!run.stderr.contains("left out"), "{}", run.stderr);

        let strict = directory.run(command, &["--strict"]);
        assert_eq!((strict.status, strict.stdout.as_str()), (2, ""), "{command:?}");
        for file in ["kustomization.yaml:1", "Chart.yaml:1", "dashboard.json:1", "playbook.yml:1", "empty.yaml"] {
            assert!(strict.stderr.contains(file), "{command:?} {file}: {}", strict.stderr);
        }
    }
}

#[test]
fn excluded_files_are_not_read() {
    let directory = Directory::of(&OTHERS);
    directory.put("web.yaml", &service("web"));
    directory.put("chart/templates/web.yaml", "{{- if .Values.web }}\napiVersion: v1\nkind: Service\n{{- end }}\n");
    let globs = ["chart", "kustomization.yaml", "*.json", "./playbook.yml", "{word,empty,comment}.yaml"];
    let exclude: Vec<&str> = globs.iter().flat_map(|glob| ["--exclude", glob]).collect();
    for command in COMMANDS {
        let run = directory.run(command, &[&exclude[..], &["--strict"]].concat());
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{command:?}");
        let without = directory.run(command, &[]);
        assert_eq!(without.status, 2, "{command:?}");
        assert!(without.stderr.contains("chart/templates/web.yaml:1: "), "{}", without.stderr);
        let wrong = directory.run(command, &["--exclude", "["]);
        assert_eq!(wrong.status, 2);
        assert!(wrong.stderr.contains("--exclude <GLOB>"), "{}", wrong.stderr);
    }
}

#[test]
fn documents_that_cannot_be_read_are_named_and_left_out() {
    let text = format!("{CONFIG_MAP}---\n{}---\nhello: [\n---\njust: values\n", service("web"));
    for command in [&["lint"] as &[&str], &["compile"], &["explain", "web", "-n", "shop"]] {
        let run = byname_with_input(command, text.as_bytes());
        assert_eq!(run.status, 0, "{command:?}: {}", run.shown());
        for part in [
            "warning: left out: standard input:4: document 1: ",
            "warning: left out: standard input:14: document 3: is not valid YAML or JSON: ",
            "warning: left out: standard input:15: document 4: is not a Kubernetes object: it needs apiVersion and kind",
            "note: left out 3 documents and files; --strict makes this an error",
        ] {
            assert!(run.stderr.contains(part), "{command:?} lacks {part}: {}", run.stderr);
        }
        let strict = byname_with_input(&[command, &["--strict"]].concat(), text.as_bytes());
        assert_eq!((strict.status, strict.stdout.as_str()), (2, ""), "{command:?}");
        for part in ["error: standard input:4: ", "error: standard input:14: ", "error: standard input:15: "] {
            assert!(strict.stderr.contains(part), "{command:?}: {}", strict.stderr);
        }
    }
}

/// As kubectl does, which reads U+FFFD.
#[test]
fn bytes_that_are_not_utf_8_are_read_with_a_warning() {
    let directory = Directory::of(&[("web.yaml", &service("web"))]);
    let deployment = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n# caf\xe9 \x93 \xf0\x9f\n";
    fs::write(directory.file("d.yaml"), deployment).unwrap();
    fs::write(directory.file("j.json"), b"{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"data\": \"\xe9\"}")
        .unwrap();
    // Nobody needs a warning of what is not read.
    fs::write(directory.file("values.yaml"), b"a: \xe9\n").unwrap();
    for command in COMMANDS {
        let run = directory.run(command, &[]);
        assert_eq!(run.status, 0, "{command:?}: {}", run.shown());
        for part in [
            "warning: ./d.yaml:4: has the byte 0xe9, which is not UTF-8 and becomes U+FFFD, as in kubectl; convert the file: iconv -f \
             WINDOWS-1252 -t UTF-8\n",
            "warning: ./j.json:1: has the byte 0xe9, ",
        ] {
            assert!(run.stderr.contains(part), "{command:?} lacks {part}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("left out") && !run.stderr.contains("values.yaml:"), "{}", run.stderr);
        let strict = directory.run(command, &["--strict"]);
        assert!(
            strict.status == 2 && strict.stderr.contains("error: ./d.yaml:4: has the byte 0xe9"),
            "{}",
            strict.stderr
        );
    }
    // No name has U+FFFD.
    let named = [service("web").as_bytes(), b"---\n", service("caf#").as_bytes()].concat();
    let named: Vec<u8> = named.into_iter().map(|byte| if byte == b'#' { 0xe9 } else { byte }).collect();
    let run = byname_with_input(&["compile"], &named);
    assert!(run.status == 2 && run.stderr.contains("is not a lower-case DNS label"), "{}", run.shown());
    // A character that the edge of a piece divides is whole, also behind such a byte.
    let long = format!("# caf~{}\n", "🦀".repeat(50_000));
    let long: Vec<u8> = long.bytes().map(|byte| if byte == b'~' { 0xe9 } else { byte }).collect();
    let text = [b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '", &long[2..long.len() - 1], b"'}\n"].concat();
    let mut name = String::new();
    let options = ReadOptions { is_needed: |_, _| false, excluded: Excluded::default(), is_strict: false };
    let left_out = read_from(&*text, "input", &options, &mut |object| {
        name = object.metadata("name").unwrap_or_default().to_owned();
        Ok(())
    });
    assert_eq!(left_out.unwrap().garbled.count(), 1);
    assert_eq!(name, format!("caf\u{fffd}{}", "🦀".repeat(50_000)));
    // Text in other encodings is named.
    for (text, part) in [
        (
            "k\0i\0n\0d\0".as_bytes(),
            "has the control character '\\0', as UTF-16 without a byte order mark and UTF-32 have",
        ),
        (b"\xff\xfe\0\0k\0\0\0" as &[u8], "as UTF-16 without a byte order mark and UTF-32 have"),
    ] {
        let run = byname_with_input(&["compile"], text);
        assert!(run.status == 2 && run.stderr.contains(part), "{}", run.shown());
    }
}

/// Each document stands beside a good Service.
#[test]
fn a_document_that_may_hold_a_needed_object_is_an_error() {
    let json = |text: &str| text.replace('\'', "\"");
    for (document, is_error) in [
        // The kind stands before or after the fault.
        ("apiVersion: v1\nkind: Service\nmetadata: {{ x }}\n".to_owned(), true),
        ("{{- if .Values.x }}\napiVersion: v1\nkind: Service\n{{- end }}\n".to_owned(), true),
        ("{{- if .Values.x }}\n{{- if .Values.y }}\nkind: Deployment\n{{- end }}\n".to_owned(), false),
        ("metadata: [\nkind: 'EndpointSlice' # of web\n".to_owned(), true),
        ("apiVersion: v1\nkind: Pod\nspec: [\n".to_owned(), true),
        ("apiVersion: networking.k8s.io/v1\nkind: Ingress\nspec: [\n".to_owned(), false),
        (json("{'apiVersion': 'v1', 'kind': 'Service', 'spec': {]"), true),
        (json("{'apiVersion': 'v1', 'kind': 'Secret', 'spec': {]"), false),
        (json("{'spec': {'kind': 'Service', ]"), false),
        // The kind of another group, and a kind below the top level.
        ("apiVersion: serving.knative.dev/v1\nkind: Service\nspec: [\n".to_owned(), false),
        ("apiVersion: apps/v1\nkind: Deployment\nspec:\n  kind: Service\n  x: [\n".to_owned(), false),
        // The rest of a list is lost.
        ("apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Secret\n  data: [\n".to_owned(), true),
        (format!("apiVersion: v1\nitems:\n- {}- {{{{\nkind: List\n", REVISION.replace('\n', "\n  ")), true),
        ("apiVersion: v1\nkind: SecretList\nitems:\n- metadata: [\n".to_owned(), false),
        ("items:\n- {{ a }}\n- [\n".to_owned(), false),
        (json("{'type':'ADDED','object':{'apiVersion':'v1','kind':'Service',"), true),
        ("object:\n  apiVersion: v1\n  kind: Service\n  spec: [\n".to_owned(), true),
        // Objects that lack a part.
        ("kind: Service\nmetadata: {name: a}\n".to_owned(), true),
        ("kind: Deployment\nmetadata: {name: a}\n".to_owned(), false),
        ("apiVersion: v1\nmetadata: {name: a}\n".to_owned(), false),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: 7\n".to_owned(), true),
        ("apiVersion: v1\nkind: Pod\n".to_owned(), true),
        (format!("apiVersion: v1\nkind: Secret\na: [{}]\n", "1,".repeat(260_000)), false),
        (format!("apiVersion: v1\nkind: Service\na: [{}]\n", "1,".repeat(260_000)), true),
    ] {
        let directory = Directory::of(&[("a.yaml", &service("web")), ("b.yaml", &document)]);
        let run = directory.run(&["compile", "-f"], &[]);
        let shown = document.get(..200).unwrap_or(&document);
        assert_eq!(run.status, if is_error { 2 } else { 0 }, "{shown}\n{}", run.stderr);
        assert!(run.stderr.contains("b.yaml"), "{shown}\n{}", run.stderr);
        assert_eq!(directory.run(&["compile", "-f"], &["--strict"]).status, 2, "{shown}");
        // Both in one stream.
        let stream = format!("{document}\n---\n{}", service("web"));
        let run = byname_with_input(&["compile"], stream.as_bytes());
        assert_eq!(run.status, if is_error { 2 } else { 0 }, "{shown}\n{}", run.stderr);
    }
}

/// Only lint checks these kinds.
#[test]
fn a_broken_way_in_from_outside_stops_lint_alone() {
    for (kind, spec) in [
        ("networking.k8s.io/v1 Ingress", "{rules: {a: b}}"),
        ("networking.k8s.io/v1 Ingress", "["),
        ("gateway.networking.k8s.io/v1 HTTPRoute", "{hostnames: 7}"),
        ("gateway.networking.k8s.io/v1 GRPCRoute", "[{"),
        ("gateway.networking.k8s.io/v1beta1 ReferenceGrant", "{from: 7}"),
        ("route.openshift.io/v1 Route", "{to: 7}"),
    ] {
        let (api_version, name) = kind.split_once(' ').unwrap();
        let broken =
            format!("apiVersion: {api_version}\nkind: {name}\nmetadata: {{name: in, namespace: shop}}\nspec: {spec}\n");
        let directory = Directory::of(&[("a.yaml", &broken), ("web.yaml", &service("web"))]);
        for command in COMMANDS {
            let run = directory.run(command, &[]);
            let is_lint = command[0] == "lint";
            assert_eq!(run.status, if is_lint { 2 } else { 0 }, "{kind} {spec} {command:?}: {}", run.shown());
            let start = if is_lint { "error: ./a.yaml:" } else { "warning: left out: ./a.yaml:" };
            assert!(run.stderr.contains(start), "{kind} {spec} {command:?}: {}", run.stderr);
            assert_eq!(directory.run(command, &["--strict"]).status, 2, "{kind} {spec} {command:?}");
        }
    }
    // No command fails for a workload or a rule of a mesh.
    let rows = [("apps/v1", "Deployment", "{template: 7}"), ("networking.istio.io/v1", "VirtualService", "{hosts: 7}")];
    for (api_version, kind, spec) in rows {
        let broken =
            format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a, namespace: shop}}\nspec: {spec}\n");
        let directory = Directory::of(&[("a.yaml", &broken), ("web.yaml", &service("web"))]);
        for command in COMMANDS {
            let run = directory.run(command, &[]);
            assert_eq!(run.status, 0, "{kind} {command:?}: {}", run.shown());
            let warning = format!("warning: left out: ./a.yaml:4: document 1, {kind} shop/a, spec.");
            assert!(run.stderr.contains(&warning), "{kind} {command:?}: {}", run.stderr);
            assert_eq!(directory.run(command, &["--strict"]).status, 2, "{kind} {command:?}");
        }
    }
    // Two variants of one are no error either.
    let ingress = |host: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: in, namespace: shop}}\nspec: {{rules: [{{host: \
             {host}}}]}}\n"
        )
    };
    let directory =
        Directory::of(&[("a.yaml", &ingress("a")), ("b.yaml", &ingress("b")), ("web.yaml", &service("web"))]);
    let run = directory.run(&["compile", "-f"], &[]);
    assert!(run.status == 0 && run.stderr.contains("left out: ./b.yaml:1: "), "{}", run.shown());
}

#[test]
fn all_errors_of_all_files_are_listed() {
    let directory = Directory::of(&[("web.yaml", &service("web"))]);
    for number in 0..30 {
        let broken = "apiVersion: v1\nkind: Service\nspec: [\n";
        directory.put(&format!("b{number:02}.yaml"), &format!("{broken}---\n{broken}"));
    }
    let run = directory.run(&["compile", "-f"], &[]);
    assert_eq!((run.status, run.stderr.lines().count()), (2, 21), "{}", run.stderr);
    assert!(run.stderr.contains("b00.yaml:8: document 2: ") && run.stderr.contains("and 40 more"), "{}", run.stderr);
}

#[test]
fn an_input_without_a_service_says_so_first() {
    let directory = Directory::of(&OTHERS);
    directory.put("revision.yaml", REVISION);
    directory.put("broken.yaml", CONFIG_MAP);
    for (input, more) in [(Path::new("."), &[] as &[&str]), (Path::new("revision.yaml"), &["-n", "shop"])] {
        let input = input.to_str().unwrap();
        let lint =
            of(program().current_dir(directory.0.path()).args(["lint", "-f", input]).args(more).output().unwrap());
        let first = "the input has no Service, so there is nothing to check\n";
        assert_eq!((lint.status, lint.stdout.as_str()), (0, first), "{}", lint.stderr);
    }
    for command in &COMMANDS[1..] {
        let run = directory.run(command, &[]);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{command:?}");
        let first = "error: the input has no Service; pass the output of kubectl get svc,";
        assert!(run.stderr.starts_with(first), "{command:?}: {}", run.stderr);
        assert_eq!(run.stderr.matches("error: ").count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("left out: ./broken.yaml:4: "), "{}", run.stderr);
    }
    // Other objects are checked.
    directory
        .put("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [], dnsPolicy: None}\n");
    let lint = directory.run(&["lint", "-f"], &[]);
    assert!(
        lint.stdout.starts_with("the input has no Service; only rules for other objects ran\n"),
        "{}",
        lint.shown()
    );
    assert!(lint.status == 1 && lint.stdout.contains("BN064"), "{}", lint.shown());
    let json = directory.run(&["lint", "-o", "json", "-f"], &["--exclude", "pod.yaml"]);
    assert_eq!((json.status, json.stdout.as_str()), (0, "[]\n"), "{}", json.stderr);
    assert!(json.stderr.contains("note: the input has no Service, so"), "{}", json.stderr);
    assert_eq!(byname(&["lint", "--strict", "-f", directory.file("revision.yaml").to_str().unwrap()]).status, 2);
    // The command before a pipe has failed.
    assert_eq!(byname_with_input(&["lint"], b"").status, 2);
}

#[test]
fn diff_takes_one_state_without_a_service() {
    let directory = Directory::of(&[("old/a.yaml", REVISION), ("new/web.yaml", &service("web"))]);
    let run = of(program().current_dir(directory.0.path()).args(["diff", "old", "new"]).output().unwrap());
    assert_eq!(run.status, 1, "{}", run.shown());
    assert!(run.stdout.contains("web") && run.stderr.contains("note: old: has no Service"), "{}", run.shown());
}

#[test]
fn each_file_is_checked_by_itself() {
    let variant = |port| format!("{}  type: ExternalName\n  externalName: \"10.1.2.{port}\"\n", service("web"));
    let directory =
        Directory::of(&[("a/web.yaml", &variant(1)), ("b/web.yaml", &variant(2)), ("c.yaml", &service("c"))]);
    directory.put("kustomization.yaml", "resources: []\n");
    directory.put("revision.yaml", REVISION);
    let together = directory.run(&["lint", "-f"], &[]);
    assert_eq!(together.status, 2);
    assert!(together.stderr.contains("differs from the object of the same name"), "{}", together.stderr);
    assert!(together.stderr.contains("or check each file by itself with --each-file"), "{}", together.stderr);
    let route = |host| {
        format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r, namespace: shop}}, spec: {{hostnames: \
             [{host}]}}}}\n"
        )
    };
    let routes = byname_with_input(&["lint"], format!("{}---\n{}", route("a"), route("b")).as_bytes());
    let said = "HTTPRoute shop/r: differs from the object of the same name at standard input:1; keep one of the two\n";
    assert!(routes.stderr.contains(said), "{}", routes.stderr);
    let each = directory.run(&["lint", "--each-file", "-f"], &[]);
    assert_eq!(each.status, 1, "{}", each.shown());
    for part in ["./a/web.yaml:", "./b/web.yaml:", " in 3 Services"] {
        assert!(each.stdout.contains(part), "{part}: {}", each.shown());
    }
    let not_run = "rules not run because they need the objects of other files: BN001, ";
    assert_eq!(each.stdout.matches(not_run).count(), 1, "{}", each.stdout);
    assert_eq!(each.stderr.matches("not for Kubernetes").count(), 1, "{}", each.stderr);
    assert_eq!(each.stderr.matches("skipped 1 object of").count(), 1, "{}", each.stderr);
    // An ignore that matches in one file is used.
    let ignored = directory.run(&["lint", "--each-file", "--ignore", "BN030=yes", "-n", "shop", "-f"], &[]);
    assert!(!ignored.stderr.contains("no finding matches"), "{}", ignored.stderr);
    let unknown = directory.run(&["lint", "--each-file", "-n", "shopp", "-f"], &[]);
    assert_eq!(unknown.status, 2);
    // A broken Service in one file is an error, and all such files are listed.
    directory.put("d.yaml", "apiVersion: v1\nkind: Service\nspec: 7\n");
    directory.put("e.yaml", "apiVersion: v1\nkind: Service\nspec: 7\n");
    let broken = directory.run(&["lint", "--each-file", "-f"], &[]);
    assert_eq!((broken.status, broken.stdout.as_str()), (2, ""));
    assert!(broken.stderr.contains("./d.yaml") && broken.stderr.contains("./e.yaml"), "{}", broken.stderr);
}

/// As `kubectl get --watch -o yaml` prints it.
#[test]
fn the_highest_resource_version_of_a_stream_counts() {
    let state = |version: &str, address: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop, resourceVersion: '{version}'}}\nspec: \
             {{clusterIP: {address}}}\n"
        )
    };
    let slice = |version: u32, service: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata:\n  name: web-1\n  \
             namespace: shop\n  resourceVersion: '{version}'\n  labels: {{kubernetes.io/service-name: {service}}}\nports: \
             []\nendpoints: [{{addresses: [10.1.0.{version}]}}]\n"
        )
    };
    let stream =
        [state("9", "10.0.0.1"), slice(9, "old"), state("10", "10.0.0.2"), slice(10, "web"), state("11", "10.0.0.3")];
    let run = byname_with_input(&["compile"], stream.join("---\n").as_bytes());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("10.0.0.3") && run.stdout.contains("10.1.0.10"), "{}", run.stdout);
    assert!(!run.stdout.contains("10.1.0.9"), "{}", run.stdout);
    for (first, second) in [("9", "8"), ("9", "9"), ("", "9"), ("9", ""), ("a", "b")] {
        let stream = [state(first, "10.0.0.1"), state(second, "10.0.0.2")].join("---\n");
        let run = byname_with_input(&["compile"], stream.as_bytes());
        assert_eq!(run.status, 2, "{first} {second}");
        assert!(run.stderr.contains("differs from the object of the same name"), "{}", run.stderr);
    }
    let endpoints = |version: u32| {
        format!(
            "apiVersion: v1\nkind: Endpoints\nmetadata: {{name: web, namespace: shop, resourceVersion: '{version}'}}\n\
             subsets: [{{addresses: [{{ip: 10.1.0.{version}}}], ports: [{{port: 80}}]}}]\n"
        )
    };
    let stream = [state("9", "10.0.0.1"), endpoints(9), endpoints(11)].join("---\n");
    let run = byname_with_input(&["compile"], stream.as_bytes());
    assert!(run.stdout.contains("10.1.0.11") && !run.stdout.contains("10.1.0.9"), "{}", run.shown());
    // Two files are two dumps, of which none is the later one.
    let directory = Directory::of(&[("a.yaml", &state("9", "10.0.0.1")), ("b.yaml", &state("10", "10.0.0.2"))]);
    assert_eq!(directory.run(&["compile", "-f"], &[]).status, 2);
}

#[test]
fn annotations_of_an_earlier_state_do_not_count() {
    let state = |version, annotations| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop, resourceVersion: '{version}', \
             annotations: {{{annotations}}}}}\nspec: {{type: ExternalName, externalName: 10.1.2.3}}\n"
        )
    };
    let ignore = "byname/ignore-BN030: \"known\"";
    let ignored = byname_with_input(&["lint"], state(1, ignore).as_bytes());
    assert!(ignored.stdout.contains("1 finding ignored"), "{}", ignored.shown());
    let both = [state(1, ignore), state(2, "")].join("---\n");
    let open = byname_with_input(&["lint"], both.as_bytes());
    assert!(open.stdout.contains("[BN030]"), "{}", open.shown());
}

#[test]
fn three_broken_files_of_500_do_not_stop_the_others() {
    let directory = Directory::of(&[]);
    for number in 0..497 {
        directory.put(&format!("{}/s{number}.yaml", number % 7), &service(&format!("s{number}")));
    }
    directory.put("1/broken.yaml", CONFIG_MAP);
    directory.put("2/broken.json", "{\"a\": \"b\",, }");
    fs::write(directory.file("3/broken.yml"), b"a: \xff\xfe\xfa\0\n").unwrap();
    let run = directory.run(&["lint", "-f"], &[]);
    assert_eq!(run.status, 0, "{}", run.shown());
    assert!(run.stdout.contains("no issues in 497 Services"), "{}", run.stdout);
    for part in ["./1/broken.yaml:4: ", "./2/broken.json:1: ", "./3/broken.yml:1: is not UTF-8 text", "left out 3 "] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn large_junk_beside_a_service_is_skipped() {
    let directory = Directory::of(&[("web.yaml", &service("web"))]);
    let mut many = String::from("{\"panels\": [");
    for number in 0..700_000 {
        write!(many, "{{\"id\": {number}, \"x\": \"y\"}},").unwrap();
    }
    assert!(many.len() > 15 << 20);
    directory.put("many.json", &format!("{many}1]}}"));
    directory.put("list.json", &format!("[{}]", "\"0123456789\",".repeat(1 << 20)));
    directory.put("long.json", &format!("{{\"a\": \"{}\"}}", "x".repeat(20 << 20)));
    // Larger than an object may be: the rest of the file is not read.
    directory.put("larger.json", &format!("{{\"a\": \"{}\"}}", "x".repeat(34 << 20)));
    directory.put("unclosed.yaml", &"a: [\n".repeat(1 << 20));
    let run = directory.run(&["compile", "-f"], &[]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert!(run.stdout.contains("shop/web"), "{}", run.stdout);
    for part in [
        "left out: ./many.json:1: document 1: has more than 250000 values",
        "left out: ./larger.json:1: document 1: an object is larger than",
        "left out: ./unclosed.yaml:",
        "skipped 2 files that are not for Kubernetes: ./list.json, ./long.json",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    // Behind such a document of a stream there may be a Service.
    let stream = format!("{{\"a\": \"{}\"}}\n---\n{}", "x".repeat(70 << 20), service("web"));
    assert_eq!(byname_with_input(&["compile"], stream.as_bytes()).status, 2);
}

#[cfg(unix)]
#[test]
fn entries_that_are_no_files_are_skipped() {
    use std::os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    };

    let directory = Directory::of(&[("web.yaml", &service("web")), ("sub/a.yaml", &service("a"))]);
    let made = std::process::Command::new("mkfifo").arg(directory.file("pipe.yaml")).status().unwrap();
    assert!(made.success());
    let _listener = UnixListener::bind(directory.file("socket.yaml")).unwrap();
    symlink("nowhere", directory.file("dangling.yaml")).unwrap();
    symlink("loop.yaml", directory.file("loop.yaml")).unwrap();
    symlink("sub", directory.file("linked.yaml")).unwrap();
    directory.put("closed.yaml", &service("closed"));
    directory.put("closed/a.yaml", &service("closed-a"));
    for closed in ["closed.yaml", "closed"] {
        fs::set_permissions(directory.file(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root may read every file.
    let is_root = fs::File::open(directory.file("closed.yaml")).is_ok();
    for command in COMMANDS {
        let run = directory.run(command, &[]);
        assert_eq!(run.status, 0, "{command:?}: {}", run.shown());
        let mut parts = vec![
            "note: skipped: ./pipe.yaml: is not a regular file",
            "note: skipped: ./socket.yaml: is not a regular file",
            "note: skipped: ./linked.yaml: is a link to a directory",
            "warning: left out: ./dangling.yaml: cannot be read: ",
            "warning: left out: ./loop.yaml: cannot be read: ",
        ];
        if !is_root {
            parts.extend(["left out: ./closed.yaml: cannot be opened: ", "left out: ./closed: cannot be read: "]);
        }
        for part in parts {
            assert!(run.stderr.contains(part), "{command:?} lacks {part}: {}", run.stderr);
        }
        assert_eq!(directory.run(command, &["--strict"]).status, 2, "{command:?}");
    }
    if !is_root {
        // A file that was named is needed.
        assert_eq!(byname(&["lint", "-f", directory.file("closed.yaml").to_str().unwrap()]).status, 2);
    }
    fs::set_permissions(directory.file("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// `kubectl create` makes the rest of a name that `generateName` begins.
#[test]
fn an_object_whose_name_is_generated_counts_if_its_name_does_not_matter() {
    let service = service("web")
        .replace("clusterIP: None", "{clusterIP: None, selector: {app: web}")
        .replace("\n  ports: ", ", ports: ");
    let service = service.replace("[{port: 80}]", "[{name: http, port: 80, targetPort: htpp}]}");
    let container = "spec: {containers: [{name: web, ports: [{name: http, containerPort: 80}]}]}";
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{generateName: t-, namespace: shop, labels: {{app: web}}}}\n{container}\n"
    );
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: t-, namespace: shop}}\nspec: {{template: {{metadata: {{labels: \
         {{app: web}}}}, {container}}}}}\n"
    );
    let other_pod = pod.replace("name: http", "name: https");
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {generateName: t-, namespace: shop, labels: \
                 {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{name: http, port: 80}]\nendpoints: [{addresses: \
                 [10.1.0.1]}]\n";
    let nameless = "apiVersion: v1\nkind: Service\nmetadata: {generateName: s-, namespace: shop}\n";
    let warning = "warning: left out: standard input:7: document 2, Service, metadata.generateName: has no name until it is created; \
                   set metadata.name";
    let text = |others: &[&str]| others.iter().fold(service.clone(), |text, other| format!("{text}---\n{other}"));
    for (others, part) in [
        (vec![&*pod], "app=web"),
        (vec![&*job], "no container of Job t-* has a TCP port named \"htpp\""),
        (vec![&*pod, &*other_pod], "app=web matches pods of 2 workloads: Pod t-*, Pod t-*2"),
    ] {
        let run = byname_with_input(&["lint", "--strict"], text(&others).as_bytes());
        assert!(run.status < 2 && run.stdout.contains("BN020"), "{}", run.shown());
        assert!(part == "app=web" || run.stdout.contains(part), "lacks {part}: {}", run.stdout);
    }
    let text = text(&[nameless, slice]);
    for (command, part) in [
        (&["lint"] as &[&str], " in 1 Service;"),
        (&["compile"], "\"addresses\":\"10.1.0.1\""),
        (&["explain", "web", "-n", "shop"], "reachable: Service shop/web"),
    ] {
        let run = byname_with_input(command, text.as_bytes());
        assert!(run.status < 2 && run.stdout.contains(part), "{command:?}: {}", run.shown());
        assert!(run.stderr.contains(warning), "{command:?}: {}", run.stderr);
        let strict = byname_with_input(&[command, &["--strict"]].concat(), text.as_bytes());
        assert_eq!((strict.status, strict.stdout.as_str()), (2, ""), "{command:?}");
        assert!(strict.stderr.contains(&warning.replace("warning: left out", "error")), "{}", strict.stderr);
    }
    let no_name = text.replace("generateName: s-", "labels: {}");
    let run = byname_with_input(&["compile"], no_name.as_bytes());
    assert!(run.status == 2 && run.stderr.contains("Service, metadata.name: is missing; set a name"), "{}", run.stderr);
}
