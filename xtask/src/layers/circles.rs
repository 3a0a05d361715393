//! Circles of source files that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Import;

/// Returns an error for each circle, with its files and the names that they import from each other.
pub(super) fn find(imports: &[Import]) -> Vec<String> {
    let mut taken: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for import in imports {
        let names = taken.entry(&import.from.path).or_default().entry(&import.to.path).or_default();
        names.insert(&import.name);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        taken.keys().map(|file| (*file, reached_from(file, &taken))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|files| files.contains(to));
    let mut seen = BTreeSet::new();
    let mut errors = Vec::new();
    for &file in taken.keys() {
        if !reaches(file, file) || seen.contains(file) {
            continue;
        }
        let circle: BTreeSet<&str> =
            taken.keys().copied().filter(|other| reaches(file, other) && reaches(other, file)).collect();
        let mut error = format!(
            "{} files import each other in a circle; move what both sides need into a file below them:",
            circle.len()
        );
        for from in &circle {
            for (to, names) in taken.get(from).into_iter().flatten().filter(|(to, _)| circle.contains(*to)) {
                let names: Vec<&str> = names.iter().copied().collect();
                error.push_str(&format!("\n    {from} -> {to}: {}", names.join(", ")));
            }
        }
        errors.push(error);
        seen.extend(circle);
    }
    errors
}

/// All files that `file` imports, directly or indirectly.
fn reached_from<'i>(
    file: &'i str,
    taken: &BTreeMap<&'i str, BTreeMap<&'i str, BTreeSet<&'i str>>>,
) -> BTreeSet<&'i str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        open.extend(taken.get(file).into_iter().flat_map(BTreeMap::keys).filter(|to| reached.insert(**to)));
    }
    reached
}
