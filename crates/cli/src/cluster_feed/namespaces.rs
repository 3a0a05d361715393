//! Tells of namespaces in which no Service was found: a list of a namespace that does not exist is empty, and no error.

use std::{collections::BTreeSet, sync::Arc};

use hyper::StatusCode;
use kube::{api::GetParams, core::Request as ApiRequest};
use tokio::sync::mpsc;

use super::client::Clients;
use crate::{
    daemon::log,
    kube_api::{Failure, request},
};

/// What the API says of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    Exists,
    Missing,
    /// This client may not ask.
    Unknown,
}

/// The namespaces of `--visible` in which no Service was found.
pub(super) struct Namespaces {
    clients: Arc<Clients>,
    /// Namespaces that were told of.
    told: BTreeSet<String>,
    sender: mpsc::UnboundedSender<(String, Existence)>,
    answers: mpsc::UnboundedReceiver<(String, Existence)>,
}

impl Namespaces {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self { clients, told: BTreeSet::new(), sender, answers }
    }

    /// Records whether Services were found in `namespace`. Asks the API for the namespace if there are none.
    pub(super) fn listed(&mut self, namespace: &str, is_empty: bool) {
        if !is_empty {
            if self.told.remove(namespace) {
                log::note(&format!("namespace {namespace}: has Services now"));
            }
            return;
        }
        if self.told.contains(namespace) {
            return;
        }
        let (clients, sender, namespace) = (Arc::clone(&self.clients), self.sender.clone(), namespace.to_owned());
        tokio::spawn(async move {
            // Another failure says nothing of the namespace; the next list asks again.
            if let Some(existence) = look(&clients, &namespace).await {
                drop(sender.send((namespace, existence)));
            }
        });
    }

    /// Waits for the API's answer for a namespace, and tells of it.
    pub(super) async fn checked(&mut self) {
        // Never `None`: `self` holds a sender.
        let Some((namespace, existence)) = self.answers.recv().await else { return };
        match existence {
            Existence::Exists => return,
            Existence::Missing => log::warn(&format!(
                "namespace {namespace} does not exist; correct --visible, or create the namespace: byname then follows it"
            )),
            Existence::Unknown => log::note(&format!(
                "namespace {namespace}: byname found no Service there, and cannot tell whether it exists; check --visible"
            )),
        }
        self.told.insert(namespace);
    }
}

async fn look(clients: &Clients, namespace: &str) -> Option<Existence> {
    let request = ApiRequest::new("/api/v1/namespaces").get(namespace, &GetParams::default()).ok()?;
    match request::send(clients.current(), request).await {
        Ok(_) => Some(Existence::Exists),
        Err(Failure { code: Some(StatusCode::NOT_FOUND), .. }) => Some(Existence::Missing),
        Err(Failure { code: Some(StatusCode::FORBIDDEN), .. }) => Some(Existence::Unknown),
        Err(_) => None,
    }
}
