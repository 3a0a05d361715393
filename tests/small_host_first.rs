//! The first configuration of a process with a Service that cannot be taken, in the shipped module: every VM reaches the same verdict,
//! whichever VM it is and whenever it is asked. `tests/first.rs` shows the same in Envoy.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use std::collections::BTreeMap;

use anyhow::Result;
use byname_test_support::{SmallHost, TestResult};
use serde_json::json;

/// The VMs of one process, which share their data.
#[derive(Default)]
struct Process {
    shared: BTreeMap<String, Vec<u8>>,
    vms: Vec<SmallHost>,
}

impl Process {
    /// A new VM, as at a start, for a check or after a crash.
    fn start(&mut self) -> Result<usize> {
        self.vms.push(SmallHost::new()?);
        Ok(self.vms.len() - 1)
    }

    /// The verdict of a VM on a configuration for this plugin.
    fn configure(&mut self, vm: usize, plugin: &str, text: &str) -> Result<bool> {
        let root = self.vms[vm].state().calls.len() as u32 + 1;
        let host = &mut self.vms[vm];
        host.state_mut().shared_data = std::mem::take(&mut self.shared);
        host.state_mut().properties.insert("plugin_name".into(), plugin.into());
        let verdict = host.configure(root, text)?;
        self.shared = std::mem::take(&mut host.state_mut().shared_data);
        Ok(verdict)
    }

    /// The verdict of a push: of a VM that is thrown away, and where that accepts it of all others.
    fn push(&mut self, plugin: &str, text: &str) -> Result<bool> {
        let running = self.vms.len();
        let check = self.start()?;
        let verdict = self.configure(check, plugin, text)?;
        self.vms.truncate(running);
        if verdict {
            for vm in 0..running {
                assert!(self.configure(vm, plugin, text)?, "VM {vm} refuses what was accepted before");
            }
        }
        Ok(verdict)
    }
}

/// A table with a Service that can be taken and, if `is_bad`, one that cannot.
fn table(version: u32, is_bad: bool) -> String {
    let mut services = json!({"shop/web": {"ports": [{"port": 80}]}});
    if is_bad {
        services["shop/bad"] = json!({"ports": [{"port": 0}]});
    }
    json!({
        "version": 1,
        "firstConfiguration": "leaveOut",
        "caller": {"namespace": "shop"},
        "table": {"version": version, "services": services},
    })
    .to_string()
}

/// A process with this many VMs: the main thread's and the workers'.
fn process(vms: usize) -> Result<Process> {
    let mut process = Process::default();
    for _ in 0..vms {
        process.start()?;
    }
    Ok(process)
}

#[test]
fn a_first_table_serves_without_its_bad_service() -> TestResult {
    for vms in [2, 5] {
        let mut process = process(vms)?;
        assert!(process.push("byname", &table(1, true))?);
        for vm in &process.vms {
            let state = vm.state();
            assert_eq!(
                (state.metric("byname.table.services"), state.metric("byname.table.left_out")),
                (Some(1), Some(1))
            );
            let said = state.log.join("\n");
            assert!(said.contains("serves without 1 Services") && said.contains("shop/bad"), "{said}");
        }
        assert!(!process.push("byname", &table(2, true))?, "now there is a last known good one");
        assert!(process.push("byname", &table(3, false))?);
        assert_eq!(process.vms[0].state().metric("byname.table.left_out"), Some(0));
        assert!(!process.push("byname", &table(4, true))?);
        assert!(process.push("byname", &table(1, true))?, "the recorded text gets the recorded verdict");
    }
    Ok(())
}

#[test]
fn a_table_that_was_accepted_whole_leaves_no_room() -> TestResult {
    let mut process = process(3)?;
    assert!(process.push("byname", &table(1, false))?);
    assert!(!process.push("byname", &table(2, true))?);
    // A configuration that does not ask for it counts for nothing, such as a default until the first push.
    let mut other = Process::default();
    other.start()?;
    assert!(other.push("byname", r#"{"version": 1, "caller": {"namespace": "shop"}}"#)?);
    assert!(other.push("byname", &table(1, true))?);
    Ok(())
}

#[test]
fn a_second_push_before_the_workers_took_the_first_has_one_verdict() -> TestResult {
    let mut process = process(3)?;
    let (first, second) = (table(1, true), table(2, true));
    let check = process.start()?;
    assert!(process.configure(check, "byname", &first)?);
    assert!(process.configure(0, "byname", &first)?);
    // The workers are late: they have not taken the first one.
    assert!(!process.configure(check, "byname", &second)?);
    for vm in [1, 2] {
        assert!(process.configure(vm, "byname", &first)?, "worker {vm}");
        assert!(!process.configure(vm, "byname", &second)?, "worker {vm}");
    }
    Ok(())
}

#[test]
fn a_vm_that_was_restarted_takes_what_serves() -> TestResult {
    for good_between in [false, true] {
        let mut process = process(3)?;
        assert!(process.push("byname", &table(1, true))?);
        if good_between {
            assert!(process.push("byname", &table(2, false))?);
        }
        let serving = if good_between { table(2, false) } else { table(1, true) };
        for _ in 0..3 {
            let restarted = process.start()?;
            assert!(process.configure(restarted, "byname", &serving)?);
        }
        // All of them at once: what they share outlives them.
        process.vms.clear();
        let restarted = process.start()?;
        assert!(process.configure(restarted, "byname", &serving)?);
        assert!(!process.configure(restarted, "byname", &table(3, true))?);
    }
    Ok(())
}

#[test]
fn two_plugins_in_one_vm_have_a_record_each() -> TestResult {
    let mut process = process(1)?;
    assert!(process.push("shop.byname", &table(1, false))?);
    assert!(process.push("mesh.byname", &table(1, true))?);
    assert!(!process.push("shop.byname", &table(2, true))?);
    assert!(!process.push("mesh.byname", &table(2, true))?);
    Ok(())
}

#[test]
fn what_others_wrote_is_as_if_it_were_not_there() -> TestResult {
    for foreign in [&b""[..], b"x", b"nine byte"] {
        let mut process = process(2)?;
        assert!(process.push("byname", &table(1, true))?);
        for record in process.shared.values_mut() {
            *record = foreign.to_vec();
        }
        assert!(process.push("byname", &table(2, true))?, "{foreign:?}");
        assert!(process.push("byname", &table(3, false))?, "{foreign:?}");
    }
    Ok(())
}

#[test]
fn without_shared_data_nothing_is_left_out() -> TestResult {
    for status in [2, 10, 12] {
        let mut host = SmallHost::new()?;
        host.state_mut().failing.insert("proxy_get_shared_data", status);
        host.state_mut().failing.insert("proxy_set_shared_data", status);
        assert!(!host.configure(1, &table(1, true))?);
        assert!(
            host.state().log.iter().any(|line| line.contains("shared data cannot be read")),
            "{:?}",
            host.state().log
        );
        assert!(host.configure(2, &table(2, false))?);
    }
    Ok(())
}

#[test]
fn a_configuration_that_does_not_ask_for_less_asks_for_no_shared_data() -> TestResult {
    let mut host = SmallHost::new()?;
    host.state_mut().failing.insert("proxy_get_shared_data", 10);
    assert!(!host.configure(1, &table(1, true).replace("leaveOut", "refuse"))?);
    assert!(!host.state().log.iter().any(|line| line.contains("shared data")), "{:?}", host.state().log);
    Ok(())
}
