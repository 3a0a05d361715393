//! Reads what a real kubectl reads, with the same values: `kubectl annotate --local -f DIRECTORY x=y -o json` is the referee for
//! random documents in YAML and JSON. A third of those in YAML have random changes, so that many are none.
//!
//!     BYNAME_DOCUMENTS=10000 cargo test --package byname --test it kubectl     # more than the usual 3000
//!     BYNAME_SEED=7 cargo test --package byname --test it kubectl              # other documents

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs::{self, File},
    io::BufReader,
    path::Path,
    process::Command,
};

use byname_cli::input::{InputErrors, read_stream};
use byname_test_support::kubectl_binary;
use serde_json::Value;

/// Plain scalars that are easily taken for something else.
const WORDS: [&str; 74] = [
    "",
    "~",
    "null",
    "Null",
    "nUll",
    "y",
    "Y",
    "n",
    "N",
    "yes",
    "Yes",
    "yEs",
    "no",
    "NO",
    "on",
    "On",
    "off",
    "OFF",
    "true",
    "TRUE",
    "tRUE",
    "false",
    "False",
    ".inf",
    "-.INF",
    "+.Inf",
    ".nan",
    ".NaN",
    "0",
    "-0",
    "+0",
    "00",
    "08",
    "017",
    "0o17",
    "0O7",
    "0x50",
    "0XfF",
    "-0x1F",
    "0b11",
    "-0b11",
    "0b2",
    "8_080",
    "_1",
    "1_",
    "0_7",
    "1e3",
    "1E+3",
    "8e1",
    "1e43567",
    "-1e999",
    ".5e999",
    "1e-400",
    "5.",
    ".5",
    ".",
    "+",
    "-1",
    "1.5",
    "0-3",
    "0+7",
    "1:30",
    "190:20:30",
    "2026-01-01",
    "2026-1-2T3:4:5Z",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "=",
    "<<",
    "1e1_0",
    "0.1_5",
    "12e03",
];

/// A generator of documents.
struct Documents {
    random: u64,
    text: String,
    anchors: usize,
}

impl Documents {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(byname_core::next_random(&mut self.random) % limit as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn characters(&mut self, alphabet: &str, limit: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..self.below(limit)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    /// A document of a kind that kubectl does not know, so that it changes no value.
    fn document(&mut self, number: usize) -> String {
        self.text.clear();
        self.anchors = 0;
        if self.one_in(6) {
            self.json(number);
            return self.text.clone();
        }
        let start = ["", "", "", "---\n", "--- # here\n", "\u{feff}", "# first\n", "\n\n"];
        let start = self.pick(&start);
        self.text.push_str(start);
        write!(self.text, "apiVersion: example.com/v1\nkind: Thing\nmetadata: {{name: t{number}}}\n").unwrap();
        for field in 0..=self.below(4) {
            write!(self.text, "f{field}:").unwrap();
            self.value(0, 3);
        }
        if self.one_in(3) {
            for _ in 0..=self.below(3) {
                self.change();
            }
        }
        let end = self.pick(&["", "", "", "...\n", "# last", "---\n"]);
        self.text.push_str(end);
        if self.one_in(8) {
            let bare = self.text.trim_end().len();
            self.text.truncate(bare);
        }
        if self.one_in(8) { self.text.replace('\n', "\r\n") } else { self.text.clone() }
    }

    /// A document in JSON.
    fn json(&mut self, number: usize) {
        self.json_gap();
        self.text.push('{');
        write!(
            self.text,
            "\"apiVersion\":\"example.com/v1\", \"kind\":\"Thing\",\"metadata\":{{\"name\":\"t{number}\"}}"
        )
        .unwrap();
        for field in 0..=self.below(3) {
            write!(self.text, ",\"f{field}\"").unwrap();
            self.json_gap();
            self.text.push(':');
            self.json_value(3);
        }
        self.text.push('}');
        self.json_gap();
    }

    fn json_value(&mut self, depth: usize) {
        self.json_gap();
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 | 1 => {
                let text = self.json_text();
                self.text.push_str(&text);
            }
            2 => {
                let word = self.pick(&[
                    "true",
                    "false",
                    "null",
                    "0",
                    "-0",
                    "-12",
                    "1.50",
                    "1e3",
                    "1E-3",
                    "9223372036854775808",
                    "-1e30",
                ]);
                self.text.push_str(word);
            }
            3 => {
                let number = self.below(1 << 40);
                write!(self.text, "{number}").unwrap();
            }
            kind => {
                self.text.push(if kind == 4 { '[' } else { '{' });
                for item in 0..self.below(4) {
                    if item > 0 {
                        self.text.push(',');
                    }
                    if kind == 5 {
                        self.json_gap();
                        let key = self.json_text();
                        write!(self.text, "{key}:").unwrap();
                    }
                    self.json_value(depth - 1);
                }
                self.json_gap();
                self.text.push(if kind == 4 { ']' } else { '}' });
            }
        }
        self.json_gap();
    }

    fn json_text(&mut self) -> String {
        let mut text = String::from("\"");
        for _ in 0..self.below(5) {
            match self.below(3) {
                0 => text.push_str(self.pick(&[
                    r"\n",
                    r"\t",
                    r"\\",
                    r#"\""#,
                    r"\/",
                    r"\b",
                    r"\f",
                    r"\u0000",
                    r"\u2028",
                    r"\u00e9",
                    r"\ud83e\udd80",
                    r"\ud83e",
                    r"\udd80x",
                    r"\uD83E\u0041",
                ])),
                1 => text.push_str(self.pick(&[
                    "\u{2028}",
                    "\u{85}",
                    "\u{7f}",
                    "\u{feff}",
                    "é",
                    "\u{1f980}",
                    "  ",
                    " # a",
                    ": ",
                    "- ",
                ])),
                _ => text.push_str(&self.characters("ab :#-?,[]{}&*!|>%@'", 6)),
            }
        }
        text.push('"');
        text
    }

    fn json_gap(&mut self) {
        let gap = self.pick(&["", "", "", "", " ", "\n", "\t", "\r\n  "]);
        self.text.push_str(gap);
    }

    /// Changes a character behind the metadata.
    fn change(&mut self) {
        let start = self.text.find("}\n").unwrap() + 2;
        let places: Vec<usize> = self.text.char_indices().map(|(at, _)| at).filter(|at| *at >= start).collect();
        let at = places[self.below(places.len())];
        let other = self.characters(" \n\t:#-?,[]{}&*!|>'\"%@\\ab1~\u{85}\u{2028}\u{feff}", 2);
        match self.below(3) {
            0 => self.text.insert_str(at, &other),
            1 => _ = self.text.remove(at),
            _ => {
                self.text.remove(at);
                self.text.insert_str(at, &other);
            }
        }
    }

    /// The value of a field or an item, which begins behind `:` or `-`.
    fn value(&mut self, column: usize, depth: usize) {
        if self.one_in(12) {
            self.anchors += 1;
            write!(self.text, " &a{}", self.anchors).unwrap();
        } else if self.one_in(40) {
            let tag = self.pick(&[
                "!!str",
                "!!int",
                "!!float",
                "!!bool",
                "!!null",
                "!!binary",
                "!own",
                "!",
                "!!map",
                "!<tag:yaml.org,2002:str>",
            ]);
            write!(self.text, " {tag}").unwrap();
        } else if self.anchors > 0 && self.one_in(8) {
            let anchor = self.below(self.anchors) + 1;
            writeln!(self.text, " *a{anchor}").unwrap();
            return;
        }
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0..3 => {
                let scalar = self.plain();
                let gap = self.pick(&[" ", " ", "  ", "\t"]);
                write!(self.text, "{gap}{scalar}").unwrap();
                self.end_line();
            }
            3 => {
                self.text.push(' ');
                self.quoted(column + 2);
                self.end_line();
            }
            4 => self.block(column),
            5 => {
                self.text.push(' ');
                self.flow(column, depth.min(2));
                self.end_line();
            }
            6 | 7 => {
                self.end_line();
                let deeper = column + self.pick(&[" ", "  ", "  ", "    "]).len();
                for field in 0..=self.below(3) {
                    self.indent(deeper);
                    self.key(field);
                    self.value(deeper, depth - 1);
                }
            }
            _ => {
                self.end_line();
                let deeper = column + self.pick(&["", "", "  "]).len();
                for _ in 0..=self.below(3) {
                    self.indent(deeper);
                    self.text.push('-');
                    if self.one_in(3) {
                        self.text.push_str(" k:");
                        self.value(deeper + 2, depth - 1);
                    } else {
                        self.value(deeper, depth - 1);
                    }
                }
            }
        }
    }

    fn key(&mut self, field: usize) {
        let merge = self.anchors > 0 && self.one_in(20);
        let key = match self.below(12) {
            _ if merge => "<<".to_owned(),
            0 => self.pick(&WORDS).to_owned(),
            1 => format!("\"k{field}\""),
            2 => format!("'k {field}'"),
            3 => format!("? k{field}\n{}", " ".repeat(self.column())),
            4 => format!("k{} ", self.below(2)),
            5 => "a:b".to_owned(),
            _ => format!("k{field}"),
        };
        write!(self.text, "{key}:").unwrap();
    }

    fn column(&self) -> usize {
        self.text.len() - self.text.rfind('\n').map_or(0, |at| at + 1)
    }

    fn indent(&mut self, column: usize) {
        if self.one_in(15) {
            self.text.push_str("  # a comment\n\n");
        }
        self.text.push_str(&" ".repeat(column));
    }

    fn end_line(&mut self) {
        let end = self.pick(&["\n", "\n", "\n", " # so\n", " \n", "\t\n", "\n\n"]);
        self.text.push_str(end);
    }

    fn plain(&mut self) -> String {
        match self.below(5) {
            0 | 1 => self.pick(&WORDS).to_owned(),
            2 => self.characters("0123456789012345679+-._eExob:", 9),
            3 => format!("w{}", self.characters("abc def :#-?,[]{}&*!|>'\"%@\\é\u{1f980}", 6)),
            _ => format!("two\n   {}\n\n    words", self.pick(&WORDS)),
        }
    }

    fn quoted(&mut self, column: usize) {
        let breaks = ["\n".to_owned(), format!("\n{}", " ".repeat(column)), "\n\n \n".to_owned(), " \n\t".to_owned()];
        let mut text = String::new();
        let is_double = self.one_in(2);
        for _ in 0..self.below(6) {
            match self.below(5) {
                0 => text.push_str(&breaks[self.below(breaks.len())]),
                1 if is_double => {
                    text.push_str(self.pick(&[
                        r"\n",
                        r"\t",
                        r"\\",
                        r#"\""#,
                        r"\0",
                        r"\x41",
                        r"\u2028",
                        r"\U0001f980",
                        "\\\n",
                        "\\ ",
                        r"\e",
                        r"\N",
                        r"\_",
                        r"\L",
                        r"\'",
                        r"\q",
                        r"\ud83e\udd80",
                    ]));
                }
                1 => text.push_str("''"),
                2 => text.push_str(self.pick(&["\u{2028}", "\u{2029}", "\u{85}", "\u{a0}", "\u{feff}", "é"])),
                _ => text.push_str(&self.characters("ab :#-?,[]{}&*!|>%@ ", 6)),
            }
        }
        let quote = if is_double { '"' } else { '\'' };
        write!(self.text, "{quote}{text}{quote}").unwrap();
    }

    fn block(&mut self, column: usize) {
        let header = self.pick(&["|", ">", "|-", ">-", "|+", ">+", "|2", ">1-", "|+1", "| # so"]);
        writeln!(self.text, " {header}").unwrap();
        let deeper = column + 1 + self.below(3);
        for _ in 0..self.below(6) {
            let extra = self.pick(&["", "", "", " ", "\t", "   "]);
            let words = self.characters("ab :#-?,[]{}'\"\\\té\u{2028}", 8);
            let blank = self.pick(&["", "", "", "\n", "  \n", "\n\n"]);
            writeln!(self.text, "{blank}{}{extra}{words}", " ".repeat(deeper)).unwrap();
        }
    }

    fn flow(&mut self, column: usize, depth: usize) {
        let is_map = self.one_in(2);
        self.text.push(if is_map { '{' } else { '[' });
        let items = self.below(4);
        for item in 0..items {
            self.flow_gap(column);
            if is_map || self.one_in(6) {
                let key = self.pick(&["k", "\"k\"", "k ", "'k'", "k-1", "1", "yes", "? k"]);
                let colon = self.pick(&[": ", ": ", ":", " : ", ""]);
                let more = self.pick(&["", "x"]);
                write!(self.text, "{key}{more}{colon}").unwrap();
            }
            match self.below(4) {
                0 if depth > 0 => self.flow(column, depth - 1),
                1 => self.quoted(column),
                _ => {
                    let scalar = if self.one_in(4) { self.plain() } else { self.pick(&WORDS).to_owned() };
                    self.text.push_str(&scalar);
                }
            }
            self.flow_gap(column);
            if item + 1 < items || self.one_in(3) {
                self.text.push(',');
            }
        }
        self.flow_gap(column);
        self.text.push(if is_map { '}' } else { ']' });
    }

    fn flow_gap(&mut self, column: usize) {
        let lines = [format!("\n{}", " ".repeat(column)), format!("\n{}", " ".repeat(column + 2)), "\n".to_owned()];
        match self.below(10) {
            index @ 0..3 => self.text.push_str(&lines[index]),
            3 => self.text.push_str(" # so\n"),
            4 => self.text.push('\t'),
            5 => self.text.push(' '),
            _ => {}
        }
    }
}

/// The objects that kubectl reads of the files in `directory`, by name.
fn of_kubectl(directory: &Path) -> BTreeMap<String, Value> {
    let output = Command::new(kubectl_binary().unwrap())
        .args(["annotate", "--local", "-o", "json", "x=y", "-f"])
        .arg(directory)
        .env("KUBECONFIG", "/dev/null")
        .output()
        .unwrap();
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    objects
        .map(|object| {
            let mut object = object.unwrap();
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("annotations");
            (metadata["name"].as_str().unwrap().to_owned(), object)
        })
        .collect()
}

/// The objects of a file up to the first error, and this error.
fn of_byname(file: &Path) -> (Vec<Value>, Option<InputErrors>) {
    let mut objects = Vec::new();
    let reader = BufReader::new(File::open(file).unwrap());
    let read = read_stream(reader, &file.to_string_lossy(), &mut |object| {
        objects.push(object.node.read::<Value>().unwrap());
        Ok(())
    });
    (objects, read.err().map(InputErrors::from))
}

/// Whether both are the same, but for the last bit of doubles.
fn are_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let [left, right] = [left, right].map(|number| number.as_f64().unwrap());
            (left - right).abs() <= left.abs() * f64::EPSILON
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| are_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| are_equal(left, right)))
        }
        _ => left == right,
    }
}

#[test]
fn reads_the_values_that_kubectl_reads() {
    let number = |name: &str, default| env::var(name).ok().map_or(default, |text| text.parse().expect(name));
    let mut documents = Documents { random: number("BYNAME_SEED", 1), text: String::new(), anchors: 0 };
    let count = usize::try_from(number("BYNAME_DOCUMENTS", 3000)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |index: usize| directory.path().join(format!("t{index}.yaml"));
    for index in 0..count {
        fs::write(file(index), documents.document(index)).unwrap();
    }
    let expected = of_kubectl(directory.path());
    assert!(expected.len() > count / 3, "kubectl reads {} of {count} documents", expected.len());
    let mut differences = Vec::new();
    let mut read_alone = 0;
    for index in 0..count {
        let (objects, error) = of_byname(&file(index));
        match expected.get(&format!("t{index}")) {
            Some(expected) if objects.iter().any(|object| are_equal(object, expected)) => {}
            Some(expected) => {
                let text = fs::read_to_string(file(index)).unwrap();
                let found = objects.first().map_or_else(|| format!("{error:?}"), Value::to_string);
                differences.push(format!("{text}\n{text:?}\nkubectl: {expected}\nbyname:  {found}\n"));
            }
            None => read_alone += usize::from(error.is_none()),
        }
    }
    println!("kubectl reads {} of {count} documents, byname {read_alone} more", expected.len());
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(5)].join("\n")
    );
}
