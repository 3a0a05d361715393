//! Asks the API whose a token is.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use tokio::time::timeout;

use super::client::Clients;

/// Time in which the API must answer: a client waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reviewed {
    /// The user's name.
    Authenticated(String),
    /// The token is not valid for the audience, and why.
    Refused(String),
    /// The API has not answered, and why.
    Unanswered(String),
}

/// Asks the API.
#[derive(Clone)]
pub(crate) struct TokenReviewer(Arc<Clients>);

impl TokenReviewer {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self(clients)
    }

    /// Whose token this is, if it is for `audience`.
    pub(crate) async fn review(&self, token: &str, audience: &str) -> Reviewed {
        let spec = TokenReviewSpec { audiences: Some(vec![audience.to_owned()]), token: token.to_owned() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.0.current());
        let status = match timeout(PATIENCE, api.create(&PostParams::default(), &review)).await {
            Ok(Ok(review)) => review.status.unwrap_or_default(),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Reviewed::Unanswered(
                    "the API forbids it; grant \"create\" on tokenreviews.authentication.k8s.io to the server, in a ClusterRole"
                        .to_owned(),
                );
            }
            Ok(Err(error)) => return Reviewed::Unanswered(format!("the API fails: {error}")),
            Err(_elapsed) => {
                return Reviewed::Unanswered(format!("the API has not answered within {} s", PATIENCE.as_secs()));
            }
        };
        // An API that does not know audiences accepts tokens that are for itself, and names none.
        let is_meant = status.audiences.iter().flatten().any(|one| one == audience);
        match status.user.and_then(|user| user.username) {
            Some(username) if status.authenticated == Some(true) && is_meant => Reviewed::Authenticated(username),
            _ => Reviewed::Refused(status.error.unwrap_or_else(|| "it is not valid".to_owned())),
        }
    }
}
