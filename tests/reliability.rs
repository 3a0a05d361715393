//! Good and bad pushes and an upstream that stops and restarts, all under load: a short form of `make reliability`.

#![allow(clippy::panic, reason = "a panic fails the test")]

use std::time::Duration;

use anyhow::Result;
use byname_test_support::reliability;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_stopped_upstream_causes_failures() -> Result<()> {
    for workers in [1, 2] {
        let report = reliability::run(workers, Duration::from_secs(6)).await?;
        assert_eq!((report.failed, report.closed), (0, 0), "{:?}", report.failures);
        assert!(report.requests > 200, "{} requests", report.requests);
        // How many pushes there are depends on how busy the machine is.
        let (good, bad) = report.pushes;
        let counts = (report.config_reload, report.update_rejected, report.config_fail, report.kills);
        assert!(good > 5 && bad > 1, "{good} good and {bad} bad pushes");
        assert!(
            counts.0 > good / 2 && counts.1 >= bad / 2 && counts.2 > 0 && counts.3 > 1,
            "{counts:?}, {good}, {bad}"
        );
        assert_eq!(report.versions.0, report.versions.1, "the last table is in use");
    }
    Ok(())
}
