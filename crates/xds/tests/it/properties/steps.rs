//! Random steps of a network.

use proptest::prelude::*;

/// The resource names that steps use, each in every type.
pub(super) const NAMES: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const TYPES: usize = 6;
pub(super) const CLIENTS: usize = 3;
pub(super) const SERVERS: usize = 2;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sets a resource. Every fifth value is one that clients refuse.
    Set {
        resource_type: usize,
        name: usize,
        value: u32,
        namespaces: u8,
        is_by_zone: bool,
        bytes: usize,
        /// The name that it leads to, where the type is linked.
        leads_to: Option<usize>,
    },
    Remove {
        resource_type: usize,
        name: usize,
    },
    /// A server hears of the next change that it has not heard of.
    Learn {
        server: usize,
    },
    /// A client asks for a change of its subscriptions, maybe with an old nonce.
    Ask {
        client: usize,
        resource_type: usize,
        subscribe: Vec<usize>,
        unsubscribe: Vec<usize>,
        old_nonce: Option<usize>,
    },
    /// The next request of a client arrives.
    Up {
        client: usize,
    },
    /// The next message to a client arrives.
    Down {
        client: usize,
    },
    /// A client opens a new stream. Its server learns later that the old one is gone.
    Reconnect {
        client: usize,
        server: usize,
    },
    /// A server learns that an old stream is gone.
    Bury,
    Wait {
        milliseconds: u64,
    },
    WatchesFail {
        server: usize,
    },
    WatchesRecover {
        server: usize,
    },
}

/// A number of [`NAMES`], or one more for the wildcard.
fn asked() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![8 => 0..NAMES.len(), 1 => Just(NAMES.len())], 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let (ty, name, client, server) = (0..TYPES, 0..NAMES.len(), 0..CLIENTS, 0..SERVERS);
    let bytes = prop_oneof![3 => Just(0_usize), 1 => 50..300_usize];
    let namespaces = prop_oneof![3 => Just(3_u8), 1 => 0..3_u8];
    let leads_to = prop::option::of(0..NAMES.len());
    let wait = prop_oneof![6 => 0..100_u64, 4 => 500..1_500_u64, 1 => 20_000..70_000_u64];
    prop_oneof![
        8 => (ty.clone(), name.clone(), 0..10_u32, namespaces, any::<bool>(), bytes, leads_to).prop_map(
            |(resource_type, name, value, namespaces, is_by_zone, bytes, leads_to)| {
                Step::Set { resource_type, name, value, namespaces, is_by_zone, bytes, leads_to }
            }
        ),
        2 => (ty.clone(), name).prop_map(|(resource_type, name)| Step::Remove { resource_type, name }),
        5 => server.clone().prop_map(|server| Step::Learn { server }),
        6 => (client.clone(), ty.clone(), asked(), Just(Vec::new()), prop::option::weighted(0.2, 0..100_usize)).prop_map(
            |(client, resource_type, subscribe, unsubscribe, old_nonce)| {
                Step::Ask { client, resource_type, subscribe, unsubscribe, old_nonce }
            }
        ),
        3 => (client.clone(), ty, asked(), asked(), prop::option::weighted(0.2, 0..100_usize)).prop_map(
            |(client, resource_type, subscribe, unsubscribe, old_nonce)| {
                Step::Ask { client, resource_type, subscribe, unsubscribe, old_nonce }
            }
        ),
        16 => client.clone().prop_map(|client| Step::Up { client }),
        16 => client.clone().prop_map(|client| Step::Down { client }),
        2 => (client, server.clone()).prop_map(|(client, server)| Step::Reconnect { client, server }),
        1 => Just(Step::Bury),
        6 => wait.prop_map(|milliseconds| Step::Wait { milliseconds }),
        1 => server.clone().prop_map(|server| Step::WatchesFail { server }),
        1 => server.prop_map(|server| Step::WatchesRecover { server }),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 0..200)
}
