//! The licences of the Go modules that a part of the cluster links.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Phrases that only the text of one licence has, in lower case and with single spaces.
const ALLOWED: [(&str, &str); 8] = [
    ("Apache-2.0", "apache license version 2.0"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("BSD", "redistribution and use in source and binary forms, with or without modification, are permitted"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("ISC", "permission to use, copy, modify, and distribute this software for any purpose"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("MPL-2.0", "mozilla public license, version 2.0"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
];

/// Checks that every linked module has a licence that is allowed.
pub(super) fn check(part: &Path) -> Result<()> {
    let format = "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}";
    let list = Command::new("go").args(["list", "-deps", "-f", format, "."]).current_dir(part).output();
    let list = list.context("go cannot be run; is it installed?")?;
    ensure!(list.status.success(), "go list failed:\n{}", String::from_utf8_lossy(&list.stderr));
    let printed = String::from_utf8(list.stdout)?;
    let modules: BTreeSet<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    ensure!(!modules.is_empty(), "{}: go list names no module", part.display());
    let mut refused = Vec::new();
    for module in &modules {
        let (name, directory) = module.split_once('\t').context("a module and its directory")?;
        if licence(Path::new(directory))?.is_none() {
            refused.push(format!("{name}: no licence in {directory} that is allowed"));
        }
    }
    ensure!(refused.is_empty(), "{}:\n{}", part.display(), refused.join("\n"));
    println!("{}: the licences of {} modules are allowed", part.display(), modules.len());
    Ok(())
}

/// The licence of the module in `directory`, if it is allowed.
fn licence(directory: &Path) -> Result<Option<&'static str>> {
    for entry in fs::read_dir(directory).with_context(|| format!("{} cannot be read", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_licence = ["license", "licence", "copying", "unlicense"].iter().any(|start| name.starts_with(start));
        if !is_licence || !path.is_file() {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let text = String::from_utf8_lossy(&text).to_lowercase();
        // One quotes its licence as Markdown does.
        let text = text.replace('>', " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((licence, _)) = ALLOWED.iter().find(|(_, phrase)| text.contains(phrase)) {
            return Ok(Some(licence));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_licence_by_its_text() -> Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(licence(directory.path())?, None, "no file");
        let file = directory.path().join("LICENSE.txt");
        fs::write(&file, "GNU GENERAL PUBLIC LICENSE\nVersion 3")?;
        assert_eq!(licence(directory.path())?, None, "not allowed");
        fs::write(&file, "Apache License\n   Version 2.0, January 2004")?;
        assert_eq!(licence(directory.path())?, Some("Apache-2.0"));
        Ok(())
    }
}
