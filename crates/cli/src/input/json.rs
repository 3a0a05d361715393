//! Rewrites the JSON that is not YAML: documents without a separator, and characters written as surrogate pairs
//! (`\ud83d\ude00`).

/// Parser state between the pieces of a JSON stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Json {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// Whether a document has ended, so that the next bracket begins another one.
    has_ended: bool,
}

impl Json {
    /// `piece` as YAML. A piece must end with a line or outside an escape.
    pub(super) fn as_yaml(&mut self, piece: &str) -> String {
        let mut yaml = String::with_capacity(piece.len() + 4);
        let mut at_start_of_line = true;
        for c in joined(piece).chars() {
            if self.in_text {
                match c {
                    _ if self.is_escaped => self.is_escaped = false,
                    '\\' => self.is_escaped = true,
                    '"' => self.in_text = false,
                    _ => {}
                }
            } else {
                match c {
                    '{' | '[' if self.depth == 0 && self.has_ended => {
                        yaml.push_str(if at_start_of_line { "--- " } else { "\n--- " });
                        self.depth = 1;
                    }
                    '{' | '[' => self.depth += 1,
                    '}' | ']' => {
                        self.depth = self.depth.saturating_sub(1);
                        self.has_ended = self.depth == 0;
                    }
                    '"' => self.in_text = true,
                    _ => {}
                }
            }
            at_start_of_line = c == '\n';
            yaml.push(c);
        }
        yaml
    }
}

/// Whether `piece` may end inside an escape.
pub(super) fn ends_in_escape(piece: &[u8]) -> bool {
    const ESCAPE: usize = r"\ud83d\ude00".len();
    let tail = piece.get(piece.len().saturating_sub(ESCAPE)..).unwrap_or_default();
    tail.contains(&b'\\') && !tail.ends_with(b"\n")
}

/// `text` with each surrogate pair replaced by its character.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        joined.push_str(before);
        let length = match halves(escape) {
            Some(c) => {
                joined.push(c);
                r"\ud83d\ude00".len()
            }
            // Copy the backslash with the character it escapes, which may be another backslash.
            None => {
                let length = escape.chars().take(2).map(char::len_utf8).sum();
                joined.push_str(escape.get(..length).unwrap_or(escape));
                length
            }
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    joined + rest
}

/// The character of the surrogate pair that `text` begins with.
fn halves(text: &str) -> Option<char> {
    let half = |at: usize| u16::from_str_radix(text.get(at..)?.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let halves = [half(0)?, half(6)?];
    char::decode_utf16(halves).next()?.ok().filter(|c| u32::from(*c) > 0xffff)
}
