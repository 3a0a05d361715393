//! The layers of a crate's folders. Imports only go down.

use super::imports::{CrateImports, Import, SourceFile};

/// The layers of one crate. A folder is a top-level module: `wire` is `wire.rs` and all of `wire/`.
pub(super) struct CrateLayers {
    pub(super) crate_folder: &'static str,
    /// The levels from the top down. A folder may import folders of lower levels, and none of its own level. The
    /// crate's root is above all levels.
    pub(super) levels: &'static [&'static [&'static str]],
    pub(super) unlisted: Unlisted,
}

/// The place of folders that no level lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// No place: every folder must be listed.
    Refused,
    /// Below all levels. Such folders may import each other.
    Below,
}

/// The layers of the workspace's crates. A crate without an entry is checked only for circles.
pub(super) const LAYERS: &[CrateLayers] = &[
    CrateLayers {
        crate_folder: "crates/core/src",
        levels: &[
            &["config"],
            &["report"],
            &["steer"],
            &["resolve", "balance", "discovery"],
            &["table"],
            &["policy"],
            &["wire"],
            &["names"],
            &["collections", "text"],
            &["limits"],
        ],
        unlisted: Unlisted::Refused,
    },
    CrateLayers {
        crate_folder: "crates/cli/src",
        levels: &[
            &["command"],
            &["watch", "serve", "explain", "diff", "lint", "sidecar", "check"],
            &["cluster_feed", "snapshot"],
            &["daemon"],
            &["kube_api"],
            &["istio"],
            &["envoy"],
            &["compile"],
            &["caller", "cluster_dns"],
            &["kubernetes"],
            &["input"],
            &["output"],
        ],
        unlisted: Unlisted::Refused,
    },
    CrateLayers {
        crate_folder: "crates/xds/src",
        levels: &[
            &["server"],
            &["stream", "subscribe"],
            &["subscriptions"],
            &["subscription", "draft"],
            &["resources", "coalesce"],
            &["index", "owners"],
            &["admission"],
            &["action"],
            &["event", "source"],
            &["types", "limits", "version"],
        ],
        unlisted: Unlisted::Refused,
    },
];

/// Returns an error for each import that goes up or sideways, and for each folder without a place.
pub(super) fn check(layers: &CrateLayers, found: &CrateImports) -> Vec<String> {
    let mut errors: Vec<String> = layers.unknown(found.files.iter()).collect();
    let mut backwards: Vec<&Import> = found.imports.iter().filter(|import| !layers.allow(import)).collect();
    backwards
        .sort_by(|one, other| (&one.from.path, one.line, &one.path).cmp(&(&other.from.path, other.line, &other.path)));
    errors.extend(backwards.into_iter().map(|Import { from, to, line, path, .. }| {
        let (from_folder, to_folder) = (name(from), name(to));
        let below = layers.below(from);
        format!("{}:{line}: {from_folder} imports {to_folder} ({path}); {from_folder} may import {below}", from.path)
    }));
    errors
}

impl CrateLayers {
    fn unknown<'f>(&self, files: impl Iterator<Item = &'f SourceFile>) -> impl Iterator<Item = String> {
        let mut folders: Vec<&str> = files.filter_map(|file| file.folder.as_deref()).collect();
        folders.sort_unstable();
        folders.dedup();
        folders.retain(|folder| self.unlisted == Unlisted::Refused && self.level(folder).is_none());
        folders.into_iter().map(|folder| {
            let crate_folder = self.crate_folder;
            format!(
                "{crate_folder}: the folder {folder} is not in LAYERS; \
                 add it to LAYERS in xtask/src/layers/folders.rs, below the folders that import it"
            )
        })
    }

    fn level(&self, folder: &str) -> Option<usize> {
        self.levels.iter().position(|level| level.contains(&folder))
    }

    /// The level of a file: 0 for the crate's root; `None` for a folder without a place.
    fn depth(&self, file: &SourceFile) -> Option<usize> {
        let Some(folder) = &file.folder else { return Some(0) };
        match (self.level(folder), self.unlisted) {
            (Some(level), _) => Some(level + 1),
            (None, Unlisted::Below) => Some(self.levels.len() + 1),
            (None, Unlisted::Refused) => None,
        }
    }

    /// Imports of and by a folder without a place are allowed, because the folder is an error of its own.
    fn allow(&self, import: &Import) -> bool {
        let (Some(from), Some(to)) = (self.depth(&import.from), self.depth(&import.to)) else { return true };
        let are_unlisted = from == to && from > self.levels.len();
        import.from.folder == import.to.folder || from < to || are_unlisted
    }

    /// The folders that a file may import besides its own.
    fn below(&self, file: &SourceFile) -> String {
        let depth = self.depth(file).unwrap_or_default();
        let mut below: Vec<&str> = self.levels.iter().skip(depth).copied().flatten().copied().collect();
        if self.unlisted == Unlisted::Below {
            below.push(if below.is_empty() { "the folders that LAYERS does not list" } else { "all others" });
        }
        if below.is_empty() { "no other folder".to_owned() } else { below.join(", ") }
    }
}

/// A file's folder, or the name of the crate's root.
fn name(file: &SourceFile) -> &str {
    let root = file.path.rsplit('/').next().unwrap_or_default();
    file.folder.as_deref().unwrap_or(root)
}
