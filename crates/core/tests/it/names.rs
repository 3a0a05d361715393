//! Every form of a name, resolved for a caller in the namespace `shop`.

use byname_core::Scheme;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, ask_over, check, config, services, shop};

#[test]
fn resolves_the_four_names_of_a_service_in_any_case_and_with_a_dot() {
    check(
        &services(shop()),
        &[
            ("payments", "service payments.shop:80", "the caller's namespace first"),
            ("payments.prod", "service payments.prod:80", "svc.ns"),
            ("payments.prod.svc", "service payments.prod:80", "svc.ns.svc"),
            ("payments.prod.svc.cluster.local", "service payments.prod:80", "the full name"),
            ("payments.prod.svc.cluster.local.", "service payments.prod:80", "a dot ends it"),
            ("PayMents.PROD", "service payments.prod:80", "DNS ignores case"),
            ("payments.", "pass public_name", "a trailing dot skips the search path"),
            ("payments.prod.", "pass public_name", "and here"),
            ("payments.prod.svc.cluster", "pass name_not_found", "an incomplete name"),
            ("payments.stage", "pass name_not_found", "no such Service"),
            ("shop", "pass name_not_found", "a namespace has no address"),
            ("prod.svc.cluster.local", "pass name_not_found", "not by its full name either"),
            ("svc.cluster.local", "pass name_not_found", "not above it either"),
            ("cluster.local", "pass name_not_found", "not the cluster domain either"),
            ("xpayments.prod.svc.cluster.local", "pass name_not_found", "a name is matched whole"),
            ("payments.prod.svc.xcluster.local", "pass name_not_found", "and so is the zone"),
            ("2048.shop", "service 2048.shop:80", "a Service's name may start with a digit, KEP-5311"),
            ("2048", "refuse bad_authority", "but resolvers read a number as an address"),
            ("1.prod", "service 1.prod:80", "a number is fine where a name follows"),
            ("payments.1234", "pass name_not_found", "a namespace of digits makes no address"),
        ],
    );
}

#[test]
fn resolves_endpoints_by_hostname_or_dashed_address() {
    check(
        &services(shop()),
        &[
            ("db", "service db.shop:80", "headless, by its own name"),
            ("db-0.db", "endpoint db-0.db.shop:80", "as the pods of a StatefulSet are called"),
            ("DB-1.db.shop.svc.cluster.local.", "endpoint db-1.db.shop:80", "in the full name too"),
            ("db-2.db", "refuse no_endpoints", "not ready: it will be there again"),
            ("db-9.db", "pass name_not_found", "no such hostname"),
            ("10-244-1-1.db", "pass name_not_found", "an endpoint with a hostname has no dashed name"),
            ("10-244-1-4.db", "endpoint 10-244-1-4.db.shop:80", "an endpoint without a hostname has one"),
            ("fd00--0.db", "endpoint fd00--0.db.shop:80", "a trailing dash gets a 0"),
            ("fd00--.db", "pass name_not_found", "without the 0 it does not exist"),
            ("fd00-0-0-0-0-0-0-0.db", "pass name_not_found", "another spelling of the address does not exist"),
            (
                "10-244-0-7.payments",
                "endpoint 10-244-0-7.payments.shop:80",
                "a Service with a cluster IP has them as well",
            ),
            ("fd00--7.payments", "endpoint fd00--7.payments.shop:80", "over IPv6 too"),
            ("10-244-0-8.payments", "pass name_not_found", "another Service's endpoint"),
            ("unready", "refuse no_endpoints", "headless and nothing ready"),
            ("db-0.db.shop", "endpoint db-0.db.shop:80", "by svc.<zone> of the search path"),
            ("a.db-0.db.shop.svc.cluster.local", "pass name_not_found", "a.db-0 reads as port and protocol of db"),
            ("b.a.db-0.db.shop.svc.cluster.local", "pass name_not_found", "no name has so many labels"),
        ],
    );
}

#[test]
fn resolves_ports_below_their_service() {
    check(
        &services(shop()),
        &[
            ("_http._tcp.payments", "service payments.shop:80", "the port by its name"),
            ("_grpc._tcp.payments", "service payments.shop:9090", "whatever the scheme's default port"),
            ("grpc.tcp.payments.shop", "service payments.shop:9090", "without underscores, as CoreDNS answers"),
            ("_grpc._tcp.payments:9090", "service payments.shop:9090", "the same port said twice"),
            ("_grpc._tcp.payments:80", "pass port_not_found", "another port than the one named"),
            ("_nope._tcp.payments", "pass name_not_found", "no port of that name"),
            ("_http._tcp.unready", "pass name_not_found", "nothing is below a Service that does not exist"),
            ("_dns._udp.payments", "pass port_not_found", "DNS has the name, but HTTP does not go over UDP"),
            ("dns.udp.payments", "pass port_not_found", "without underscores too"),
            ("_DNS._UDP.payments:53", "pass port_not_found", "in any case, with any port"),
            ("_dns._tcp.payments", "pass name_not_found", "the port is UDP"),
            ("_dns._sctp.payments", "pass name_not_found", "and not SCTP"),
            ("_http._udp.payments", "pass name_not_found", "the port is TCP"),
            ("_admin._tcp.db", "service db.shop:9901", "headless: the endpoints' own port"),
            ("_http._tcp.db", "service db.shop:80", "headless: the Service's port where it has one"),
            ("_tcp.payments", "pass name_not_found", "one label is an endpoint"),
        ],
    );
}

// CoreDNS has names for ports of every protocol: of a Service with a cluster IP for those that it lists, of a headless one for
// those that the EndpointSlices of ready endpoints list.
#[test]
fn ends_the_search_at_a_port_of_another_protocol() {
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
                       {"name": "sig", "port": 2905, "protocol": "SCTP"}]);
    let headless = |endpoints: Value| json!({"clusterIPs": "None", "ports": ports, "endpoints": endpoints});
    let services = json!({
        "shop/vip": {"ports": ports, "endpoints": []},
        "shop/same": headless(json!([{"addresses": "10.0.0.1"}])),
        "shop/unread": {"clusterIPs": "None", "ports": ports},
        "shop/own": headless(json!([{"addresses": "10.0.0.1", "otherPorts": "mdns/UDP"},
                                    {"addresses": "10.0.0.2", "otherPorts": ["sig/SCTP", "web/TCP"], "ready": false}])),
        "shop/bare": {"clusterIPs": "None", "endpoints": [{"addresses": "10.0.0.1", "otherPorts": "dns/UDP web/TCP"}]},
        "shop/none": headless(json!([{"addresses": "10.0.0.1", "otherPorts": ""}])),
        "shop/down": headless(json!([{"addresses": "10.0.0.1", "ready": false}])),
        // Where the search would go on: `dns.udp.vip` is the endpoint `dns` of the Service `udp` in the namespace `vip`.
        "vip/udp": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.9", "hostnames": "dns"}]},
        "none/udp": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.9", "hostnames": "dns"}]},
        "shop/alias": {"type": "ExternalName", "externalName": "_dns._udp.vip.shop.svc.cluster.local"},
    });
    let rows = [
        ("dns.udp.vip", "port_not_found", "the Service's port, whatever endpoints it has"),
        ("_sig._sctp.vip", "port_not_found", "SCTP too"),
        ("alias", "port_not_found", "by an alias too"),
        ("_dns._udp.same", "port_not_found", "headless: endpoints have the Service's ports where they list none"),
        ("_dns._udp.unread", "port_not_found", "headless with unknown endpoints: the Service's"),
        ("_mdns._udp.own", "port_not_found", "a port that only endpoints have"),
        ("_dns._udp.own", "name_not_found", "the endpoints do not have the Service's port"),
        ("_sig._sctp.own", "name_not_found", "only an endpoint that is not ready has it"),
        ("_web._tcp.own", "name_not_found", "and so is the one with this port"),
        ("_dns._udp.bare", "port_not_found", "a Service without ports"),
        ("_web._tcp.bare", "port_not_found", "DNS has a TCP port without a number as well"),
        ("_dns._udp.down", "name_not_found", "nothing is ready, so DNS has no such name"),
        ("_dns._udp.alias", "name_not_found", "nothing is below an alias"),
        ("_udp._dns.vip", "name_not_found", "the port comes first"),
    ];
    for (mode, word) in [("pass", "pass"), ("refuse", "refuse")] {
        let config = config(json!({"unknownNames": mode, "table": {"services": services}}));
        for (authority, reason, why) in rows {
            assert_eq!(ask(&config, authority), format!("{word} {reason}"), "{authority}: {why}");
        }
        assert_eq!(
            ask(&config, "dns.udp.none"),
            "endpoint dns.udp.none:80",
            "no ready endpoint has it: the search goes on"
        );
        assert_eq!(ask(&config, "_http._tcp.vip"), "refuse no_endpoints", "a TCP port is what it was");
    }
}

#[test]
fn resolves_pods_whose_address_is_in_the_table() {
    let loopback =
        json!({"shop/local": {"ports": [{"port": 80}], "endpoints": [{"addresses": "127.0.0.1 169.254.169.254"}]}});
    let single = config(json!({"table": {"singleMachine": true, "services": loopback}}));
    check(
        &services(shop()),
        &[
            ("10-244-0-7.shop.pod", "pod 10-244-0-7.shop.pod.cluster.local:80", "an endpoint's address"),
            ("10-244-0-7.shop.pod.cluster.local:8080", "pod 10-244-0-7.shop.pod.cluster.local:8080", "any port"),
            ("fd00--7.shop.pod", "pod fd00--7.shop.pod.cluster.local:80", "over IPv6"),
            ("fd00-0-0-0-0-0-0-7.shop.pod", "pod fd00--7.shop.pod.cluster.local:80", "which has one canonical form"),
            ("10-244-9-9.shop.pod", "pass name_not_found", "no endpoint has it"),
            ("1-2-3.shop.pod", "pass name_not_found", "not an address"),
            ("a.10-244-0-7.shop.pod", "pass name_not_found", "nothing is below a pod"),
            ("shop.pod", "pass name_not_found", "a namespace is no pod"),
        ],
    );
    check(
        &single,
        &[
            ("127-0-0-1.shop.pod", "pass name_not_found", "never loopback"),
            ("169-254-169-254.shop.pod", "pass name_not_found", "never link-local, never metadata"),
        ],
    );
}

#[test]
fn resolves_cluster_ips_and_passes_other_addresses() {
    check(
        &services(shop()),
        &[
            ("10.96.0.10", "cluster_ip payments.shop:80", "the Service's"),
            ("10.96.0.10:9090", "cluster_ip payments.shop:9090", "at another port"),
            ("10.96.0.10:53", "pass port_not_found", "UDP is not matched"),
            ("10.96.0.11", "cluster_ip payments.prod:80", "of another namespace"),
            ("[fd00:96::10]:80", "cluster_ip payments.shop:80", "its other family"),
            ("[::ffff:10.96.0.10]", "cluster_ip payments.shop:80", "IPv4-mapped counts as IPv4"),
            ("10.244.0.7", "pass ip_literal", "an endpoint's address is no name"),
            ("127.0.0.1", "pass ip_literal", "any other address is no name"),
        ],
    );
}

#[test]
fn matches_the_port_and_defaults_by_scheme() {
    let services = services(shop());
    check(
        &services,
        &[
            ("payments:9090", "service payments.shop:9090", "a port of the Service"),
            ("payments:8080", "pass port_not_found", "not one of its ports"),
            ("db:8080", "pass port_not_found", "an endpoint's port is not the Service's"),
        ],
    );
    assert_eq!(ask_over(&services, "payments", Scheme::Https), "pass port_not_found", "443");
    assert_eq!(ask_over(&services, "payments:80", Scheme::Https), "service payments.shop:80");
}

#[test]
fn refuses_unknown_names_if_configured() {
    let refusing = config(json!({"unknownNames": "refuse", "table": {"services": shop()}}));
    check(
        &refusing,
        &[
            ("payments", "service payments.shop:80", "known names are still routed"),
            ("nope", "refuse name_not_found", ""),
            ("payments:8080", "refuse port_not_found", ""),
            ("api.example.com", "refuse name_not_found", "outside the zone"),
            ("api.example.com.", "refuse name_not_found", "with a trailing dot"),
            ("203.0.113.7", "pass ip_literal", "an address is not a name"),
        ],
    );
}
