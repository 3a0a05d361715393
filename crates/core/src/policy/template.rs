//! Templates of upstream cluster names: `outbound|{port}|{subset}|{host}`.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    limits::MAX_TEMPLATE_BYTES,
    text::is_header_value,
    wire::{FieldErrorType, FieldErrors, FieldPathRef},
};

/// A checked template of a cluster name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(Box<[TemplatePart]>);

#[derive(Clone, Debug)]
enum TemplatePart {
    Text(Box<str>),
    Value(Placeholder),
}

/// A value that a template may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Host,
    Service,
    Namespace,
    Port,
    PortName,
    Subset,
    Endpoint,
}

impl Placeholder {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "host" => Self::Host,
            "service" => Self::Service,
            "namespace" => Self::Namespace,
            "port" => Self::Port,
            "portName" => Self::PortName,
            "subset" => Self::Subset,
            "endpoint" => Self::Endpoint,
            _ => return None,
        })
    }
}

impl Template {
    pub(crate) fn compile(text: &str, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Self {
        if text.is_empty() {
            errors.add(at, "", FieldErrorType::Required);
        } else if text.len() > MAX_TEMPLATE_BYTES {
            errors.add(at, text.len(), FieldErrorType::TooLong(MAX_TEMPLATE_BYTES));
        } else if !is_header_value(text) {
            errors.add(at, text, FieldErrorType::InvalidHeaderValue);
        } else if let Some(parts) = parse(text) {
            return Self(parts.into());
        } else {
            errors.add(at, text, FieldErrorType::InvalidTemplate);
        }
        Self::default()
    }

    /// Whether the names differ between the endpoints of a Service.
    pub(crate) fn is_per_endpoint(&self) -> bool {
        self.0.iter().any(|part| matches!(part, TemplatePart::Value(Placeholder::Host | Placeholder::Endpoint)))
    }

    /// Appends the text, with `write_value` appending the value of each placeholder. The template itself allocates nothing.
    pub(crate) fn write(&self, to: &mut String, write_value: &dyn Fn(Placeholder, &mut String)) {
        for part in &self.0 {
            match part {
                TemplatePart::Text(text) => to.push_str(text),
                TemplatePart::Value(placeholder) => write_value(*placeholder, to),
            }
        }
    }
}

fn parse(text: &str) -> Option<Vec<TemplatePart>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.split(['{', '}']).next().unwrap_or_default();
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal.into()));
        }
        rest = rest.strip_prefix(literal)?;
        if let Some(inside) = rest.strip_prefix('{') {
            let (name, after) = inside.split_once('}')?;
            parts.push(TemplatePart::Value(Placeholder::named(name)?));
            rest = after;
        } else if !rest.is_empty() {
            return None;
        }
    }
    Some(parts)
}
