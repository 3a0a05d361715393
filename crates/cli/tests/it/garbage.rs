//! A gigabyte of garbage is refused early, for the right reason, and in little memory.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use byname_cli::input::read_stream;

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
        ("a: b\n", "has more than 250000 values"),
        ("{", "has a key that is not a string"),
        ("{\"a\":", "is nested more than 100 levels deep"),
        ("[", "is not a Kubernetes object"),
        ("a: [\n", "is nested more than 100 levels deep"),
        ("? ", "has a key that is not a string"),
        ("- ", "is not a Kubernetes object"),
        ("a:\n- - - - -", "has more than 250000 values"),
        ("kind: \"", "is not valid YAML or JSON"),
        ("%\n", "an object is larger than"),
        ("a: |\n ", "an object is larger than"),
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
    let refusal =
        refusal_of(move |index| if index == 0 { text.clone() } else { [&[b' '; 1 << 20][..], b"\n"].concat() });
    assert!(refusal.contains("has more than 250000 values"), "{refusal}");
}

/// Each object copies the values of an anchor, so a megabyte would expand to gigabytes.
#[test]
fn expansion_of_yaml_aliases_is_bounded_for_each_file() {
    let mut text = String::from("anchors: &a [");
    for _ in 0..20_000 {
        text.push_str("xxxxxxxx, ");
    }
    text.push_str("]\nkind: List\napiVersion: v1\nitems:\n");
    for index in 0..20_000 {
        text.push_str(&format!(
            "- {{kind: Service, apiVersion: v1, metadata: {{name: s{index}}}, spec: {{externalIPs: *a}}}}\n"
        ));
    }
    let text = text.into_bytes();
    let refusal =
        refusal_of(move |index| if index == 0 { text.clone() } else { [&[b' '; 1 << 20][..], b"\n"].concat() });
    assert!(refusal.contains("has aliases (*name) that copy more than 33554432 bytes in one file"), "{refusal}");
}

/// Texts of the characters that mean something in YAML and JSON, and of any bytes: they end, and each error has one line.
#[test]
fn reads_any_bytes_to_an_end() {
    let alphabet: Vec<&[u8]> = b"  \n\n\t:#-?,[]{}&*!|>'\"%@`\\ab1~=<.\r"
        .chunks(1)
        .chain(
            ["kind: List", "items:", "---\n", "...\n", "\\u", "d83d", "\u{85}", "\u{2028}", "\u{feff}", "é"]
                .map(str::as_bytes),
        )
        .chain([b"\xff\xfe".as_slice(), b"\xfe\xff", b"\0", b"\xff", b"==== START logs for a ====\n"])
        .collect();
    let mut random = 7;
    let mut below = |limit: usize| usize::try_from(byname_core::next_random(&mut random)).expect("64 bits") % limit;
    for _ in 0..30_000 {
        let common = below(alphabet.len() - 5) + 5;
        let text: Vec<u8> = (0..below(40)).flat_map(|_| alphabet[below(common)]).copied().collect();
        let read = read_stream(&*text, "any", &mut |object| {
            object.node.read::<serde_json::Value>().expect("any value");
            Ok(())
        });
        if let Err(error) = read {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}
