//! `examples/ci`: the commands of its README, of its hook and of its action.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use byname_cli::input::{InputNode, InputValue, read_document};
use byname_test_support::console;
use serde_json::Value;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ci")
}

/// A copy of the example with `byname` on the PATH.
struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("manifests")).unwrap();
        fs::create_dir_all(directory.path().join("bin")).unwrap();
        for file in ["cart.yaml", "edge.yaml"] {
            let file = Path::new("manifests").join(file);
            fs::copy(example().join(&file), directory.path().join(&file)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_byname"), directory.path().join("bin/byname")).unwrap();
        Self { directory }
    }

    fn run(&self, command: &str, variables: &[(&str, &str)]) -> Output {
        let path = format!("{}:{}", self.directory.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-c", command]).current_dir(self.directory.path()).env("PATH", path).env("NO_COLOR", "1");
        shell.envs(variables.iter().copied()).output().unwrap()
    }

    fn write_baseline(&self) {
        let output = self.run("byname lint -f manifests --write-baseline byname-baseline.json", &[]);
        assert!(output.status.success(), "{output:?}");
    }

    fn break_cart(&self) {
        let file = self.directory.path().join("manifests/cart.yaml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace("targetPort: http", "targetPort: htpp")).unwrap();
    }
}

fn text<'n>(node: &'n InputNode, field: &str) -> &'n str {
    node.get(field).and_then(InputNode::text).unwrap()
}

fn list(node: &InputNode) -> &[InputNode] {
    match &node.value {
        InputValue::List(items) => items,
        other => panic!("{other:?} is no list"),
    }
}

#[test]
fn readme_commands_print_what_is_shown() {
    let repository = Repository::new();
    let commands = console(&fs::read_to_string(example().join("README.md")).unwrap());
    assert!(commands.len() > 4);
    for shown in commands {
        let output = repository.run(&format!("({}) 2>&1", shown.command), &[]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(shown.is_printed(&printed), "$ {}\nprints\n{printed}", shown.command);
    }
}

#[test]
fn the_hook_passes_old_findings_and_fails_on_new_ones() {
    // pre-commit reads a list of hooks.
    let hooks = fs::read_to_string(example().join(".pre-commit-hooks.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hooks.yaml");
    let indented: String = hooks.lines().map(|line| format!("  {line}\n")).collect();
    fs::write(&file, format!("hooks:\n{indented}")).unwrap();
    let (document, _) = read_document(&file).unwrap();
    let hook = &list(document.get("hooks").unwrap())[0];
    for field in ["id", "name", "entry", "language", "files"] {
        assert!(!text(hook, field).is_empty());
    }
    let args: Vec<&str> = list(hook.get("args").unwrap()).iter().map(|arg| arg.text().unwrap()).collect();
    let command = format!("{} {}", text(hook, "entry"), args.join(" "));

    let repository = Repository::new();
    repository.write_baseline();
    assert!(repository.run(&command, &[]).status.success());
    repository.break_cart();
    assert_eq!(repository.run(&command, &[]).status.code(), Some(1));
}

#[test]
fn the_action_writes_sarif_and_fails_on_new_findings() {
    let (action, _) = read_document(&example().join("action/action.yml")).unwrap();
    let inputs = action.get("inputs").unwrap();
    let repository = Repository::new();
    repository.write_baseline();
    let run = || -> Vec<Option<i32>> {
        let steps = list(action.get("runs").unwrap().get("steps").unwrap());
        let codes = steps.iter().map(|step| {
            let InputValue::Map(env) = &step.get("env").unwrap().value else { panic!("no env") };
            let variables: Vec<(&str, &str)> = env
                .iter()
                .map(|(name, value)| {
                    let input = value.text().unwrap().trim_start_matches("${{ inputs.").trim_end_matches(" }}");
                    (&**name, text(inputs.get(input).unwrap(), "default"))
                })
                .collect();
            repository.run(text(step, "run"), &variables).status.code()
        });
        codes.collect()
    };
    let results = || -> usize {
        let sarif = fs::read(repository.directory.path().join("byname.sarif")).unwrap();
        let log: Value = serde_json::from_slice(&sarif).unwrap();
        log["runs"][0]["results"].as_array().unwrap().len()
    };
    assert_eq!((run(), results()), (vec![Some(0), Some(0)], 0));
    repository.break_cart();
    assert_eq!((run(), results()), (vec![Some(0), Some(1)], 1));
}

#[test]
fn the_workflow_uses_the_action() {
    let (workflow, _) = read_document(&example().join("workflow.yml")).unwrap();
    let steps = list(workflow.get("jobs").unwrap().get("lint").unwrap().get("steps").unwrap());
    let uses: Vec<&str> = steps.iter().filter_map(|step| step.get("uses")?.text()).collect();
    assert!(uses.contains(&"./.github/actions/byname"));
    let upload = steps.iter().find(|step| text(step, "uses").contains("upload-sarif")).unwrap();
    assert_eq!(text(upload.get("with").unwrap(), "sarif_file"), "byname.sarif");
}
