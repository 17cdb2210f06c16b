//! The documents name files; a file that moves takes its name along. No root, no build of anything else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file of the root and of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    let of = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    found.extend(of(&root()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")));
    while let Some(folder) = folders.pop() {
        for path in of(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What stands between `open` and `close`, once for each place; not across lines.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.lines().flat_map(move |line| line.split(open).skip(1).filter_map(move |rest| rest.split(close).next()))
}

/// Code blocks hold brackets that are no links.
fn without_code(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Headings as links name them: lower case, words joined by hyphens, other signs left out.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 20, "{documents:?}");
    let mut dead = Vec::new();
    let mut links = 0;
    for document in documents {
        let text = without_code(&read(&document));
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let is_there = if anchor.is_empty() {
                target.exists()
            } else {
                target.is_file() && anchors(&read(&target)).contains(anchor)
            };
            if !is_there {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(links > 100, "only {links} links were read");
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}

/// Words in backquotes with a slash that begin with a folder of this repository are paths in it, whichever document names them.
#[test]
fn every_path_that_a_document_names_exists() {
    let folders = ["lb-common/", "lb-ebpf/", "lb-userspace/", "xtask/", "tests/", "benches/", "docs/", ".ci/"];
    let mut gone = Vec::new();
    let mut paths = 0;
    for document in documents() {
        let text = without_code(&read(&document));
        for line in text.lines() {
            let words = line.split('`').skip(1).step_by(2);
            for path in
                words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '*']))
            {
                paths += 1;
                if !root().join(path).exists() {
                    gone.push(format!("{}: {path}", document.display()));
                }
            }
        }
    }
    assert!(paths > 80, "only {paths} paths were read");
    assert!(gone.is_empty(), "paths that are gone:\n{}", gone.join("\n"));
}

/// The verdicts in their order: number, name, what becomes of the packet, and the sentence, as the one list of them has it.
#[test]
fn verdicts_are_documented_as_the_code_has_them() {
    let source = read(&root().join("lb-common/src/abi/verdict.rs"));
    let list = source.split("verdicts! {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let rows: Vec<String> = list.lines().map(str::trim).filter(|line| !line.is_empty()).map(row).collect();
    assert!(rows.len() > 20);
    let page = read(&root().join("docs/reference/verdicts.md"));
    let written: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| number")).collect();
    assert_eq!(written, rows, "docs/reference/verdicts.md");
    let guide = read(&root().join("docs/guide/troubleshooting.md"));
    for row in rows {
        let name = row.split('`').nth(1).unwrap();
        assert!(guide.contains(&format!("`{name}`")), "docs/guide/troubleshooting.md does not name `{name}`");
    }
}

/// A line of the page, from a line of the list: `0 Direct Tx "direct" "Sent ..."`.
fn row(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let quoted: Vec<&str> = line.split('"').collect();
    format!("| {} | `{}` | {} | {} |", words[0], quoted[1], words[2].to_lowercase(), quoted[3])
}

/// Each decision is in the index, by number and in order.
#[test]
fn every_decision_is_in_the_index() {
    let index = read(&root().join("docs/README.md"));
    let mut names: Vec<String> = fs::read_dir(root().join("docs/adr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for (position, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}-", position + 1)), "{name} has not the next number");
        assert!(index.contains(&format!("{}. [", position + 1)) && index.contains(&format!("(adr/{name})")), "{name}");
    }
}

/// Every file that says `unsafe` has its line.
#[test]
fn every_unsafe_file_is_explained() {
    let page = read(&root().join("docs/unsafe.md"));
    let mut folders: Vec<PathBuf> =
        ["lb-common", "lb-ebpf", "lb-userspace", "xtask", "tests", "benches"].map(|folder| root().join(folder)).into();
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && has_unsafe(&read(&path)) {
                found += 1;
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                assert!(page.contains(&name), "docs/unsafe.md does not explain {name}");
            }
        }
    }
    assert!(found > 10, "only {found} files were found");
}

/// An unsafe block, function, impl or attribute; built from parts so that this file does not find itself.
fn has_unsafe(text: &str) -> bool {
    let word = ["un", "safe"].concat();
    let forms = [format!("{word} {{"), format!("{word} fn"), format!("{word} impl"), format!("#[{word}(")];
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    code.into_iter().any(|line| forms.iter().any(|form| line.contains(form.as_str())))
}
