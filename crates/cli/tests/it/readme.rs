//! The documents show what the program prints.

use std::{env, fs, process::Command};

use byname_test_support::{console, section, terminal_picture};

use crate::run::{program, root};

/// The width of a terminal that everything in a document fits.
const COLUMNS: usize = 100;
/// The command of the README's picture, and the picture.
const PICTURED: &str = "byname explain checkout.shop -n billing -f examples/cluster/shop.yaml";
const PICTURE: &str = "docs/explain.svg";

/// `make picture` draws it anew.
#[test]
fn the_readme_shows_a_picture_of_explain() {
    let readme = fs::read_to_string(root().join("README.md")).expect("it is there");
    assert!(readme.contains(&format!("]({PICTURE})")) && readme.contains(PICTURED), "the picture and its command");
    let run = |colours: &str| {
        let args = PICTURED.split(' ').skip(1).chain(["--color", colours]);
        let output = program().args(args).env("COLUMNS", COLUMNS.to_string()).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let plain = run("never");
    assert!(plain.lines().all(|line| line.chars().count() <= COLUMNS), "wider than {COLUMNS}:\n{plain}");
    let drawn = terminal_picture(PICTURED, &run("always"));
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(PICTURE), &drawn).expect("written");
    }
    let committed = fs::read_to_string(root().join(PICTURE)).unwrap_or_default();
    assert!(committed == drawn, "{PICTURE} is not what `{PICTURED}` prints: run `make picture`");
}

#[test]
fn readme_commands_print_what_is_shown() {
    let document = fs::read_to_string(root().join("README.md")).expect("it is there");
    let commands = console(section(&document, "## Ask the cluster").expect("the heading"));
    for needed in ["byname lint", "byname diff"] {
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

/// The commands run as `docs/compile.md` shows them, except for the file, which could collide with other tests. Envoy
/// validates what it would run.
#[test]
fn two_commands_turn_a_dump_into_a_sidecar() {
    let document = fs::read_to_string(root().join("docs/compile.md")).expect("it is there");
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
