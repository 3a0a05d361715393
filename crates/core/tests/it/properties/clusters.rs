//! Clusters whose names often match, and names to resolve in them.

use proptest::{prelude::*, sample::Index};

use crate::naive::{
    ENDS, NaiveCluster, NaiveEndpoint, NaiveFallback, NaiveKind, NaiveService, NaiveTarget, OUTSIDE, WORDS,
};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&WORDS[..]).prop_map(str::to_owned)
}

fn endpoint() -> impl Strategy<Value = NaiveEndpoint> {
    (prop::option::of(word()), 0u8..3, prop::bool::weighted(0.8)).prop_map(|(hostname, last, ready)| NaiveEndpoint {
        hostname,
        address: [10, 0, 0, last],
        ready,
    })
}

fn alias() -> impl Strategy<Value = NaiveKind> {
    let inside = (prop::collection::vec(word(), 1..6), prop::sample::select(vec!["svc", "svc", "svc", "pod"]))
        .prop_map(|(labels, kind)| format!("{}.{kind}.cluster.local", labels.join(".")));
    let outside = prop::sample::select(&OUTSIDE[..]).prop_map(str::to_owned);
    (prop_oneof![3 => inside, 1 => outside], prop::option::of(79u16..82))
        .prop_map(|(target, port)| NaiveKind::Alias { target, port })
}

fn service() -> impl Strategy<Value = NaiveService> {
    let with_endpoints = prop_oneof![Just(NaiveKind::Virtual), Just(NaiveKind::Headless)];
    let kind = prop_oneof![
        2 => (with_endpoints, prop::collection::vec(endpoint(), 0..3)),
        1 => (alias(), Just(vec![])),
    ];
    (word(), word(), kind, any::<bool>()).prop_map(|(namespace, name, (kind, endpoints), has_udp)| NaiveService {
        namespace,
        name,
        kind,
        endpoints,
        has_udp,
    })
}

/// Services without fallbacks.
pub(super) fn table() -> impl Strategy<Value = Vec<NaiveService>> {
    prop::collection::vec(service(), 0..12)
}

/// A namespace and name of few, so that fallbacks and Services often form chains and circles.
fn key() -> impl Strategy<Value = (String, String)> {
    let namespace = prop::sample::select(&["a", "a", "prod", "b"][..]);
    let name = prop::sample::select(&["a", "b", "prod", "svc"][..]);
    (namespace, name).prop_map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
}

fn fallback() -> impl Strategy<Value = NaiveFallback> {
    let outside = prop::sample::select(&OUTSIDE[..]).prop_map(|host| NaiveTarget::Host(host.to_owned()));
    let to = prop_oneof![5 => key().prop_map(|(namespace, name)| NaiveTarget::Service(namespace, name)), 1 => outside];
    let port = prop_oneof![6 => Just(None), 1 => (80u16..82).prop_map(Some)];
    let when = prop::sample::select(vec![(true, true), (true, true), (true, false), (false, true)]);
    (key(), to, port, when).prop_map(|(of, to, port, (when_missing, when_no_endpoints))| NaiveFallback {
        of,
        to,
        port,
        when_missing,
        when_no_endpoints,
    })
}

fn ndots() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(5), 1 => 0u8..7]
}

/// A Service of few names, which often has no endpoints, or an alias of a Service that is often missing.
fn linked_service() -> impl Strategy<Value = NaiveService> {
    let inside = key().prop_map(|(namespace, name)| format!("{name}.{namespace}.svc.cluster.local"));
    let alias =
        (inside, prop::option::weighted(0.2, 79u16..82)).prop_map(|(target, port)| NaiveKind::Alias { target, port });
    let endpoints = prop_oneof![1 => Just(vec![]), 2 => prop::collection::vec(endpoint(), 1..3)];
    let kind = prop_oneof![
        3 => (prop_oneof![Just(NaiveKind::Virtual), Just(NaiveKind::Headless)], endpoints),
        1 => (alias, Just(vec![])),
    ];
    (key(), kind, any::<bool>()).prop_map(|((namespace, name), (kind, endpoints), has_udp)| NaiveService {
        namespace,
        name,
        kind,
        endpoints,
        has_udp,
    })
}

/// A name that is likely to have a fallback in [`cluster_with_fallbacks`].
pub(super) fn asked_of_few_names() -> impl Strategy<Value = String> {
    let short = key().prop_map(|(_, name)| name);
    let with_namespace = key().prop_map(|(namespace, name)| format!("{name}.{namespace}"));
    let named = key().prop_map(|(_, name)| format!("_http._tcp.{name}"));
    let end = prop::sample::select(&["", "", "", ":80", ":81"][..]);
    let other = asked().prop_filter("no port", |asked| !asked.contains(':'));
    let name = prop_oneof![3 => short, 2 => with_namespace, 1 => named, 1 => other];
    (name, end).prop_map(|(name, end)| name + end)
}

/// A name that often matches one of a [`cluster`].
pub(super) fn asked() -> impl Strategy<Value = String> {
    (prop::collection::vec(word(), 1..7), prop::sample::select(&ENDS[..]))
        .prop_map(|(labels, end)| labels.join(".") + end)
}

/// A cluster whose Services have fallbacks, perhaps with a baseline namespace. Half of the fallbacks lead to a Service with
/// endpoints, where the namespace has one.
pub(super) fn cluster_with_fallbacks() -> impl Strategy<Value = NaiveCluster> {
    let services = prop::collection::vec(linked_service(), 0..12);
    let fallbacks = prop::collection::vec((fallback(), any::<bool>(), any::<Index>()), 0..16);
    let baseline = prop::option::of(prop::sample::select(&["prod", "b"][..]).prop_map(str::to_owned));
    let settings = (ndots(), any::<bool>(), any::<bool>());
    (services, fallbacks, baseline, settings).prop_map(|(services, fallbacks, baseline, (ndots, musl, follows))| {
        let cluster = NaiveCluster::new(services, ndots, musl, follows);
        let lead_to_serving = |(fallback, is_serving, at): (NaiveFallback, bool, Index)| {
            let can_serve =
                |service: &&NaiveService| service.namespace == fallback.of.0 && !service.endpoints.is_empty();
            let serving: Vec<&NaiveService> = cluster.services.iter().filter(can_serve).collect();
            if !is_serving || serving.is_empty() {
                return fallback;
            }
            let service = serving[at.index(serving.len())];
            NaiveFallback { to: NaiveTarget::Service(service.namespace.clone(), service.name.clone()), ..fallback }
        };
        let fallbacks = fallbacks.into_iter().map(lead_to_serving).collect();
        cluster.with_fallbacks(fallbacks, baseline)
    })
}

/// A cluster without fallbacks.
pub(super) fn cluster() -> impl Strategy<Value = NaiveCluster> {
    (table(), ndots(), any::<bool>(), any::<bool>())
        .prop_map(|(services, ndots, musl, follows)| NaiveCluster::new(services, ndots, musl, follows))
}

/// A name for a cluster: of one of its Services or fallbacks in any form, or one that the cluster may not have.
#[derive(Clone, Debug)]
pub(super) struct AskedName {
    service: Index,
    endpoint: Index,
    form: u8,
    end: &'static str,
    random: String,
}

pub(super) fn asked_name() -> impl Strategy<Value = AskedName> {
    let random = prop_oneof![2 => asked_of_few_names(), 1 => asked()];
    let end = prop::sample::select(vec!["", "", "", "", "", ":80", ":81"]);
    (any::<Index>(), any::<Index>(), 0u8..10, end, random)
        .prop_map(|(service, endpoint, form, end, random)| AskedName { service, endpoint, form, end, random })
}

impl AskedName {
    pub(super) fn of(&self, cluster: &NaiveCluster) -> String {
        let services = cluster.services.iter().map(|service| (&service.namespace, &service.name, &*service.endpoints));
        let fallbacks = cluster.fallbacks.iter().map(|fallback| (&fallback.of.0, &fallback.of.1, &[][..]));
        // Names with a fallback are drawn three times as often.
        let known: Vec<(&String, &String, &[NaiveEndpoint])> =
            services.chain(fallbacks.clone()).chain(fallbacks.clone()).chain(fallbacks).collect();
        if known.is_empty() {
            return self.random.clone();
        }
        let (namespace, name, endpoints) = known[self.service.index(known.len())];
        let own = format!("{name}.{namespace}");
        let host = match self.form {
            0 => name.clone(),
            1 => own,
            2 => format!("{own}.svc"),
            3 => format!("{own}.svc.cluster.local"),
            4 => format!("{own}.svc.cluster.local."),
            5 => format!("_http._tcp.{own}.svc.cluster.local"),
            9 => format!("b.udp.{own}"),
            6 if !endpoints.is_empty() => {
                format!("{}.{own}.svc.cluster.local", endpoints[self.endpoint.index(endpoints.len())].label())
            }
            _ => return self.random.clone(),
        };
        host + self.end
    }
}
