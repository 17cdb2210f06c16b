//! `xvs check`: the daemon's own judgement of a file, without a daemon.

use serde::Serialize;

use super::{
    CliError,
    args::FileArgs,
    config::{bytes, counted, shown},
    output::Output,
};
use crate::model::{Problem, parse};

/// The JSON of `xvs check -o json`.
#[derive(Serialize)]
struct CheckView {
    file: String,
    problems: Vec<Problem>,
}

pub(super) fn run(args: &FileArgs, out: &Output) -> Result<(), CliError> {
    let file = shown(&args.file);
    match parse::parse(&bytes(&args.file)?) {
        Ok(spec) => {
            let reals = spec.services.iter().map(|service| service.reals.len()).sum();
            let (services, reals) = (counted(spec.services.len(), "service"), counted(reals, "real"));
            let view = CheckView { file, problems: Vec::new() };
            out.show(&view, |view| format!("{}: good, {services} with {reals}\n", view.file))
        }
        Err(problems) if out.is_json() => {
            out.show(&CheckView { file, problems }, |_| String::new())?;
            Err(CliError::Told)
        }
        Err(problems) => Err(CliError::Problems { file, problems }),
    }
}
