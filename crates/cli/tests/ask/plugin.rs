//! `kubectl byname` by a real kubectl, and what a terminal gets: colours and a pager.

use std::{
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use byname_test_support::{kubectl_binary, repository};

use crate::program::{DUMP, Run, of, program};

const CHECKOUT: [&str; 6] = ["explain", "checkout.shop", "-n", "billing", "-f", DUMP];

/// Runs a real kubectl, with the program on its PATH under the names that it looks for.
fn kubectl(args: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    for name in ["kubectl-byname", "kubectl_complete-byname"] {
        symlink(env!("CARGO_BIN_EXE_byname"), directory.path().join(name)).unwrap();
    }
    let mut command = Command::new(kubectl_binary().unwrap());
    command.args(args).current_dir(repository()).stdin(Stdio::null()).env("HOME", "/nonexistent");
    of(command.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display())).output().unwrap())
}

/// Runs `command` at a terminal of 20 lines.
fn at_terminal(command: &str) -> String {
    let line = format!("stty rows 20 cols 100; {command}");
    let mut terminal = Command::new("script");
    for (name, value) in program().get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal.args(["-qec", &line, "/dev/null"]).current_dir(repository()).stdin(Stdio::null());
    String::from_utf8(terminal.output().unwrap().stdout).unwrap().replace('\r', "")
}

#[test]
fn kubectl_runs_and_completes_the_plugin() {
    let help = kubectl(&["byname", "--help"]).expect(0);
    assert!(help.stdout.contains("Usage: kubectl byname [OPTIONS] <COMMAND>"), "{}", help.stdout);
    let run = kubectl(&[&["byname"] as &[&str], &CHECKOUT].concat()).expect(0);
    assert!(run.stdout.starts_with("checkout.shop from namespace billing\n"), "{}", run.stdout);
    let lines = |args: &[&str]| -> Vec<String> {
        let run = kubectl(&[&["__complete", "byname"] as &[&str], args].concat()).expect(0);
        run.stdout.lines().map(str::to_owned).collect()
    };
    let commands = lines(&["ex"]);
    assert!(commands[0].starts_with("explain\tPrint how a name resolves"), "{commands:?}");
    assert_eq!(commands[1..], [":4"]);
    let options = lines(&["lint", "--from"]);
    assert_eq!(
        options.iter().map(|line| line.split('\t').next().unwrap()).collect::<Vec<_>>(),
        ["--from-cluster", ":4"]
    );
    let formats = lines(&["explain", "-o", "w"]);
    assert!(formats[0].starts_with("wide"), "{formats:?}");
    let files = lines(&["lint", "-f", "examples/cl"]);
    assert!(files[0].starts_with("examples/cluster"), "{files:?}");
    // Nothing is known of names, so the shell offers its own.
    assert_eq!(lines(&["explain", "pay"]), [":0"]);
}

#[test]
fn colours_are_a_choice() {
    let with = |variable: Option<(&str, &str)>, more: &[&str]| {
        let mut command = program();
        command.args(CHECKOUT).args(more).envs(variable).stdin(Stdio::null());
        of(command.output().unwrap()).expect(0).stdout.contains('\u{1b}')
    };
    assert!(!with(None, &[]), "a pipe has none");
    assert!(with(None, &["--color", "always"]));
    assert!(with(Some(("NO_COLOR", "1")), &["--color=always"]), "the option is more than the variable");
    assert!(!with(Some(("CLICOLOR_FORCE", "1")), &["--color", "never"]));
    assert!(
        at_terminal(&format!("{} {} --no-pager", env!("CARGO_BIN_EXE_byname"), CHECKOUT.join(" "))).contains('\u{1b}')
    );
    let plain = at_terminal(&format!("NO_COLOR=1 {} {} --no-pager", env!("CARGO_BIN_EXE_byname"), CHECKOUT.join(" ")));
    assert!(plain.starts_with("checkout.shop from namespace billing\n"), "{plain}");
}

#[test]
fn long_text_goes_through_a_pager_at_a_terminal_alone() {
    let byname = env!("CARGO_BIN_EXE_byname");
    let explain = format!("{byname} {} --color never", CHECKOUT.join(" "));
    let paged = |text: &str| text.lines().all(|line| line.starts_with("paged "));
    let text = at_terminal(&format!("PAGER='sed s/^/paged\\ /' {explain}"));
    assert!(paged(&text) && text.contains("paged Endpoints"), "{text}");
    for command in [
        format!("PAGER='sed s/^/paged\\ /' {explain} --no-pager"),
        format!("PAGER= {explain}"),
        // A pager that is not installed.
        format!("PAGER=no-such-pager {explain} 2>/dev/null"),
        // A pipe, and a text that fits.
        format!("PAGER='sed s/^/paged\\ /' {explain} | cat"),
    ] {
        let text = at_terminal(&command);
        assert!(text.starts_with("checkout.shop from namespace billing\n"), "{command}: {text}");
    }
    let short = at_terminal(&format!("PAGER='sed s/^/paged\\ /' {byname} lint -f {DUMP} --color never"));
    assert_eq!(short, "no issues in 16 Services\n");
}
