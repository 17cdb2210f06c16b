//! The reference is what the code says. `XVS_UPDATE_DOCS=1 cargo test` writes the generated pages anew.

use std::{fs, path::PathBuf};

use lb_userspace::{cli::reference, model::parse::parse};

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
    let wrong = "zzzzzzzzzz = 1\n[director]\nzzzzzzzzzz = 1\n[director.timeouts]\nzzzzzzzzzz = 1\n[[service]]\n\
                 address = \"10.0.0.1:80\"\nzzzzzzzzzz = 1\n[service.health]\ntype = \"http\"\nzzzzzzzzzz = 1\n\
                 [[service.real]]\naddress = \"10.0.1.1\"\nzzzzzzzzzz = 1\n";
    let problems = parse(wrong.as_bytes()).unwrap_err();
    assert_eq!(problems.len(), 6, "{problems:?}");
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
