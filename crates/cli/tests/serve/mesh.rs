//! The header that a real Envoy writes, set up as the inbound side of Istio's sidecars: what it makes of a client's own.

use std::fs;

use byname_test_support::{Envoy, free_port, tls::TestCa};
use tempfile::tempdir;
use tonic::Code;

use crate::{
    client::{Dial, node},
    identities::{XFCC, first, spiffe, start},
};

/// The inbound side of a sidecar: TLS on one port, as from the mesh, and plaintext on another, as mode PERMISSIVE has it.
const SIDECAR: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: mesh
    address: {socket_address: {address: 127.0.0.1, port_value: 15006}}
    filter_chains:
    - filters: &filters
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inbound
          codec_type: HTTP2
          forward_client_cert_details: APPEND_FORWARD
          set_current_client_cert_details: {subject: true, dns: true, uri: true}
          route_config:
            virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: serve, timeout: 0s}}]}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates: [{certificate_chain: {filename: "HERE/tls.crt"}, private_key: {filename: "HERE/tls.key"}}]
            validation_context: {trusted_ca: {filename: "HERE/ca.crt"}}
  - name: plaintext
    address: {socket_address: {address: 127.0.0.1, port_value: 15007}}
    filter_chains: [{filters: *filters}]
  clusters:
  - name: serve
    type: STATIC
    # As Istio's inbound clusters have it.
    upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: serve
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 18001}}}}]}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sidecars_word_counts_whatever_its_client_says() {
    let mesh = free_port().unwrap();
    let arguments = ["--identity", "xfcc", "--xfcc-listen", &format!("127.0.0.1:{mesh}")].map(str::to_owned);
    let _program = start(&arguments).await;
    let (ca, directory) = (TestCa::new(), tempdir().unwrap());
    let server = ca.issue(&["localhost"], &[&spiffe("byname")]);
    let file = |name: &str| directory.path().join(name);
    fs::write(file("tls.crt"), server.certificate).unwrap();
    fs::write(file("tls.key"), server.key).unwrap();
    fs::write(file("ca.crt"), ca.pem()).unwrap();
    fs::write(file("sidecar.yaml"), SIDECAR.replace("HERE", directory.path().to_str().unwrap())).unwrap();
    let sidecar =
        Envoy::builder(file("sidecar.yaml").to_str().unwrap()).port(18001, mesh).port(0, 0).start().await.unwrap();
    let of = |namespace: &str| node("envoy-0", &[("NAMESPACE", namespace)]);
    let forged = format!("By={};Hash=ab;Subject=\"\";URI={}", spiffe("byname"), spiffe("prod"));
    let own = ca.client(Some(&ca.issue(&[], &[&spiffe("shop")])));
    let dial = |lines: &[&str]| Dial {
        tls: Some(own.clone()),
        headers: lines.iter().map(|line| (XFCC, (*line).to_owned())).collect(),
        ..Dial::default()
    };
    let port = sidecar.port(15006);
    for lines in [&[][..], &[&*forged], &[&forged, &forged], &[&*format!("{forged},")], &["", &forged]] {
        let seen = first(port, of("shop"), &dial(lines)).await;
        // A line that ends in a comma leaves an empty element before the sidecar's.
        let is_refused = seen.as_ref().is_err_and(|(code, _)| *code == Code::Unauthenticated);
        assert!(
            seen.is_ok() || (is_refused && lines.iter().any(|line| line.ends_with(',') || line.is_empty())),
            "{lines:?}: {seen:?}"
        );
        let other = first(port, of("prod"), &dial(lines)).await.unwrap_err();
        assert!([Code::PermissionDenied, Code::Unauthenticated].contains(&other.0), "{lines:?}: {other:?}");
    }
    // Quotes that the client leaves open, so that the sidecar's own element would be read inside out.
    for line in ["Subject=\"", "Subject=\"a", "a=b;Subject=\"x\\", &format!("{forged};Subject=\"")] {
        for namespace in ["shop", "prod"] {
            let (code, why) = first(port, of(namespace), &dial(&[line])).await.unwrap_err();
            assert_eq!(code, Code::Unauthenticated, "{line:?}: {why}");
        }
    }
    // Plaintext past the mesh: the sidecar removes what it has not verified.
    let bare = Dial { headers: vec![(XFCC, forged.clone())], ..Dial::default() };
    let (code, why) = first(sidecar.port(15007), of("prod"), &bare).await.unwrap_err();
    assert_eq!((code, why.contains("it is missing")), (Code::Unauthenticated, true), "{why}");
}
