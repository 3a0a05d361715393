//! Whether a configuration is the first of this process, whose bad Services may be left out.
//!
//! Envoy configures a VM that it throws away, the main thread's and each worker's, and restarts VMs at any time. All of them must
//! reach the same verdict on the same configuration, and none knows which it is. So the first accepted configuration that
//! allows leaving out is recorded in shared data, once, and the verdict is a function of the record and of the text: one with bad
//! Services is taken if there is no record, or if the record is of that very text.

use byname_core::Config;

use crate::{contexts, host};

/// The record of a configuration of which nothing was left out.
const WHOLE: [u8; 8] = [0; 8];

/// Whether Services may be left out of the configuration whose text has this hash.
pub(crate) fn may_leave_out(hash: u64) -> bool {
    match host::shared_data(&key()) {
        Ok(None) => true,
        // All plugins without a VM id of their own share the data: what byname did not write is as if it were not there.
        Ok(Some(record)) => record.len() != WHOLE.len() || *record == hash.to_le_bytes(),
        Err(status) => {
            log::warn!(
                "byname: no Service can be left out of the first configuration: shared data cannot be read (status {})",
                status.0
            );
            false
        }
    }
}

/// Records that a configuration was accepted as a whole, if it allows leaving out.
pub(crate) fn accept(config: &Config) {
    if config.may_leave_out_services() {
        record(WHOLE);
    }
}

/// Records that the configuration whose text has this hash was accepted without some of its Services.
pub(crate) fn accept_without(hash: u64) {
    record(hash.to_le_bytes());
}

fn record(verdict: [u8; 8]) {
    // Fails where there is a record already, which stands.
    let _ = host::insert_shared_data(&key(), &verdict);
}

fn key() -> Vec<u8> {
    contexts::shared_key("first")
}
