//! Runs commands: requests to the daemon, text to standard output.

use std::io::{ErrorKind, Write};

use super::{
    command::{Command, List, Listing},
    decide::NO_SUCH_SERVICE,
    failure::Failure,
    help,
    list::{Words, connections, save, services},
    names::Names,
    parse::parse,
    restore,
    session::{self, Session},
};
use crate::{
    api::{
        client::{Client, ClientError},
        types::{ConnectionFilter, ConnectionPage, ServiceView, SpecView, ZeroRequest, ZeroedView},
    },
    model::ServiceKey,
};

/// Connections asked for at a time, about 10 MB of JSON: the whole table at once may be gigabytes.
const PAGE: usize = 50_000;

/// Who runs a command: the daemon it asks, and where its words go.
pub(super) struct Runner<'a, N> {
    pub(super) client: &'a Client,
    pub(super) names: &'a N,
    /// As messages name the program.
    pub(super) program: &'a str,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl<N: Names> Runner<'_, N> {
    /// Runs a command line; `input` gives the lines of a restore. Returns the exit code.
    pub(super) async fn line(&mut self, words: Vec<String>, input: impl FnOnce() -> String) -> u8 {
        let done = match parse(self.program, words, self.names) {
            Ok(Command::Restore) => return restore::restore(self, &input()).await,
            Ok(command) => self.command(command).await,
            Err(failure) => Err(failure),
        };
        done.map_or_else(|failure| self.tell(&failure), |()| 0)
    }

    /// Says why; returns the exit code.
    pub(super) fn tell(&mut self, failure: &Failure) -> u8 {
        if !failure.text.is_empty() {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(self.err, "{}", failure.text);
        }
        failure.code
    }

    /// Runs a command other than a restore.
    pub(super) async fn command(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Change(change) => {
                let mut session = Session::new(self.client);
                session.change(change).await?;
                session.flush().await.into_iter().collect()
            }
            Command::Zero(service) => self.zero(service).await,
            Command::List(list) => self.list(list).await,
            Command::Save { numeric } => {
                let views = self.services().await?;
                self.print(&save::save(&views, &Words { numeric, names: self.names }))
            }
            Command::StartDaemon => Err(Failure::refused(
                "XVS has no connection synchronization in this version (--start-daemon); nothing was changed",
            )),
            // What IPVS says when none was started.
            Command::StopDaemon => Err(Failure::refused("No daemon is running")),
            Command::Help => self.print(&help::text(self.program)),
            Command::Version => self.print(help::VERSION),
            // The caller has read its lines; there is no restore within a restore.
            Command::Restore => Err(Failure::try_help(self.program)),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::closed(),
            _ => Failure::listing(format!("standard output: {error}")),
        })
    }

    async fn services(&self) -> Result<Vec<ServiceView>, Failure> {
        self.client.get("/v1/services").await.map_err(session::failure)
    }

    async fn zero(&self, service: Option<ServiceKey>) -> Result<(), Failure> {
        match self.client.post::<ZeroedView>("/v1/zero", &ZeroRequest { service }).await {
            Ok(_) => Ok(()),
            Err(ClientError::Answer { status: 404, .. }) => Err(Failure::refused(NO_SUCH_SERVICE)),
            Err(error) => Err(session::failure(error)),
        }
    }

    async fn list(&mut self, list: List) -> Result<(), Failure> {
        let List { what, service, numeric, exact, nosort } = list;
        let words = Words { numeric, names: self.names };
        match what {
            Listing::Services(columns) => {
                let views = self.services().await?;
                let style = services::Style { columns, exact, nosort };
                let text = match service {
                    None => services::all(&views, &style, &words),
                    Some(key) => {
                        let view = views.iter().find(|view| view.service == key);
                        let view = view.ok_or_else(|| Failure::listing(NO_SUCH_SERVICE))?;
                        services::one(view, &style, &words)
                    }
                };
                self.print(&text)
            }
            Listing::Connections { engines } => self.connections(engines, &words).await,
            Listing::Timeouts => {
                let SpecView { spec, .. } = self.client.get("/v1/spec").await.map_err(session::failure)?;
                let timeouts = spec.director.timeouts;
                let (tcp, fin, udp) = (timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
                self.print(&format!("Timeout (tcp tcpfin udp): {tcp} {fin} {udp}\n"))
            }
            // None runs, so there is nothing to say of it.
            Listing::Daemon => Ok(()),
        }
    }

    /// Page by page: what comes and goes meanwhile may be missed or shown twice, as it may in the kernel's own list.
    async fn connections(&mut self, engines: bool, words: &Words<'_, N>) -> Result<(), Failure> {
        let mut text = connections::head(engines);
        let mut filter = ConnectionFilter { limit: PAGE, ..ConnectionFilter::default() };
        loop {
            let query = serde_urlencoded::to_string(&filter).map_err(|error| Failure::listing(error.to_string()))?;
            let page: ConnectionPage =
                self.client.get(&format!("/v1/connections?{query}")).await.map_err(session::failure)?;
            text.push_str(&connections::lines(&page.connections, words));
            self.print(&text)?;
            text.clear();
            filter.skip += page.shown;
            if page.shown == 0 || filter.skip >= page.total {
                return Ok(());
            }
        }
    }
}
