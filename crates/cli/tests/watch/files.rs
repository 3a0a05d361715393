//! `byname watch` with files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::program::{WatchProcess, endpoints, eventually, service, slice};

/// Watches a directory that `prepare` has filled.
async fn follow(prepare: impl FnOnce(&Path)) -> WatchProcess {
    WatchProcess::start(|directory| {
        let input = directory.join("in");
        fs::create_dir(&input).unwrap();
        prepare(&input);
        vec!["--format".into(), "table".into(), "--from-dir".into(), input.display().to_string()]
    })
    .await
}

/// `shop/cart` with this many endpoints, as kubectl prints it.
fn cart(count: usize) -> String {
    dump(&[service("shop/cart"), slice("shop/cart", &endpoints(count))])
}

fn dump(objects: &[Value]) -> String {
    let documents: Vec<String> = objects.iter().map(ToString::to_string).collect();
    documents.join("\n---\n") + "\n"
}

/// Replaces a file in one step, as editors do.
fn replace(file: &Path, text: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_files_and_ignores_broken_files() {
    let program = follow(|input| fs::write(input.join("cart.yaml"), cart(3)).unwrap()).await;
    let file = program.directory().join("in/cart.yaml");
    program.wait_for(&[("shop/cart", 3)]).await;
    replace(&file, cart(2));
    program.wait_for(&[("shop/cart", 2)]).await;
    fs::write(&file, cart(1)).unwrap();
    program.wait_for(&[("shop/cart", 1)]).await;
    // A subdirectory that is created later is watched too.
    let below = program.directory().join("in/prod");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("web.json"), service("prod/web").to_string()).unwrap();
    program.wait_for(&[("prod/web", 0), ("shop/cart", 1)]).await;
    fs::remove_file(below.join("web.json")).unwrap();
    program.wait_for(&[("shop/cart", 1)]).await;
    program.wait_for_metric("read_failures_total", 0.0).await;

    replace(&file, cart(7).replacen("\"addresses\":[", "\"addresses\":[{", 1));
    program.wait_for_log("cart.yaml:3: ").await;
    program.wait_for_log("not up to date: the last known good file stays in use").await;
    // A truncated file, a file in another encoding, a file without an object, a file without a Service, and a missing file.
    for (broken, said) in [
        (cart(7).bytes().take(300).collect(), "cart.yaml:"),
        ([cart(7).as_bytes(), b"# caf\xe9\n"].concat(), "which is not UTF-8"),
        (Vec::new(), "has no object"),
        (dump(&[slice("shop/cart", &endpoints(1))]).into_bytes(), "has no Service"),
    ] {
        let failures = program.metric("read_failures_total").await;
        replace(&file, &broken);
        program.wait_for_log(said).await;
        while program.metric("read_failures_total").await == failures {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(program.services(), Some(BTreeMap::from([("shop/cart".to_owned(), 1)])));
    }
    fs::remove_file(&file).unwrap();
    program.wait_for_log("has no .yaml, .yml or .json file").await;
    assert_eq!(program.services(), Some(BTreeMap::from([("shop/cart".to_owned(), 1)])));
    assert_eq!(program.get("/readyz").await.0, 200);
    fs::write(&file, cart(1)).unwrap();
    program.wait_for_log("up to date again").await;
    fs::write(&file, cart(9)).unwrap();
    program.wait_for(&[("shop/cart", 9)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visible_namespace_without_services_is_told() {
    let program = WatchProcess::start(|directory| {
        let input = directory.join("in");
        fs::create_dir(&input).unwrap();
        fs::write(input.join("cart.yaml"), cart(3)).unwrap();
        let input = input.display().to_string();
        ["--format", "table", "--from-dir", &input, "--visible", "shop", "--visible", "prod"]
            .map(str::to_owned)
            .to_vec()
    })
    .await;
    program.wait_for_log("--visible prod: no file has a Service in this namespace; correct --visible").await;
    fs::write(program.directory().join("in/prod.json"), service("prod/web").to_string()).unwrap();
    program.wait_for_log("namespace prod: has Services now").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_links_of_a_config_map() {
    // The kubelet's way: files are links through `..data`, and `..data` is replaced.
    let version = |input: &Path, number: usize| {
        let hidden = format!("..2026_11_25_{number}");
        fs::create_dir(input.join(&hidden)).unwrap();
        fs::write(input.join(&hidden).join("cart.yaml"), cart(number)).unwrap();
        symlink(&hidden, input.join("..data_tmp")).unwrap();
        fs::rename(input.join("..data_tmp"), input.join("..data")).unwrap();
        if number > 1 {
            fs::remove_dir_all(input.join(format!("..2026_11_25_{}", number - 1))).unwrap();
        }
    };
    let program = follow(|input| {
        version(input, 1);
        symlink("..data/cart.yaml", input.join("cart.yaml")).unwrap();
    })
    .await;
    for number in 1..6 {
        program.wait_for(&[("shop/cart", number)]).await;
        version(&program.directory().join("in"), number + 1);
    }
    program.wait_for(&[("shop/cart", 6)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_directory_that_is_replaced() {
    let program = follow(|input| fs::write(input.join("cart.yaml"), cart(1)).unwrap()).await;
    program.wait_for(&[("shop/cart", 1)]).await;
    let (old, input) = (program.directory().join("old"), program.directory().join("in"));
    for count in 2..4 {
        let new = program.directory().join("new");
        fs::create_dir(&new).unwrap();
        fs::write(new.join("cart.yaml"), cart(count)).unwrap();
        fs::rename(&input, &old).unwrap();
        fs::rename(&new, &input).unwrap();
        // The system reports this change only to watches of the parent directory.
        program.wait_for(&[("shop/cart", count)]).await;
        fs::remove_dir_all(&old).unwrap();
    }
    fs::write(input.join("cart.yaml"), cart(9)).unwrap();
    program.wait_for(&[("shop/cart", 9)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux tells when a file is closed")]
async fn reads_a_file_only_after_it_is_closed() {
    let program = follow(|input| fs::write(input.join("all.yaml"), cart(1)).unwrap()).await;
    program.wait_for(&[("shop/cart", 1)]).await;
    let mut file = File::create(program.directory().join("in/all.yaml")).unwrap();
    file.write_all(cart(5).as_bytes()).unwrap();
    file.write_all(b"---\n").unwrap();
    // The file is valid here, but its writer has not closed it yet.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(program.services(), Some(BTreeMap::from([("shop/cart".to_owned(), 1)])));
    file.write_all(dump(&[service("shop/web")]).as_bytes()).unwrap();
    drop(file);
    program.wait_for(&[("shop/cart", 5), ("shop/web", 0)]).await;
    program.wait_for_metric("writes_total", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_complete_at_every_moment() {
    let program = Arc::new(follow(|input| fs::write(input.join("cart.yaml"), cart(1)).unwrap()).await);
    program.wait_for(&[("shop/cart", 1)]).await;
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reader = std::thread::spawn({
        let (program, stop, reads) = (Arc::clone(&program), Arc::clone(&stop), Arc::clone(&reads));
        move || {
            while !stop.load(Ordering::Relaxed) {
                assert!(program.services().is_some_and(|services| services.len() == 1));
                reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let file = program.directory().join("in/cart.yaml");
    for count in (2..200).cycle().step_by(7) {
        replace(&file, cart(count));
        program.wait_for(&[("shop/cart", count)]).await;
        if reads.load(Ordering::Relaxed) > 5_000 && program.metric("writes_total").await > 15.0 {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().expect("every read is complete");
    eventually("nothing is left beside the file", || {
        fs::read_dir(program.output.parent().unwrap()).unwrap().count() == 1
    })
    .await;
}

/// One of two files is gone. The other file alone would give a table without endpoints.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_table_when_all_objects_of_a_kind_vanish() {
    let program = follow(|input| {
        fs::write(input.join("services.yaml"), dump(&[service("shop/cart"), service("shop/web")])).unwrap();
        fs::write(input.join("slices.yaml"), dump(&[slice("shop/cart", &endpoints(3))])).unwrap();
    })
    .await;
    program.wait_for(&[("shop/cart", 3), ("shop/web", 0)]).await;
    let slices = program.directory().join("in/slices.yaml");
    fs::remove_file(&slices).unwrap();
    program.wait_for_log("the cluster has no EndpointSlice any more").await;
    program.wait_for(&[("shop/cart", 3), ("shop/web", 0)]).await;
    fs::write(&slices, dump(&[slice("shop/cart", &endpoints(1))])).unwrap();
    program.wait_for(&[("shop/cart", 1), ("shop/web", 0)]).await;
}
