//! Names that `examples/istio` promises to workloads, for the tests beside an Envoy and in a real mesh.

/// The host of the Service `checkout`.
pub const CHECKOUT: &str = "checkout.shop.svc.cluster.local";
/// The host of the Service that the alias `suggest` resolves to.
pub const RECOMMEND: &str = "recommend.shop.svc.cluster.local";

/// The authority that a workload in `shop` sends on port 80, and the host of the Service that it reaches.
pub const ISTIO_NAMES: [(&str, &str); 10] = [
    ("checkout", CHECKOUT),
    ("checkout.shop", CHECKOUT),
    ("checkout.shop.svc", CHECKOUT),
    (CHECKOUT, CHECKOUT),
    ("CHECKOUT.shop.svc.cluster.local.", CHECKOUT),
    ("10.96.147.27", CHECKOUT),
    ("checkout:80", CHECKOUT),
    ("_http._tcp.checkout", CHECKOUT),
    ("suggest", RECOMMEND),
    ("ledger.billing", "ledger.billing.svc.cluster.local"),
];
