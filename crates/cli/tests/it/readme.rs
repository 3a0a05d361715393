//! The documents show what the program prints.

use std::{env, fs, process::Command};

use byname_test_support::console;

use crate::run::root;

#[test]
fn readme_commands_print_what_is_shown() {
    let document = fs::read_to_string(root().join("README.md")).expect("it is there");
    let commands = console(&document);
    for needed in ["byname explain", "byname lint", "byname compile"] {
        assert!(commands.iter().any(|shown| shown.command.contains(needed)), "{needed} is not shown");
    }
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_byname"), directory.path().join("byname")).expect("linked");
    let path = format!("{}:{}", directory.path().display(), env::var("PATH").expect("a PATH"));
    for shown in commands {
        let output = Command::new("sh")
            .args(["-c", &format!("{} 2>&1", shown.command)])
            .current_dir(root())
            .env("PATH", &path)
            .output()
            .expect("it starts");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert!(
            shown.is_printed(&printed),
            "$ {}\nis shown as\n{}\nand prints\n{printed}",
            shown.command,
            shown.output
        );
    }
}

/// The commands run as the README shows them, except for ports and the file, which could collide with other tests.
#[test]
fn two_commands_turn_a_dump_into_a_sidecar() {
    let document = fs::read_to_string(root().join("README.md")).expect("it is there");
    let (_, block) = document.split_once("```sh\nbyname compile ").expect("the two commands");
    let (compile, rest) = block.split_once('\n').expect("two lines");
    let (envoy, _) = rest.split_once('\n').expect("two lines");
    assert_eq!(envoy, "target/envoy/envoy -c sidecar.yaml");
    let directory = tempfile::tempdir().expect("a directory");
    let sidecar = directory.path().join("sidecar.yaml");
    let compile = compile.replace("sidecar.yaml", sidecar.to_str().expect("text"));
    let args: Vec<&str> = ["compile"].into_iter().chain(compile.split(' ')).collect();
    let run = crate::run::byname(&args);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let envoy = byname_test_support::envoy_binary().expect("an Envoy");
    let output = Command::new(envoy)
        .args(["--mode", "validate", "-c"])
        .arg(&sidecar)
        .current_dir(root())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
