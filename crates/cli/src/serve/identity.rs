//! Who a caller is, as somebody trusted has verified it: a service account in a namespace.

use std::fmt;

/// A verified service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) service_account: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service account {} of namespace {}", self.service_account, self.namespace)
    }
}

impl Identity {
    /// Reads a SPIFFE id of Kubernetes, `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
    ///
    /// # Errors
    /// Why it is none of this trust domain.
    pub(super) fn of_spiffe_id(uri: &str, trust_domain: &str) -> Result<Self, String> {
        let shown = uri.escape_debug();
        let form =
            || format!("the URI {shown} is not of the form spiffe://{trust_domain}/ns/NAMESPACE/sa/SERVICE_ACCOUNT");
        let (domain, path) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or_else(form)?;
        if domain != trust_domain {
            return Err(format!("the URI {shown} is of another trust domain than {trust_domain}"));
        }
        let mut parts = path.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => {
                Self::new(namespace, account).ok_or_else(form)
            }
            _ => Err(form()),
        }
    }

    /// The only one of these URIs.
    ///
    /// # Errors
    /// Why there is none, or not only one.
    pub(super) fn of_only_uri<'u>(mut uris: impl Iterator<Item = &'u str>, trust_domain: &str) -> Result<Self, String> {
        let first = uris.next().ok_or("it has no URI")?;
        match uris.next() {
            Some(_) => Err("it has several URIs, and a SPIFFE id must be the only one".to_owned()),
            None => Self::of_spiffe_id(first, trust_domain),
        }
    }

    /// Reads the name that the API has for a service account, `system:serviceaccount:NAMESPACE:NAME`.
    pub(super) fn of_username(username: &str) -> Option<Self> {
        let (namespace, account) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        Self::new(namespace, account)
    }

    fn new(namespace: &str, service_account: &str) -> Option<Self> {
        // The API allows these characters only. Others could mean something to whoever prints them.
        let is_plain = |text: &str, more: &[u8]| {
            let allowed =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || more.contains(&byte);
            (1..=253).contains(&text.len()) && text.bytes().all(allowed)
        };
        let is_valid = is_plain(namespace, b"") && is_plain(service_account, b".");
        is_valid.then(|| Self { namespace: namespace.to_owned(), service_account: service_account.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_ids_of_service_accounts_and_nothing_else() {
        let wanted = Identity { namespace: "shop".to_owned(), service_account: "web.v1".to_owned() };
        assert_eq!(Identity::of_spiffe_id("spiffe://td/ns/shop/sa/web.v1", "td").as_ref(), Ok(&wanted));
        assert_eq!(Identity::of_username("system:serviceaccount:shop:web.v1"), Some(wanted));
        for uri in [
            "",
            "spiffe://td",
            "spiffe://td/",
            "spiffe://td/ns/shop/sa/",
            "spiffe://td/ns//sa/web",
            "spiffe://td/ns/shop/sa/web/",
            "spiffe://td/ns/shop/sa/web/more",
            "spiffe://td/sa/web/ns/shop",
            "spiffe://td/ns/SHOP/sa/web",
            "spiffe://td/ns/../sa/web",
            "spiffe://td/ns/shop%2f/sa/web",
            "spiffe://td/ns/shop/sa/web?x",
            "SPIFFE://td/ns/shop/sa/web",
            "https://td/ns/shop/sa/web",
            "spiffe://other/ns/shop/sa/web",
            "spiffe://td.other/ns/shop/sa/web",
            "spiffe://td@other/ns/shop/sa/web",
            "spiffe:///ns/shop/sa/web",
        ] {
            assert!(Identity::of_spiffe_id(uri, "td").is_err(), "{uri}");
        }
        for name in [
            "",
            "admin",
            "system:node:a",
            "system:serviceaccount:shop",
            "system:serviceaccount:shop:",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(Identity::of_username(name), None, "{name}");
        }
    }

    #[test]
    fn an_id_stands_alone() {
        let uri = "spiffe://td/ns/shop/sa/web";
        assert!(Identity::of_only_uri([uri].into_iter(), "td").is_ok());
        assert!(Identity::of_only_uri([uri, uri].into_iter(), "td").unwrap_err().contains("several URIs"));
        assert!(Identity::of_only_uri(std::iter::empty(), "td").unwrap_err().contains("no URI"));
    }
}
