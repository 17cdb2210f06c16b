//! `xvs conn`

use super::{
    CliError,
    args::ConnListArgs,
    output::{Column, Output, table},
};
use crate::api::{
    client::Client,
    types::{ConnectionFilter, ConnectionPage},
};

pub(super) async fn list(client: &Client, args: ConnListArgs, out: &Output) -> Result<(), CliError> {
    let ConnListArgs { service, client: from, real, state, limit } = args;
    let filter = ConnectionFilter { service, client: from, real, state, skip: 0, limit };
    let query = serde_urlencoded::to_string(&filter).map_err(|error| CliError::Usage(error.to_string()))?;
    if out.is_json() {
        return out.copy(client, &format!("/v1/connections?{query}")).await;
    }
    let page: ConnectionPage = client.get(&format!("/v1/connections?{query}")).await?;
    out.show(&page, |page| {
        let columns = [
            Column::Left("PROTOCOL"),
            Column::Left("CLIENT"),
            Column::Left("VIRTUAL"),
            Column::Left("REAL"),
            Column::Left("STATE"),
            Column::Right("IDLE"),
            Column::Right("EXPIRES"),
        ];
        let rows = page.connections.iter().map(|view| {
            vec![
                view.protocol.to_string(),
                view.client.to_string(),
                view.virtual_.to_string(),
                view.real.to_string(),
                view.state.clone(),
                format!("{}s", view.idle_seconds),
                format!("{}s", view.expires_seconds),
            ]
        });
        let mut text = table(&columns, rows);
        if page.shown < page.total {
            text.push_str(&format!("{} of {} shown; ask for more with --limit\n", page.shown, page.total));
        }
        text
    })
}
