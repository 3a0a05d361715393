//! Configurations that are read in slices, on ticks, while the last known good one serves: a large one read at once would let requests
//! wait.
//!
//! Envoy wants the verdict on a push at once. So a configuration is read in slices only if a VM of this process has accepted the same
//! text before, which shared data tell: Envoy tries each new one in a VM that it throws away. The first configuration of a VM is
//! read at once, because nothing serves meanwhile, and so is everything until a tick has come: an older bootstrap may not allow ticks.

use byname_core::{ConfigReading, ReadingStep, hash_words, limits::SLICE_BYTES};

use crate::{
    contexts, host,
    node::Node,
    pending::{Pending, put, take},
    ticks, verdict,
};

/// Between two slices requests are served.
const MILLISECONDS_BETWEEN_SLICES: u32 = 1;
/// Accepted configurations that are remembered. Envoy does not try again what it is pushed once more.
const ACCEPTED_HASHES: usize = 8;

/// Forgets what is being read for this plugin: a newer push has come.
pub(crate) fn overtake(plugin: &[u8]) {
    drop(take(|pending| pending.plugin == plugin));
}

/// The hash of a text that is large enough to be read in slices.
pub(crate) fn hash(text: &[u8]) -> Option<u64> {
    (text.len() > SLICE_BYTES).then(|| hash_words(text))
}

/// Begins to read a configuration with this [`hash`] in slices, if that can be. Else returns its text.
pub(crate) fn begin(
    root: u32,
    plugin: &[u8],
    node: Node,
    text: Vec<u8>,
    hash: Option<u64>,
) -> Result<(), (Node, Vec<u8>)> {
    let can_wait = ticks::has_ticked() && contexts::serves(plugin) && hash.is_some_and(was_accepted);
    if !can_wait || ticks::every(root, MILLISECONDS_BETWEEN_SLICES).is_err() {
        return Err((node, text));
    }
    contexts::serve_on(plugin, root);
    put(Pending { root, plugin: plugin.to_vec(), node, bytes: text.len(), reading: ConfigReading::new(text) });
    Ok(())
}

/// Reads the next slice in this root context.
pub(crate) fn tick(root: u32) {
    let Some(mut pending) = take(|pending| pending.root == root) else {
        let _ = ticks::every(root, 0);
        return;
    };
    let Pending { plugin, node, bytes, reading, .. } = &mut pending;
    let read = match reading.step(&node.defaults()) {
        ReadingStep::More => return put(pending),
        ReadingStep::Done(config) => Ok(*config),
        ReadingStep::Whole(text) => verdict::read(text.clone(), node, &|| text.clone()),
    };
    let _ = ticks::every(root, 0);
    verdict::conclude(root, std::mem::take(plugin), *bytes, read);
}

/// Remembers, for all VMs of this process, that a configuration with this hash was accepted.
pub(crate) fn accept(hash: u64) {
    let key = key();
    let mut hashes = hash.to_le_bytes().to_vec();
    let before = host::shared_data(&key).ok().flatten().unwrap_or_default();
    hashes.extend(
        before.chunks_exact(8).filter(|other| **other != hash.to_le_bytes()).take(ACCEPTED_HASHES - 1).flatten(),
    );
    // Without it the next push is read at once.
    let _ = host::set_shared_data(&key, &hashes);
}

fn was_accepted(hash: u64) -> bool {
    let hash = hash.to_le_bytes();
    host::shared_data(&key()).ok().flatten().is_some_and(|hashes| hashes.chunks_exact(8).any(|other| *other == hash))
}

/// Where the hashes are. In Istio the data are those of every plugin in the process.
fn key() -> Vec<u8> {
    contexts::shared_key("accepted")
}
