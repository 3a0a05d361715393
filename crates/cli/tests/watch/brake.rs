//! The brake: many objects that vanish from a list.

use std::fs;

use byname_test_support::kubernetes::KubernetesApi;
use serde_json::Value;

use crate::{
    api::{WHILE, follow},
    program::{WatchProcess, eventually, service},
};

const KIND: &str = "brake_held{kind=\"Service\"}";

fn name(number: usize) -> String {
    format!("shop/service-{number}")
}

/// So many Services, with no endpoints.
fn services(count: usize) -> Vec<Value> {
    (0..count).map(|number| service(&name(number))).collect()
}

fn count(program: &WatchProcess) -> usize {
    program.services().map_or(0, |services| services.len())
}

async fn of_sixty(more: &[&str]) -> (KubernetesApi, WatchProcess) {
    let api = KubernetesApi::start().await.unwrap();
    services(60).into_iter().for_each(|service| api.put(service));
    let program = follow(&api, more).await;
    eventually("60 Services", || count(&program) == 60).await;
    (api, program)
}

fn lose(api: &KubernetesApi, count: usize) {
    services(count).iter().for_each(|service| api.delete_unseen(service));
    api.cut();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lacks_many_objects_waits_for_a_second_one() {
    let (api, program) = of_sixty(&["--brake-seconds", "3"]).await;
    program.wait_for_metric(KIND, 0.0).await;
    lose(&api, 50);
    program.wait_for_log("brake: 50 of 60 Services vanished from a list").await;
    program.wait_for_metric(KIND, 50.0).await;
    // The table is held as a whole, and a change is no second list.
    api.put(service("shop/new"));
    tokio::time::sleep(WHILE).await;
    assert_eq!(count(&program), 60);
    eventually("a second list agrees", || count(&program) == 11).await;
    program.wait_for_log("brake: a second list agrees").await;
    program.wait_for_metric(KIND, 0.0).await;
    assert_eq!(program.count_in_log("vanished from a list"), 1, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_back_in_the_second_list_were_never_gone() {
    let (api, program) = of_sixty(&["--brake-seconds", "1"]).await;
    lose(&api, 55);
    program.wait_for_metric(KIND, 55.0).await;
    services(55).into_iter().for_each(|service| api.put(service));
    program.wait_for_log("brake: the vanished objects are back").await;
    assert_eq!(count(&program), 60);
    program.wait_for_metric(KIND, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_from_loopback_releases_the_brake() {
    let (api, program) = of_sixty(&[]).await;
    let path = "/debug/brake/release";
    assert_eq!(program.send("POST", path).await, (200, "the brake holds nothing\n".to_owned()));
    lose(&api, 50);
    program.wait_for_metric(KIND, 50.0).await;
    assert_eq!(program.get(path).await, (405, "use POST\n".to_owned()));
    assert_eq!((count(&program), program.send("POST", "/metrics").await.0), (60, 405));
    assert_eq!(program.send("POST", path).await, (200, "released\n".to_owned()));
    eventually("they are gone", || count(&program) == 10).await;
    program.wait_for_metric(KIND, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_small_losses_are_not_held() {
    let (api, program) = of_sixty(&[]).await;
    lose(&api, 9);
    eventually("a few are gone", || count(&program) == 51).await;
    services(60)[9..].iter().skip(1).for_each(|service| api.delete(service));
    eventually("all but one are deleted", || count(&program) == 1).await;
    assert_eq!(program.count_in_log("brake"), 0, "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_lack_many_objects_wait_too() {
    let dump = |count: usize| services(count).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n");
    let program = WatchProcess::start(|directory| {
        fs::create_dir(directory.join("in")).unwrap();
        fs::write(directory.join("in/all.yaml"), dump(100)).unwrap();
        let input = directory.join("in").display().to_string();
        ["--format", "table", "--brake-seconds", "3", "--from-dir", &input].map(str::to_owned).into()
    })
    .await;
    eventually("100 Services", || count(&program) == 100).await;
    fs::write(program.directory().join("in/all.yaml"), dump(40)).unwrap();
    program.wait_for_log("brake: 60 of 100 Services vanished").await;
    tokio::time::sleep(WHILE).await;
    assert_eq!(count(&program), 100);
    eventually("the files still say so", || count(&program) == 40).await;
}
