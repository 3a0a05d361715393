//! Access to the Kubernetes API: which cluster and user, the client, requests, and failures in words.

mod access;
mod failure;
mod kubeconfig;
pub(crate) mod request;

pub use self::access::ApiAccess;
pub(crate) use self::{
    access::{build, config},
    failure::{Cause, Failure},
};
