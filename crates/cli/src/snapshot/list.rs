//! Lists of the API, in pages, and what to do when the API forbids or lacks one.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hyper::StatusCode;
use kube::{Client, api::ListParams, core::Request as ApiRequest};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    progress::Progress,
    wanted::{Scope, Wanted},
};
use crate::{
    kube_api::{Cause, Failure, request},
    output::some,
};

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// Attempts at a request that a server in trouble fails, and at a list whose next page has expired.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles. A server that asks for a longer wait gets it.
const WAIT: Duration = Duration::from_millis(300);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The versions of each group that the API serves.
pub(super) type Groups = BTreeMap<String, BTreeSet<String>>;

/// Lists objects, and counts them.
pub(super) struct Lister<'l> {
    pub(super) client: &'l Client,
    pub(super) progress: &'l Cell<Progress>,
}

/// The objects of a kind.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) api_version: String,
    pub(super) objects: Vec<Value>,
    /// What is missing, and what that costs.
    pub(super) gap: Option<String>,
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

impl Lister<'_> {
    /// The groups that the API serves. Asks only if `wanted` has a kind of a group that the API may lack.
    pub(super) async fn groups(&self, wanted: &[Wanted]) -> Result<Groups, Failure> {
        if !wanted.iter().any(|wanted| wanted.kind.is_extension()) {
            return Ok(Groups::new());
        }
        let list: GroupList = self.get("/apis", &ListParams::default(), "list of groups").await?;
        let versions = |group: Group| {
            (group.name, group.versions.into_iter().map(|version| version.version).collect::<BTreeSet<_>>())
        };
        Ok(list.groups.into_iter().map(versions).collect())
    }

    /// The objects of one kind. A kind that the API lacks has none.
    pub(super) async fn kind<'w>(&self, wanted: &'w Wanted, groups: &Groups) -> (&'w Wanted, Result<Listed, Failure>) {
        for version in wanted.kind.versions {
            let is_served = || groups.get(wanted.kind.group).is_some_and(|versions| versions.contains(*version));
            if wanted.kind.is_extension() && !is_served() {
                continue;
            }
            match self.version(wanted, version).await {
                // A small API server lacks even some of Kubernetes' own kinds.
                Err(Failure { code: Some(StatusCode::NOT_FOUND), .. }) if !wanted.kind.is_required => {}
                listed => return (wanted, listed),
            }
        }
        (wanted, Ok(Listed::default()))
    }

    async fn version(&self, wanted: &Wanted, version: &str) -> Result<Listed, Failure> {
        let kind = wanted.kind;
        let mut listed = Listed { api_version: kind.api_version(version), ..Listed::default() };
        let all = [None];
        let (namespaces, name): (Vec<Option<&str>>, Option<&str>) = match &wanted.scope {
            Scope::All => (all.to_vec(), None),
            Scope::Namespaces(namespaces) => (namespaces.iter().map(|name| Some(name.as_str())).collect(), None),
            Scope::One(name) => {
                (vec![Some(name.namespace.as_str()).filter(|namespace| !namespace.is_empty())], Some(&name.name))
            }
        };
        let mut refused = Vec::new();
        for namespace in namespaces {
            match self.list(&kind.path(version, namespace), name).await {
                Ok(objects) => listed.objects.extend(objects),
                Err(failure) => refused.push((namespace, optional(failure)?)),
            }
        }
        let Some((namespace, failure)) = refused.first() else { return Ok(listed) };
        let places = match namespace {
            None if kind.is_namespaced => " in all namespaces".to_owned(),
            None => String::new(),
            Some(_) => {
                let names = refused.iter().filter_map(|(namespace, _)| *namespace);
                format!(" in namespace{} {}", if refused.len() == 1 { "" } else { "s" }, some(names))
            }
        };
        let mut known = Vec::new();
        if wanted.scope == Scope::All && kind.is_namespaced && failure.is_forbidden() {
            for own in &wanted.own_namespaces {
                if let Ok(objects) = self.list(&kind.path(version, Some(own)), name).await {
                    listed.objects.extend(objects);
                    known.push(own);
                }
            }
        }
        let cost = match known.as_slice() {
            [] => format!("so {}", kind.cost),
            known => {
                format!("so byname reads those of {} alone", some(known.iter().map(|name| format!("namespace {name}"))))
            }
        };
        let why = match failure.code {
            Some(code) if failure.is_forbidden() => {
                format!("may not list {}{places} ({})", kind.resource(), code.as_u16())
            }
            _ => format!("cannot list {}{places}: {}", kind.resource(), failure.text),
        };
        let way = match failure.is_forbidden() {
            true => format!("; grant \"list\" on {}{places} to this user", kind.resource()),
            false => String::new(),
        };
        listed.gap = Some(format!("{why}, {cost}{way}"));
        Ok(listed)
    }

    /// All objects of a list.
    async fn list(&self, path: &str, name: Option<&str>) -> Result<Vec<Value>, Failure> {
        let selector = name.map(|name| format!("metadata.name={name}"));
        let mut attempt = 1;
        loop {
            match self.pages(path, selector.clone()).await {
                // Other pages of this list are gone, and another list has other objects.
                Err(failure) if failure.cause == Cause::Expired && attempt < ATTEMPTS => attempt += 1,
                listed => return listed,
            }
        }
    }

    async fn pages(&self, path: &str, selector: Option<String>) -> Result<Vec<Value>, Failure> {
        let mut params = ListParams { limit: Some(PAGE), field_selector: selector, ..ListParams::default() };
        let mut objects: Vec<Value> = Vec::new();
        let mut counted = Progress::default();
        loop {
            let page: Result<request::Page<Value>, Failure> = self.get(path, &params, "list").await;
            let page = page.inspect_err(|_| self.count(counted, Progress::default()))?;
            let read = counted.read + page.items.len() as u64;
            let now = Progress { read, known: read + page.metadata.remaining_item_count };
            self.count(counted, now);
            counted = now;
            objects.extend(page.items);
            if page.metadata.token.is_empty() {
                return Ok(objects);
            }
            params.continue_token = Some(page.metadata.token);
        }
    }

    /// Replaces what a list added to the progress.
    fn count(&self, before: Progress, now: Progress) {
        let Progress { read, known } = self.progress.get();
        self.progress.set(Progress {
            read: (read + now.read).saturating_sub(before.read),
            known: (known + now.known).saturating_sub(before.known),
        });
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        params: &ListParams,
        what: &str,
    ) -> Result<T, Failure> {
        let (mut attempt, mut wait) = (1, WAIT);
        loop {
            let request = ApiRequest::new(path).list(params).map_err(|error| Failure::of_error(&error))?;
            let failure = match request::send(self.client.clone(), request).await {
                Ok(answer) => return request::json(answer, what).await,
                Err(failure) => failure,
            };
            // A server that cannot be reached at all is told of at once.
            if failure.cause != Cause::Unavailable || failure.code.is_none() || attempt == ATTEMPTS {
                return Err(failure);
            }
            sleep(failure.retry_after.unwrap_or(wait).min(LONGEST_WAIT)).await;
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }
}

/// A failure that leaves the answers to other requests useful.
fn optional(failure: Failure) -> Result<Failure, Failure> {
    match failure.code {
        None | Some(StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => Err(failure),
        Some(_) => Ok(failure),
    }
}
