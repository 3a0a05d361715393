//! The table of all rules.

use super::{
    api, backends, deployed, endpoints, exports, exposure, external_names, ignore_annotations, names, ports, refused,
    rule::Rule, selectors, strict_addresses, topology,
};

/// All rules, in the order of their ids.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        selectors::RULES,
        endpoints::RULES,
        ports::RULES,
        external_names::RULES,
        backends::RULES,
        exposure::RULES,
        names::RULES,
        topology::RULES,
        strict_addresses::RULES,
        api::RULES,
        refused::RULES,
        deployed::RULES,
        ignore_annotations::RULES,
        exports::RULES,
    ]
    .into_iter()
    .flatten()
}

/// The rule with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}
