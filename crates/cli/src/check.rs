//! What may go wrong when byname is turned on in a cluster: each question with its answer and the way out.

mod environment;
mod facts;
mod memory;
mod mesh;
mod resolver;
mod verdict;

pub use self::{
    facts::ClusterFacts,
    verdict::{Level, Verdict, text},
};

/// The answers that need no sidecar, for the pods of the namespaces that were asked for.
#[must_use]
pub fn before(facts: &ClusterFacts) -> Vec<Verdict> {
    let mut verdicts = mesh::verdicts(facts);
    verdicts.extend(environment::verdicts(facts));
    verdicts.extend(resolver::verdicts(facts));
    verdicts.push(memory::verdict(facts));
    verdicts
}
