//! Who may open a stream: finds out who asks, by what the listener trusts.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper::header::{AUTHORIZATION, HeaderMap};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::{Code, Status};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    identity::Identity,
    proof::{Expiry, Proof},
    tokens::{Tokens, Verdict},
    xfcc,
};

const XFCC: &str = "x-forwarded-client-cert";
/// The addresses that inbound clusters of Istio bind. Nobody else in a pod uses them, and no other machine can.
const ISTIO_INBOUND: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];

/// What a listener trusts.
#[derive(Clone)]
pub(super) enum Trust {
    /// Whoever reaches it.
    Anyone,
    /// Certificates of this trust domain, and tokens, as far as they are there.
    Proofs { trust_domain: Option<Arc<str>>, tokens: Option<Arc<Tokens>> },
    /// The sidecar beside the server, which verifies clients of this trust domain.
    Sidecar { trust_domain: Arc<str> },
}

/// Why a stream is refused.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) reason: DenialReason,
    pub(super) text: String,
}

/// Why a stream is refused, as the value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DenialReason {
    Unauthenticated,
    OtherNamespace,
    /// The identity cannot be verified now.
    Unverified,
}

impl Denial {
    pub(super) fn unauthenticated(text: impl Into<String>) -> Self {
        Self { reason: DenialReason::Unauthenticated, text: text.into() }
    }

    pub(super) fn status(&self) -> Status {
        let code = match self.reason {
            DenialReason::Unauthenticated => Code::Unauthenticated,
            DenialReason::OtherNamespace => Code::PermissionDenied,
            DenialReason::Unverified => Code::Unavailable,
        };
        Status::new(code, self.text.clone())
    }
}

impl DenialReason {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::OtherNamespace => "other_namespace",
            Self::Unverified => "unverified",
        }
    }
}

impl Trust {
    /// Whether connections from this address are accepted.
    pub(super) fn admits(&self, peer: IpAddr) -> bool {
        !matches!(self, Self::Sidecar { .. }) || ISTIO_INBOUND.contains(&peer.to_canonical())
    }

    /// The verified caller; `None` if this listener verifies nobody.
    ///
    /// # Errors
    /// If a caller must say who it is, and has not.
    pub(super) async fn verify(
        &self,
        peer: IpAddr,
        certificate: Option<&CertificateDer<'_>>,
        headers: &HeaderMap,
    ) -> Result<Option<Proof>, Denial> {
        match self {
            Self::Anyone => Ok(None),
            Self::Sidecar { trust_domain } => {
                // The sidecar does not say until when.
                of_sidecar(headers, trust_domain).map(|identity| Some(Proof { identity, expiry: None }))
            }
            Self::Proofs { trust_domain, tokens } => {
                if let (Some(certificate), Some(trust_domain)) = (certificate, trust_domain) {
                    return of_certificate(certificate, trust_domain).map(Some);
                }
                if let (Some(token), Some(tokens)) = (bearer(headers)?, tokens) {
                    return match tokens.verify(peer, token).await {
                        Verdict::Known(identity, expires) => {
                            Ok(Some(Proof { identity, expiry: Some(Expiry { at: expires, what: "the token" }) }))
                        }
                        Verdict::Refused(text) => Err(Denial::unauthenticated(text)),
                        Verdict::Unverified(text) => Err(Denial { reason: DenialReason::Unverified, text }),
                    };
                }
                let wanted = match (trust_domain, tokens) {
                    (Some(_), Some(_)) => "a client certificate with a SPIFFE id, or a service account token",
                    (Some(_), None) => "a client certificate with a SPIFFE id",
                    (None, _) => "a service account token in the header authorization",
                };
                Err(Denial::unauthenticated(format!(
                    "the client has not said who it is: send {wanted}, as bootstraps of byname compile --server do"
                )))
            }
        }
    }
}

fn of_certificate(certificate: &CertificateDer<'_>, trust_domain: &str) -> Result<Proof, Denial> {
    let problem = |why: &dyn std::fmt::Display| {
        Denial::unauthenticated(format!(
            "the client certificate: {why}; use one whose only URI is spiffe://{trust_domain}/ns/NAMESPACE/sa/SERVICE_ACCOUNT"
        ))
    };
    // TLS has verified the certificate when the connection was opened, perhaps long ago.
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| problem(&error))?;
    let identity = Identity::of_only_uri(parsed.valid_uri_names(), trust_domain).map_err(|why| problem(&why))?;
    let expiry = expiry(certificate).ok_or_else(|| problem(&"its validity cannot be read"))?;
    match expiry.is_over() {
        true => Err(Denial::unauthenticated(expiry.text())),
        false => Ok(Proof { identity, expiry: Some(expiry) }),
    }
}

/// When the certificate runs out; `None` if that cannot be read.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<Expiry> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    // The last second counts.
    let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?.checked_add(1)?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))?;
    Some(Expiry { at, what: "the client certificate" })
}

fn of_sidecar(headers: &HeaderMap, trust_domain: &str) -> Result<Identity, Denial> {
    let problem = |part: &str, why: &str| {
        Denial::unauthenticated(format!(
            "{part} {XFCC}: {why}; the server's sidecar must require mTLS of the mesh (PeerAuthentication STRICT)"
        ))
    };
    let of_header = |why: &str| problem("the header", why);
    // Envoy joins what it appends to the last line. A client's lines before it are anybody's.
    let line = headers.get_all(XFCC).iter().next_back().ok_or_else(|| of_header("it is missing"))?;
    let line = line.to_str().map_err(|_| of_header("it is not ASCII"))?;
    let uris = xfcc::last_uris(line).map_err(of_header)?;
    Identity::of_only_uri(uris.iter().map(String::as_str), trust_domain)
        .map_err(|why| problem("the last element of the header", &why))
}

/// The token of the header `authorization`, if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denial> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), others) = (values.next(), values.next()) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match (token, others) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Denial::unauthenticated("the header authorization: send it once, as `Bearer TOKEN`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar() -> Trust {
        Trust::Sidecar { trust_domain: "cluster.local".into() }
    }

    fn seen(lines: &[&str]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(XFCC, line.parse().unwrap());
        }
        of_sidecar(&headers, "cluster.local").map(|identity| identity.namespace).map_err(|denial| denial.text)
    }

    #[test]
    fn only_the_sidecar_beside_the_server_is_believed() {
        let trust = sidecar();
        for peer in ["127.0.0.6", "::6", "::ffff:127.0.0.6"] {
            assert!(trust.admits(peer.parse().unwrap()), "{peer}");
        }
        for peer in ["127.0.0.1", "127.0.0.5", "10.0.0.6", "::1", "::ffff:10.0.0.6"] {
            assert!(!trust.admits(peer.parse().unwrap()), "{peer}");
        }
        assert!(Trust::Anyone.admits("10.0.0.6".parse().unwrap()));
    }

    #[test]
    fn a_clients_own_header_shows_nobody() {
        let (real, forged) = ("URI=spiffe://cluster.local/ns/shop/sa/web", "URI=spiffe://cluster.local/ns/prod/sa/web");
        assert_eq!(seen(&[real]), Ok("shop".to_owned()));
        assert_eq!(seen(&[&format!("{forged},By=x;{real}")]), Ok("shop".to_owned()));
        assert_eq!(seen(&[forged, real]), Ok("shop".to_owned()));
        assert_eq!(seen(&[forged, forged, &format!("{forged},{real}")]), Ok("shop".to_owned()));
        for (lines, why) in [
            (&[][..], "it is missing"),
            (&[""], "no \"=\""),
            (&[&*format!("{real},")], "no \"=\""),
            (&[&*format!("{real};{forged}")], "several URIs"),
            (&["URI=spiffe://other/ns/shop/sa/web"], "another trust domain"),
            (&[real, "By=x;Hash=ab"], "no URI"),
            (&[&*format!("Subject=\",{real}")], "not closed"),
            (&[&*format!("Subject=\"{forged},By=x;Subject=\"CN=web\";{real}")], "follows a closing quote"),
        ] {
            let error = seen(lines).expect_err(&format!("{lines:?}"));
            assert!(error.contains(why), "{lines:?}: {error}");
        }
    }
}
