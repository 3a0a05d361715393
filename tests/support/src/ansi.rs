//! A picture of what a terminal shows, for documents.

use std::fmt::Write;

const BACKGROUND: &str = "#0d1117";
const FOREGROUND: &str = "#e6edf3";
/// Sizes in pixels.
const FONT: f32 = 13.0;
const LINE: f32 = 18.0;
const MARGIN: f32 = 16.0;
/// The width of a character of the fonts below, as a share of their size.
const ADVANCE: f32 = 0.602;
const FONTS: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

/// An SVG of a prompt with `command`, and below it `output`, whose ANSI colours it keeps.
#[must_use]
pub fn terminal_picture(command: &str, output: &str) -> String {
    let lines: Vec<Vec<Span>> = output.lines().map(spans).collect();
    let prompt = Span { text: format!("$ {command}"), style: Style { is_bold: true, ..Style::default() } };
    let lines: Vec<Vec<Span>> = [vec![prompt], Vec::new()].into_iter().chain(lines).collect();
    let width = |line: &[Span]| line.iter().map(|span| span.text.chars().count()).sum::<usize>();
    let columns = lines.iter().map(|line| width(line)).max().unwrap_or_default();
    let (columns, rows) = (columns as f32, lines.len() as f32);
    let (wide, high) = ((columns * FONT * ADVANCE + 2.0 * MARGIN).ceil(), rows * LINE + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" role=\"img\">\n\
         <rect width=\"{wide}\" height=\"{high}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"{FONTS}\" font-size=\"{FONT}\" fill=\"{FOREGROUND}\">\n"
    );
    let mut y = MARGIN + FONT;
    for line in &lines {
        // Writing to a String cannot fail.
        let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">");
        for span in line {
            let text = span.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            match span.style.attributes() {
                attributes if attributes.is_empty() => svg.push_str(&text),
                attributes => {
                    let _ = write!(svg, "<tspan{attributes}>{text}</tspan>");
                }
            }
        }
        svg.push_str("</text>\n");
        y += LINE;
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Style {
    is_bold: bool,
    is_dim: bool,
    colour: Option<&'static str>,
}

impl Style {
    /// Applies the number of an escape sequence (SGR).
    fn apply(&mut self, number: &str) {
        match number {
            "" | "0" => *self = Self::default(),
            "1" => self.is_bold = true,
            "2" => self.is_dim = true,
            "31" | "91" => self.colour = Some("#ff7b72"),
            "32" | "92" => self.colour = Some("#7ee787"),
            "33" | "93" => self.colour = Some("#e3b341"),
            "34" | "94" => self.colour = Some("#79c0ff"),
            "35" | "95" => self.colour = Some("#d2a8ff"),
            "36" | "96" => self.colour = Some("#76e3ea"),
            "90" => self.colour = Some("#8b949e"),
            _ => {}
        }
    }

    fn attributes(&self) -> String {
        let colour = self.colour.or(self.is_dim.then_some("#8b949e"));
        let colour = colour.map(|colour| format!(" fill=\"{colour}\"")).unwrap_or_default();
        format!("{}{colour}", if self.is_bold { " font-weight=\"bold\"" } else { "" })
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Span {
    text: String,
    style: Style,
}

/// The parts of a line with one style each.
fn spans(line: &str) -> Vec<Span> {
    let mut style = Style::default();
    let mut found: Vec<Span> = Vec::new();
    for (index, part) in line.split("\u{1b}[").enumerate() {
        let text = match part.split_once('m').filter(|_| index > 0) {
            Some((numbers, text)) => {
                numbers.split(';').for_each(|number| style.apply(number));
                text
            }
            None => part,
        };
        if text.is_empty() {
            continue;
        }
        match found.last_mut().filter(|last| last.style == style) {
            Some(last) => last.text.push_str(text),
            None => found.push(Span { text: text.to_owned(), style: style.clone() }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_markup_survive() {
        let svg = terminal_picture("ls", "a\u{1b}[1m\u{1b}[32m+\u{1b}[0m <b>\nlast");
        assert!(svg.contains(">a<tspan font-weight=\"bold\" fill=\"#7ee787\">+</tspan> &lt;b&gt;</text>"), "{svg}");
        assert!(svg.contains("<tspan font-weight=\"bold\">$ ls</tspan>") && svg.contains(">last</text>"), "{svg}");
        // The prompt, an empty line and two lines of output.
        assert!(svg.contains("height=\"104\""), "{svg}");
    }
}
