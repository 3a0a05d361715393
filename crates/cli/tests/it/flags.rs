//! `-o`, `--output-file` and `-n` mean the same in every command.

use std::{fs, path::Path};

use crate::run::{HOSTILE, SHOP, byname};

#[test]
fn impossible_formats_are_errors_that_list_the_formats() {
    for (args, parts) in [
        (
            &["explain", "cart", "-n", "shop", "-f", SHOP, "-o", "sarif"] as &[&str],
            &["invalid value 'sarif'", "[possible values: text, wide, json]"] as &[&str],
        ),
        (&["diff", SHOP, SHOP, "-o", "wide"], &["invalid value 'wide'", "[possible values: text, json]"]),
        (&["lint", "-f", SHOP, "-o", "wide"], &["invalid value 'wide'", "[possible values: text, json, sarif]"]),
        (
            &["compile", "-f", SHOP, "-o", "json"],
            &[
                "-o json: is not an option of this command",
                "--format table|envoy-ecds|envoy-bootstrap|istio-wasmplugin",
            ],
        ),
        (&["compile", "-f", SHOP, "--output", "envoy-ecds"], &["-o envoy-ecds:", "use --format table|"]),
        (&["watch", "-o", "json", "--output-file", "x.yaml"], &["-o json:", "use --format envoy-ecds|table"]),
    ] {
        let run = byname(args);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{args:?}");
        for part in parts {
            assert!(run.stderr.contains(part), "{args:?} lacks {part:?}:\n{}", run.stderr);
        }
    }
}

#[test]
fn a_file_given_as_the_format_is_an_error_that_names_the_flag_for_files() {
    for (args, part) in [
        (&["compile", "-f", SHOP, "-o", "sidecar.yaml"] as &[&str], "-o sidecar.yaml:"),
        (&["compile", "-f", SHOP, "-o", "sidecar.yaml"], "to write to this file use --output-file sidecar.yaml"),
        (&["compile", "-f", SHOP, "-o", "table"], "use --format table|"),
        (&["compile", "-f", SHOP, "-o", "out"], "use --output-file out"),
        (&["compile", "-f", SHOP, "--output=out/x.yaml"], "use --output-file out/x.yaml"),
        (&["watch", "--from-dir", SHOP, "-o", "ecds/byname.yaml"], "use --output-file ecds/byname.yaml"),
        (
            &["lint", "-f", SHOP, "-o", "byname.sarif"],
            "(text, json, sarif); to write to this file use --output-file byname.sarif",
        ),
        (&["lint", "-f", SHOP, "-o", "reports/lint"], "use --output-file reports/lint"),
        (
            &["explain", "cart", "-n", "shop", "-f", SHOP, "-o", "out.json"],
            "(text, wide, json); to write to this file use > out.json",
        ),
        (&["diff", SHOP, SHOP, "-o", "out.json"], "use > out.json"),
    ] {
        let run = byname(args);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(run.stderr.contains(part), "{args:?} lacks {part:?}:\n{}", run.stderr);
    }
    assert!(!Path::new("sidecar.yaml").exists());
}

#[test]
fn former_flags_work_for_a_release() {
    let (new, old) = ("-n", "--from");
    let explain = |flag| byname(&["explain", "cart", flag, "shop", "-f", SHOP]).shown();
    assert_eq!(explain(new), explain(old));
    let diff = |flag| byname(&["diff", SHOP, HOSTILE, flag, "shop"]).shown();
    assert_eq!(diff(new), diff(old));
    let run = byname(&["lint", "-f", SHOP, "--format", "json"]);
    assert_eq!(run.stdout, byname(&["lint", "-f", SHOP, "-o", "json"]).stdout);
    assert!(run.stderr.contains("--format is called -o now"), "{}", run.stderr);
    assert_eq!(byname(&["lint", "-f", SHOP, "--format", "json", "-o", "json"]).status, 2);
    // Help and completions show the new flags only.
    for command in ["explain", "lint", "diff", "watch", "compile"] {
        let help = byname(&[command, "--help"]).stdout;
        assert!(!help.contains("--from ") && !help.contains("Former name"), "{help}");
    }
}

#[test]
fn lint_reports_one_namespace_with_the_objects_of_all() {
    let all = byname(&["lint", "-f", HOSTILE, "-A", "-o", "json"]);
    assert_eq!(all.stdout, byname(&["lint", "-f", HOSTILE, "-o", "json"]).stdout);
    let count = |run: &crate::run::Run, namespace: &str| {
        let part = format!("\"namespace\": \"{namespace}\"");
        (run.stdout.matches(&part).count(), run.stdout.matches("\"namespace\": ").count())
    };
    let shop = byname(&["lint", "-f", HOSTILE, "-n", "shop", "-o", "json"]);
    let (of_shop, of_all) = count(&shop, "shop");
    assert!(of_shop > 0 && of_shop == of_all && of_shop == count(&all, "shop").0, "{of_shop} of {of_all}");
    let text = byname(&["lint", "-f", SHOP, "-n", "data"]);
    assert_eq!((text.status, text.stdout.lines().next()), (0, Some("no issues in 3 Services")), "{}", text.shown());
    let unknown = byname(&["lint", "-f", SHOP, "-n", "shopp"]);
    assert_eq!(unknown.status, 2);
    assert!(
        unknown.stderr.contains("--namespace shopp: the input has no object of this namespace; its namespaces are"),
        "{}",
        unknown.stderr
    );
    assert_eq!(byname(&["lint", "-f", SHOP, "-n", "shop", "-A"]).status, 2);
}

#[test]
fn lint_writes_its_report_to_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("byname.sarif");
    let run = byname(&["lint", "-f", SHOP, "-o", "sarif", "--output-file", file.to_str().expect("text")]);
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{}", run.shown());
    assert!(fs::read_to_string(file).expect("written").contains("sarif-2.1.0"));
}
