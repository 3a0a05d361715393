//! What an API server refuses in the DNS settings of a pod. The rules are those of pkg/apis/core/validation in Kubernetes.

use byname_core::is_label;

use super::refusal::{Refusal, ip};
use crate::{
    input::Field,
    kubernetes::{DNS_POLICIES, Pod, is_subdomain},
};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
/// Characters of all search domains, with the spaces between them.
const MAX_SEARCH_CHARACTERS: usize = 2048;

/// What an API server refuses in the DNS settings of a pod, whose fields `field` finds by their names.
pub(super) fn refusals(pod: &Pod, field: impl Fn(&str) -> Field) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let Some(word) = &pod.unknown_dns_policy {
        let meant = DNS_POLICIES.iter().find(|known| known.eq_ignore_ascii_case(word)).map(|known| (*known).into());
        let fix = "use ClusterFirst, ClusterFirstWithHostNet, Default or None";
        let refusal = Refusal::new(field("dnsPolicy"), format!("{word:?} is not a dnsPolicy"), fix);
        refusals.push(refusal.settable(meant));
    }
    for (name, value) in [("hostname", &pod.hostname), ("subdomain", &pod.subdomain)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty() && !is_label(value)) {
            let fix = "use a-z, 0-9 and '-' (not first or last), at most 63 bytes, without dots";
            refusals.push(Refusal::new(field(name), format!("{value:?} is not a DNS label"), fix));
        }
    }
    let config = |name| field("dnsConfig").field(name);
    if pod.nameservers.len() > MAX_NAMESERVERS {
        let reason = format!("{} nameservers are more than {MAX_NAMESERVERS}", pod.nameservers.len());
        refusals.push(Refusal::new(config("nameservers"), reason, "keep 3 of them"));
    }
    for (index, server) in pod.nameservers.iter().enumerate().filter(|(_, server)| ip(server).is_none()) {
        let reason = format!("{server:?} is not an IP address");
        refusals.push(Refusal::new(config("nameservers").item(index), reason, "write the address of the server"));
    }
    let count = pod.searches.len();
    let characters = pod.searches.iter().map(String::len).sum::<usize>() + count.saturating_sub(1);
    if count > MAX_SEARCHES {
        let reason = format!("{count} search domains are more than {MAX_SEARCHES}");
        refusals.push(Refusal::new(config("searches"), reason, "keep the domains that are needed"));
    } else if characters > MAX_SEARCH_CHARACTERS {
        let reason = format!("the search domains have {characters} characters, more than {MAX_SEARCH_CHARACTERS}");
        refusals.push(Refusal::new(config("searches"), reason, "keep the domains that are needed"));
    }
    for (index, search) in pod.searches.iter().enumerate().filter(|(_, search)| !is_search_domain(search)) {
        let fix = "use labels of a-z, 0-9, '-' and '_', joined by dots";
        let reason = format!("{search:?} is not a search domain");
        refusals.push(Refusal::new(config("searches").item(index), reason, fix));
    }
    refusals
}

/// Whether `text` is a DNS name, with underscores or not, or the root.
fn is_search_domain(text: &str) -> bool {
    text == "." || is_subdomain(&text.strip_suffix('.').unwrap_or(text).replace('_', "a"))
}
