//! The core's trace steps as serializable data.

use byname_core::{
    Config, Missing, Service, Trace,
    trace::{EndpointsOutcome, HopOutcome, Outcome, Step as CoreStep},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    endpoints::{self, ExplainedEndpoint},
    server_key,
};

/// One step of the resolution.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Step")]
pub struct ExplainedStep {
    /// `unreadable`, `server`, `address`, `candidate`, `alias`, `fallback`, `port`, `endpoints`, `subset`, `endpoint` or `steer`;
    /// later versions may add more.
    pub kind: String,
    /// The name or address of this step, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the lookup of this step succeeded.
    pub found: bool,
    /// The step in words. They are those of the filter's traces, unless the input says more than the table.
    pub text: String,
    /// Whether this is a name of the search list that does not exist. That is no problem in itself.
    #[serde(skip)]
    pub(super) is_normal_miss: bool,
    /// Whether the name may exist: the endpoints of its Service are unknown.
    #[serde(skip)]
    pub(super) may_exist: bool,
}

impl ExplainedStep {
    fn of(step: &CoreStep) -> Self {
        let (kind, name, found) = match step {
            CoreStep::Unreadable(_) => ("unreadable", None, false),
            CoreStep::Address { address, service } => ("address", Some(address.to_string()), service.is_some()),
            CoreStep::Candidate { name, outcome, .. } => {
                ("candidate", Some(name.to_string()), *outcome == Outcome::Exists)
            }
            CoreStep::Hop { target, outcome, .. } => {
                let is_fine = matches!(outcome, HopOutcome::Inside | HopOutcome::Outside { .. });
                ("alias", Some(target.to_string()), is_fine)
            }
            CoreStep::Fallback { to, outcome, .. } => {
                use byname_core::trace::FallbackOutcome;
                let is_fine = matches!(outcome, FallbackOutcome::Inside | FallbackOutcome::Outside { .. });
                ("fallback", Some(to.to_string()), is_fine)
            }
            CoreStep::Port { matched, .. } => ("port", None, matched.is_ok()),
            CoreStep::NamedPort { .. } | CoreStep::OtherPort { .. } => ("port", None, false),
            CoreStep::PodPort { only, .. } => ("port", None, only.is_none()),
            CoreStep::Endpoints(outcome) => {
                let is_fine = !matches!(outcome, EndpointsOutcome::Known { usable: 0, .. });
                ("endpoints", None, is_fine)
            }
            CoreStep::Subset { name, .. } => ("subset", Some(name.to_string()), true),
            CoreStep::Endpoint { endpoint, .. } => ("endpoint", Some(endpoint.to_string()), true),
            CoreStep::Steer { .. } => ("steer", None, true),
            _ => ("other", None, true),
        };
        let is_normal_miss = match step {
            CoreStep::Candidate { outcome: Outcome::Missing(missing), .. } => {
                !matches!(missing, Missing::NothingReady | Missing::EndpointNotReady)
            }
            CoreStep::Candidate { .. } => !found,
            _ => false,
        };
        let may_exist = matches!(step, CoreStep::Candidate { outcome: Outcome::Missing(Missing::EndpointUnknown), .. });
        Self { kind: kind.to_owned(), name, found, text: step.to_string(), is_normal_miss, may_exist }
    }

    /// The step in which a filter needs its server's answer for a key.
    fn of_key(key: &str) -> Self {
        let text = format!("the filter needs the server's answer for {key}");
        Self {
            kind: "server".to_owned(),
            name: Some(key.to_owned()),
            found: true,
            text,
            is_normal_miss: false,
            may_exist: false,
        }
    }
}

/// All steps. `endpoints` are those of the Service that the request reached, for its port of this name. The keys of each of `rounds` come
/// before the first step that is about any of them.
pub(super) fn steps(
    trace: &Trace,
    rounds: &[Vec<String>],
    port_name: &str,
    endpoints: &[ExplainedEndpoint],
) -> Vec<ExplainedStep> {
    // The endpoints of a fallback say nothing about those of the requested Service.
    let has_fallback = trace.steps.iter().any(|step| matches!(step, CoreStep::Fallback { .. }));
    let mut rounds = rounds.iter().peekable();
    let mut steps = Vec::new();
    for step in &trace.steps {
        while let Some(keys) = rounds.next_if(|keys| keys.iter().any(|key| server_key::is_about(step, key))) {
            steps.extend(keys.iter().map(|key| ExplainedStep::of_key(key)));
        }
        let explained = ExplainedStep::of(step);
        let text = match step {
            CoreStep::Endpoints(outcome) if !has_fallback => endpoints::why_unserved(outcome, port_name, endpoints),
            _ => None,
        };
        steps.push(ExplainedStep { text: text.unwrap_or_else(|| explained.text.clone()), ..explained });
    }
    steps.extend(rounds.flatten().map(|key| ExplainedStep::of_key(key)));
    steps
}

/// The Service that a refused or passed request reached: the last one found by name or address.
pub(super) fn service<'c>(trace: &Trace, config: &'c Config) -> Option<&'c Service> {
    let name = trace.last_service()?;
    config.table.get(name.namespace(), name.name())
}

/// The name of the port that the request reached.
pub(super) fn port_name(trace: &Trace) -> Option<&str> {
    trace.steps.iter().rev().find_map(|step| match step {
        CoreStep::Port { matched: Ok(port), .. } => Some(&*port.name),
        _ => None,
    })
}
