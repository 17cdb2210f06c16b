//! HTTP routes to [`Engine`] calls.
//!
//! Decides nothing about services: it reads requests, has configurations judged by `model`, and gives every
//! failure a status and an [`ErrorBody`]. Every route is in [`ROUTES`] and in `docs/reference/openapi.json`.

use std::io;
use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Query, State, rejection::BytesRejection, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use futures_util::{Stream, StreamExt as _, stream};

use super::{
    engine::Engine,
    error::EngineError,
    socket::Socket,
    types::{ChangeRequest, ConnectionFilter, ErrorBody, ServiceFilter, ServiceStatsView, SpecView, ZeroRequest},
};
use crate::model::{Edit, Problem, ServiceKey, ServiceSpec, Spec, export, parse, validate};

/// Every route, as the OpenAPI description names it.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/status"),
    ("get", "/v1/spec"),
    ("get", "/v1/spec.toml"),
    ("get", "/v1/services"),
    ("get", "/v1/stats"),
    ("get", "/v1/connections"),
    ("post", "/v1/zero"),
    ("post", "/v1/plan"),
    ("post", "/v1/apply"),
];

/// Bytes of a request's body: the longest TOML text, with room for the escapes JSON adds to it.
const MAX_BODY: usize = 2 * parse::MAX_BYTES;
/// Connections in one answer: all that the largest tables hold. Each is about 200 bytes of JSON, which leaves as it is made.
const MAX_CONNECTIONS: usize = 1 << 28;

/// Answers requests until `stop` is ready, then finishes the ones begun.
pub async fn serve<E: Engine>(
    socket: Socket,
    engine: E,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(socket, router(engine)).with_graceful_shutdown(stop).await
}

/// The routes alone, without a socket.
pub fn router<E: Engine>(engine: E) -> Router {
    Router::new()
        .route("/v1/status", get(status::<E>))
        .route("/v1/spec", get(spec::<E>))
        .route("/v1/spec.toml", get(spec_toml::<E>))
        .route("/v1/services", get(services::<E>))
        .route("/v1/stats", get(stats::<E>))
        .route("/v1/connections", get(connections::<E>))
        .route("/v1/zero", post(zero::<E>))
        .route("/v1/plan", post(plan::<E>))
        .route("/v1/apply", post(apply::<E>))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "no such route; see docs/reference/openapi.json"))
        .method_not_allowed_fallback(async || {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this route does not know this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(engine)
}

async fn status<E: Engine>(State(engine): State<E>) -> Response {
    Json(engine.status().await).into_response()
}

async fn spec<E: Engine>(State(engine): State<E>) -> Response {
    let (revision, spec) = engine.spec().await;
    Json(SpecView { revision, spec }).into_response()
}

async fn spec_toml<E: Engine>(State(engine): State<E>) -> Response {
    let (_, spec) = engine.spec().await;
    ([(header::CONTENT_TYPE, "application/toml")], export::to_toml(&spec)).into_response()
}

async fn services<E: Engine>(
    State(engine): State<E>,
    filter: Result<Query<ServiceFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(ServiceFilter { service, reals }) = filter.map_err(unqueried)?;
    let with_reals = reals != Some(false);
    let parts = parts(engine.spec().await.1, service)?.map(move |part| (engine.clone(), part));
    let parts = stream::iter(parts.enumerate()).then(move |(number, (engine, part))| async move {
        let mut text = Vec::new();
        for (place, mut view) in engine.services(part).await.into_iter().enumerate() {
            if !with_reals {
                view.reals = Vec::new();
            }
            text.extend_from_slice(if number + place == 0 { b"" } else { b",\n" });
            serde_json::to_writer(&mut text, &view)?;
        }
        Ok(text.into())
    });
    Ok(streamed("[", parts, stream::once(async { Ok("]".into()) })))
}

async fn stats<E: Engine>(
    State(engine): State<E>,
    filter: Result<Query<ServiceFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(ServiceFilter { service, reals }) = filter.map_err(unqueried)?;
    let mut all = engine.stats(Vec::new()).await;
    for part in parts(engine.spec().await.1, service)? {
        let services = engine.stats(part).await.services;
        let without = |service: ServiceStatsView| match reals {
            Some(false) => ServiceStatsView { reals: Vec::new(), ..service },
            _ => service,
        };
        all.services.extend(services.into_iter().map(without));
    }
    Ok(Json(all).into_response())
}

/// Reals that are looked at without a pause: about a millisecond's worth, which a change may have to wait for.
const AT_ONCE: usize = 2000;

/// The services of a Spec, or the one that is asked for, in parts.
fn parts(
    spec: Spec,
    only: Option<ServiceKey>,
) -> Result<impl Iterator<Item = Vec<Arc<ServiceSpec>>> + Send + 'static, Failure> {
    let mut left = spec.services;
    if let Some(key) = only {
        left.retain(|service| service.key == key);
        if left.is_empty() {
            return Err(EngineError::NotFound { what: format!("service {key} does not exist") }.into());
        }
    }
    let mut left = left.into_iter().peekable();
    Ok(std::iter::from_fn(move || {
        let mut part = vec![left.next()?];
        let mut reals = part[0].reals.len();
        while let Some(next) = left.next_if(|next| reals + next.reals.len() <= AT_ONCE && part.len() < AT_ONCE) {
            reals += next.reals.len();
            part.push(next);
        }
        Some(part)
    }))
}

/// JSON in parts, as they come.
fn streamed(
    begin: &'static str,
    parts: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
    end: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
) -> Response {
    let begin = stream::once(async move { Ok(begin.into()) });
    let body = Body::from_stream(begin.chain(parts).chain(end));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unqueried(error: QueryRejection) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, error.body_text())
}

async fn connections<E: Engine>(
    State(engine): State<E>,
    filter: Result<Query<ConnectionFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(filter) = filter.map_err(unqueried)?;
    if !(1..=MAX_CONNECTIONS).contains(&filter.limit) {
        let message = format!("limit {} is out of range; from 1 to {MAX_CONNECTIONS}", filter.limit);
        return Err(Failure::new(StatusCode::BAD_REQUEST, message));
    }
    let found = engine.connections(filter).await?;
    let lines = stream::unfold((Some(found), 0, 0), |(found, total, shown)| async move {
        let mut found = found?;
        let Some(part) = found.recv().await else {
            let end = format!("\n],\"total\":{total},\"shown\":{shown}}}\n");
            return Some((Ok(Bytes::from(end)), (None, total, shown)));
        };
        let mut lines = part.lines;
        if shown > 0 && part.shown > 0 {
            lines.splice(0..0, *b",\n");
        }
        Some((Ok(lines.into()), (Some(found), total + part.total, shown + part.shown)))
    });
    Ok(streamed("{\"connections\":[\n", lines, stream::empty()))
}

async fn zero<E: Engine>(State(engine): State<E>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let body = body.map_err(|error| Failure::new(error.status(), error.body_text()))?;
    let ZeroRequest { service } = serde_json::from_slice(&body).map_err(unread)?;
    Ok(Json(engine.zero(service).await?).into_response())
}

async fn plan<E: Engine>(State(engine): State<E>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let plan = match read_change(body).await? {
        (_, Some(revision)) => {
            let message = format!("if_revision {revision} belongs to apply; a plan changes nothing");
            return Err(Failure::new(StatusCode::BAD_REQUEST, message));
        }
        (Change::Whole(spec), None) => engine.plan(spec).await?,
        (Change::Edits(edits), None) => engine.plan_edits(edits).await?,
    };
    Ok(Json(plan).into_response())
}

async fn apply<E: Engine>(State(engine): State<E>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let applied = match read_change(body).await? {
        (Change::Whole(spec), if_revision) => engine.apply(spec, if_revision).await?,
        (Change::Edits(edits), if_revision) => engine.edit(edits, if_revision).await?,
    };
    Ok(Json(applied).into_response())
}

/// What a body asks for. A whole Spec is valid when it stands here; edits are judged on the Spec they meet.
enum Change {
    Whole(Spec),
    Edits(Vec<Edit>),
}

async fn read_change(body: Result<Bytes, BytesRejection>) -> Result<(Change, Option<u64>), Failure> {
    let body = body.map_err(|error| Failure::new(error.status(), error.body_text()))?;
    // A million reals take a second or two, which health checks on the same thread would notice.
    let read = tokio::task::spawn_blocking(move || change(&body)).await;
    read.unwrap_or_else(|error| Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
}

fn change(body: &[u8]) -> Result<(Change, Option<u64>), Failure> {
    let request: ChangeRequest = serde_json::from_slice(body).map_err(unread)?;
    let ChangeRequest { toml, spec, edits, if_revision } = request;
    let change = match (toml, spec, edits) {
        (Some(toml), None, None) => Change::Whole(parse::parse(toml.as_bytes()).map_err(refused)?),
        (None, Some(spec), None) => match validate::validate(&spec) {
            problems if problems.is_empty() => Change::Whole(spec),
            problems => return Err(refused(problems)),
        },
        (None, None, Some(edits)) if edits.is_empty() => {
            return Err(Failure::new(StatusCode::BAD_REQUEST, "edits is empty: nothing to do"));
        }
        (None, None, Some(edits)) => Change::Edits(edits),
        _ => {
            let message = "the body needs exactly one of toml, spec and edits";
            return Err(Failure::new(StatusCode::BAD_REQUEST, message));
        }
    };
    Ok((change, if_revision))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unread(error: serde_json::Error) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, format!("the body is not such a request: {error}"))
}

fn refused(problems: Vec<Problem>) -> Failure {
    EngineError::Refused { problems }.into()
}

/// An answer that is not a success.
struct Failure {
    status: StatusCode,
    body: ErrorBody,
}

// === impl Failure ===

impl Failure {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), problems: Vec::new() } }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let status = match error {
            EngineError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::StaleRevision { .. } | EngineError::Conflict { .. } => StatusCode::CONFLICT,
            EngineError::NotFound { .. } => StatusCode::NOT_FOUND,
            EngineError::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut failure = Self::new(status, error.to_string());
        if let EngineError::Refused { problems } = error {
            failure.body.problems = problems;
        }
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
