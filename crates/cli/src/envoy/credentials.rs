//! How Envoy knows the server, and proves to the server who it is: TLS, a client certificate, a token.
//!
//! Envoy reads files anew only where a secret that it discovers (SDS) names them, so files of secrets stand beside the bootstrap.

use std::path::{Path, PathBuf};

use super::{
    file::discovery_file,
    value::{extension, path, typed, watched},
};
use crate::output::{
    directory_of,
    yaml::{Yaml, fields, map, one_line},
};

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const SERVER_CA: &str = "byname-server-ca";
const CLIENT: &str = "byname-client";
const TOKEN: &str = "byname-token";

/// What Envoy trusts and shows.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The directory of the files of secrets, on Envoy's machine.
    pub secrets_directory: PathBuf,
    /// The CAs of the server's certificate.
    pub server_ca_file: PathBuf,
    /// The name in the server's certificate.
    pub server_name: String,
    /// The client certificate and its key.
    pub certificate: Option<ClientCertificate>,
    /// The service account token.
    pub token_file: Option<PathBuf>,
}

/// The files of a client certificate, on Envoy's machine.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate, and the chain to its CA.
    pub certificate: PathBuf,
    /// The key.
    pub private_key: PathBuf,
}

impl Credentials {
    /// TLS to the server.
    pub(super) fn transport_socket(&self) -> Yaml {
        let name = &self.server_name;
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        let names = map! {
            "match_typed_subject_alt_names": [one_line! {
                "san_type": if is_address { "IP_ADDRESS" } else { "DNS" },
                "matcher": map! { "exact": name.clone() },
            }],
        };
        let shown = self.certificate.as_ref().map(|_| Yaml::from([self.secret(CLIENT)]));
        let context = map! {
            "tls_params": Yaml::one_line(map! { "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3" }),
            "alpn_protocols": Yaml::one_line(["h2"]),
            "tls_certificate_sds_secret_configs": shown,
            "combined_validation_context": map! {
                "default_validation_context": names,
                "validation_context_sds_secret_config": self.secret(SERVER_CA),
            },
        };
        extension(
            "envoy.transport_sockets.tls",
            typed! {
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": (!is_address).then(|| name.clone()),
                "common_tls_context": context,
            },
        )
    }

    /// The filters of requests to the server, which add the token; `None` without one.
    pub(super) fn http_filters(&self) -> Option<Yaml> {
        self.token_file.as_ref()?;
        let generic = typed! {
            "envoy.extensions.http.injected_credentials.generic.v3.Generic",
            "header_value_prefix": "Bearer ",
            "credential": self.secret(TOKEN),
        };
        let injector = typed! {
            "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "credential": extension("envoy.http.injected_credentials.generic", generic),
        };
        let codec = typed! { "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" };
        let filters = [
            extension("envoy.filters.http.credential_injector", injector),
            extension("envoy.filters.http.upstream_codec", codec),
        ];
        Some(Yaml::commented("The token says to the server who this Envoy is.", Yaml::from(filters)))
    }

    /// The files of secrets, by their names. Envoy takes one secret from each.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, String)> {
        const COMMENT: &str = "A secret for the stream to byname serve, made by byname. Envoy reads the files that it names again when they change.";
        let secret = |name: &'static str, kind: &'static str, content: Yaml| {
            let mut fields = fields! { "@type": SECRET, "name": name };
            fields.push((kind.into(), content));
            (file_name(name), discovery_file(COMMENT, vec![Yaml::Map(fields)]))
        };
        let file = |file: &Path| one_line! { "filename": path(file) };
        let directory = |file: &Path| one_line! { "path": path(directory_of(file)) };
        let ca = &self.server_ca_file;
        let mut secrets = vec![secret(
            SERVER_CA,
            "validation_context",
            map! { "trusted_ca": file(ca), "watched_directory": directory(ca) },
        )];
        secrets.extend(self.certificate.as_ref().map(|ClientCertificate { certificate, private_key }| {
            let content = map! {
                "certificate_chain": file(certificate),
                "private_key": file(private_key),
                "watched_directory": directory(certificate),
            };
            secret(CLIENT, "tls_certificate", content)
        }));
        secrets.extend(self.token_file.as_deref().map(|token| {
            let content = map! { "secret": map! { "filename": path(token), "watched_directory": directory(token) } };
            secret(TOKEN, "generic_secret", content)
        }));
        secrets
    }

    fn secret(&self, name: &'static str) -> Yaml {
        map! { "name": name, "sds_config": watched(&self.secrets_directory.join(file_name(name))) }
    }
}

fn file_name(secret: &str) -> String {
    format!("{secret}.yaml")
}
