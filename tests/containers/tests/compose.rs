//! The shop of `examples/docker-compose`, with the files that users run and the commands that its README shows.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use byname_containers::{Engine, Images, StandIn, run};
use byname_test_support::{ConsoleCommand, console, repository, section};

const IMAGES: [(&str, StandIn); 6] = [
    ("envoyproxy/envoy:v1.40.0", StandIn::Envoy),
    (concat!("byname-cli:", env!("CARGO_PKG_VERSION")), StandIn::Byname),
    ("python:3.13-slim", StandIn::Python),
    ("curlimages/curl:8.11.1", StandIn::Curl),
    ("alpine/openssl:3.3.2", StandIn::Openssl),
    ("nicolaka/netshoot:v0.13", StandIn::Iptables),
];

fn folder() -> PathBuf {
    repository().join("examples/docker-compose")
}

/// The commands under a heading of the README.
fn commands(heading: &str) -> Result<Vec<ConsoleCommand>> {
    let document = fs::read_to_string(folder().join("README.md"))?;
    Ok(console(section(&document, &format!("## {heading}")).context("the README has no such heading")?))
}

/// The running example. Everything of it is removed on drop, also after a failure.
struct ComposeShop {
    engine: Engine,
    _images: Images,
}

impl ComposeShop {
    fn new() -> Result<Self> {
        let engine = Engine::find()?;
        let shop = Self { engine, _images: Images::make(&IMAGES)? };
        // Remove what an earlier run may have left.
        shop.sh("docker-compose down --volumes --remove-orphans")?;
        Ok(shop)
    }

    /// Runs a command of the README in its folder, with the machine's version of Compose. It builds no images, because
    /// replacements exist.
    fn sh(&self, command: &str) -> Result<String> {
        let compose = format!("{} ", self.engine.compose());
        let command = command.replace("docker-compose ", &compose).replace(" up -d", " up -d --no-build");
        let script = format!("cd '{}' && export COMPOSE_PROJECT_NAME=byname-test && {command}", folder().display());
        run("sh", &["-c", &script])
    }

    fn logs(&self) -> String {
        self.sh("docker-compose logs --no-color --tail 12 2>&1 | cut -c 1-300").unwrap_or_default()
    }

    /// Runs a command until it prints what is shown. A container is up before its server listens, and a push takes a
    /// moment.
    fn eventually(&self, shown: &ConsoleCommand) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.sh(&shown.command) {
                Ok(printed) if shown.is_printed(&printed) => return Ok(()),
                result if Instant::now() > deadline => {
                    let printed = result.unwrap_or_else(|error| format!("{error:#}"));
                    bail!("$ {}\nis shown as\n{}\nand prints\n{printed}\n{}", shown.command, shown.output, self.logs());
                }
                _ => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// Runs all commands under a heading of the README.
    fn section(&self, heading: &str) -> Result<usize> {
        let commands = commands(heading)?;
        commands.iter().try_for_each(|shown| self.eventually(shown))?;
        Ok(commands.len())
    }

    /// Runs the commands of the project's README, which begin in the root of the repository.
    fn project_readme(&self) -> Result<usize> {
        let document = fs::read_to_string(repository().join("README.md"))?;
        let section = section(&document, "### docker-compose").context("the README has no such heading")?;
        let mut commands = console(section);
        let first = commands.first_mut().context("no commands")?;
        first.command =
            first.command.strip_prefix("cd examples/docker-compose && ").context("it goes to the folder")?.to_owned();
        commands.iter().try_for_each(|shown| self.eventually(shown))?;
        Ok(commands.len())
    }
}

impl Drop for ComposeShop {
    fn drop(&mut self) {
        if let Err(error) = self.sh("docker-compose down --volumes --remove-orphans --timeout 2") {
            eprintln!("{error:#}");
        }
    }
}

#[test]
fn readme_commands_work() -> Result<()> {
    let shop = ComposeShop::new()?;
    let shown = shop.project_readme()?;
    assert!((4..=6).contains(&shown), "{shown} commands");
    assert!(shop.section("Try it")? >= 5);
    assert_failures_stay_local(&shop)?;
    assert!(shop.section("Lose a pod")? >= 4);
    shop.sh("docker-compose down -v --timeout 2")?;
    assert!(shop.section("Without http_proxy")? >= 3);
    assert_no_request_fails_while_a_server_ends(&shop)?;
    Ok(())
}

/// Asserts that garbage in place of a configuration changes nothing, and that a dead sidecar affects only its own pod.
fn assert_failures_stay_local(shop: &ComposeShop) -> Result<()> {
    let shows = |command: &str, output: &str| {
        shop.eventually(&ConsoleCommand { command: format!("docker-compose {command}"), output: output.to_owned() })
    };
    let failed =
        "exec -T shop curl -s --noproxy 127.0.0.1 http://127.0.0.1:9901/stats?filter=http_filter.byname.config_fail$";
    let asks = "curl -s http://payments/";
    let shop_answers = "payments-… in shop, asked for as payments.shop.svc.cluster.local";
    shows(failed, "extension_config_discovery.http_filter.byname.config_fail: 0")?;
    shop.sh("docker-compose run --rm --entrypoint sh compile -c \
         'cd /etc/byname/shop/live && echo garbage > next && mv next byname.yaml'")?;
    shows(failed, "extension_config_discovery.http_filter.byname.config_fail: 1")?;
    shows(&format!("exec -T shop {asks}"), shop_answers)?;
    shop.sh("docker-compose kill billing-sidecar")?;
    assert!(shop.sh(&format!("docker-compose exec -T billing {asks} --max-time 2")).is_err());
    shows(&format!("exec -T shop {asks}"), shop_answers)?;
    // A new sidecar has a new network namespace, so the pod's workload restarts too.
    shop.sh("docker-compose up -d --force-recreate billing-sidecar billing")?;
    shows(&format!("exec -T billing {asks}"), "payments in billing, asked for as payments.billing.svc.cluster.local")
}

/// Runs the README's commands, of which one kills a server, and then the other server is killed, so that each sidecar loses its own.
/// Meanwhile both sidecars get requests, and after each kill a change reaches both.
fn assert_no_request_fails_while_a_server_ends(shop: &ComposeShop) -> Result<()> {
    const REQUESTS: usize = 600;
    const COMPOSE: &str = "docker-compose -f docker-compose.yaml -f docker-compose.serve.yaml";
    let commands = commands("One control plane")?;
    let kill = commands.iter().position(|shown| shown.command.contains(" kill ")).context("no server is killed")?;
    let (before, after) = commands.split_at(kill);
    let (down, after) = after.split_last().context("no last command")?;
    ensure!(before.len() >= 3 && after.len() >= 3 && down.command.ends_with(" down -v"), "{commands:?}");
    before.iter().try_for_each(|shown| shop.eventually(shown))?;
    std::thread::scope(|scope| {
        let load = ["shop", "billing"].map(|pod| {
            let asks = format!(
                "curl -s -m 10 -o /dev/null -w '%{{http_code}}\\n' --rate 10/s 'http://payments/?[1-{REQUESTS}]'"
            );
            scope.spawn(move || shop.sh(&format!("docker-compose exec -T {pod} {asks}")))
        });
        after.iter().try_for_each(|shown| shop.eventually(shown))?;
        let answers = |pod: &str, upstream: &str| {
            let asks =
                "curl -s http://payments.shop/ http://payments.shop/ http://payments.shop/ http://payments.shop/";
            let output = format!("{upstream} in shop, asked for as payments.shop.svc.cluster.local\n").repeat(4);
            shop.eventually(&ConsoleCommand { command: format!("docker-compose exec -T {pod} {asks}"), output })
        };
        answers("billing", "payments-2")?;
        for command in ["start server-1", "kill server-2", "run --rm compile payments-2"] {
            shop.sh(&format!("{COMPOSE} {command}"))?;
        }
        ["shop", "billing"].into_iter().try_for_each(|pod| answers(pod, "payments-1"))?;
        for one in load {
            let printed = one.join().map_err(|_| anyhow!("the load panicked"))??;
            let failed: Vec<&str> = printed.lines().filter(|status| *status != "200").collect();
            ensure!(failed.is_empty() && printed.lines().count() == REQUESTS, "failed: {failed:?}\n{}", shop.logs());
        }
        Ok(())
    })?;
    shop.eventually(down)
}

/// The example's images have the versions of the project.
#[test]
fn images_have_the_current_versions() -> Result<()> {
    let compose = fs::read_to_string(folder().join("docker-compose.yaml"))?;
    let capture = fs::read_to_string(folder().join("docker-compose.capture.yaml"))?;
    let envoy = fs::read_to_string(repository().join("envoy/VERSION"))?;
    assert!(compose.contains(&format!("image: envoyproxy/envoy:v{}\n", envoy.trim())));
    assert!(compose.contains(&format!("image: byname-cli:{}\n", env!("CARGO_PKG_VERSION"))));
    for (image, _) in IMAGES {
        assert!(compose.contains(image) || capture.contains(image), "{image}");
    }
    Ok(())
}

#[test]
fn a_missing_program_is_named_in_the_error() {
    let error = run("docker-that-is-not-there", &["info"]).unwrap_err();
    assert!(format!("{error:#}").contains("docker-that-is-not-there"), "{error:#}");
}
