//! The lines of an object's fields, in a form small enough to keep for every object of a large cluster.

use crate::input::InputNode;

/// The line of each field by the hash of its path, sorted.
#[derive(Clone, Debug, Default)]
pub struct Lines(Box<[(u32, u32)]>);

impl Lines {
    /// The lines of the fields of `node`.
    #[must_use]
    pub fn new(node: &InputNode) -> Self {
        let mut lines = Vec::new();
        node.each_place(&mut |path, line| lines.push((crc32fast::hash(path.as_bytes()), line)));
        lines.sort_unstable();
        Self(lines.into())
    }

    /// The line of `path`, or of the innermost part of `path` that exists.
    #[must_use]
    pub fn of(&self, mut path: &str) -> Option<u32> {
        loop {
            if let Some(line) = self.exactly(path) {
                return Some(line);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
    }

    /// The line of `path` itself.
    #[must_use]
    pub fn exactly(&self, path: &str) -> Option<u32> {
        let hash = crc32fast::hash(path.as_bytes());
        let at = self.0.partition_point(|(other, _)| *other < hash);
        self.0.get(at).filter(|(other, _)| *other == hash).map(|(_, line)| *line)
    }
}
