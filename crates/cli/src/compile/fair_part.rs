//! Which Services are left out where all together are more than one table may have: some of the namespaces that take the most, so that
//! whoever writes Services in one namespace takes nothing from another.

use std::collections::BTreeMap;

use byname_core::{
    FieldError, FieldErrorType, ServiceSpec,
    limits::{MAX_SERVICES, MAX_TABLE_ENDPOINTS, MAX_TABLE_SHARES},
    wire,
};

use crate::{input::InputError, kubernetes::NamespacedName};

/// Bytes of a table that Envoy takes in one message: the bootstraps bound one at 64 MiB.
pub(super) const MAX_TABLE_BYTES: usize = 60 << 20;

/// What all Services together may have, and what it is called.
const BOUNDS: [(usize, &str); 4] = [
    (MAX_SERVICES, "Services"),
    (MAX_TABLE_ENDPOINTS, "endpoints"),
    (MAX_TABLE_SHARES, "ports times groups of endpoints"),
    (MAX_TABLE_BYTES, "bytes of text"),
];

/// What a Service takes of each of [`BOUNDS`].
fn amounts(key: &str, wire: &wire::Service) -> [usize; BOUNDS.len()] {
    let (endpoints, shares) = ServiceSpec::compile(key, wire).map_or((0, 0), |spec| spec.endpoints_and_shares());
    [1, endpoints, shares, key.len() + serde_json::to_string(wire).map_or(0, |text| text.len())]
}

/// Whether the error is not of one Service, but of all together.
pub(super) fn is_of_all(refused: &FieldError) -> bool {
    BOUNDS.iter().any(|(bound, ..)| refused.error_type == FieldErrorType::TooMany(*bound))
}

/// Leaves out Services until the rest is within all bounds. Returns whether it left out any.
pub(super) fn leave_out(
    services: &mut BTreeMap<String, wire::Service>,
    left_out: &mut BTreeMap<NamespacedName, InputError>,
) -> bool {
    let before = services.len();
    let mut all: BTreeMap<NamespacedName, [usize; BOUNDS.len()]> =
        services.iter().filter_map(|(key, wire)| Some((NamespacedName::parse(key)?, amounts(key, wire)))).collect();
    for (index, (bound, what)) in BOUNDS.into_iter().enumerate() {
        all.retain(|name, _| !left_out.contains_key(name));
        let amount = |amounts: &[usize; BOUNDS.len()]| amounts.get(index).copied().unwrap_or_default();
        let amounts = all.iter().map(|(name, amounts)| (name.clone(), amount(amounts))).collect();
        let part = fair_part(&amounts, bound);
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, amount) in &amounts {
            let taken = taken.entry(&name.namespace).or_default();
            *taken += amount;
            if part.is_some_and(|part| *taken > part) {
                services.remove(&name.to_string());
                let problem =
                    format!("its Services take more than its part of the {bound} {what} that a table may have");
                let fix = "remove some; of the last ones by name, those beyond it are left out";
                left_out.insert(name.clone(), InputError::new(&format!("namespace {}", name.namespace), problem, fix));
            }
        }
    }
    services.len() < before
}

/// How much each namespace may take, if all together take more than `bound`: what those that take less leave over is shared by the others.
fn fair_part(amounts: &BTreeMap<NamespacedName, usize>, bound: usize) -> Option<usize> {
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, amount) in amounts {
        *sums.entry(&name.namespace).or_default() += amount;
    }
    if sums.values().sum::<usize>() <= bound {
        return None;
    }
    let mut sums: Vec<usize> = sums.into_values().collect();
    sums.sort_unstable();
    let (mut room, mut others) = (bound, sums.len());
    for sum in sums {
        let part = room / others.max(1);
        if sum > part {
            return Some(part);
        }
        (room, others) = (room - sum, others - 1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespaces_that_take_the_most_lose_some() {
        let part = |sums: &[usize], bound| {
            let name = |number: usize| NamespacedName::new(&format!("n{number}"), "a");
            let amounts = sums.iter().enumerate().map(|(number, sum)| (name(number), *sum)).collect();
            fair_part(&amounts, bound)
        };
        assert_eq!(part(&[10, 20, 30], 60), None);
        assert_eq!(part(&[10, 20, 31], 60), Some(30));
        assert_eq!(part(&[10, 100, 100], 60), Some(25));
        assert_eq!(part(&[100], 60), Some(60));
        assert_eq!(part(&[0, 0, 100], 60), Some(60));
    }

    #[test]
    fn a_crowded_namespace_takes_nothing_from_another() {
        let alias = |number: usize| (format!("attacker/alias-{number:06}"), wire::Service::default());
        let mut services: BTreeMap<String, wire::Service> = (0..MAX_SERVICES).map(alias).collect();
        services
            .extend([("shop/a".to_owned(), wire::Service::default()), ("aaa/a".to_owned(), wire::Service::default())]);
        let mut left_out = BTreeMap::new();
        assert!(leave_out(&mut services, &mut left_out));
        assert!(!leave_out(&mut services, &mut left_out), "the rest is within the bounds");
        assert_eq!(services.len(), MAX_SERVICES);
        let names: Vec<String> = left_out.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["attacker/alias-099998", "attacker/alias-099999"]);
        let told = left_out.values().next().unwrap().to_string();
        assert!(
            told.contains("namespace attacker: its Services take more than its part of the 100000 Services"),
            "{told}"
        );
    }
}
