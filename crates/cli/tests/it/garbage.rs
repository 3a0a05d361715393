//! A gigabyte of garbage is refused early, for the right reason, and in little memory.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use crate::run::of;

/// The bytes offered of each kind of garbage.
const BYTES: usize = 1 << 30;
/// The limit on the address space of the process, including its code.
const KILOBYTES: usize = 700_000;

fn refusal_of(piece: impl Fn(u64) -> Vec<u8> + Send + 'static) -> String {
    let limited = format!("ulimit -v {KILOBYTES} && exec '{}' compile", env!("CARGO_BIN_EXE_byname"));
    let mut child = Command::new("sh")
        .args(["-c", &limited])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = thread::spawn(move || {
        let mut written = 0;
        for index in 0.. {
            let piece = piece(index);
            if written >= BYTES || stdin.write_all(&piece).is_err() {
                return;
            }
            written += piece.len();
        }
    });
    let run = of(child.wait_with_output().expect("it ends"));
    writer.join().expect("it ends with its reader");
    assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    run.stderr
}

#[test]
fn refuses_a_gigabyte_of_garbage_for_the_right_reason() {
    let random = |index: u64| {
        let mut state = index + 1;
        (0..1 << 13).flat_map(|_| byname_core::next_random(&mut state).to_le_bytes()).collect()
    };
    assert!(refusal_of(random).contains("is not UTF-8 text"));
    assert!(refusal_of(|_| vec![0; 1 << 16]).contains("control character"));
    for (piece, reason) in [
        ("a", "an object is larger than"),
        ("lorem ipsum dolor sit amet ", "an object is larger than"),
        ("# a comment\n", "an object is larger than"),
        ("a: b\n", "has the field a twice"),
        ("{", "is not valid YAML or JSON"),
        ("{\"a\":", "recursion limit exceeded"),
        ("[", "recursion limit exceeded"),
        ("- ", "is not a Kubernetes object"),
        ("a:\n- - - - -", "has more than 250000 values"),
        ("kind: \"", "is not valid YAML or JSON"),
    ] {
        let refusal = refusal_of(move |_| piece.repeat((1 << 16) / piece.len()).into_bytes());
        assert!(refusal.contains(reason), "{piece:?}: {refusal}");
    }
}

/// Each YAML alias doubles what precedes it, so a kilobyte would expand to a gigabyte.
#[test]
fn expansion_of_yaml_aliases_is_bounded() {
    let mut text = String::from("a: &a0 [x, x]\n");
    for level in 1..40 {
        text.push_str(&format!("a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1));
    }
    let text = text.into_bytes();
    let refusal = refusal_of(move |index| if index == 0 { text.clone() } else { vec![b'\n'; 1 << 20] });
    assert!(refusal.contains("has more than 250000 values"), "{refusal}");
}
