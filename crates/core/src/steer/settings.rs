//! The configuration's steering, compiled.

use alloc::boxed::Box;

use crate::{
    policy::{LoadBalancer, OutlierDetection, Template},
    table::UpstreamProtocol,
    text::{is_header_name, is_header_value, is_reserved_header},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, RewriteAuthority, SteeringMode},
};

/// How requests are steered, unless a Service overrides it.
#[derive(Clone, Debug)]
pub struct Steering {
    pub(super) mode: SteeringMode,
    pub(super) rewrite: RewriteAuthority,
    forwarded_host: bool,
    control_header: Box<str>,
    pub(super) cluster: Template,
    /// The cluster of a single endpoint.
    pub(super) endpoint_cluster: Template,
    pub(super) pass_cluster: Option<Box<str>>,
    pub(super) external: Template,
    pub(super) external_tls: Template,
    pub(super) dynamic_forward_proxy: bool,
    pub(super) original_dst: OriginalDst,
    pub(super) load_balancer: LoadBalancer,
    pub(super) outlier_detection: Option<OutlierDetection>,
}

/// The `ORIGINAL_DST` clusters, to which a chosen endpoint is handed.
#[derive(Clone, Debug)]
pub(super) struct OriginalDst {
    plaintext: Box<str>,
    http2: Option<Box<str>>,
    tls: Box<str>,
}

impl OriginalDst {
    #[inline(never)]
    fn compile(wire: &wire::OriginalDst, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Self {
        check_cluster(&wire.cluster, &at.field("cluster"), errors);
        check_cluster(&wire.tls_cluster, &at.field("tlsCluster"), errors);
        if let Some(http2) = &wire.http2_cluster {
            check_cluster(http2, &at.field("http2Cluster"), errors);
        }
        if wire.tls_cluster == wire.cluster || wire.http2_cluster.as_ref() == Some(&wire.tls_cluster) {
            errors.add(&at.field("tlsCluster"), &wire.tls_cluster, FieldErrorType::SameCluster);
        }
        Self {
            plaintext: wire.cluster.as_str().into(),
            http2: wire.http2_cluster.as_deref().map(Into::into),
            tls: wire.tls_cluster.as_str().into(),
        }
    }

    /// The cluster for endpoints that speak `protocol`, and the field that names it.
    pub(super) fn cluster(&self, protocol: UpstreamProtocol) -> (&str, &'static str) {
        match (protocol, &self.http2) {
            (UpstreamProtocol::Tls, _) => (&self.tls, "steering.originalDst.tlsCluster"),
            (UpstreamProtocol::Http2, Some(http2)) => (http2, "steering.originalDst.http2Cluster"),
            (UpstreamProtocol::Http2, None) | (UpstreamProtocol::AsClient, _) => {
                (&self.plaintext, "steering.originalDst.cluster")
            }
        }
    }
}

impl Steering {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::Steering, errors: &mut FieldErrors) -> Self {
        let at = FieldPathRef::root("steering");
        check_header(&wire.control_header, &at.field("controlHeader"), errors);
        let cluster = Template::compile(&wire.cluster, &at.field("cluster"), errors);
        let endpoint_cluster = match &wire.endpoint_cluster {
            Some(text) => Template::compile(text, &at.field("endpointCluster"), errors),
            None if cluster.is_per_endpoint() => cluster.clone(),
            None => Template::compile(&wire::Steering::default().cluster, &at, errors),
        };
        if let Some(cluster) = &wire.pass_cluster {
            check_cluster(cluster, &at.field("passCluster"), errors);
        }
        let external = at.field("external");
        if wire.external.cluster == wire.external.tls_cluster {
            errors.add(&external.field("tlsCluster"), &wire.external.tls_cluster, FieldErrorType::SameCluster);
        }
        let in_detection = at.field("outlierDetection");
        let detection = wire.outlier_detection.as_ref();
        Self {
            mode: wire.by,
            rewrite: wire.rewrite_authority,
            forwarded_host: wire.forwarded_host,
            control_header: wire.control_header.as_str().into(),
            cluster,
            endpoint_cluster,
            pass_cluster: wire.pass_cluster.as_deref().map(Into::into),
            external: Template::compile(&wire.external.cluster, &external.field("cluster"), errors),
            external_tls: Template::compile(&wire.external.tls_cluster, &external.field("tlsCluster"), errors),
            dynamic_forward_proxy: wire.external.dynamic_forward_proxy,
            original_dst: OriginalDst::compile(&wire.original_dst, &at.field("originalDst"), errors),
            load_balancer: LoadBalancer::compile(&wire.load_balancer, &at.field("loadBalancer"), errors),
            outlier_detection: detection.and_then(|wire| OutlierDetection::compile(wire, &in_detection, errors)),
        }
    }

    /// The header that holds the name of the upstream cluster.
    #[must_use]
    pub fn control_header(&self) -> &str {
        &self.control_header
    }

    /// Whether `x-forwarded-host` gets the authority that was replaced.
    #[must_use]
    pub fn forwarded_host(&self) -> bool {
        self.forwarded_host
    }
}

/// Checks the name of a header that the filter sets or looks for.
pub(crate) fn check_header(name: &str, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    if !is_header_name(name) || is_reserved_header(name) {
        errors.add(at, name, FieldErrorType::InvalidHeaderName);
    }
}

fn check_cluster(name: &str, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.add(at, "", FieldErrorType::Required);
    } else if !is_header_value(name) {
        errors.add(at, name, FieldErrorType::InvalidHeaderValue);
    }
}
