//! The reference is what the code says. `XVS_UPDATE_DOCS=1 cargo test` writes the generated pages anew.

use std::{fs, path::PathBuf};

use clap::Parser as _;
use lb_userspace::{
    cli::{args::Cli, reference},
    model::parse::parse,
};

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name)
}

#[test]
fn the_command_line_reference_is_the_generated_one() {
    let (path, text) = (page("cli.md"), reference());
    if std::env::var_os("XVS_UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/reference/cli.md is old; run XVS_UPDATE_DOCS=1 cargo test -p lb-userspace");
}

#[test]
fn the_configuration_reference_names_every_key_and_its_examples_are_good() {
    let text = fs::read_to_string(page("config.md")).unwrap();
    // What an unknown key is told: the keys the parser knows, table by table.
    let wrong = "zzzzzzzzzz = 1\n[director]\nzzzzzzzzzz = 1\n[director.timeouts]\nzzzzzzzzzz = 1\n[[mark]]\nmark = 1\n\
                 address = \"10.0.0.2\"\nzzzzzzzzzz = 1\n[[service]]\naddress = \"10.0.0.1:80\"\nzzzzzzzzzz = 1\n[service.persistence]\nzzzzzzzzzz = 1\n\
                 [service.timeouts]\nzzzzzzzzzz = 1\n[service.health]\ntype = \"http\"\nzzzzzzzzzz = 1\n\
                 [[service.real]]\naddress = \"10.0.1.1\"\nzzzzzzzzzz = 1\n";
    let problems = parse(wrong.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 9, "{problems:?}");
    for problem in problems {
        let keys = problem.message.strip_prefix("unknown key; known here: ").unwrap();
        for key in keys.split(", ") {
            assert!(text.contains(&format!("`{key}`")), "config.md does not name `{key}` ({})", problem.key);
        }
    }
    let examples: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        if let Err(problems) = parse(example.as_bytes()) {
            panic!("{problems:?} in\n{example}");
        }
    }
}

/// Guides and README: their name and text.
fn guides() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.push(root.join("README.md"));
    paths.sort();
    paths.iter().map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// Code blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    text.split(open.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn configurations_in_the_guides_are_good() {
    let mut count = 0;
    for (name, text) in guides() {
        for block in blocks(&text, "toml") {
            count += 1;
            if let Err(problems) = parse(block.as_bytes()) {
                panic!("{name}: {problems:?} in\n{block}");
            }
        }
    }
    assert!(count >= 3, "only {count} examples were found");
}

#[test]
fn commands_in_the_guides_are_ones_that_the_command_line_takes() {
    let mut count = 0;
    for (name, text) in guides() {
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines) {
            let line = line.split(" #").next().unwrap_or(line);
            for command in line.split("; ").map(str::trim).filter(|command| command.starts_with("xvs ")) {
                count += 1;
                let words = command.split_whitespace().map(|word| word.trim_matches('\''));
                let words = words.take_while(|word| !word.starts_with('>'));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{name}: `{command}`: {error}");
                }
            }
        }
    }
    assert!(count >= 20, "only {count} commands were found");
}
