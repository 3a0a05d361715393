//! Text for people: answers go to the standard output, messages to the standard error, and colours to terminals only.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{
    pager,
    wrap::{columns_of_messages, wrapped},
};

/// The style of errors.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The style of warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// The style of success.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of names.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// The style of side notes.
pub const ASIDE: Style = Style::new().dimmed();

/// The hanging indent of a message at a terminal.
const MESSAGE_INDENT: usize = 4;

/// Writes `text` for people to the standard output, at a terminal through a pager if it is long. Removes colours if the output is not a
/// terminal or `NO_COLOR` is set, unless `--color` says otherwise.
///
/// # Errors
/// If the output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    if pager::show(text, anstream::AutoStream::choice(&io::stdout())) {
        return Ok(());
    }
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether a character controls a terminal, changes the text direction or is invisible.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text from the input, safe for a terminal: harmful characters are escaped.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

/// Prints an error to the standard error.
pub fn error(text: &str) {
    say(&format!("{ERROR}error{ERROR:#}: {}", plain(text)));
}

/// Prints a warning to the standard error.
pub fn warn(text: &str) {
    say(&format!("{WARNING}warning{WARNING:#}: {}", plain(text)));
}

/// Prints a note to the standard error.
pub fn note(text: &str) {
    say(&format!("{ASIDE}note{ASIDE:#}: {}", plain(text)));
}

fn say(line: &str) {
    let line = wrapped(line, MESSAGE_INDENT, columns_of_messages());
    // A closed standard error leaves no place to report this failure.
    drop(writeln!(anstream::AutoStream::auto(io::stderr().lock()), "{line}"));
}
