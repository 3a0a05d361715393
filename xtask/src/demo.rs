//! The demo: sends requests for names to a real Envoy, and shows which upstreams answer.

use std::{env, io::IsTerminal};

use anyhow::{Result, bail};
use byname_test_support::{
    RequestForm,
    scenario::{self, DemoCaller, ExpectedReply, ROWS, Row, RowOutcome, Stage},
};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

pub(crate) async fn run(keep: bool) -> Result<()> {
    println!(
        "One Envoy with a sidecar listener for a pod in namespace shop and one for a pod in prod, and ten\n\
         upstreams. Half of the requests go to the sidecar as to a proxy; the others only have the name in\n\
         the Host header.\n"
    );
    let stage = Stage::start().await?;
    let mut shown = Shown::new();
    for (index, row) in ROWS.iter().enumerate() {
        // Clients send names to a proxy or in a host header.
        let form = if index % 2 == 0 && row.can_be_sent_as(RequestForm::Proxy) {
            RequestForm::Proxy
        } else {
            RequestForm::Host
        };
        shown.add(row, &stage.ask(row, &mut stage.connect(row.caller, form).await?).await?);
    }
    shown.print();

    println!("\nA push gives the alias `pay` a new target. The same connection, before and after the push:\n");
    let mut shown_reload = Shown::new();
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Proxy).await?;
    if let Some(pay) = ROWS.iter().find(|row| row.asked == scenario::MOVED.asked) {
        shown_reload.add(pay, &stage.ask(pay, &mut connection).await?);
    }
    stage.envoy.push("shop", &scenario::moved(stage.envoy.filter("shop")?)?, "config_reload").await?;
    shown_reload.add(&scenario::MOVED, &stage.ask(&scenario::MOVED, &mut connection).await?);
    shown_reload.print();

    if keep {
        wait_for_the_reader(&stage).await?;
    }
    let wrong: Vec<String> = shown.wrong.into_iter().chain(shown_reload.wrong).collect();
    if !wrong.is_empty() {
        bail!("{} rows are not as expected:\n{}", wrong.len(), wrong.join("\n"));
    }
    println!("\nEvery row is as expected.");
    Ok(())
}

/// A table of the outcome of each row.
struct Shown {
    table: Table,
    colour: bool,
    wrong: Vec<String>,
}

impl Shown {
    fn new() -> Self {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["from", "requested", "case", "answered by"]);
        let colour = std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { table, colour, wrong: Vec::new() }
    }

    fn add(&mut self, row: &Row, outcome: &RowOutcome) {
        let differs = outcome.differs(row);
        let [from, requested, case, answered] = outcome.cells(row);
        let (colour, answered) = match (&differs, row.expected) {
            (Some(_), _) => (Color::Red, format!("WRONG: {answered}")),
            (None, ExpectedReply::Local { .. }) => (Color::Yellow, answered),
            (None, ExpectedReply::Upstream { .. }) => (Color::Green, answered),
        };
        let answered = Cell::new(answered);
        let answered = if self.colour { answered.fg(colour) } else { answered };
        self.table.add_row([Cell::new(from), Cell::new(requested), Cell::new(case), answered]);
        self.wrong.extend(differs);
    }

    fn print(&self) {
        println!("{}", self.table);
    }
}

async fn wait_for_the_reader(stage: &Stage) -> Result<()> {
    let (shop, prod) = (stage.envoy.port(15001), stage.envoy.port(15002));
    println!("\nEnvoy keeps running. Try it, and stop it with Ctrl-C:\n");
    println!("  curl -x http://127.0.0.1:{shop} http://payments/            from shop, through the sidecar as a proxy");
    println!("  curl -H 'Host: payments' http://127.0.0.1:{prod}/           from prod, with a Host header");
    println!("  curl -i -H 'Host: partner' http://127.0.0.1:{shop}/         refused; the local reply says why");
    println!("  curl 'http://127.0.0.1:{}/stats?filter=byname'           the counters", stage.envoy.port(9901));
    tokio::signal::ctrl_c().await?;
    println!();
    Ok(())
}
