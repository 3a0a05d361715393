//! The commands of examples/serve, as a newcomer runs them.

use std::{fmt::Write, fs, os::unix::fs::symlink, process::Command};

use byname_test_support::{console, envoy_binary, free_port, repository};

/// Stands between the outputs of two commands.
const MARK: &str = "---- next ----";

/// The commands run as they are shown, except for ports, which could collide with other tests.
#[test]
fn examples_serve_prints_what_is_shown() {
    let root = repository();
    let shown = console(&fs::read_to_string(root.join("examples/serve/README.md")).unwrap());
    let [server, sidecar, admin, program, monitor] = [(); 5].map(|()| free_port().unwrap().to_string());
    let with_ports = |text: &str| text.replace("18000", &server).replace("15001", &sidecar).replace("8000", &program);

    let directory = tempfile::tempdir().unwrap();
    let there = |path: &str| directory.path().join(path);
    for made in ["target/native", "target/envoy", "examples/serve", "examples/cluster"] {
        fs::create_dir_all(there(made)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_byname"), there("target/native/byname")).unwrap();
    symlink(envoy_binary().unwrap(), there("target/envoy/envoy")).unwrap();
    symlink(root.join("target/byname.wasm"), there("target/byname.wasm")).unwrap();
    for file in ["cluster/shop.yaml", "serve/hello.yaml", "serve/endpoints.yaml"] {
        let text = fs::read_to_string(root.join("examples").join(file)).unwrap();
        fs::write(there("examples").join(file), with_ports(&text)).unwrap();
    }

    // Jobs have numbers only with job control, which scripts do not have by default. What is left of them ends with the script.
    let mut script = "set -m\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n".to_owned();
    for shown in &shown {
        let command = with_ports(&shown.command)
            .replace(" --insecure", &format!(" --insecure --monitor 127.0.0.1:{monitor} --listen 127.0.0.1:{server}"))
            .replace(" --server", &format!(" --admin 127.0.0.1:{admin} --listen 127.0.0.1:{sidecar} --server"));
        writeln!(script, "{command}\necho '{MARK}'").unwrap();
    }
    let output = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let log = fs::read_to_string(there("target/serve.log")).unwrap_or_default();
    let printed: Vec<&str> = printed.split_inclusive(&format!("{MARK}\n")).collect();
    assert_eq!(printed.len(), shown.len(), "{printed:?}\n{}\n{log}", String::from_utf8_lossy(&output.stderr));
    for (shown, printed) in shown.iter().zip(printed) {
        let printed = printed.strip_suffix(&format!("{MARK}\n")).unwrap();
        assert!(
            shown.is_printed(printed),
            "$ {}\nis shown as\n{}\nand prints\n{printed}\n{log}",
            shown.command,
            shown.output
        );
    }
}
