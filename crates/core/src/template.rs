//! Names of upstream clusters as templates: `outbound|{port}|{subset}|{host}`.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    header::is_header_value,
    limits::MAX_TEMPLATE_BYTES,
    problem::{Fault, Place, Problems},
    resolve::{Destination, Route, write_label, write_number},
};

/// A checked template. Writing it allocates nothing by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(Box<[Part]>);

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Host,
    Service,
    Namespace,
    Port,
    PortName,
    Subset,
    Endpoint,
}

impl Value {
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
    pub(crate) fn compile(text: &str, at: &Place<'_>, problems: &mut Problems) -> Self {
        if text.is_empty() {
            problems.add(at, "", Fault::Empty);
        } else if text.len() > MAX_TEMPLATE_BYTES {
            problems.add(at, text, Fault::TooMany(MAX_TEMPLATE_BYTES));
        } else if !is_header_value(text) {
            problems.add(at, text, Fault::HeaderValue);
        } else if let Some(parts) = parse(text) {
            return Self(parts.into());
        } else {
            problems.add(at, text, Fault::Template);
        }
        Self::default()
    }

    /// Whether what it writes differs from one endpoint of a Service to the next.
    pub(crate) fn tells_endpoints_apart(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(Value::Host | Value::Endpoint)))
    }

    /// Writes the name of the cluster for `route` to `to`. What a destination does not have is written as nothing.
    pub(crate) fn write(&self, route: &Route<'_>, subset: &str, zone: &str, to: &mut String) {
        let service = route.destination.service();
        for part in &self.0 {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Value(Value::Host) => route.destination.write_host(zone, to),
                Part::Value(Value::Service) => to.push_str(service.map_or("", |service| service.name())),
                Part::Value(Value::Namespace) => to.push_str(service.map_or("", |service| service.namespace())),
                Part::Value(Value::Port) => write_number(route.port, to),
                Part::Value(Value::PortName) => to.push_str(route.port_name),
                Part::Value(Value::Subset) => to.push_str(subset),
                Part::Value(Value::Endpoint) => {
                    if let Destination::Endpoint(_, label) = &route.destination {
                        write_label(label, to);
                    }
                }
            }
        }
    }
}

fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let literal = rest.split(['{', '}']).next().unwrap_or_default();
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        rest = rest.strip_prefix(literal)?;
        if let Some(inside) = rest.strip_prefix('{') {
            let (name, after) = inside.split_once('}')?;
            parts.push(Part::Value(Value::named(name)?));
            rest = after;
        } else if !rest.is_empty() {
            return None;
        }
    }
    Some(parts)
}
