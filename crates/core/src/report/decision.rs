//! One line about one decision, for an access log.

use core::fmt;

use crate::{resolve::Reason, steer::Plan};

/// A decision as an access log shows it: `reason=alias authority=payments.shop.svc.cluster.local
/// cluster=outbound|80||payments.shop.svc.cluster.local table=7`. Unchanged parts are omitted. No part of the line holds bytes
/// that a client chose.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'p> {
    pub(crate) reason: Reason,
    pub(crate) plan: &'p Plan,
    pub(crate) table_version: u64,
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
