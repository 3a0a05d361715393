//! Names joined with search domains.

use byname_core::{Name, limits::MAX_NAME_BYTES};
use proptest::prelude::*;

use super::{
    assert_balanced,
    authorities::{name, text},
    cases, samples, share,
};

/// Two names without a dot at the end; together they are often about as long as a name may be.
fn pair() -> impl Strategy<Value = (String, String)> {
    let any = || name().prop_map(|name| name.trim_end_matches('.').to_owned());
    let long = || text("([A-Za-z0-9_-]{20,63}\\.){1,3}[a-z]{1,63}");
    prop_oneof![1 => (any(), any()), 2 => (long(), long())]
}

fn naive_join(left: &str, right: &str) -> Option<String> {
    let written = format!("{left}.{right}").to_ascii_lowercase();
    (written.len() <= MAX_NAME_BYTES).then_some(written)
}

#[test]
fn generator_draws_pairs_that_fit_and_pairs_that_do_not() {
    assert_balanced("pairs that fit", share(&samples(pair()), |(left, right)| naive_join(left, right).is_some()));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn joins_names_as_written_out_unless_too_long((left, right) in pair()) {
        let (Ok(left_name), Ok(right_name)) = (Name::parse(left.as_bytes()), Name::parse(right.as_bytes())) else {
            return Ok(());
        };
        let mut joined = left_name;
        // An earlier suffix, which the second join replaces.
        prop_assume!(left.len() > 200 || joined.join(left_name.len(), "something.longer.that.was.tried.before"));
        let before = joined;
        let fits = joined.join(left_name.len(), right_name.as_str());
        prop_assert_eq!(fits.then(|| joined.to_string()), naive_join(&left, &right));
        if fits {
            prop_assert_eq!(Name::parse(joined.as_bytes()), Ok(joined));
            prop_assert_eq!(joined.dots(), left_name.dots() + 1 + right_name.dots());
        } else {
            prop_assert_eq!(joined, before, "a join that does not fit changes nothing");
        }
    }
}
