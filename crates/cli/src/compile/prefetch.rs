//! The clusters of names that Envoy subscribes to when it starts, in place of at the first request.

use byname_core::{Config, Scheme, wire};

use super::{
    base::Base,
    upstream_clusters::{ALL_SCHEMES, UpstreamClusters, ask, clusters, configured, without_services},
};
use crate::input::{InputError, InputErrors};

/// Returns the clusters that `names` route to, each name as a client requests it: `payments`, `payments.shop:8080`. With
/// `knows_services` false, `wire` has no Services, and each name is that of a plaintext Service.
///
/// # Errors
/// If a name routes to no cluster.
pub fn prefetched(
    names: &[String],
    wire: &wire::Config,
    config: &Config,
    base: &Base,
    knows_services: bool,
) -> Result<UpstreamClusters, InputErrors> {
    let (mut prefetched, mut problems) = (UpstreamClusters::default(), InputErrors::default());
    let known = clusters(wire, config, base, &ALL_SCHEMES)?;
    for name in names {
        let found = match knows_services {
            true => take(name, config, &known),
            false => of_its_service(name, wire, base),
        };
        match found {
            Ok(mut found) => prefetched.by_name.append(&mut found.by_name),
            Err(of_name) => problems.push(of_name),
        }
    }
    problems.or(prefetched)
}

/// The cluster that `name` routes to, one of `known`.
fn take(name: &str, config: &Config, known: &UpstreamClusters) -> Result<UpstreamClusters, InputError> {
    let (resolution, plan) = ask(config, name, Scheme::Http);
    match plan.cluster().and_then(|cluster| known.by_name.get_key_value(cluster)) {
        Some((cluster, upstream)) => {
            let by_name = [(cluster.clone(), upstream.clone())].into();
            Ok(UpstreamClusters { by_name, ..UpstreamClusters::default() })
        }
        None => {
            let reason = format!("routes to no cluster ({})", resolution.reason());
            let fix = "use the name and a port of a Service in the input";
            Err(InputError::new(&format!("--prefetch {name}"), reason, fix))
        }
    }
}

/// [`take`], if the Service that `name` names is the only one, with the name's port.
fn of_its_service(name: &str, wire: &wire::Config, base: &Base) -> Result<UpstreamClusters, InputError> {
    let unfit = || {
        let reason = "does not name a Service";
        let fix = "use SERVICE, SERVICE.NAMESPACE or SERVICE.NAMESPACE:PORT, or pass the objects with -f";
        InputError::new(&format!("--prefetch {name}"), reason, fix)
    };
    let (host, port) = name.rsplit_once(':').unwrap_or((name, "80"));
    let port = port.parse().map_err(|_| unfit())?;
    let zone = wire.dns.cluster_domain.trim_end_matches('.');
    let host = host.trim_end_matches('.');
    let in_svc = host.strip_suffix(&format!(".svc.{zone}")).or_else(|| host.strip_suffix(".svc"));
    let key = match (in_svc.unwrap_or(host).split_once('.'), &wire.caller.namespace) {
        (Some((service, namespace)), _) => format!("{namespace}/{service}"),
        (None, Some(namespace)) if in_svc.is_none() => format!("{namespace}/{host}"),
        (None, _) => return Err(unfit()),
    };
    let service = wire::Service { ports: vec![wire::ServicePort { port, ..Default::default() }], ..Default::default() };
    let mut alone = without_services(wire);
    alone.table.services = [(key, service)].into();
    let config = configured(alone.clone()).map_err(|_| unfit())?;
    take(name, &config, &clusters(&alone, &config, base, &ALL_SCHEMES).map_err(|_| unfit())?)
}
