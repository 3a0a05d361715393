//! Public top-level domains.

/// Top-level domains of the names that workloads call: the classic ones, those that software is hosted under, and country
/// codes with about a million names or more. The list leaves out most of the 1,400 domains, because `shop` and `qa` are good
/// names for a namespace.
pub(super) const PUBLIC_SUFFIXES: &[&str] = &[
    "com", "net", "org", "edu", "gov", "mil", "int", "arpa", "info", "biz", "io", "dev", "app", "ai", "co", "me",
    "cloud", "sh", "at", "au", "be", "br", "ca", "ch", "cn", "cz", "de", "dk", "es", "eu", "fr", "in", "it", "jp",
    "kr", "nl", "pl", "ru", "se", "uk", "us",
];
