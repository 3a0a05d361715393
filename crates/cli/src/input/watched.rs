//! The last state of the objects in the output of `kubectl get --watch --output-watch-events`.

use std::collections::BTreeMap;

use super::object::RawObject;

/// The last state of each object that a file has watch events of.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<[String; 4], RawObject>);

impl Watched {
    /// Puts an object into the state that an event such as `MODIFIED` brings.
    pub(super) fn put(&mut self, event: &str, object: RawObject) {
        let metadata = |field: &str| object.metadata(field).unwrap_or_default().to_owned();
        let key = [object.api_version.clone(), object.kind.clone(), metadata("namespace"), metadata("name")];
        match event {
            "ADDED" | "MODIFIED" => _ = self.0.insert(key, object),
            "DELETED" => _ = self.0.remove(&key),
            // A bookmark and an error have no object of the cluster.
            _ => {}
        }
    }

    /// The objects that were not deleted.
    pub(super) fn into_objects(self) -> impl Iterator<Item = RawObject> {
        self.0.into_values()
    }
}
