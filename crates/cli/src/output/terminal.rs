//! What people read at a terminal: answers on the standard output, all else on the standard error, and colour where it is seen.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// What is wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What may be wrong.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What has a name.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// What stands aside.
pub const ASIDE: Style = Style::new().dimmed();

/// Writes `text` for people to the standard output. Colours in it are taken out where nobody would see them, and by `NO_COLOR`.
///
/// # Errors
/// Where it cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether a character steers a terminal, turns a line's direction or is not seen at all.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text of somebody else's as a terminal may have it: what is harmful is escaped.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Says on the standard error what is wrong.
pub fn error(error: &anyhow::Error) {
    for line in format!("{error:#}").lines() {
        say(&format!("{ERROR}error{ERROR:#}: {}", plain(line)));
    }
}

/// Says on the standard error what may be wrong.
pub fn warn(text: &str) {
    say(&format!("{WARNING}warning{WARNING:#}: {}", plain(text)));
}

/// Says on the standard error what is good to know.
pub fn note(text: &str) {
    say(&format!("{ASIDE}note{ASIDE:#}: {}", plain(text)));
}

fn say(line: &str) {
    // Where nobody listens there is nobody to tell.
    drop(writeln!(anstream::AutoStream::auto(io::stderr().lock()), "{line}"));
}
