//! `xvs mark`

use super::{
    CliError,
    config::change_all,
    mark_args::{MarkCommand, MarkListArgs, MarkRulesArgs},
    output::{Column, Output, table},
};
use crate::{
    api::{client::Client, types::SpecView},
    model::{Edit, MarkRule, Protocol, ServiceKey},
};

pub(super) async fn run(client: &Client, command: MarkCommand, out: &Output) -> Result<(), CliError> {
    let edits = match command {
        MarkCommand::Add(args) => rules(&args)?.into_iter().map(Edit::AddMark).collect(),
        MarkCommand::Remove(args) => rules(&args)?.into_iter().map(Edit::RemoveMark).collect(),
        MarkCommand::List(args) => return list(client, &args, out).await,
    };
    change_all(client, edits, None, out).await
}

/// The rules of a command line: words in pairs.
fn rules(args: &MarkRulesArgs) -> Result<Vec<MarkRule>, CliError> {
    let (pairs, rest) = args.rules.as_chunks::<2>();
    if let [word] = rest {
        let message = format!("{word:?} has no partner: a rule is a protocol and an address, such as tcp 10.0.0.1:80");
        return Err(CliError::Usage(message));
    }
    let rule = |[protocol, address]: &[String; 2]| {
        let protocol: Protocol = protocol.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
        Ok(MarkRule::new(args.mark, protocol, address.parse().map_err(CliError::Usage)?))
    };
    pairs.iter().map(rule).collect()
}

async fn list(client: &Client, args: &MarkListArgs, out: &Output) -> Result<(), CliError> {
    let SpecView { spec, .. } = client.get("/v1/spec").await?;
    let mut rules = spec.marks.clone();
    rules.retain(|rule| args.mark.is_none_or(|mark| mark == rule.mark));
    out.show(&rules, |rules| {
        let columns =
            [Column::Right("MARK"), Column::Left("PROTOCOL"), Column::Left("ADDRESS"), Column::Left("SERVICE")];
        let rows = rules.iter().map(|rule| {
            let key = ServiceKey::of_mark(rule.mark, rule.address.is_ipv6());
            // A mark without a service: its packets are the kernel's.
            let service = spec.service(&key).map_or("-".to_owned(), |service| service.key.to_string());
            vec![rule.mark.to_string(), rule.protocol.to_string(), rule.destination().to_string(), service]
        });
        table(&columns, rows)
    })
}
