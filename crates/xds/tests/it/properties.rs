//! What holds however requests, answers, changes, failures and time interleave.

mod client;
mod network;
mod steps;

use proptest::{prelude::*, strategy::ValueTree};

use network::Network;
use steps::{Step, steps};

/// `PROPTEST_CASES` asks for more of them.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// The network checks after each step what must hold always: see `Network::check_message`.
    #[test]
    fn at_rest_a_client_has_what_it_may_see_of_what_it_subscribed_to(steps in steps()) {
        let mut network = Network::new();
        for step in &steps {
            network.take(step);
        }
        network.settle();
        network.check_rest();
        network.swap_servers();
        network.settle();
        network.check_rest();
        network.close_all();
    }
}

/// The generator must not rot into one that tests nothing.
#[test]
fn the_steps_take_all_paths() {
    let (mut seen, mut runner) = (network::Seen::default(), proptest::test_runner::TestRunner::deterministic());
    for _ in 0..300 {
        let steps: Vec<Step> = steps().new_tree(&mut runner).unwrap().current();
        let mut network = Network::new();
        steps.iter().for_each(|step| network.take(step));
        network.settle();
        seen.add(&network.seen);
    }
    assert!(seen.is_everything_at_least(100), "{seen:?}");
}
