//! Tokens of service accounts, verified by the API (TokenReview) and remembered.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, time::timeout};

use super::identity::Identity;
use crate::cluster_feed::{Reviewed, TokenReviewer};

/// Time after which the API is asked again about a token that it knows, in case the pod is gone.
const FRESH: Duration = Duration::from_secs(600);
/// Time for which a token that the API does not know is refused without asking.
const REFUSED: Duration = Duration::from_secs(10);
/// Tokens that are remembered, of each kind. A fleet has one for each pod.
const TOKENS: usize = 20_000;
/// Bytes of a token. Those of service accounts have about a thousand.
const TOKEN_BYTES: usize = 16 << 10;
/// Questions to the API at once, and the time that a token waits for its turn.
const QUESTIONS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for which the refused tokens of one address are counted, and the number after which it has to wait.
const ATTEMPTS_IN: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 5;
/// Addresses whose attempts are counted.
const ADDRESSES: usize = 10_000;

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Whose it is, and when it expires.
    Known(Identity, SystemTime),
    Refused(String),
    /// The API does not answer now.
    Unverified(String),
}

/// The tokens that were verified.
pub(super) struct Tokens {
    audience: String,
    reviewer: TokenReviewer,
    questions: Semaphore,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<[u8; 32], KnownToken>,
    refused: HashMap<[u8; 32], (Instant, String)>,
    /// When the count of an address began, and how many of its tokens were refused since.
    attempts: HashMap<IpAddr, (Instant, u32)>,
}

#[derive(Clone)]
struct KnownToken {
    identity: Identity,
    verified: Instant,
    expires: SystemTime,
}

/// What a token says of itself. It counts only once the API has verified the token, except for what spares the API a question.
#[derive(Deserialize)]
struct Claims {
    exp: u64,
    sub: String,
    #[serde(default)]
    aud: Audiences,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Tokens {
    pub(super) fn new(audience: String, reviewer: TokenReviewer) -> Self {
        Self { audience, reviewer, questions: Semaphore::new(QUESTIONS), memory: Mutex::default() }
    }

    /// Finds out whose token this is, which came from `peer`.
    pub(super) async fn verify(&self, peer: IpAddr, token: &str) -> Verdict {
        let claims = match self.claims(token) {
            Ok(claims) => claims,
            Err(why) => return Verdict::Refused(format!("the token: {why}")),
        };
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(claims.exp.min(u32::MAX.into()));
        if SystemTime::now() >= expires {
            return Verdict::Refused(
                "the token: it has expired; send the new one, which the kubelet writes to the same file".to_owned(),
            );
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        let stale = match self.memory().recall(&key) {
            Some(Recalled::Fresh(identity)) => return Verdict::Known(identity, expires),
            Some(Recalled::Stale(identity)) => Some(identity),
            Some(Recalled::Refused(why)) => return Verdict::Refused(why),
            None => None,
        };
        if stale.is_none() && !self.memory().may_try(peer) {
            return Verdict::Refused(format!(
                "the token: {ATTEMPTS} other tokens from {peer} were refused within {} s; wait a minute",
                ATTEMPTS_IN.as_secs()
            ));
        }
        // A flood of new tokens must not flood the API.
        let reviewed = match timeout(PATIENCE, self.questions.acquire()).await {
            Ok(_question) => self.reviewer.review(token, &self.audience).await,
            Err(_elapsed) => Reviewed::Unanswered("too many tokens are being verified at once".to_owned()),
        };
        if !matches!(reviewed, Reviewed::Refused(_)) && stale.is_none() {
            self.memory().tried_well(peer);
        }
        let refused = match reviewed {
            Reviewed::Authenticated(username) => match Identity::of_username(&username) {
                Some(identity) => {
                    self.memory()
                        .know(key, KnownToken { identity: identity.clone(), verified: Instant::now(), expires });
                    return Verdict::Known(identity, expires);
                }
                None => format!(
                    "the token: it belongs to {}, and not to a service account; use the token of a service account",
                    username.escape_debug()
                ),
            },
            Reviewed::Refused(why) => {
                format!("the token: the API does not accept it for the audience {}: {why}", self.audience)
            }
            // What was known before serves on while the API is away.
            Reviewed::Unanswered(why) => {
                return stale.map_or_else(
                    || Verdict::Unverified(format!("the token cannot be verified now: {why}; retry later")),
                    |identity| Verdict::Known(identity, expires),
                );
            }
        };
        self.memory().refuse(key, refused.clone());
        Verdict::Refused(refused)
    }

    /// What the token says of itself.
    ///
    /// # Errors
    /// Why the API need not be asked.
    fn claims(&self, token: &str) -> Result<Claims, String> {
        if token.len() > TOKEN_BYTES {
            return Err(format!("it has more than {TOKEN_BYTES} bytes"));
        }
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("it is not a JSON Web Token".to_owned());
        };
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| "its payload is not base64url")?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| "its payload has no sub and exp")?;
        if Identity::of_username(&claims.sub).is_none() {
            return Err(format!(
                "it belongs to {}, and not to a service account; use the token of a service account",
                claims.sub.escape_debug()
            ));
        }
        let has_audience = match &claims.aud {
            Audiences::One(audience) => *audience == self.audience,
            Audiences::Many(audiences) => audiences.contains(&self.audience),
        };
        match has_audience {
            true => Ok(claims),
            false => Err(format!(
                "it is not for the audience {0}; project a token with audience: {0} into the pod",
                self.audience
            )),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Recalled {
    Fresh(Identity),
    /// Known so long ago that the API is to be asked again.
    Stale(Identity),
    Refused(String),
}

impl Memory {
    fn recall(&self, key: &[u8; 32]) -> Option<Recalled> {
        if let Some(known) = self.known.get(key).filter(|known| SystemTime::now() < known.expires) {
            let identity = known.identity.clone();
            return Some(if known.verified.elapsed() < FRESH {
                Recalled::Fresh(identity)
            } else {
                Recalled::Stale(identity)
            });
        }
        let (at, why) = self.refused.get(key)?;
        (at.elapsed() < REFUSED).then(|| Recalled::Refused(why.clone()))
    }

    fn know(&mut self, key: [u8; 32], token: KnownToken) {
        self.refused.remove(&key);
        if self.known.len() >= TOKENS {
            let now = SystemTime::now();
            self.known.retain(|_, known| known.expires > now);
        }
        if self.known.len() >= TOKENS
            && let Some(oldest) = self.known.iter().min_by_key(|(_, known)| known.verified).map(|(key, _)| *key)
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key, token);
    }

    fn refuse(&mut self, key: [u8; 32], why: String) {
        self.known.remove(&key);
        self.refused.retain(|_, (at, _)| at.elapsed() < REFUSED);
        if self.refused.len() < TOKENS {
            self.refused.insert(key, (Instant::now(), why));
        }
    }

    /// Counts an attempt with a new token from this address. Returns whether it is one too many, after others that were refused or
    /// are being verified.
    fn may_try(&mut self, peer: IpAddr) -> bool {
        if !self.attempts.contains_key(&peer) && self.attempts.len() >= ADDRESSES {
            self.attempts.retain(|_, (since, _)| since.elapsed() < ATTEMPTS_IN);
            if self.attempts.len() >= ADDRESSES {
                return false;
            }
        }
        let (since, count) = self.attempts.entry(peer).or_insert((Instant::now(), 0));
        if since.elapsed() >= ATTEMPTS_IN {
            (*since, *count) = (Instant::now(), 0);
        }
        let may_try = *count < ATTEMPTS;
        *count += u32::from(may_try);
        may_try
    }

    /// Takes an attempt back that was not refused.
    fn tried_well(&mut self, peer: IpAddr) {
        if let Some((_, count)) = self.attempts.get_mut(&peer) {
            *count = count.saturating_sub(1);
        }
    }
}
