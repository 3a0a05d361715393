//! Exit statuses, colour, pipes and files.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use crate::run::{HOSTILE, SHOP, byname, byname_with_input, of, program, root};

#[test]
fn exit_status_is_0_for_yes_1_for_no_and_2_for_errors() {
    for (status, args) in [
        (0, &["explain", "cart", "-n", "shop", "-f", SHOP] as &[&str]),
        (0, &["explain", "carte", "-n", "shop", "-f", SHOP]),
        (0, &["explain", "www.example.com", "-n", "shop", "-f", SHOP]),
        (0, &["explain", "weather", "-n", "shop", "-f", SHOP]),
        (1, &["explain", "10.1:80", "-n", "shop", "-f", SHOP]),
        (2, &["explain", "", "-n", "shop", "-f", SHOP]),
        (0, &["diff", SHOP, SHOP]),
        (1, &["diff", SHOP, HOSTILE]),
        // The former option for this status.
        (1, &["diff", SHOP, HOSTILE, "--exit-code"]),
        (2, &["diff", SHOP, "not/there.yaml"]),
        (0, &["compile", "-f", SHOP]),
        (2, &["compile", "-f", HOSTILE]),
        (2, &["compile", "-f", "not/there.yaml"]),
        (2, &["compile", "-f", SHOP, "--pod", "shop"]),
        (2, &["compile", "-f", SHOP, "--pod", "shop/web"]),
        (2, &["compile", "-f", SHOP, "-n", "Shop"]),
        (2, &["compile", "-f", SHOP, "-n", "shop", "--pod", "shop/web"]),
        (2, &["compile", "-f", SHOP, "--config", SHOP]),
        (2, &["compile", "--format", "toml"]),
        (2, &["explain", "cart", "-f", SHOP]),
        (2, &["diff", SHOP]),
        (2, &["nonsense"]),
        (2, &[]),
        (0, &["--version"]),
        (0, &["help"]),
        (0, &["completions", "bash"]),
    ] {
        let run = byname(args);
        assert_eq!(run.status, status, "{args:?}\n{}", run.shown());
        if status == 2 {
            assert_eq!(run.stdout, "", "{args:?} wrote to standard output");
            assert!(!run.stderr.is_empty(), "{args:?} wrote no error");
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    for (args, parts) in [
        (
            &["compile", "-f", "not/there.yaml"] as &[&str],
            &["not/there.yaml", "cannot be read", "or - for the standard input"] as &[&str],
        ),
        (
            &["diff", SHOP, "not/there.yaml"],
            &["not/there.yaml: cannot be read: No such file", "pass a readable file or directory", "context:NAME"],
        ),
        (&["compile", "-f", "crates/cli/src"], &["crates/cli/src", "has no .yaml, .yml or .json file"]),
        (
            &["compile", "-f", SHOP, "--pod", "shop/web"],
            &["Pod shop/web", "is not in the input", "web-5c8f7b6d9f-4xk2p"],
        ),
        (&["compile", "-f", SHOP, "--config", SHOP], &["shop.yaml: has a list of objects", "pass a file with one"]),
        (&["compile", "-f", HOSTILE], &["hostile.yaml:297", "Service shop/ext-ipv4", "spec.externalName", "10.1.2.3"]),
        (&["explain", "cart", "-f", SHOP], &["--namespace <NAMESPACE>"]),
        // watch accepts the hidden --skip-invalid, and lacks only the output file.
        (&["watch", "--skip-invalid"], &["--output-file <FILE>"]),
        (&["lint", "--ignore", "BN001"], &["the reason is missing", "write BN001="]),
    ] {
        let run = byname(args);
        for part in parts {
            assert!(run.stderr.contains(part), "{args:?} lacks {part:?}:\n{}", run.stderr);
        }
    }
}

#[test]
fn types_have_plain_words() {
    for (fields, message) in [
        (
            "}, spec: {ports: [{port: 99999999999}]}",
            "spec.ports[0].port: is the number 99999999999, not a 32-bit integer; correct",
        ),
        (
            "}, spec: {ports: [{port: \"80\"}]}",
            "spec.ports[0].port: is the string \"80\", not a whole number; remove the quotes",
        ),
        ("}, spec: {ports: [{port: http}]}", "is the string \"http\", not a whole number; correct"),
        (
            ", deletionTimestamp: x}",
            "metadata.deletionTimestamp: is the string \"x\", not a time such as \"2026-01-31T12:00:00Z\"",
        ),
    ] {
        let input = format!("{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop{fields}}}\n");
        let run = byname_with_input(&["lint"], input.as_bytes());
        assert_eq!(run.status, 2, "{}", run.shown());
        assert!(run.stderr.contains(message), "lacks {message}:\n{}", run.stderr);
    }
}

#[test]
fn too_many_entries_of_one_service_are_not_blamed_on_the_table() {
    let with = |spec: &str| {
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}, spec: {{{spec}}}}}")
    };
    let ports: Vec<String> = (1..=257).map(|port| format!("{{name: p{port}, port: {port}}}")).collect();
    for (spec, fix) in [
        (
            format!("ports: [{}]", ports.join(", ")),
            "give the Service fewer ports, or spread them over several Services",
        ),
        (
            "clusterIPs: [10.0.0.1, 'fd00::1', 10.0.0.2], ports: [{port: 80}]".to_owned(),
            "keep one address of each IP family",
        ),
    ] {
        let run = byname_with_input(&["compile"], with(&spec).as_bytes());
        assert!(run.status == 2 && run.stderr.contains(fix), "{}", run.shown());
        assert!(!run.stderr.contains("split the table"), "{}", run.shown());
    }
}

#[test]
fn configuration_errors_name_their_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.yaml");
    for (text, parts) in [
        ("version: 1\nsteering:\n  bye: cluster\n", &["base.yaml:3", "steering", "bye"] as &[&str]),
        ("version: 1\nsteering:\n  cluster: \"{hots}\"\n", &["base.yaml:3", "steering.cluster", "{hots}"]),
        (
            "version: 1\ntable:\n  services:\n    shop/nothing: {}\n",
            &["base.yaml:4", "the cluster has no Service shop/nothing", "correct the name"],
        ),
        (
            "version: 1\ntable:\n  services:\n    shop/cart: {ports: [{port: 1}]}\n",
            &["base.yaml:4", "shop/cart", "come from Kubernetes"],
        ),
        (
            "version: 1\ntable:\n  services:\n    shop/cart:\n      subsets:\n        Green: {}\n",
            &["base.yaml:6", "table.services.shop/cart.subsets.Green:", "not a lower-case DNS label"],
        ),
        (
            "version: 1\ntable:\n  services:\n    shop/cart:\n      steering:\n        cluster: \"{hots}\"\n",
            &["base.yaml:6", "table.services.shop/cart.steering.cluster:", "{hots}"],
        ),
        (
            "version: 1\nfallback:\n  services:\n    shop/cart:\n      host: \"a b\"\n",
            &["base.yaml:5", "fallback.services.shop/cart.host:", "not a DNS name"],
        ),
        (
            "version: \"1\"\n",
            &["base.yaml:1", "version: it is the string \"1\", not a whole number up to", "; remove the quotes"],
        ),
        ("version: 1\ndns: 3\n", &["base.yaml:2", "dns: it is the number 3, not a mapping; see docs/configuration.md"]),
        ("version: 1\ndns: {ndots: 999}\n", &["dns.ndots: it is the number 999, not a whole number up to 255"]),
        (
            "version: 1\nexternalNames: {allow: [a]}\n",
            &["externalNames.allow[0]: it is the string \"a\", not a mapping"],
        ),
        ("version: 1\ntable: {singleMachine: \"true\"}\n", &["not true or false; remove the quotes"]),
        ("version: 1\nstats: {services: 1001}\n", &["stats.services: 1001 is more than 1000; use a smaller number"]),
        ("version: 1\nfallback: {baselines: {shop: shop}}\n", &["\"shop\" is its own fallback; name another one"]),
        ("kind: Service\n", &["base.yaml:1", "kind", "docs/configuration.md"]),
        ("version: 1\n---\nversion: 1\n", &["base.yaml: has 2 documents"]),
    ] {
        fs::write(&file, text).expect("written");
        let run = byname(&["compile", "-f", SHOP, "--config", file.to_str().expect("text")]);
        assert_eq!(run.status, 2, "{text}\n{}", run.shown());
        for part in parts {
            assert!(run.stderr.contains(part), "{text}\nlacks {part:?}:\n{}", run.stderr);
        }
    }
}

#[test]
fn standard_input_is_read_like_a_file() {
    let shop = fs::read(root().join(SHOP)).expect("it is there");
    let read = byname_with_input(&["compile", "-n", "shop"], &shop);
    assert_eq!(read.stdout, byname(&["compile", "-n", "shop", "-f", SHOP]).stdout);
    assert_eq!(read.stdout, byname_with_input(&["compile", "-n", "shop", "-f", "-"], &shop).stdout);
}

#[test]
fn json_yaml_and_a_directory_of_objects_give_the_same_table() {
    let whole = byname(&["compile", "-n", "shop", "-f", SHOP]).stdout;
    let shop = fs::read_to_string(root().join(SHOP)).expect("it is there");
    let list = byname_test_support::yaml_documents(&shop).expect("YAML").remove(0);
    let as_json = serde_json::to_vec(&list).expect("JSON");
    assert_eq!(byname_with_input(&["compile", "-n", "shop"], &as_json).stdout, whole, "on one line");
    let as_json = serde_json::to_vec_pretty(&list).expect("JSON");
    assert_eq!(byname_with_input(&["compile", "-n", "shop"], &as_json).stdout, whole, "indented");
    let directory = tempfile::tempdir().expect("a directory");
    for (index, item) in list["items"].as_array().expect("items").iter().enumerate() {
        let below = directory.path().join(format!("{}", index % 7));
        fs::create_dir_all(&below).expect("made");
        fs::write(below.join(format!("{index}.json")), item.to_string()).expect("written");
    }
    fs::write(directory.path().join("notes.txt"), "no object").expect("written");
    let run = byname(&["compile", "-n", "shop", "-f", directory.path().to_str().expect("text")]);
    assert_eq!(run.stdout, whole);
}

#[test]
fn output_does_not_depend_on_the_order_of_the_input() {
    let shop = fs::read_to_string(root().join(SHOP)).expect("it is there");
    let mut list = byname_test_support::yaml_documents(&shop).expect("YAML").remove(0);
    list["items"].as_array_mut().expect("items").reverse();
    let reversed = byname_with_input(&["compile", "-n", "shop"], list.to_string().as_bytes());
    assert_eq!(reversed.stdout, byname(&["compile", "-n", "shop", "-f", SHOP]).stdout);
}

#[test]
fn uses_colour_only_when_forced_in_a_pipe() {
    let coloured = |variables: &[(&str, &str)]| {
        let mut command = program();
        command.args(["explain", "cart", "-n", "shop", "-f", SHOP]).stdin(Stdio::null());
        command.envs(variables.iter().copied());
        of(command.output().expect("it starts")).stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[]), "into a pipe");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]), "forced");
    assert!(!coloured(&[("NO_COLOR", "1")]));
    assert!(!coloured(&[("CLICOLOR", "0")]));
    assert!(!coloured(&[("CLICOLOR", "1")]), "into a pipe");
}

/// As with `byname … | head -0`: the reader closes the pipe early, which is no error.
#[test]
fn configurations_of_other_versions_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.yaml");
    let config = file.to_str().expect("UTF-8");
    for (text, reason) in [
        (
            "steering: {by: cluster}\nversion: 99\n",
            "base.yaml:2: document 1, version: \"99\" is not a configuration version",
        ),
        (
            "version: 0\n",
            "base.yaml:1: document 1, version: \"0\" is not a configuration version that byname reads; write \"version\": 1",
        ),
        ("steering: {by: cluster}\n", "version"),
        (
            "version: 1\nrequires: [externalNames.mode, later]\n",
            "base.yaml:2: document 1, requires[1]: \"later\" is a feature that this program does not know",
        ),
    ] {
        fs::write(&file, text).expect("written");
        for command in [&["compile", "-n", "shop"] as &[&str], &["explain", "cart", "--from", "shop"]] {
            let run = byname(&[command, &["-f", SHOP, "--config", config]].concat());
            assert!(run.status == 2 && run.stdout.is_empty() && run.stderr.contains(reason), "{text}\n{}", run.shown());
        }
    }
}

/// Every field of a configuration that does not come from Kubernetes is written as it was read.
#[test]
fn compile_keeps_every_field_of_a_configuration() {
    let text = fs::read_to_string(root().join("examples/configuration/every-field.json")).expect("the example");
    let mut base: Value = serde_json::from_str(&text).expect("JSON");
    let mut items = Vec::new();
    for (key, service) in base["table"]["services"].as_object_mut().expect("Services") {
        let (namespace, name) = key.split_once('/').expect("namespace/name");
        let metadata = json!({"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": name}});
        let spec = match service["externalName"].as_str() {
            Some(target) => json!({"type": "ExternalName", "externalName": target}),
            None => json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}),
        };
        items.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        items.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}));
        service
            .as_object_mut()
            .expect("a Service")
            .retain(|field, _| ["alias", "subsets", "steering"].contains(&&**field));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.json");
    fs::write(&file, base.to_string()).expect("written");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let run = byname_with_input(&["compile", "--config", file.to_str().expect("UTF-8")], list.as_bytes());
    assert_eq!(run.status, 0, "{}", run.shown());
    // Defaults are not written, so both are compared as the filter reads them.
    let read = |text: &str| {
        let config: byname_core::wire::Config = serde_json::from_str(text).expect("a configuration");
        serde_json::to_value(&config).expect("JSON")
    };
    let (mut before, mut after) = (read(&base.to_string()), read(&run.stdout));
    // The program says which fields it knows.
    for field in ["minor", "requires"] {
        for configuration in [&mut before, &mut after] {
            configuration.as_object_mut().expect("a configuration").remove(field);
        }
    }
    for service in after["table"]["services"].as_object_mut().expect("Services").values_mut() {
        service
            .as_object_mut()
            .expect("a Service")
            .retain(|field, _| ["alias", "subsets", "steering"].contains(&&**field));
    }
    assert_eq!(after, before);
}

/// A module that does not know how to observe would steer.
#[test]
fn an_older_module_refuses_to_observe() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.json");
    for (fields, is_required) in [
        (json!({"mode": "observe"}), true),
        (json!({"mode": "observe", "observePercent": 90}), true),
        (json!({"mode": "enforce", "modeExceptions": ["shop/payments"]}), true),
        (json!({"mode": "enforce"}), false),
        (json!({}), false),
    ] {
        let mut base = fields.clone();
        base["version"] = 1.into();
        fs::write(&file, base.to_string()).expect("written");
        let run = byname(&["compile", "-n", "shop", "-f", SHOP, "--config", file.to_str().expect("UTF-8")]);
        assert_eq!(run.status, 0, "{}", run.shown());
        let compiled: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let required: Vec<&str> =
            compiled["requires"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(required.contains(&"observe"), is_required, "{fields}: {required:?}");
    }
}

/// Where nothing else is routed, a request that is observed gets an answer that it would not have got.
#[test]
fn a_bootstrap_that_refuses_what_is_observed_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.json");
    let config = file.to_str().expect("UTF-8");
    let format = ["compile", "-n", "shop", "-f", SHOP, "--format", "envoy-bootstrap", "--config", config];
    for (base, more, is_told) in [
        (json!({"version": 1, "mode": "observe"}), &[][..], true),
        (json!({"version": 1, "modeExceptions": ["shop"]}), &[], true),
        (json!({"version": 1, "mode": "observe"}), &["--pass", "original-dst"], false),
        (json!({"version": 1}), &[], false),
    ] {
        fs::write(&file, base.to_string()).expect("written");
        let run = byname(&[&format, more].concat());
        assert_eq!(run.status, 0, "{}", run.shown());
        let told = run.stderr.contains("warning: mode: a request that is observed goes on as it came");
        assert_eq!(told, is_told, "{base}: {}", run.stderr);
    }
}

/// A typo in the name of what is to be observed would steer it.
#[test]
fn exceptions_from_the_mode_that_name_nothing_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.json");
    let base = json!({"version": 1, "modeExceptions": ["shop", "shop/checkout", "shop/paiments", "shops"]});
    fs::write(&file, base.to_string()).expect("written");
    let run = byname(&["compile", "-n", "shop", "-f", SHOP, "--config", file.to_str().expect("UTF-8")]);
    assert_eq!(run.status, 0, "{}", run.shown());
    let told: Vec<&str> = run.stderr.lines().filter(|line| line.contains("modeExceptions")).collect();
    assert_eq!(
        told,
        [
            "warning: modeExceptions[2]: the input has no Service shop/paiments; correct the name if it exists",
            "warning: modeExceptions[3]: the input has no Service in namespace shops; correct the name if it exists"
        ]
    );
}

#[test]
fn replaced_fields_of_a_configuration_are_noted() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("base.json");
    fs::write(&file, r#"{"version": 1, "caller": {"namespace": "prod", "node": "other"}}"#).expect("written");
    let config = ["-f", SHOP, "--config", file.to_str().expect("UTF-8")];
    let run = byname(&[&["compile", "-n", "shop"], &config[..]].concat());
    let replaced = "note: caller.namespace of the --config file, \"prod\", is replaced: the client's is \"shop\"";
    assert!(run.stderr.contains(replaced), "{}", run.stderr);
    let run = byname(&[&["compile", "--pod", "shop/web-5c8f7b6d9f-4xk2p"], &config[..]].concat());
    assert!(
        run.stderr.contains(replaced) && run.stderr.contains("caller.node of the --config file, \"other\""),
        "{}",
        run.stderr
    );
    let run = byname(&[&["compile"], &config[..]].concat());
    assert!(!run.stderr.contains("is replaced"), "{}", run.stderr);
}

#[test]
fn objects_without_an_api_version_are_refused() {
    let commands = [&["lint"] as &[&str], &["compile"], &["explain", "web", "--from", "shop"]];
    // Only lint needs routes.
    for (kind, commands) in [("Service", &commands[..]), ("EndpointSlice", &commands), ("HTTPRoute", &commands[..1])] {
        let object = format!("kind: {kind}\nmetadata: {{name: web, namespace: shop}}\n");
        for command in commands {
            let run = byname_with_input(command, object.as_bytes());
            let error =
                format!("standard input:1: document 1, {kind}, apiVersion: is not set; write it as kubectl prints it");
            assert!(run.status == 2 && run.stderr.contains(&error), "{command:?}\n{}", run.shown());
        }
    }
    // Items of a list have the list's, as the API server prints them.
    let list = r#"{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}]}"#;
    assert_eq!(byname_with_input(&["compile"], list.as_bytes()).status, 0);
}

#[test]
fn a_closed_pipe_is_no_error() {
    for args in [
        &["schema"] as &[&str],
        &["compile", "-f", SHOP, "--pod", "shop/web-5c8f7b6d9f-4xk2p"],
        &["explain", "cart", "-n", "shop", "-f", SHOP],
    ] {
        let mut command = program();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        drop(child.stdout.take());
        let run = of(child.wait_with_output().expect("it ends"));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn read_errors_name_the_file() {
    // Root may read every file, so this uses a file whose reads fail in the kernel.
    for file in ["/proc/self/mem", "Cargo.toml/x.yaml"] {
        let run = byname(&["compile", "-f", file]);
        assert_eq!(run.status, 2);
        assert!(run.stderr.contains(file) && run.stderr.contains("cannot be"), "{}", run.stderr);
    }
}

#[test]
fn empty_input_and_an_empty_list_give_different_errors() {
    for input in ["", "\n\n", "---\n", "# nothing\n", "null\n"] {
        let run = byname_with_input(&["compile"], input.as_bytes());
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{input:?}");
        assert!(run.stderr.contains("standard input: has no object"), "{input:?}: {}", run.stderr);
    }
    let run = byname_with_input(&["compile"], b"apiVersion: v1\nitems: []\nkind: List\n");
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("the input has no Service"), "{}", run.stderr);
}

#[test]
fn output_file_is_replaced_only_on_success() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("table.json");
    let path = file.to_str().expect("text");
    let made = byname(&["compile", "-f", SHOP, "-n", "shop", "--output-file", path]);
    assert_eq!((made.status, made.stdout.as_str()), (0, ""));
    let good = fs::read_to_string(&file).expect("written");
    assert_eq!(good, byname(&["compile", "-f", SHOP, "-n", "shop"]).stdout);
    assert_eq!(byname(&["compile", "-f", HOSTILE, "-n", "shop", "--output-file", path]).status, 2);
    assert_eq!(fs::read_to_string(&file).expect("there still"), good, "a failed run changes nothing");
    let names: Vec<_> =
        fs::read_dir(directory.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["table.json"], "no temporary file is left");
    let run = byname(&["compile", "-f", SHOP, "--output-file", "not/there/table.json"]);
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("not/there/table.json: cannot be written"), "{}", run.stderr);
}

#[test]
fn runs_as_a_kubectl_plugin() {
    let directory = tempfile::tempdir().expect("a directory");
    let plugin = directory.path().join("kubectl-byname");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_byname"), &plugin).expect("linked");
    let run = of(std::process::Command::new(&plugin).args(["explain", "--help"]).output().expect("it starts"));
    assert!(run.stdout.contains("Usage: kubectl byname explain"), "{}", run.stdout);
    assert!(byname(&["--help"]).stdout.contains("kubectl byname explain"), "the help shows it");
}

#[test]
fn completions_have_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = byname(&["completions", shell]);
        assert_eq!(run.status, 0);
        for command in ["compile", "explain", "diff", "schema"] {
            assert!(run.stdout.contains(command), "{shell} lacks {command}");
        }
        for option in ["output-file", "namespace"] {
            assert!(run.stdout.contains(option), "{shell} lacks {option}");
        }
        // Scripts for the other shells hold no values.
        if ["bash", "zsh", "fish"].contains(&shell) {
            for value in ["wide", "sarif", "envoy-bootstrap"] {
                assert!(run.stdout.contains(value), "{shell} lacks {value}");
            }
        }
    }
}
