//! Lists and numbers in a sentence.

use std::fmt::Display;

/// Number of items that are named.
const NAMED: usize = 3;

/// The first few items and the number of the others: `a, b, c and 4 more`.
pub fn some<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut items = items.into_iter();
    let named: Vec<String> = items.by_ref().take(NAMED).map(|item| item.to_string()).collect();
    match items.count() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// A number with its noun: `1 entry`, `2 entries`.
#[must_use]
pub fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
