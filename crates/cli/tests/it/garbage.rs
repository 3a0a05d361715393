//! A gigabyte of what is no cluster: refused soon, by what is wrong, in little memory.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use crate::run::of;

/// What is offered of each kind.
const BYTES: usize = 1 << 30;
/// What the program may map, its code and its runtime among it.
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
fn a_gigabyte_of_garbage_is_refused_for_what_it_is() {
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

/// Each alias doubles what stands before it: a kilobyte that would be a gigabyte.
#[test]
fn aliases_bring_in_no_more_than_fits() {
    let mut text = String::from("a: &a0 [x, x]\n");
    for level in 1..40 {
        text.push_str(&format!("a{level}: &a{level} [*a{}, *a{}]\n", level - 1, level - 1));
    }
    let text = text.into_bytes();
    let refusal = refusal_of(move |index| if index == 0 { text.clone() } else { vec![b'\n'; 1 << 20] });
    assert!(refusal.contains("has more than 250000 values"), "{refusal}");
}
