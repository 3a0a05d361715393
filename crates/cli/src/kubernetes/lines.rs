//! The lines of an object's fields, in a form small enough to keep for every object of a large cluster.

use crate::input::{Field, InputNode};

/// The line of each field by the hash of its path, sorted.
#[derive(Clone, Debug, Default)]
pub struct Lines(Box<[(u32, u32)]>);

impl Lines {
    /// The lines of the fields of `node`.
    #[must_use]
    pub fn new(node: &InputNode) -> Self {
        let mut lines = Vec::new();
        node.each_field(&mut |field, line| lines.push((hash(field.as_str()), line)));
        lines.sort_unstable();
        Self(lines.into())
    }

    /// The line of `field`, or of the innermost field around it that exists.
    #[must_use]
    pub fn of(&self, field: &Field) -> Option<u32> {
        field.outwards().find_map(|path| self.line(path))
    }

    /// The line of `field` itself.
    #[must_use]
    pub fn exactly(&self, field: &Field) -> Option<u32> {
        self.line(field.as_str())
    }

    fn line(&self, path: &str) -> Option<u32> {
        let hash = hash(path);
        let at = self.0.partition_point(|(other, _)| *other < hash);
        self.0.get(at).filter(|(other, _)| *other == hash).map(|(_, line)| *line)
    }
}

fn hash(path: &str) -> u32 {
    crc32fast::hash(path.as_bytes())
}
