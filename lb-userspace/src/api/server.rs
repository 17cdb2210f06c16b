//! HTTP routes to [`Engine`] calls.
//!
//! Decides nothing about services: it reads requests, has configurations judged by `model`, and gives every
//! failure a status and an [`ErrorBody`]. Every route is in [`ROUTES`] and in `docs/reference/openapi.json`.

use std::io;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State, rejection::BytesRejection, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{
    engine::Engine,
    error::EngineError,
    socket::Socket,
    types::{ChangeRequest, ConnectionFilter, ErrorBody, SpecView, ZeroRequest},
};
use crate::model::{Edit, Problem, Spec, export, parse, validate};

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

/// Bytes of a request's body: a TOML text of 16 MiB, with room for the escapes JSON adds to it.
const MAX_BODY: usize = 3 * parse::MAX_BYTES;
/// Connections in one answer; each is about 200 bytes of JSON.
const MAX_CONNECTIONS: usize = 1_000_000;

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

async fn services<E: Engine>(State(engine): State<E>) -> Response {
    Json(engine.services().await).into_response()
}

async fn stats<E: Engine>(State(engine): State<E>) -> Response {
    Json(engine.stats().await).into_response()
}

async fn connections<E: Engine>(
    State(engine): State<E>,
    filter: Result<Query<ConnectionFilter>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(filter) = filter.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    if !(1..=MAX_CONNECTIONS).contains(&filter.limit) {
        let message = format!("limit {} is out of range; from 1 to {MAX_CONNECTIONS}", filter.limit);
        return Err(Failure::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(Json(engine.connections(filter).await?).into_response())
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
    // 16 MiB take a second or two, which health checks on the same thread would notice.
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
