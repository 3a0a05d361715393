//! Another module, and the one before, taken by a running Envoy under load: what docs/operations.md says of upgrading and
//! rolling back.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails, which is what these do")]

use std::{
    fs,
    path::{Path, PathBuf},
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

/// The module that ships, as another release of it: with a custom section more, so that its bytes are others.
fn another_module(directory: &Path, name: &str) -> Result<PathBuf> {
    let mut bytes = module()?;
    bytes.extend([0, 8, 7]);
    bytes.extend(b"release");
    let path = directory.join(name);
    fs::write(&path, bytes)?;
    Ok(path)
}

/// The file that names another module.
fn with_module(filter: &EcdsFile, path: &Path) -> Result<String> {
    let text = filter.to_string();
    let now = repository().join("target/byname.wasm").display().to_string();
    assert!(text.contains(&now), "{text}");
    Ok(text.replace(&now, &path.display().to_string()))
}

/// Asks for `payments` over and over. What is not as it should be ends it.
async fn load(port: u16, form: RequestForm, asked: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Result<()> {
    let mut connection = Connection::open(port, form).await?;
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("payments", &[]).await?;
        assert_eq!((reply.status, &*reply.said("upstream")), (200, "payments in shop"), "{}", reply.body);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Until `wanted` is so.
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
async fn a_module_is_exchanged_under_load_and_no_request_fails() -> Result<()> {
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

    // Half a module is refused, as one that is being copied would be.
    let half = directory.path().join("half.wasm");
    let whole = module()?;
    fs::write(&half, whole.get(..whole.len() / 2).expect("a half"))?;
    envoy.push_text("shop", &with_module(&filter, &half)?, "update_rejected").await?;

    // Another release has VMs of its own: one of the main thread, one of each of the two workers, and one that they are
    // copied from. The listener of `prod` keeps the first module all the time, so that going back needs no new ones.
    let next = another_module(directory.path(), "byname-next.wasm")?;
    for (text, vms) in [(with_module(&filter, &next)?, active + 4), (filter.to_string(), active)] {
        envoy.push_text("shop", &text, "config_reload").await?;
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
    assert_eq!(reasons.get("service").copied(), Some(asked.load(Ordering::Relaxed)), "counters go on counting");
    assert_eq!(envoy.stat("wasmcustom.byname.host_errors").await?, 0);
    println!("{} requests", asked.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::test]
async fn a_table_is_taken_back_by_pushing_the_one_before() -> Result<()> {
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
        // One connection, all the time; each worker takes the table by itself.
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
    // What is refused leaves all as it was.
    let broken = second.with_text("{\"version\": 2}");
    envoy.push_text("shop", &broken, "update_rejected").await?;
    assert_eq!(envoy.stat(VERSION).await?, 1);
    assert_eq!(connection.get("pay", &[]).await?.said("upstream"), "payments in shop");
    Ok(())
}
