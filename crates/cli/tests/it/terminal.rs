//! Text at a terminal: word wrap and colour.

use std::process::Stdio;

use crate::run::{HOSTILE, Run, SHOP, of, program};

fn byname_with(variables: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = program();
    command.args(args).stdin(Stdio::null()).envs(variables.iter().copied());
    of(command.output().expect("it starts"))
}

const CART: [&str; 6] = ["explain", "cart", "--pod", "shop/web-5c8f7b6d9f-4xk2p", "-f", SHOP];

#[test]
fn lines_are_wrapped_at_columns_between_words() {
    let explain = ["explain", "chekout.shop", "-n", "billing", "-f", SHOP];
    for args in [&CART as &[&str], &explain, &["lint", "-f", HOSTILE], &["diff", SHOP, HOSTILE]] {
        let (whole, wrapped) = (byname_with(&[], args), byname_with(&[("COLUMNS", "72")], args));
        for line in wrapped.stdout.lines() {
            let is_one_word = line.split_whitespace().count() <= 2;
            assert!(line.chars().count() <= 72 || is_one_word, "{args:?}: {line}");
        }
        let words = |run: &Run| run.stdout.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        // On a narrow terminal, each endpoint's reason is below it and needs no header.
        let cells = |run: &Run| words(run).into_iter().filter(|word| word != "WHY").collect::<Vec<String>>();
        assert_eq!(cells(&whole), cells(&wrapped), "{args:?}");
        assert!(wrapped.stdout.lines().count() > whole.stdout.lines().count(), "{args:?}: nothing is wrapped");
    }
}

#[test]
fn wrapped_lines_hang_below_their_text() {
    let run = byname_with(&[("COLUMNS", "60")], &["explain", "10.1:80", "-n", "shop", "-f", SHOP]);
    let (_, note) = run.stdout.split_once("note  ").expect("a note");
    assert!(note.lines().skip(1).all(|line| line.starts_with("      ")), "{note}");
    let run = byname_with(&[("COLUMNS", "60")], &["lint", "-f", HOSTILE]);
    let (_, why) = run.stdout.split_once("    why: ").expect("a reason");
    assert!(why.lines().nth(1).is_some_and(|line| line.starts_with("         ")), "{why:.200}");
    // Colours take no columns.
    let coloured = byname_with(&[("COLUMNS", "60"), ("CLICOLOR_FORCE", "1")], &CART).stdout;
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&coloured), lines(&byname_with(&[("COLUMNS", "60")], &CART).stdout));
}

#[test]
fn a_pipe_gets_whole_lines() {
    let whole = byname_with(&[], &CART).stdout;
    assert!(whole.lines().any(|line| line.len() > 120), "{whole}");
    for columns in ["0", "wide", ""] {
        assert_eq!(byname_with(&[("COLUMNS", columns)], &CART).stdout, whole, "COLUMNS={columns}");
    }
}

#[test]
fn a_normal_miss_of_the_search_list_is_not_red() {
    let red_dash = "\u{1b}[31m-";
    let coloured = |args: &[&str]| {
        let text = byname_with(&[("CLICOLOR_FORCE", "1")], args).stdout;
        text.replace("\u{1b}[1m\u{1b}[31m", "\u{1b}[31m")
    };
    let found = coloured(&["explain", "checkout.shop", "-n", "billing", "-f", SHOP]);
    assert!(found.contains("does not exist") && !found.contains(red_dash), "{found}");
    let refused = coloured(&["explain", "10.1:80", "-n", "shop", "-f", SHOP]);
    assert!(refused.contains(red_dash), "{refused}");
}

#[test]
fn endpoint_tables_leave_out_empty_columns_and_have_nodes_in_wide() {
    let header = |args: &[&str]| {
        let text = byname_with(&[], args).stdout;
        let line = text.lines().find(|line| line.contains("ADDRESS")).expect("a table");
        line.split_whitespace().map(str::to_owned).collect::<Vec<String>>()
    };
    let rollout = ["explain", "checkout.shop", "-n", "billing", "-f", SHOP];
    assert_eq!(header(&rollout), ["ADDRESS", "POD", "CONDITIONS", "WHY"]);
    let wide = [&rollout[..], &["-o", "wide"]].concat();
    assert_eq!(header(&wide), ["ADDRESS", "POD", "NODE", "ZONE", "CONDITIONS", "WHY"]);
    assert!(header(&CART).contains(&"HINTS".to_owned()));
}
