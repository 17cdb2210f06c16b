//! Changes on their way to the daemon: each is decided on a copy of the Spec and sent with the revision it was decided on.
//!
//! Whoever changes the Spec in between makes the daemon refuse; then all is decided anew. So a command is one transaction, and so are
//! the lines of a restore: thousands of them are judged and saved once.

use super::{command::Change, decide, failure::Failure};
use crate::{
    api::{
        client::{Client, ClientError},
        types::{AppliedView, ChangeRequest, SpecView},
    },
    model::{Edit, Spec, edit},
};

/// How often somebody else may be faster before we give up.
const ATTEMPTS: usize = 50;

/// A conversation with the daemon.
pub(super) struct Session<'a> {
    client: &'a Client,
    draft: Option<Draft>,
    pending: Vec<Change>,
}

/// Edits, and the Spec they lead to.
struct Draft {
    /// The revision they start from.
    revision: u64,
    spec: Spec,
    edits: Vec<Edit>,
}

/// What became of each change.
type Results = Vec<Result<(), Failure>>;

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client, draft: None, pending: Vec::new() }
    }

    /// Decides about a change; what is refused here is not sent.
    pub(super) async fn change(&mut self, change: Change) -> Result<(), Failure> {
        let draft = match self.draft.take() {
            Some(draft) => draft,
            None => Draft::fetch(self.client).await?,
        };
        self.draft.insert(draft).add(&change)?;
        self.pending.push(change);
        Ok(())
    }

    /// Sends what is pending, and says what became of each.
    pub(super) async fn flush(&mut self) -> Results {
        let (pending, draft) = (std::mem::take(&mut self.pending), self.draft.take());
        let Some(draft) = draft.filter(|_| !pending.is_empty()) else { return Vec::new() };
        match self.send(&pending, draft).await {
            Ok(results) => results,
            Err(failure) if pending.len() == 1 => vec![Err(failure)],
            Err(_) => self.send_each(pending).await,
        }
    }

    /// One of several is wrong in a way that only the daemon sees: each for itself.
    async fn send_each(&self, changes: Vec<Change>) -> Results {
        let mut results = Vec::with_capacity(changes.len());
        for change in changes {
            let result = match Draft::fetch(self.client).await {
                Ok(mut draft) => match draft.add(&change) {
                    Ok(()) => self.send(&[change], draft).await.and_then(|results| results.into_iter().collect()),
                    Err(failure) => Err(failure),
                },
                Err(failure) => Err(failure),
            };
            results.push(result);
        }
        results
    }

    /// Sends changes as one transaction. An error is the daemon's and concerns all of them.
    async fn send(&self, changes: &[Change], mut draft: Draft) -> Result<Results, Failure> {
        let mut results = changes.iter().map(|_| Ok(())).collect();
        for _ in 0..ATTEMPTS {
            if draft.edits.is_empty() {
                return Ok(results);
            }
            let request = ChangeRequest {
                edits: Some(draft.edits),
                if_revision: Some(draft.revision),
                ..ChangeRequest::default()
            };
            let Err(error) = self.client.post::<AppliedView>("/v1/apply", &request).await else {
                return Ok(results);
            };
            // 409 is told to who is late, and where there is no room: the revision tells which.
            let revision = draft.revision;
            draft = Draft::fetch(self.client).await?;
            if draft.revision == revision || !matches!(error, ClientError::Answer { status: 409, .. }) {
                return Err(failure(error));
            }
            results = changes.iter().map(|change| draft.add(change)).collect();
        }
        Err(Failure::refused("Resource temporarily unavailable"))
    }
}

impl Draft {
    async fn fetch(client: &Client) -> Result<Self, Failure> {
        let SpecView { revision, spec } = client.get("/v1/spec").await.map_err(failure)?;
        Ok(Self { revision, spec, edits: Vec::new() })
    }

    fn add(&mut self, change: &Change) -> Result<(), Failure> {
        for edit in decide::edits(change, &self.spec)? {
            edit::apply(&mut self.spec, edit.clone()).map_err(|error| Failure::refused(error.to_string()))?;
            self.edits.push(edit);
        }
        Ok(())
    }
}

/// What the daemon says, as ipvsadm ends.
pub(super) fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Answer { body, .. } => match body.problems.first() {
            Some(problem) => Failure::refused(problem.message.clone()),
            None => Failure::refused(body.error),
        },
        error => Failure::unreachable(error),
    }
}
