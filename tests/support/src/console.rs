//! Commands that documents show, which tests run as they are shown.

/// A command and its shown output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsoleCommand {
    /// The command, on several lines if they end in a backslash.
    pub command: String,
    /// The output. `…` stands for any text.
    pub output: String,
}

impl ConsoleCommand {
    /// Whether `printed` matches the shown output, except for white space at the ends.
    #[must_use]
    pub fn is_printed(&self, printed: &str) -> bool {
        let mut parts = self.output.trim().split('…');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = printed.trim().strip_prefix(first) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        true
    }
}

/// The commands of a document's `console` blocks: lines that begin with `$ `, each with the output below it.
#[must_use]
pub fn console(document: &str) -> Vec<ConsoleCommand> {
    let mut commands: Vec<ConsoleCommand> = Vec::new();
    for block in document.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let mut is_continued = false;
        for line in block.lines() {
            let begun = commands.last_mut().filter(|_| is_continued);
            if let Some(shown) = begun {
                shown.command.push('\n');
                shown.command.push_str(line);
                is_continued = line.ends_with('\\');
            } else if let Some(command) = line.strip_prefix("$ ") {
                commands.push(ConsoleCommand { command: command.to_owned(), output: String::new() });
                is_continued = command.ends_with('\\');
            } else if let Some(shown) = commands.last_mut() {
                shown.output.push_str(line);
                shown.output.push('\n');
            }
        }
    }
    commands
}

/// The part of a document below a heading, up to the next heading of the same level. The heading has its `#`.
#[must_use]
pub fn section<'a>(document: &'a str, heading: &str) -> Option<&'a str> {
    let (_, below) = document.split_once(&format!("\n{heading}\n"))?;
    let level = heading.split(' ').next().unwrap_or_default();
    let end = (1..=level.len()).filter_map(|level| below.find(&format!("\n{} ", "#".repeat(level)))).min();
    below.get(..end.unwrap_or(below.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_output_below_them() {
        let document = "# A\n```console\n$ one \\\n    more\n1\n2\n$ two\n```\n```sh\n$ not this\n```\n";
        let shown = console(document);
        assert_eq!(shown.len(), 2);
        assert_eq!((&*shown[0].command, &*shown[0].output), ("one \\\n    more", "1\n2\n"));
        assert_eq!((&*shown[1].command, &*shown[1].output), ("two", ""));
    }

    #[test]
    fn a_section_ends_at_the_next_heading_of_its_level() {
        let document = "# A\n\n## B\none\n### C\ntwo\n## D\nthree\n";
        assert_eq!(section(document, "## B"), Some("one\n### C\ntwo"));
        assert_eq!(section(document, "### C"), Some("two"));
        assert_eq!(section(document, "## D"), Some("three\n"));
        assert_eq!(section(document, "## E"), None);
    }

    #[test]
    fn an_ellipsis_stands_for_any_text() {
        let is_printed = |output: &str, printed: &str| {
            ConsoleCommand { command: String::new(), output: output.to_owned() }.is_printed(printed)
        };
        for (output, printed) in
            [("", "\n"), ("a\n", "a"), ("a…c", "abc"), ("…", ""), ("a…", "ab\nc"), ("…b…d", "abcd")]
        {
            assert!(is_printed(output, printed), "{output:?} {printed:?}");
        }
        for (output, printed) in [("", "a"), ("a", "ab"), ("a…c", "ab"), ("a…b", "ba"), ("…b…a", "abcd")] {
            assert!(!is_printed(output, printed), "{output:?} {printed:?}");
        }
    }
}
