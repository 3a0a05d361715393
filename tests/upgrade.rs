//! The last release and the module of today: one runs under what the other one brought, and a running Envoy changes between them
//! under load. docs/operations.md describes upgrades and rollbacks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

#[path = "upgrade/last_release.rs"]
mod last_release;
#[path = "upgrade/missing.rs"]
mod missing;
#[path = "upgrade/newer.rs"]
mod newer;
#[path = "upgrade/older.rs"]
mod older;
#[path = "upgrade/sidecar.rs"]
mod sidecar;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use byname_test_support::{
    Connection, EcdsFile, Envoy, FORMS, RequestForm, module, repository,
    scenario::{DemoCaller, Stage, moved},
};

const VERSION: &str = "wasmcustom.byname.table.version";
const ACTIVE: &str = "wasm.envoy.wasm.runtime.v8.active";

/// The file with the path of another module.
fn with_module(filter: &EcdsFile, path: &str) -> Result<String> {
    let text = filter.to_string();
    let now = repository().join("target/byname.wasm").display().to_string();
    assert!(text.contains(&now), "{text}");
    Ok(text.replace(&now, path))
}

/// Sends requests for `payments` until `stop` is set. Fails on any other reply than expected.
async fn load(port: u16, form: RequestForm, asked: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    let mut connection = Connection::open(port, form).await?;
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("payments", &[]).await?;
        assert_eq!((reply.status, &*reply.said("upstream")), (200, "payments in shop"), "{}", reply.body);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits until the statistic's value is wanted.
async fn wait(envoy: &Envoy, statistic: &str, wanted: impl Fn(u64) -> bool) -> Result<u64> {
    for _ in 0..1000 {
        let value = envoy.stat(statistic).await?;
        if wanted(value) {
            return Ok(value);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{statistic} is {}", envoy.stat(statistic).await?);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_releases_module_is_updated_and_restored_under_load() -> Result<()> {
    let stage = Stage::start().await?;
    let envoy = &stage.envoy;
    let directory = tempfile::tempdir()?;
    let filter = envoy.filter("shop")?;
    let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let port = envoy.port(DemoCaller::Shop.port());
    let clients: Vec<_> = FORMS
        .into_iter()
        .chain(FORMS)
        .map(|form| tokio::spawn(load(port, form, Arc::clone(&asked), Arc::clone(&stop))))
        .collect();
    let active = envoy.stat(ACTIVE).await?;

    // Half a module is refused, as a module that is still being copied would be.
    let half = directory.path().join("half.wasm");
    let whole = module()?;
    fs::write(&half, whole.get(..whole.len() / 2).expect("a half"))?;
    let half = half.display().to_string();
    envoy.push_text("shop", &with_module(&filter, &half)?, "update_rejected").await?;

    // The other module gets new VMs: for the main thread, for each of the two workers, and one that Envoy clones them
    // from. The listener of `prod` keeps the module of today, so going to it needs no new VMs.
    let other = with_module(&filter, &last_release::module())?;
    let today = filter.to_string();
    for (text, vms) in [(&other, active + 4), (&today, active), (&other, active + 4), (&today, active)] {
        envoy.push_text("shop", text, "config_reload").await?;
        wait(envoy, ACTIVE, |now| now == vms).await?;
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 300 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    let reasons = envoy.reasons().await?;
    assert_eq!(reasons.get("service").copied(), Some(asked.load(Ordering::Relaxed)), "counters keep their values");
    assert_eq!(envoy.stat("wasmcustom.byname.host_errors").await?, 0);
    println!("{} requests", asked.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::test]
async fn pushing_the_previous_table_rolls_back() -> Result<()> {
    let stage = Stage::start().await?;
    let envoy = &stage.envoy;
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
    let first = envoy.filter("shop")?;
    let second = moved(first.clone())?;
    for (filter, version, upstream) in
        [(&first, 1, "payments in shop"), (&second, 2, "payments-v2 in shop"), (&first, 1, "payments in shop")]
    {
        envoy.write_push("shop", &filter.to_string())?;
        wait(envoy, VERSION, |now| now == version).await?;
        // One connection throughout, because each worker takes the table at its own time.
        for attempt in 0.. {
            let reply = connection.get("pay", &[]).await?;
            assert_eq!(reply.status, 200);
            if reply.said("upstream") == upstream {
                break;
            }
            assert!(attempt < 500, "{} and not {upstream}", reply.said("upstream"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // A refused push changes nothing.
    let broken = second.with_text("{\"version\": 2}");
    envoy.push_text("shop", &broken, "update_rejected").await?;
    assert_eq!(envoy.stat(VERSION).await?, 1);
    assert_eq!(connection.get("pay", &[]).await?.said("upstream"), "payments in shop");
    Ok(())
}
