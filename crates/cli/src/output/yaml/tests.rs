//! The readers of `input` and of serde-saphyr read printed values back unchanged.

use std::{collections::BTreeMap, fs, rc::Rc};

use byname_test_support::yaml_documents;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Fields, Yaml, map, one_line, print, serialized};
use crate::input;

/// Texts that a YAML reader takes for something else if they are not quoted.
const HOSTILE: [&str; 44] = [
    "",
    " ",
    "~",
    "null",
    "Null",
    "true",
    "FALSE",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "N",
    "nan",
    ".inf",
    "-.INF",
    "0",
    "-1",
    "012",
    "0x1f",
    "0o17",
    "0b1",
    "1e3",
    "1_000",
    "1.",
    ".5",
    "190:20:30",
    "2024-01-01",
    "12s",
    "=",
    "<<",
    "- a",
    "? a",
    "a: b",
    "a #b",
    " a",
    "a ",
    "{a}",
    "[a]",
    "*a",
    "&a",
    "---",
    "a\nb\n",
    "\n\na\n\n",
];

fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        select(vec!['\0', '\t', '\r', '\u{7f}', '\u{85}', '\u{a0}', '\u{200b}', '\u{202e}', '\u{2028}', '\u{feff}']),
        select(vec!['\n', ' ', ':', '#', '-', '"', '\'', '\\', '|', '>', '%', '@', '`', 'é', '\u{1f980}']),
        any::<char>(),
    ];
    prop_oneof![
        select(HOSTILE.map(str::to_owned).to_vec()),
        vec(character, 0..12).prop_map(String::from_iter),
        "[a-z][a-zA-Z0-9_./-]{0,8}",
        "([ -~]{0,8}\n){1,3}",
    ]
}

fn value() -> impl Strategy<Value = Yaml> {
    let leaf = prop_oneof![
        Just(Yaml::Null),
        any::<bool>().prop_map(Yaml::Bool),
        any::<i64>().prop_map(|number| Yaml::Number(number.into())),
        text().prop_map(Yaml::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Yaml::List),
            vec((text(), inner.clone()), 0..5).prop_map(map_of),
            inner.clone().prop_map(Yaml::one_line),
            inner.prop_map(|value| Yaml::commented("It says why: - [a\nand where", value)),
        ]
    })
}

fn map_of(fields: Vec<(String, Yaml)>) -> Yaml {
    let mut map = Fields::new();
    for (key, value) in fields {
        if !map.iter().any(|(other, _)| *other == key) {
            map.push((key.into(), value));
        }
    }
    Yaml::Map(map)
}

fn assert_is_read(document: &Yaml) {
    let text = print(document);
    let expected = document.json();
    assert_eq!(yaml_documents(&text).expect(&text), std::slice::from_ref(&expected), "{text}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), &text).expect("it is written");
    let (node, _) = input::read_document(file.path()).expect(&text);
    assert_eq!(node.read::<Value>().expect("JSON"), expected, "{text}");
}

proptest! {
    #[test]
    fn reads_as_what_was_printed(value in value()) {
        assert_is_read(&Yaml::Map(vec![("value".into(), value)]));
    }

    #[test]
    fn serializes_like_json(json in value()) {
        let json = json.json();
        assert_eq!(serialized(&json).json(), json);
    }
}

#[test]
fn quotes_hostile_texts() {
    for text in HOSTILE {
        let fields = || vec![(text.into(), Yaml::from(text))];
        assert_is_read(&Yaml::Map(vec![("block".into(), Yaml::Map(fields()))]));
        assert_is_read(&map! { "line": Yaml::one_line([Yaml::from(text), Yaml::Map(fields())]) });
    }
}

#[test]
fn lays_out_blocks_comments_and_shared_values() {
    let shared = || Yaml::Shared("limits", Rc::new(map! { "most": 3, "wait": "60s" }));
    let document = map! {
        "version": Yaml::commented("Two lines\nabove the key.", "1"),
        "left_out": None::<bool>,
        "entries": [
            Yaml::commented("Above the dash.", map! { "name": "a", "limits": shared() }),
            map! { "limits": shared(), "list": [[1, 2], [3, 4]] },
        ],
        "line": one_line! { "empty": Yaml::Map(Fields::new()), "limits": shared() },
        "lines": "{\n  \"a\": 1\n}\n",
        "anchored": [Yaml::Shared("first", Rc::new([true].into()))],
    };
    let text = "\
# Two lines
# above the key.
version: \"1\"
entries:
# Above the dash.
- name: a
  limits: &limits
    most: 3
    wait: 60s
- limits: *limits
  list:
  - - 1
    - 2
  - - 3
    - 4
line: {empty: {}, limits: *limits}
lines: |
  {
    \"a\": 1
  }
anchored:
- &first
  - true
";
    assert_eq!(print(&document), text);
    assert_is_read(&document);
}

#[test]
fn serializes_fields_in_order() {
    #[derive(serde::Serialize)]
    struct Ordered {
        b: BTreeMap<&'static str, Option<u16>>,
        a: (),
    }
    let value = serialized(&Ordered { b: [("x", None), ("z", Some(1))].into(), a: () });
    assert_eq!(print(&value), "b:\n  x: null\n  z: 1\na: null\n");
    let numbers = json!([true, u64::MAX, -1, -0.5, "text"]);
    assert_eq!(serialized(&numbers).json(), numbers);
}
