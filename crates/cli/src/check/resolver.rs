//! Settings of pods' resolvers that differ from those which a table for a namespace assumes.

use std::collections::BTreeMap;

use byname_core::wire;

use super::{facts::ClusterFacts, verdict::Verdict};
use crate::{
    kubernetes::{DnsPolicy, NdotsOption},
    output::some,
};

const TOPIC: &str = "resolver";

pub(super) fn verdicts(facts: &ClusterFacts) -> Vec<Verdict> {
    let mut differences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut usual = 0;
    for (name, _) in facts.pods() {
        let Some(pod) = facts.cluster.pods.get(name) else { continue };
        let pod = &pod.object;
        let mut words = Vec::new();
        match pod.dns_policy {
            DnsPolicy::ClusterFirst => {}
            DnsPolicy::Default => words.push("the node's DNS (dnsPolicy: Default, or hostNetwork)".to_owned()),
            DnsPolicy::None => words.push("own DNS servers (dnsPolicy: None)".to_owned()),
        }
        let ndots = pod.ndots().map(NdotsOption::in_glibc).filter(|ndots| *ndots != wire::Dns::default().ndots);
        words.extend(ndots.map(|ndots| format!("ndots {ndots}")));
        if !pod.searches.is_empty() {
            words.push(format!("searches {}", pod.searches.join(" ")));
        }
        match words.is_empty() {
            true => usual += 1,
            false => differences.entry(words.join(", ")).or_default().push(name.to_string()),
        }
    }
    if differences.is_empty() {
        return vec![Verdict::ok(
            TOPIC,
            match usual {
                1 => "1 pod has Kubernetes' default DNS settings".to_owned(),
                _ => format!("{usual} pods have Kubernetes' default DNS settings"),
            },
        )];
    }
    let verdict = |(words, pods): (String, Vec<String>)| {
        let text = format!(
            "{}: {words}; compile with --pod, or set dns in --config, so that names resolve as these pods expect",
            some(pods)
        );
        Verdict::warn(TOPIC, text)
    };
    differences.into_iter().map(verdict).collect()
}
