//! Bootstraps whose list of capabilities lacks a function that the module needs, as an older list may.

use std::time::Duration;

use anyhow::Result;
use byname_test_support::{
    RequestForm,
    scenario::{DemoCaller, Stage},
};
use tokio::time::timeout;

use crate::last_release;

/// A name that is steered, one that passes, one that is refused, one whose endpoint is chosen, and the name of an endpoint.
const ASKED: [&str; 5] = ["payments", "nope", "round", "web", "db-0.db"];
const STATUSES: [u16; 5] = [200, 200, 508, 200, 200];
/// A request without an answer for this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The effect of one function that is missing.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Requests are answered as with the function.
    Unchanged,
    /// These requests fail with 503, and each counts as a host error.
    Fails(&'static [&'static str]),
    /// These requests are held until Envoy's `stream_idle_timeout`, and each counts as a host error.
    Held(&'static [&'static str]),
    /// The module does nothing, and every request passes.
    Passes,
    /// The module cannot read its configuration, or its name. Envoy says so and ends.
    EnvoyEnds,
}
use Effect::{EnvoyEnds, Fails, Held, Passes, Unchanged};

/// Whether Envoy logs a warning: it does if the module calls the function. The functions that Envoy calls have no warning.
const LOGGED: bool = true;
const SILENT: bool = false;

#[rustfmt::skip]
const FUNCTIONS: [(&str, Effect, bool); 16] = [
    ("proxy_log", Unchanged, LOGGED),
    ("proxy_get_property", EnvoyEnds, LOGGED),
    // This configuration writes no access log.
    ("proxy_set_property", Unchanged, SILENT),
    ("proxy_get_current_time_nanoseconds", Unchanged, LOGGED),
    ("proxy_get_buffer_bytes", EnvoyEnds, LOGGED),
    ("proxy_get_header_map_pairs", Fails(&ASKED), LOGGED),
    ("proxy_replace_header_map_value", Fails(&["payments", "web", "db-0.db"]), LOGGED),
    ("proxy_remove_header_map_value", Fails(&["nope"]), LOGGED),
    ("proxy_send_local_response", Held(&["round"]), LOGGED),
    ("proxy_define_metric", Unchanged, LOGGED),
    ("proxy_increment_metric", Unchanged, LOGGED),
    ("proxy_record_metric", Unchanged, LOGGED),
    ("proxy_call_foreign_function", Fails(&["web"]), LOGGED),
    ("proxy_on_configure", Passes, SILENT),
    ("proxy_on_request_headers", Passes, SILENT),
    ("proxy_on_delete", Unchanged, SILENT),
];

#[tokio::test]
async fn a_list_of_capabilities_that_lacks_a_function_neither_crashes_nor_hangs() -> Result<()> {
    for (function, effect, is_logged) in FUNCTIONS {
        let warning = format!("Attempted call to restricted proxy-wasm capability: {function}");
        let builder = last_release::demo()
            .edit(&format!("{function}: {{}}"), "")
            .edit("codec_type: AUTO", "codec_type: AUTO\n          stream_idle_timeout: 2s");
        let mut stage = match (Stage::start_with(builder).await, effect) {
            (Ok(stage), _) => stage,
            (Err(error), EnvoyEnds) => {
                let error = format!("{error:#}");
                assert!(error.contains(&warning) && error.contains("configuration refused"), "{error}");
                continue;
            }
            (Err(error), _) => return Err(error.context(function)),
        };
        assert!(!matches!(effect, EnvoyEnds), "{function}: Envoy runs");
        let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Http2).await?;
        for (asked, usual) in ASKED.into_iter().zip(STATUSES) {
            let expected = match effect {
                Fails(all) if all.contains(&asked) => 503,
                Held(all) if all.contains(&asked) => 504,
                Passes => 200,
                _ => usual,
            };
            let reply = timeout(PATIENCE, connection.get(asked, &[])).await;
            let reply = reply.unwrap_or_else(|_| panic!("without {function}, a request for {asked} hangs"))?;
            assert_eq!(reply.status, expected, "{asked} without {function}: {}", reply.body);
            let passed = reply.said("upstream") == "passthrough";
            let passes = matches!(effect, Passes) || asked == "nope" && expected == 200;
            assert_eq!(passed, passes, "{asked} without {function}: {}", reply.body);
        }
        let errors = match effect {
            Fails(all) | Held(all) => all.len() as u64,
            _ => 0,
        };
        let envoy = &mut stage.envoy;
        assert_eq!(envoy.stat("wasmcustom.byname.host_errors").await?, errors, "{function}");
        assert_eq!(envoy.stats("vm_reload").await?.values().sum::<u64>(), 0, "{function}: a crash");
        envoy.stop();
        let log = envoy.log();
        assert_eq!(log.contains(&warning), is_logged, "{function}: {log}");
        assert!(!log.contains("[critical]"), "{function}: {log}");
    }
    Ok(())
}
