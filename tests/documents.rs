//! What the documents claim: links lead somewhere, pages have a question and limits, the README is short, its table is the demo's, and its
//! commands work.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use std::{
    collections::HashSet,
    fmt::Write,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use byname_test_support::{
    RequestForm, console, envoy_binary, free_port, repository,
    scenario::{ExpectedReply, ROWS, Row, Stage},
    section,
};

/// Stands between the outputs of two commands.
const MARK: &str = "---- next ----";

fn readme() -> Result<String> {
    Ok(fs::read_to_string(repository().join("README.md"))?)
}

/// All Markdown files of the repository.
fn documents() -> Result<Vec<PathBuf>> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found)?;
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(&repository(), &mut found)?;
    found.sort();
    Ok(found)
}

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The anchors that GitHub gives the headings of a document.
fn anchors(text: &str) -> HashSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(slug).collect()
}

/// The targets of a line's links and pictures.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() -> Result<()> {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        let folder = document.parent().context("a folder")?;
        for target in prose(&text).flat_map(targets).filter(|target| !target.contains("://")) {
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { document.clone() } else { folder.join(path) };
            let is_there = match anchor {
                "" => file.exists(),
                // A folder shows its README.
                anchor if file.is_dir() => anchors(&fs::read_to_string(file.join("README.md"))?).contains(anchor),
                anchor => fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor)),
            };
            if !is_there {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(checked > 200, "{checked} links");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    Ok(())
}

/// What a page of `docs/` lacks: a question in its first paragraph, or its limits in the last section, after which only links may stand.
fn lacks(text: &str) -> Option<&'static str> {
    let (introduction, _) = text.split_once("\n## ").unwrap_or((text, ""));
    let first = introduction.split("\n\n").nth(1).unwrap_or_default();
    if !(first.starts_with(char::is_alphabetic) && first.contains('?')) {
        return Some("a question in its first paragraph");
    }
    let headings: Vec<&str> = prose(text).filter(|line| line.starts_with("## ")).collect();
    match headings[..] {
        [.., "## Limits"] => None,
        [.., "## Limits", last] if section(text, last).is_some_and(|below| below.contains("](")) => None,
        _ => Some("the section Limits at its end"),
    }
}

#[test]
fn every_page_begins_with_a_question_and_ends_with_its_limits() -> Result<()> {
    let mut checked = 0;
    for entry in fs::read_dir(repository().join("docs"))? {
        let page = entry?.path();
        if page.extension().is_some_and(|extension| extension == "md") {
            checked += 1;
            assert_eq!(lacks(&fs::read_to_string(&page)?), None, "{}", page.display());
        }
    }
    assert!(checked > 10, "{checked} pages");
    Ok(())
}

#[test]
fn a_page_without_a_question_or_limits_is_found() {
    for (page, lacking) in [
        ("# A\n\nWhy?\n\n## B\n\n## Limits\n", None),
        ("# A\n\nWhy?\n\n## Limits\n\n## More\n\n[b](b.md)\n", None),
        ("# A\n\nWhy?\n\n## Limits\n\n## More\n\nb\n", Some("Limits")),
        ("# A\n\nWhy?\n\n## B\n", Some("Limits")),
        ("# A\n\nWhy?\n\n```text\n## Limits\n```\n", Some("Limits")),
        ("# A\n\n- why?\n\n## Limits\n", Some("question")),
        ("# A\n\n## B\n\nWhy?\n\n## Limits\n", Some("question")),
    ] {
        let found = lacks(page);
        assert!(found.unwrap_or_default().contains(lacking.unwrap_or_default()), "{page:?}: {found:?}");
        assert_eq!(found.is_some(), lacking.is_some(), "{page:?}");
    }
}

#[test]
fn the_readme_is_short_and_names_every_page() -> Result<()> {
    let readme = readme()?;
    assert!(readme.lines().count() <= 150, "README.md has {} lines", readme.lines().count());
    for entry in fs::read_dir(repository().join("docs"))? {
        let name = entry?.file_name().into_string().expect("text");
        let is_named = readme.contains(&format!("](docs/{name}"));
        assert!(is_named || !name.ends_with(".md"), "README.md has no link to docs/{name}");
    }
    Ok(())
}

/// Sends each row of the README's table to the demo's Envoy.
#[tokio::test]
async fn the_readme_shows_rows_of_the_demo() -> Result<()> {
    let readme = readme()?;
    let (_, table) =
        readme.split_once("| from | requested | case | answered by |\n|---|---|---|---|\n").context("no table")?;
    let shown: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(shown.len(), 6, "{shown:?}");
    let stage = Stage::start().await?;
    for line in shown {
        let cells: Vec<String> = line.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
        let [_, from, requested, case, answered, _] = &cells[..] else { panic!("{line} has not four cells") };
        let is_it = |row: &&Row| row.caller.namespace() == from && row.asked == requested && row.shows == case;
        let row = ROWS.iter().find(is_it).with_context(|| format!("the demo has no row {line}"))?;
        let outcome = stage.ask(row, &mut stage.connect(row.caller, RequestForm::Proxy).await?).await?;
        assert_eq!(&outcome.cells(row)[3], answered, "{line}");
    }
    Ok(())
}

#[test]
fn the_demo_fits_a_hundred_columns() {
    let widths = ROWS.iter().map(|row| {
        let answered = match row.expected {
            ExpectedReply::Upstream { name, .. } => name.len(),
            ExpectedReply::Local { status } => format!("{status} {}", row.reason).len(),
        };
        [row.caller.namespace().len(), row.asked.len(), row.shows.len(), answered]
    });
    let widest = widths.fold([0; 4], |widest, row| std::array::from_fn(|column| widest[column].max(row[column])));
    // Each column has a border and two spaces, and the last border closes the table.
    let table = widest.iter().sum::<usize>() + 4 * 3 + 1;
    assert!(table <= 100, "{table} columns: {widest:?}");
}

/// The commands run in one shell as the README shows them, except for ports, which may be taken, and for the first one,
/// which made what this test needs.
#[test]
fn the_commands_for_a_plain_envoy_work() -> Result<()> {
    let root = repository();
    let readme = readme()?;
    let shown = console(section(&readme, "### Plain Envoy").context("no such heading")?);
    assert!(shown.len() <= 6, "{shown:?}");
    let (make, shown) = shown.split_first().context("no commands")?;
    assert_eq!(make.command, "make build envoy");
    let ports = ["15001", "9901", "18081"].map(|port| (port, free_port().map(|port| port.to_string())));
    let with_ports = |text: &str| {
        ports.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to.as_deref().unwrap_or(from)))
    };
    let directory = tempfile::tempdir()?;
    let there = |path: &str| directory.path().join(path);
    for folder in ["target/envoy", "envoy", "examples"] {
        fs::create_dir_all(there(folder))?;
    }
    symlink(envoy_binary()?, there("target/envoy/envoy"))?;
    symlink(root.join("target/byname.wasm"), there("target/byname.wasm"))?;
    symlink(root.join("examples/serve"), there("examples/serve"))?;
    let bootstrap = fs::read_to_string(root.join("envoy/cluster.yaml"))?;
    fs::write(there("envoy/cluster.yaml"), with_ports(&bootstrap))?;
    // Jobs have numbers only with job control, which scripts do not have by default. The trap ends what is left of them.
    let mut script = "set -m\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n".to_owned();
    for shown in shown {
        writeln!(script, "{}\necho '{MARK}'", with_ports(&shown.command))?;
    }
    let output = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let printed: Vec<&str> = printed.split_inclusive(&format!("{MARK}\n")).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(printed.len(), shown.len(), "{printed:?}\n{errors}");
    assert!(!errors.contains("restricted"), "the bootstrap allows all that the filter calls: {errors}");
    for (shown, printed) in shown.iter().zip(printed) {
        let printed = printed.strip_suffix(&format!("{MARK}\n")).context("a mark")?;
        let is_printed = shown.is_printed(printed);
        assert!(is_printed, "$ {}\nis shown as\n{}\nand prints\n{printed}\n{errors}", shown.command, shown.output);
    }
    Ok(())
}
