//! One line about one decision, for an access log.

use core::fmt;

use crate::{
    resolve::{Reason, trace::Difference},
    steer::Plan,
};

/// A decision as an access log shows it: `reason=alias authority=payments.shop.svc.cluster.local
/// cluster=outbound|80||payments.shop.svc.cluster.local table=7`. Unchanged parts are omitted. No part of the line holds bytes
/// that a client chose. For a request that is observed it begins with `mode=observe difference=host_and_cluster`, and the rest is what
/// would be done.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'p> {
    pub(crate) reason: Reason,
    pub(crate) plan: &'p Plan,
    pub(crate) table_version: u64,
    pub(crate) observed: Option<Difference>,
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(difference) = self.observed {
            write!(f, "mode=observe difference={} ", difference.as_str())?;
        }
        write!(f, "reason={}", self.reason)?;
        if let Some(authority) = self.plan.authority() {
            write!(f, " authority={authority}")?;
        }
        if let Some(cluster) = self.plan.cluster() {
            write!(f, " cluster={cluster}")?;
        }
        if let Some(endpoint) = self.plan.endpoint() {
            write!(f, " endpoint={endpoint}")?;
        }
        write!(f, " table={}", self.table_version)
    }
}
