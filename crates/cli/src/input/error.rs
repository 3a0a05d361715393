//! What is wrong with input: the file, the document, the line, the object and the field; the reason; and the way out.

use std::{fmt, sync::Arc};

/// So many are spelt out.
const MAX_SHOWN: usize = 20;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceLocation {
    /// Its file, as it was named.
    pub file: Arc<str>,
    /// Which document of the file, counted from 1.
    pub document: u32,
    /// Its place in a `List`, counted from 0.
    pub item: Option<u32>,
    /// Its first line, counted from 1.
    pub line: u32,
}

impl fmt::Display for SourceLocation {
    /// `shop.yaml:12`, as editors read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputError {
    file: String,
    document: Option<u32>,
    item: Option<u32>,
    line: Option<u32>,
    object: String,
    field: String,
    reason: String,
    fix: String,
}

impl InputError {
    /// Of a whole file.
    #[must_use]
    pub fn new(file: &str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), reason: reason.into(), fix: fix.into(), ..Self::default() }
    }

    /// Of an object.
    #[must_use]
    pub fn at(place: &SourceLocation, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        let SourceLocation { file, document, item, line } = place;
        // What was never in a file has neither.
        let (document, line) = ((*document > 0).then_some(*document), (*line > 0).then_some(*line));
        Self { document, item: *item, line, ..Self::new(file, reason, fix) }
    }

    /// In this document of the file.
    #[must_use]
    pub fn at_document(mut self, document: u32) -> Self {
        self.document = Some(document);
        self
    }

    /// On this line.
    #[must_use]
    pub fn at_line(mut self, line: u32) -> Self {
        self.line = (line > 0).then_some(line).or(self.line);
        self
    }

    /// Of the object that is called so: `Service shop/web`.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// In this field: `spec.ports[0].port`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }
}

impl fmt::Display for InputError {
    /// `shop.yaml:12: document 1, item 3, Service shop/web, spec.ports[0].port: is no number; write one`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let parts = [
            self.document.map(|document| format!("document {document}")),
            self.item.map(|item| format!("items[{item}]")),
            (!self.object.is_empty()).then(|| self.object.clone()),
            (!self.field.is_empty()).then(|| self.field.clone()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if !parts.is_empty() {
            write!(f, ": {}", parts.join(", "))?;
        }
        write!(f, ": {}", self.reason)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; {}", self.fix) }
    }
}

impl std::error::Error for InputError {}

/// All that is wrong, the first ones spelt out and the rest counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputErrors {
    shown: Vec<InputError>,
    more: usize,
}

impl InputErrors {
    /// Adds one.
    pub fn push(&mut self, problem: InputError) {
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Adds that of `result`, if there is one.
    pub fn collect(&mut self, result: Result<(), InputError>) {
        if let Err(problem) = result {
            self.push(problem);
        }
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Self) {
        self.more += other.more;
        other.shown.into_iter().for_each(|problem| self.push(problem));
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Option<&InputError> {
        self.shown.first()
    }

    /// So many more there are that nothing else is known of.
    pub fn add_unlisted(&mut self, more: usize) {
        self.more += more;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shown.len() + self.more
    }

    /// `value`, or all of them if there is one.
    ///
    /// # Errors
    /// All of them.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.shown.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<InputError> for InputErrors {
    fn from(problem: InputError) -> Self {
        Self { shown: vec![problem], more: 0 }
    }
}

impl fmt::Display for InputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.shown.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for InputErrors {}
