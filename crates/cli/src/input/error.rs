//! Errors in the input: the file, document, line, object and field; what is wrong; and how to fix it.

use std::{fmt, sync::Arc};

use byname_core::FieldErrors;

/// Number of errors that are printed in full.
const MAX_SHOWN: usize = 20;

/// The place of an object in the input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceLocation {
    /// Its file, as the user named it.
    pub file: Arc<str>,
    /// Number of its document in the file, from 1.
    pub document: u32,
    /// Its index in a `List`, from 0.
    pub item: Option<u32>,
    /// Its first line, from 1; 0 of an object from an API.
    pub line: u32,
}

impl SourceLocation {
    /// The place of a line of the same file.
    #[must_use]
    pub fn at_line(&self, line: u32) -> Self {
        Self { line, ..self.clone() }
    }
}

impl fmt::Display for SourceLocation {
    /// Writes `shop.yaml:12`, which editors can open; `context dev` of an object from an API, which has no line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

/// One error in the input.
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
    is_skippable: bool,
    is_of_two_files: bool,
}

impl InputError {
    /// An error of a whole file.
    #[must_use]
    pub fn new(file: &str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), reason: reason.into(), fix: fix.into(), ..Self::default() }
    }

    /// An error of an object.
    #[must_use]
    pub fn at(place: &SourceLocation, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        let SourceLocation { file, document, item, line } = place;
        // Objects from the API have neither.
        let (document, line) = ((*document > 0).then_some(*document), (*line > 0).then_some(*line));
        Self { document, item: *item, line, ..Self::new(file, reason, fix) }
    }

    /// The same of a file that is not for Kubernetes, such as a configuration.
    pub(super) fn of_no_object(self) -> Self {
        let reason = match self.reason.as_str() {
            "is not a Kubernetes object" => "is not a mapping".to_owned(),
            _ => self.reason,
        };
        Self { reason, fix: "pass a file with one YAML or JSON document".to_owned(), ..self }
    }

    /// Says that the object is left out with a warning, even if objects of its kind are needed.
    #[must_use]
    pub fn skippable(self) -> Self {
        Self { is_skippable: true, ..self }
    }

    /// Whether the object is only left out.
    pub(super) fn is_skippable(&self) -> bool {
        self.is_skippable
    }

    /// Says that two files contradict each other, which may be variants.
    #[must_use]
    pub fn of_two_files(self) -> Self {
        Self { is_of_two_files: true, ..self }
    }

    /// Whether two files contradict each other.
    #[must_use]
    pub fn is_of_two_files(&self) -> bool {
        self.is_of_two_files
    }

    /// Sets the number of the document in the file.
    #[must_use]
    pub fn at_document(mut self, document: u32) -> Self {
        self.document = Some(document);
        self
    }

    /// Sets the line.
    #[must_use]
    pub fn at_line(mut self, line: u32) -> Self {
        self.line = (line > 0).then_some(line).or(self.line);
        self
    }

    /// Sets the object, such as `Service shop/web`.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.object = object.into();
        self
    }

    /// Sets the way out.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// Sets the field, such as `spec.ports[0].port`.
    #[must_use]
    pub fn with_field(mut self, field: impl fmt::Display) -> Self {
        self.field = field.to_string();
        self
    }
}

impl fmt::Display for InputError {
    /// Writes `shop.yaml:12: document 1, items[3], Service shop/web, spec.ports[0].port: 0 is not a port; use 1 to 65535`.
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

/// All errors: the first ones in full, the rest as a count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputErrors {
    shown: Vec<InputError>,
    more: usize,
}

impl InputErrors {
    /// The errors of a configuration in `file`.
    #[must_use]
    pub fn of_configuration(file: &str, refused: &FieldErrors) -> Self {
        let mut errors = Self::default();
        refused.listed().iter().for_each(|error| errors.push(InputError::new(file, error.to_string(), "")));
        errors.add_unlisted(refused.count() - refused.listed().len());
        errors
    }

    /// Adds an error.
    pub fn push(&mut self, problem: InputError) {
        if self.shown.len() < MAX_SHOWN {
            self.shown.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Adds the error of `result`, if any.
    pub fn collect(&mut self, result: Result<(), InputError>) {
        if let Err(problem) = result {
            self.push(problem);
        }
    }

    /// Adds all errors of `other`.
    pub fn append(&mut self, other: Self) {
        self.more += other.more;
        other.shown.into_iter().for_each(|problem| self.push(problem));
    }

    /// The first error.
    #[must_use]
    pub fn first(&self) -> Option<&InputError> {
        self.shown.first()
    }

    /// Adds `more` errors that are only counted.
    pub fn add_unlisted(&mut self, more: usize) {
        self.more += more;
    }

    /// The number of errors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shown.len() + self.more
    }

    /// One message for each error in full, and one that counts the others.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.shown.iter().map(InputError::to_string).chain(more)
    }

    /// Returns `value` if there is no error.
    ///
    /// # Errors
    /// All errors.
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
        for (index, message) in self.messages().enumerate() {
            write!(f, "{}{message}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for InputErrors {}

/// The lines to print for `error`: each error of the input, or any other error with its causes.
#[must_use]
pub fn messages(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref::<InputErrors>() {
        Some(errors) => errors.messages().collect(),
        // A library's message may have several lines, such as the one about a kubeconfig.
        None => format!("{error:#}").lines().map(str::to_owned).collect(),
    }
}
