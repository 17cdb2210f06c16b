//! Manual pages, completions and the reference, all from the shapes in `args`.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;

use super::{CliError, args::Cli, output::Output};

pub(super) fn man(directory: &Path) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("cannot write to {}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)
}

pub(super) fn completions(shell: Shell, out: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "xvs", &mut script);
    out.text(&String::from_utf8_lossy(&script))
}

/// `docs/reference/cli.md`. A test compares it with the file.
pub fn reference() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from(
        "# Command line\n\nMade from the definitions in `args.rs` and `*_args.rs` of `lb-userspace/src/cli`; \
         `XVS_UPDATE_DOCS=1 cargo test -p lb-userspace` writes it anew.\n",
    );
    section(&root, &mut text);
    text
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## {name}\n\n{}.\n\n```text\n{usage}\n```\n", described(command.get_about()));
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    // The global options stand once, at the top.
    let own = |arg: &&Arg| !arg.is_global_set() || command.get_name() == "xvs";
    let args: Vec<&Arg> = command.get_arguments().filter(shown).filter(own).collect();
    if !args.is_empty() {
        text.push_str("\n| argument | meaning |\n|---|---|\n");
        for arg in args {
            let _ = writeln!(text, "| `{}` | {} |", spelled(arg), meaning(arg));
        }
    }
    if let Some(examples) = command.get_after_help() {
        let _ = write!(text, "\n```text\n{examples}\n```\n");
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
        section(inner, text);
    }
}

fn described(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().replace('|', "\\|")).unwrap_or_default()
}

fn spelled(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>"));
    let values = values.collect::<Vec<_>>().join(" ");
    match (arg.get_short(), arg.get_long()) {
        _ if arg.is_positional() => values,
        (short, Some(long)) => {
            let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
            match arg.get_action().takes_values() {
                true => format!("{short}--{long} {values}"),
                false => format!("{short}--{long}"),
            }
        }
        (_, None) => arg.get_id().to_string(),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = described(arg.get_help());
    let words: Vec<String> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !words.is_empty() {
        let _ = write!(text, "; one of {}", words.join(", "));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, "; default {}", defaults.join(", "));
    }
    if let Some(name) = arg.get_env() {
        let _ = write!(text, "; environment `{}`", name.to_string_lossy());
    }
    text
}
