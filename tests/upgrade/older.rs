//! The module of today under bootstraps and configurations of the last release.

use anyhow::Result;
use byname_test_support::{
    FORMS, repository,
    scenario::{DemoCaller, ROWS, Stage},
};
use serde_json::Value;

use crate::{
    VERSION, last_release,
    sidecar::{Sidecar, names},
    wait,
};

/// Names whose answers changed on purpose, with the statuses before and after.
const CHANGED: [(&str, u16, u16); 3] = [
    // `internalTrafficPolicy: Local` where the caller's node is unknown: it was served by any node, and is refused today.
    ("metrics-agent.billing", 200, 503),
    // Headless Services at a port that they do not list, steered by endpoint: these names passed. Today they resolve to that
    // port of a pod, where nothing listens.
    ("postgres.data", 404, 503),
    ("queue.data", 404, 503),
];

#[tokio::test]
async fn every_row_holds_under_the_last_releases_bootstrap() -> Result<()> {
    let stage = Stage::start_with(last_release::demo()).await?;
    let mut wrong = Vec::new();
    for form in FORMS {
        for row in ROWS.iter().filter(|row| row.can_be_sent_as(form)) {
            let outcome = stage.ask(row, &mut stage.connect(row.caller, form).await?).await?;
            wrong.extend(outcome.differs(row).map(|differs| format!("{form:?}: {differs}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Its list of capabilities has everything that the module needs. It lacks ticks, without which each push is read at once.
    assert_eq!(stage.envoy.stat("wasmcustom.byname.host_errors").await?, 0);
    Ok(())
}

#[tokio::test]
async fn sidecars_of_the_last_release_answer_as_with_its_own_module() -> Result<()> {
    for way in last_release::WAYS {
        let bootstrap = last_release::output(way, "envoy-bootstrap.yaml")?;
        let names = names(&serde_json::from_str::<Value>(&last_release::output(way, "table.json")?)?);
        let old = Sidecar::start(&bootstrap, &last_release::module()).await?;
        let new = Sidecar::start(&bootstrap, "target/byname.wasm").await?;
        let (before, after) = (old.answers(&names).await?, new.answers(&names).await?);
        let mut different = before.iter().zip(&after).filter(|(one, other)| one != other).collect::<Vec<_>>();
        different.retain(|((name, before), (_, after))| {
            !CHANGED.iter().any(|(changed, old, new)| name.contains(changed) && (before.0, after.0) == (*old, *new))
        });
        assert!(different.is_empty(), "{way}: {different:#?}");
        let served = before.values().filter(|(status, ..)| *status == 200).count();
        assert!(served >= 30, "{way}: {served} of {} are served: {before:#?}", names.len());
        assert_eq!(new.envoy.stat("wasmcustom.byname.host_errors").await?, 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn pushes_of_the_last_releases_program_are_taken() -> Result<()> {
    let stage = Stage::start().await?;
    let envoy = &stage.envoy;
    let filter = envoy.filter("shop")?;
    for way in last_release::WAYS {
        let table = last_release::output(way, "table.json")?;
        let version = serde_json::from_str::<Value>(&table)?["table"]["version"].as_u64();
        let ecds = last_release::output(way, "envoy-ecds.yaml")?
            .replace("name: byname\n", "name: byname-shop\n")
            .replace("/etc/byname/byname.wasm", &repository().join("target/byname.wasm").display().to_string());
        for (what, text) in [("table", filter.with_text(&table)), ("ecds", ecds)] {
            envoy.push("shop", &filter, "config_reload").await?;
            wait(envoy, VERSION, |now| now == 1).await?;
            envoy.push_text("shop", &text, "config_reload").await?;
            wait(envoy, VERSION, |now| Some(now) == version).await?;
            assert_eq!(envoy.stat("wasmcustom.byname.fields_left_out").await?, 0, "{way}, {what}");
        }
    }
    let mut connection = stage.connect(DemoCaller::Prod, byname_test_support::RequestForm::Host).await?;
    assert_eq!(
        connection.get("payments", &[]).await?.said("upstream"),
        "payments in prod",
        "the other filter serves on"
    );
    Ok(())
}
