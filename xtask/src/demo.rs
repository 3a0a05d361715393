//! The main job, in a real Envoy, before one's eyes: names go in, the right upstreams answer.

use std::{env, io::IsTerminal};

use anyhow::{Result, bail};
use byname_test_support::{
    RequestForm,
    scenario::{self, DemoCaller, ExpectedReply, ROWS, Row, RowOutcome, Stage},
};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

pub(crate) async fn run(keep: bool) -> Result<()> {
    println!("One Envoy, two sidecars: one of a pod in the namespace shop, one of a pod in prod. Ten upstreams.\n");
    let stage = Stage::start().await?;
    let mut shown = Shown::new();
    for (index, row) in ROWS.iter().enumerate() {
        // Both ways in which an ordinary client asks: through a proxy, and by a Host header.
        let form = if index % 2 == 0 && row.can_be_sent_as(RequestForm::Proxy) {
            RequestForm::Proxy
        } else {
            RequestForm::Host
        };
        shown.add(row, form, &stage.ask(row, &mut stage.connect(row.caller, form).await?).await?);
    }
    shown.print();

    println!("\nNow a new table is pushed, in which the alias `pay` leads elsewhere. One connection, kept open:\n");
    let mut shown_reload = Shown::new();
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Proxy).await?;
    if let Some(pay) = ROWS.iter().find(|row| row.asked == scenario::MOVED.asked) {
        shown_reload.add(pay, RequestForm::Proxy, &stage.ask(pay, &mut connection).await?);
    }
    stage.envoy.push("shop", &scenario::moved(stage.envoy.filter("shop")?)?, "config_reload").await?;
    shown_reload.add(&scenario::MOVED, RequestForm::Proxy, &stage.ask(&scenario::MOVED, &mut connection).await?);
    shown_reload.print();

    if keep {
        wait_for_the_reader(&stage).await?;
    }
    let wrong: Vec<String> = shown.wrong.into_iter().chain(shown_reload.wrong).collect();
    if !wrong.is_empty() {
        bail!("{} lines are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    }
    println!("\nEvery line is as it should be.");
    Ok(())
}

/// A table of what came of each row.
struct Shown {
    table: Table,
    colour: bool,
    wrong: Vec<String>,
}

impl Shown {
    fn new() -> Self {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["from", "asked", "as", "which is", "meant", "answered by", "why"]);
        let colour = std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self { table, colour, wrong: Vec::new() }
    }

    fn add(&mut self, row: &Row, form: RequestForm, outcome: &RowOutcome) {
        let reply = &outcome.reply;
        let differs = outcome.differs(row);
        let (meant, by) = match reply.said("upstream") {
            name if name.is_empty() => ("-".to_owned(), format!("the sidecar: {}", reply.status)),
            name => (reply.said("authority"), name),
        };
        let colour = match (&differs, row.expected) {
            (Some(_), _) => Color::Red,
            (None, ExpectedReply::Local { .. }) => Color::Yellow,
            (None, ExpectedReply::Upstream { .. }) => Color::Green,
        };
        let answered = Cell::new(by);
        let answered = if self.colour { answered.fg(colour) } else { answered };
        let form = if form == RequestForm::Proxy { "proxy" } else { "Host" };
        let why = if differs.is_some() { format!("WRONG: {}", outcome.reason) } else { outcome.reason.clone() };
        self.table.add_row([
            Cell::new(row.caller.namespace()),
            Cell::new(row.asked),
            Cell::new(form),
            Cell::new(row.shows),
            Cell::new(meant),
            answered,
            Cell::new(why),
        ]);
        self.wrong.extend(differs);
    }

    fn print(&self) {
        println!("{}", self.table);
    }
}

async fn wait_for_the_reader(stage: &Stage) -> Result<()> {
    let (shop, prod) = (stage.envoy.port(15001), stage.envoy.port(15002));
    println!("\nIt is left running. Try it, and end it with Ctrl-C:\n");
    println!("  curl -x http://127.0.0.1:{shop} http://payments/            from shop, through the sidecar as a proxy");
    println!("  curl -H 'Host: payments' http://127.0.0.1:{prod}/           from prod, with a Host header");
    println!("  curl -i -H 'Host: partner' http://127.0.0.1:{shop}/         refused, and the answer says why");
    println!("  curl 'http://127.0.0.1:{}/stats?filter=byname'           what was counted", stage.envoy.port(9901));
    tokio::signal::ctrl_c().await?;
    println!();
    Ok(())
}
