//! Tokens of service accounts, verified by the API (TokenReview) and remembered.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

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
/// Time for which the refused tokens of one address are counted, and the number after which it has to wait. As many tokens of an address,
/// less those that were refused, are verified at once.
const ATTEMPTS_IN: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 5;
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
    attempts: HashMap<IpAddr, Attempts>,
    /// Tokens that are being verified: the streams of a pod bring the same one at once, and the API is asked once.
    under_way: HashMap<[u8; 32], Arc<OnceCell<Verdict>>>,
}

/// The attempts of one address.
struct Attempts {
    since: Instant,
    refused: usize,
    /// A permit for each attempt that is left. A refused one keeps its permit.
    left: Arc<Semaphore>,
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
        let under_way = ReviewUnderWay::join(&self.memory, key);
        under_way.verdict.get_or_init(|| self.ask((peer, token), key, stale, expires)).await.clone()
    }

    /// Asks the API, and remembers what it says.
    async fn ask(
        &self,
        (peer, token): (IpAddr, &str),
        key: [u8; 32],
        stale: Option<Identity>,
        expires: SystemTime,
    ) -> Verdict {
        let attempt = match &stale {
            Some(_) => None,
            None => match self.attempt(peer).await {
                Ok(attempt) => Some(attempt),
                Err(verdict) => return verdict,
            },
        };
        // A flood of new tokens must not flood the API.
        let reviewed = match timeout(PATIENCE, self.questions.acquire()).await {
            Ok(_question) => self.reviewer.review(token, &self.audience).await,
            Err(_elapsed) => Reviewed::Unanswered("too many tokens are being verified at once".to_owned()),
        };
        if let Some(attempt) = attempt {
            self.memory().tried(peer, attempt, matches!(reviewed, Reviewed::Refused(_)));
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

    /// Waits until an address may try another token. The error says why it may not.
    async fn attempt(&self, peer: IpAddr) -> Result<OwnedSemaphorePermit, Verdict> {
        let unverified =
            |why: String| Verdict::Unverified(format!("the token cannot be verified now: {why}; retry later"));
        let Some(left) = self.memory().attempts_of(peer) else {
            return Err(unverified(format!("{ADDRESSES} other addresses bring new tokens")));
        };
        let refused = || {
            Verdict::Refused(format!(
                "the token: {ATTEMPTS} other tokens from {peer} were refused within {} s; wait a minute",
                ATTEMPTS_IN.as_secs()
            ))
        };
        match timeout(PATIENCE, left.acquire_owned()).await {
            Ok(attempt) => attempt.map_err(|_closed| refused()),
            Err(_elapsed) => Err(unverified(format!("too many tokens from {peer} are being verified at once"))),
        }
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
        lock(&self.memory)
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

    /// The attempts that an address has left; `None` where too many addresses are counted.
    fn attempts_of(&mut self, peer: IpAddr) -> Option<Arc<Semaphore>> {
        if !self.attempts.contains_key(&peer) && self.attempts.len() >= ADDRESSES {
            self.attempts.retain(|_, attempts| attempts.since.elapsed() < ATTEMPTS_IN);
            if self.attempts.len() >= ADDRESSES {
                return None;
            }
        }
        let of_peer = self.attempts.entry(peer).or_insert_with(Attempts::new);
        if of_peer.since.elapsed() >= ATTEMPTS_IN {
            *of_peer = Attempts::new();
        }
        Some(Arc::clone(&of_peer.left))
    }

    /// An attempt is over.
    fn tried(&mut self, peer: IpAddr, attempt: OwnedSemaphorePermit, is_refused: bool) {
        // A minute may have passed, so that others are counted now.
        let of_peer = self.attempts.get_mut(&peer).filter(|one| Arc::ptr_eq(&one.left, attempt.semaphore()));
        if let Some(of_peer) = of_peer.filter(|_| is_refused) {
            of_peer.refused += 1;
            attempt.forget();
            if of_peer.refused == ATTEMPTS {
                // Nobody waits for what will not come.
                of_peer.left.close();
            }
            return;
        }
        drop(attempt);
        // None of its tokens was refused or is being verified.
        if let Entry::Occupied(of_peer) = self.attempts.entry(peer)
            && of_peer.get().left.available_permits() == ATTEMPTS
        {
            of_peer.remove();
        }
    }
}

impl Attempts {
    fn new() -> Self {
        Self { since: Instant::now(), refused: 0, left: Arc::new(Semaphore::new(ATTEMPTS)) }
    }
}

/// A token that is being verified, for as long as somebody waits for the verdict.
struct ReviewUnderWay<'m> {
    memory: &'m Mutex<Memory>,
    key: [u8; 32],
    verdict: Arc<OnceCell<Verdict>>,
}

impl<'m> ReviewUnderWay<'m> {
    fn join(memory: &'m Mutex<Memory>, key: [u8; 32]) -> Self {
        let verdict = Arc::clone(lock(memory).under_way.entry(key).or_default());
        Self { memory, key, verdict }
    }
}

impl Drop for ReviewUnderWay<'_> {
    fn drop(&mut self) {
        let mut memory = lock(self.memory);
        if let Entry::Occupied(entry) = memory.under_way.entry(self.key) {
            // A verdict is for those who waited for it. Without one, another of them asks.
            let is_last = Arc::strong_count(entry.get()) <= 2;
            if Arc::ptr_eq(entry.get(), &self.verdict) && (is_last || self.verdict.initialized()) {
                entry.remove();
            }
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
