//! The figures of a run, as a table and as JSON.

use std::{
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Map, Value, json};

/// The figures, in the order in which they are printed.
#[derive(Debug)]
pub(crate) struct FleetReport {
    start: Instant,
    parts: Vec<(String, Vec<Figure>)>,
}

#[derive(Debug)]
struct Figure {
    what: String,
    target: String,
    measured: String,
    value: Value,
}

/// A measured value, and how it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measured {
    Cores(f64),
    Time(Duration),
    Bytes(f64),
    Count(f64),
    Percent(f64),
    /// How many times as much as something else.
    Ratio(f64),
}

impl Measured {
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Cores(number)
            | Self::Bytes(number)
            | Self::Count(number)
            | Self::Percent(number)
            | Self::Ratio(number) => number,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Cores(cores) => format!("{cores:.3} cores"),
            Self::Time(time) => match time.as_secs_f64() {
                seconds if seconds < 0.001 => format!("{:.1} µs", seconds * 1e6),
                seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
                seconds => format!("{seconds:.1} s"),
            },
            Self::Bytes(bytes) if bytes < 1e3 => format!("{bytes:.0} bytes"),
            Self::Bytes(bytes) if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
            Self::Bytes(bytes) if bytes < 1e7 => format!("{:.1} MB", bytes / 1e6),
            Self::Bytes(bytes) => format!("{:.0} MB", bytes / 1e6),
            Self::Percent(percent) => format!("{percent:.1} %"),
            Self::Ratio(ratio) => format!("{ratio:.1} ×"),
            Self::Count(count) if count < 100.0 => format!("{count:.1}"),
            Self::Count(count) => format!("{count:.0}"),
        }
    }
}

impl FleetReport {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), parts: Vec::new() }
    }

    /// Begins a part: the figures that follow are of it.
    pub(crate) fn begin(&mut self, part: impl Into<String>) {
        let part = part.into();
        eprintln!("after {} s, {part}:", self.start.elapsed().as_secs());
        self.parts.push((part, Vec::new()));
    }

    /// Adds a figure. `target` is empty where there is none.
    pub(crate) fn add(&mut self, what: impl Into<String>, target: &str, measured: &[Measured]) {
        let what = what.into();
        let texts: Vec<String> = measured.iter().map(|one| one.text()).collect();
        let numbers: Vec<f64> = measured.iter().map(|one| one.number()).collect();
        eprintln!("  {what}: {}", texts.join(", "));
        let figure = Figure { what, target: target.to_owned(), measured: texts.join(", "), value: json!(numbers) };
        if let Some((_, figures)) = self.parts.last_mut() {
            figures.push(figure);
        }
    }

    /// Prints the figures as a Markdown table.
    pub(crate) fn print(&self) {
        let mut text = "| | figure | to reach | measured |\n|---|---|---|---|\n".to_owned();
        for (part, figures) in &self.parts {
            for (index, Figure { what, target, measured, .. }) in figures.iter().enumerate() {
                let part = if index == 0 { part } else { "" };
                // Writing to a string cannot fail.
                let _ = writeln!(text, "| {part} | {what} | {target} | {measured} |");
            }
        }
        print!("{text}");
    }

    /// Writes the figures by part, in seconds, bytes, cores and counts.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let figures = |figures: &[Figure]| -> Value {
            figures.iter().map(|figure| (figure.what.clone(), figure.value.clone())).collect::<Map<_, _>>().into()
        };
        let parts: Map<String, Value> = self.parts.iter().map(|(part, all)| (part.clone(), figures(all))).collect();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(fs::write(path, serde_json::to_string_pretty(&parts)? + "\n")?)
    }
}
