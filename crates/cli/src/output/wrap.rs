//! Word wrap of text for people, at the width of their terminal.

use std::{
    env,
    io::{self, IsTerminal},
};

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Narrower terminals are taken for this wide.
const MIN_COLUMNS: usize = 40;
/// A line whose hanging indent leaves fewer columns than this is not wrapped.
const MIN_TEXT_COLUMNS: usize = 24;

/// The number of columns to wrap the standard output at: `COLUMNS`, or else the terminal's. `None` if there is no terminal and
/// `COLUMNS` is not set: programs read whole lines.
#[must_use]
pub fn columns() -> Option<usize> {
    let asked = env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok()).filter(|columns| *columns > 0);
    asked.or_else(|| terminal_columns(io::stdout())).map(|columns| columns.max(MIN_COLUMNS))
}

/// The number of columns of the standard error, if that is a terminal.
pub(super) fn columns_of_messages() -> Option<usize> {
    terminal_columns(io::stderr()).map(|columns| columns.max(MIN_COLUMNS))
}

fn terminal_columns(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<usize> {
    let (width, _) = stream.is_terminal().then(|| terminal_size::terminal_size_of(stream)).flatten()?;
    Some(usize::from(width.0)).filter(|columns| *columns > 0)
}

/// Wraps a line between words. Further lines are indented by `hang` columns. A name longer than the line stays whole, so that it
/// can be copied. The codes of colours have no width.
#[must_use]
pub fn wrapped(line: &str, hang: usize, columns: Option<usize>) -> String {
    let Some(columns) = columns.filter(|columns| *columns >= hang + MIN_TEXT_COLUMNS) else { return line.to_owned() };
    let indent = " ".repeat(hang);
    let options = Options::new(columns)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(line, options)
}

/// Wraps each line of a text. `hang` is the hanging indent of a line.
#[must_use]
pub fn wrapped_lines(text: &str, hang: impl Fn(&str) -> usize, columns: Option<usize>) -> String {
    let lines = text.split('\n').map(|line| wrapped(line, hang(line), columns));
    lines.collect::<Vec<String>>().join("\n")
}
