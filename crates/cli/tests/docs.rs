//! The program takes every command line that a page of `docs/` shows.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic fails the test")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use byname_test_support::repository;

/// What a command may lack where there is no cluster and no file.
const MISSING: [&str; 3] =
    ["no cluster is configured", "No such file or directory", "secrets does not exist; create it"];
/// Stands for `byname`, and writes its arguments into a file: one a line, with a blank line after the last.
const BYNAME: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\" '' >> \"$CALLS\"\n";
/// Runs byname as a plugin.
const KUBECTL: &str = "#!/bin/sh\n[ \"$1\" != byname ] || { shift; byname \"$@\"; }\n";

/// The `sh` and `console` blocks of a page, as a script.
fn script(page: &str) -> String {
    let mut script = String::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let Some((language, lines)) = block.split_once('\n') else { continue };
        let mut is_continued = false;
        for line in lines.lines().filter(|_| matches!(language, "sh" | "console")) {
            // The other lines of a `console` block are output.
            let command = if language == "sh" || is_continued { Some(line) } else { line.strip_prefix("$ ") };
            let Some(command) = command else { continue };
            is_continued = command.ends_with('\\');
            // The programs before it do not exist here.
            script.push_str(&command.replace("&&", ";"));
            script.push('\n');
        }
    }
    script
}

/// The arguments of each call of byname in a script. A shell splits them, which finds no other program.
fn calls(script: &str) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().expect("a directory");
    let programs = directory.path().join("programs");
    fs::create_dir(&programs).expect("created");
    for (name, text) in [("byname", BYNAME), ("kubectl", KUBECTL)] {
        let program = programs.join(name);
        fs::write(&program, text).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let record = directory.path().join("calls");
    let shell = Command::new("/bin/sh")
        .args(["-c", script])
        .current_dir(directory.path())
        .env_clear()
        .envs([("PATH", &programs), ("CALLS", &record)])
        .stdin(Stdio::null())
        .output();
    shell.expect("it starts");
    let record = fs::read_to_string(record).unwrap_or_default();
    let calls = record.split_terminator("\n\n");
    calls.map(|call| call.lines().map(str::to_owned).collect()).collect()
}

/// Why the program does not take a command line, in its own words.
fn refusal(arguments: &[String]) -> Option<String> {
    let nowhere = tempfile::tempdir().expect("a directory");
    // `serve` binds its addresses before it looks for the cluster.
    let arguments = arguments.iter().map(|argument| match argument.strip_prefix(':') {
        Some(_) => "127.0.0.1:0",
        None => argument,
    });
    let output = Command::new(env!("CARGO_BIN_EXE_byname"))
        .args(arguments)
        .current_dir(nowhere.path())
        .env_clear()
        .env("HOME", nowhere.path())
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_taken = output.status.success() || MISSING.iter().any(|missing| said.contains(missing));
    (!is_taken).then_some(said)
}

#[test]
fn the_program_takes_every_command_line_of_the_docs() {
    let mut refused = Vec::new();
    let mut checked = 0;
    for entry in fs::read_dir(repository().join("docs")).expect("a folder") {
        let page = entry.expect("an entry").path();
        if page.extension() != Some("md".as_ref()) {
            continue;
        }
        let script = script(&fs::read_to_string(&page).expect("text"));
        let calls = calls(&script);
        // The word begins a command after a pipe or a line's beginning.
        let begun = script.lines().flat_map(|line| line.split(['|', ';'])).map(|command| {
            let command = command.trim_start();
            command.strip_prefix("kubectl ").unwrap_or(command)
        });
        let shown = begun.filter(|command| command.starts_with("byname ")).count();
        assert_eq!(calls.len(), shown, "{}: {calls:?}", page.display());
        checked += shown;
        for call in calls {
            let name = page.file_name().map(Path::new).unwrap_or(&page).display().to_string();
            refused.extend(refusal(&call).map(|said| format!("{name}: byname {}\n{said}", call.join(" "))));
        }
    }
    assert!(checked > 40, "{checked} command lines");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn command_lines_that_the_program_does_not_take_are_found() {
    let page = "# A\n\n```sh\nbyname lint --bogus | byname explain 'a b' -n x --pod y/z\n```\n\n\
                ```text\nbyname no\n```\n\n```console\n$ byname compile \\\n    --format nope\nbyname out\n```\n";
    let calls = calls(&script(page));
    assert_eq!(calls.len(), 3, "{calls:?}");
    for (call, part) in [
        (&["compile", "--format", "nope"] as &[&str], "invalid value 'nope'"),
        (&["explain", "a b", "-n", "x", "--pod", "y/z"], "cannot be used with"),
        (&["lint", "--bogus"], "unexpected argument"),
    ] {
        let call: Vec<String> = call.iter().map(|&word| word.to_owned()).collect();
        assert!(calls.contains(&call), "{calls:?}");
        let said = refusal(&call).unwrap_or_default();
        assert!(said.contains(part), "{call:?}: {said}");
    }
}
