//! Speaks to the daemon as any other client would: HTTP over its socket, one connection a request.
//!
//! Says in one line why there was no answer, because that is what an operator sees first when a daemon is down.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

use super::types::ErrorBody;

/// How long an answer may take. Applying 10 000 services takes seconds; a stopped daemon takes for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a request had no success.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers behind the socket.
    #[error("daemon not reachable at {}: {cause}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Cause and way out.
        cause: String,
    },
    /// The daemon answered with an error.
    #[error("{}", body.error)]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The answer is not one of this API.
    #[error("the answer of {} is not one of xvs: {cause}; are daemon and command of one version?", socket.display())]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What was wrong with it.
        cause: String,
    },
}

/// A daemon, by its socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Does not connect yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Fetches JSON.
    pub async fn get<T: DeserializeOwned>(&self, path_and_query: &str) -> Result<T, ClientError> {
        let body = self.request(Method::GET, path_and_query, Bytes::new()).await?;
        self.read(&body)
    }

    /// Fetches a text.
    pub async fn get_text(&self, path_and_query: &str) -> Result<String, ClientError> {
        let body = self.request(Method::GET, path_and_query, Bytes::new()).await?;
        String::from_utf8(body.to_vec()).map_err(|error| self.garbled(&error.to_string()))
    }

    /// Fetches a text, and gives it away as it comes. What `take` refuses ends it.
    pub async fn copy(
        &self,
        path_and_query: &str,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, ClientError> {
        let (answer, connection) = self.begin(Method::GET, path_and_query, Bytes::new()).await?;
        if !answer.status().is_success() {
            let (status, body) = (answer.status(), self.whole(answer).await?);
            return Err(ClientError::Answer { status: status.as_u16(), body: self.read(&body)? });
        }
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(Err(error)) = frame.map_err(|error| self.lost(&error))?.data_ref().map(|data| take(data)) {
                return Ok(Err(error));
            }
        }
        connection.abort();
        Ok(Ok(()))
    }

    /// Sends JSON and fetches JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbled(&error.to_string()))?;
        let body = self.request(Method::POST, path, body.into()).await?;
        self.read(&body)
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let answer = timeout(PATIENCE, self.exchange(method, path, body)).await;
        let (status, body) = answer.unwrap_or_else(|_| {
            Err(self.unreachable(format!("no answer within {} s; is the daemon stopped?", PATIENCE.as_secs())))
        })?;
        if status.is_success() {
            return Ok(body);
        }
        let body: ErrorBody = self.read(&body)?;
        Err(ClientError::Answer { status: status.as_u16(), body })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let (answer, connection) = self.begin(method, path, body).await?;
        let (status, body) = (answer.status(), self.whole(answer).await?);
        connection.abort();
        Ok((status, body))
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        Ok(answer.into_body().collect().await.map_err(|error| self.lost(&error))?.to_bytes())
    }

    fn lost(&self, error: &hyper::Error) -> ClientError {
        self.unreachable(format!("the daemon closed the connection ({error}); see its log"))
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, JoinHandle<hyper::Result<()>>), ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(connect_cause(&error)))?;
        let lost = |error: hyper::Error| self.lost(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // Its error is the sender's error too, told below.
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "xvs")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.garbled(&error.to_string()))?;
        Ok((sender.send_request(request).await.map_err(lost)?, connection))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.garbled(&error.to_string()))
    }

    fn unreachable(&self, cause: String) -> ClientError {
        ClientError::Unreachable { socket: self.socket.clone(), cause }
    }

    fn garbled(&self, cause: &str) -> ClientError {
        ClientError::Garbled { socket: self.socket.clone(), cause: cause.to_owned() }
    }
}

fn connect_cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket; start `xvs daemon`, or name its socket with --socket or XVS_SOCKET".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there any more (was the daemon killed?); start `xvs daemon`".to_owned()
        }
        io::ErrorKind::PermissionDenied => "permission denied; only root may talk to the daemon".to_owned(),
        _ => error.to_string(),
    }
}
