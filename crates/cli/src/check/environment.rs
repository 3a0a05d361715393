//! Variables of pods that send requests to a proxy, or past it.

use std::collections::BTreeMap;

use super::{facts::ClusterFacts, verdict::Verdict};
use crate::{kubernetes::NamespacedName, output::some};

const TOPIC: &str = "http_proxy";

pub(super) fn verdicts(facts: &ClusterFacts) -> Vec<Verdict> {
    // Pods with the same trouble are one line.
    let mut troubles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut behind = 0;
    for (name, pod) in facts.pods() {
        for container in &pod.containers {
            let environment = &container.environment;
            let own = |variable: &str| environment.get(variable).filter(|value| !value.is_empty());
            let (lower, upper) = (own("http_proxy"), own("HTTP_PROXY"));
            let Some(proxy) = lower.or(upper) else { continue };
            let mut add = |text: String| troubles.entry(text).or_default().push(name.to_string());
            if !is_own(proxy) {
                add(format!(
                    "names go to the proxy {proxy} and not to the sidecar; set http_proxy to the sidecar's listener, such as \
                     http://127.0.0.1:15001"
                ));
                continue;
            }
            behind += 1;
            if lower.is_none() {
                add("only HTTP_PROXY is set, which curl and others ignore; set http_proxy too".to_owned());
            }
            let exceptions = own("no_proxy").or(own("NO_PROXY")).map(String::as_str).unwrap_or_default();
            let passes = exceptions.split(',').map(str::trim).find(|one| is_of_cluster(one, name, facts));
            if let Some(exception) = passes {
                add(format!(
                    "no_proxy has {exception}, so requests for such names go around byname; remove it from no_proxy"
                ));
            }
            if !exceptions.split(',').any(|one| matches!(one.trim(), "localhost" | "127.0.0.1" | "*")) {
                add("no_proxy lacks localhost and 127.0.0.1, so calls within the pod go to the sidecar; add them"
                    .to_owned());
            }
        }
    }
    if troubles.is_empty() {
        let text = match behind {
            0 => "no pod sends its requests to a proxy by http_proxy".to_owned(),
            1 => "1 container sends its requests to its sidecar by http_proxy".to_owned(),
            many => format!("{many} containers send their requests to their sidecars by http_proxy"),
        };
        return vec![Verdict::ok(TOPIC, text)];
    }
    troubles.into_iter().map(|(text, pods)| Verdict::warn(TOPIC, format!("{}: {text}", some(pods)))).collect()
}

/// Whether a proxy is in the pod itself.
fn is_own(proxy: &str) -> bool {
    let address = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|own| address.starts_with(own))
}

/// Whether an exception is for names of Services, as this pod requests them.
fn is_of_cluster(exception: &str, pod: &NamespacedName, facts: &ClusterFacts) -> bool {
    let suffix = exception.trim_start_matches(['*', '.']);
    let is_service = || {
        let (service, namespace) = suffix.split_once('.').unwrap_or((suffix, &pod.namespace));
        facts.cluster.services.contains_key(&NamespacedName::new(namespace, service))
    };
    exception == "*"
        || suffix == "svc"
        || suffix == "local"
        || suffix.ends_with("cluster.local")
        || suffix.ends_with(".svc")
        || is_service()
}
