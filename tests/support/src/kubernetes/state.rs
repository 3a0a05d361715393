//! The state of the API: its objects, events and failures.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

pub(super) const POLL: Duration = Duration::from_millis(3);

/// The plural name of a kind in a path, such as `services`.
pub(super) type Plural = &'static str;
pub(super) type ObjectKey = (Plural, String, String);

#[derive(Default)]
pub(super) struct ApiState {
    /// The user's name and the audience of each token.
    pub(super) tokens: BTreeMap<String, (String, String)>,
    pub(super) version: u64,
    /// The maximum number of objects on a page.
    pub(super) page: usize,
    pub(super) objects: BTreeMap<ObjectKey, Value>,
    /// The version, the key and the line of each event. A bookmark has no key.
    pub(super) events: Vec<(u64, Option<ObjectKey>, String)>,
    /// The version before which all events are forgotten.
    pub(super) oldest: u64,
    /// Kinds whose lists wait.
    pub(super) held: BTreeSet<Plural>,
    /// Requests are read and not answered.
    pub(super) is_silent: bool,
    /// The statuses of the next requests for these kinds.
    pub(super) failures: BTreeMap<Plural, VecDeque<u16>>,
    /// The number of times that watches were cut in the middle of a line.
    pub(super) cuts: u64,
    /// Whether watches end as soon as they begin.
    pub(super) ends_watches: bool,
    pub(super) requests: Vec<String>,
    /// The `Accept-Encoding` of each request.
    pub(super) encodings: Vec<String>,
}

/// What etcd keeps, as a backup of it.
#[derive(Clone)]
pub struct Snapshot {
    version: u64,
    objects: BTreeMap<ObjectKey, Value>,
}

impl ApiState {
    /// Adds or changes an object, and returns it with its new version.
    pub(super) fn put(&mut self, key: ObjectKey, object: Value) -> Value {
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let object = self.tell(key.clone(), kind, object);
        self.objects.insert(key, object.clone());
        object
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Value> {
        let object = self.objects.remove(key)?;
        Some(self.tell(key.clone(), "DELETED", object))
    }

    /// Records an event for watches, and returns the object with its new version.
    fn tell(&mut self, key: ObjectKey, kind: &str, object: Value) -> Value {
        self.version += 1;
        let object = versioned(object, &self.version.to_string());
        let line = json!({"type": kind, "object": object}).to_string();
        self.events.push((self.version, Some(key), line));
        object
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { version: self.version, objects: self.objects.clone() }
    }

    /// Goes back to `snapshot`. What happened since has never happened, and its versions are given to other changes.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        self.events.retain(|(version, ..)| *version <= snapshot.version);
        self.oldest = self.oldest.min(snapshot.version);
        (self.version, self.objects) = (snapshot.version, snapshot.objects);
    }

    /// Whether the namespace exists, so that objects may be created in it.
    pub(super) fn has_namespace(&self, name: &str) -> bool {
        name.is_empty()
            || name == "default"
            || self.objects.contains_key(&("namespaces", String::new(), name.to_owned()))
    }
}

fn versioned(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
    object
}

pub(super) fn lock(state: &Mutex<ApiState>) -> MutexGuard<'_, ApiState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
