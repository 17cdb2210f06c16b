//! The HTTP check: `GET` over HTTP/1.1, judged by the status code.
//!
//! What a real server sends is outside input: the header is limited to 16 KiB and 64 fields, 64 KiB of the body are
//! read, and the caller limits the time of the whole, so that neither a flood nor a drip holds a check.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::Pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::{Check, CheckError, tcp};

/// Bytes of header that are read at most.
const HEADER_LIMIT: usize = 16 << 10;
/// Header fields that are read at most.
const FIELD_LIMIT: usize = 64;
/// Bytes of body that are read at most; a longer body counts as read.
const BODY_LIMIT: usize = 64 << 10;

/// Asks for a path and compares the status.
#[derive(Clone, Debug)]
pub struct HttpCheck {
    /// Path with query, beginning with `/`.
    pub path: String,
    /// Host header; the target's address if `None`.
    pub host: Option<String>,
    /// Status codes that count as good.
    pub status: Vec<RangeInclusive<u16>>,
}

impl Check for HttpCheck {
    fn check(&self, target: SocketAddr) -> Pin<Box<dyn Future<Output = Result<(), CheckError>> + Send + '_>> {
        Box::pin(self.ask(target))
    }
}

impl HttpCheck {
    async fn ask(&self, target: SocketAddr) -> Result<(), CheckError> {
        let request = self.request(target)?;
        let stream = tcp::connect(target).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEADER_LIMIT)
            .max_headers(FIELD_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(not_http)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(not_http)?;
            self.judge(response).await
        };
        // The connection's own future moves the bytes. Its end is no verdict: the response may still be on its way to
        // `exchange`, which learns of errors by itself.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            verdict = exchange => verdict,
            never = drive => match never {},
        }
    }

    fn request(&self, target: SocketAddr) -> Result<Request<Empty<Bytes>>, CheckError> {
        if !self.path.starts_with('/') {
            return Err(CheckError::Request(format!("path {:?} does not begin with /", self.path)));
        }
        let host = self.host.clone().unwrap_or_else(|| default_host(target));
        Request::get(&self.path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("xvs/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| CheckError::Request(error.to_string()))
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<(), CheckError> {
        let got = response.status().as_u16();
        if !self.status.iter().any(|good| good.contains(&got)) {
            return Err(CheckError::Status { got, wanted: words(&self.status) });
        }
        // A server that sends a good header and then hangs on the body does not serve.
        let mut body = response.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.map_err(not_http)?.data_ref().map_or(0, Bytes::len);
            if read >= BODY_LIMIT {
                break;
            }
        }
        Ok(())
    }
}

/// What a client that was given this address would send (RFC 9112 §3.2: without the port if it is the default one).
fn default_host(target: SocketAddr) -> String {
    match (target.port(), target.ip()) {
        (80, IpAddr::V4(address)) => address.to_string(),
        (80, IpAddr::V6(address)) => format!("[{address}]"),
        _ => target.to_string(),
    }
}

/// Status ranges as an operator writes them.
fn words(status: &[RangeInclusive<u16>]) -> String {
    let range = |range: &RangeInclusive<u16>| {
        if range.start() == range.end() {
            range.start().to_string()
        } else {
            format!("{}-{}", range.start(), range.end())
        }
    };
    status.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// hyper's errors name the step; their source names the cause.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn not_http(error: hyper::Error) -> CheckError {
    let cause = error.source().map_or_else(String::new, |source| format!(": {source}"));
    CheckError::NotHttp(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, host: Option<&str>) -> HttpCheck {
        HttpCheck { path: path.into(), host: host.map(Into::into), status: vec![200..=299, 401..=401] }
    }

    fn target(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn the_host_header_follows_the_target_unless_given() {
        let host = |check: &HttpCheck, to: &str| {
            let request = check.request(target(to)).expect("a request");
            request.headers()[HOST].to_str().expect("text").to_owned()
        };
        assert_eq!(host(&check("/", None), "10.0.0.2:80"), "10.0.0.2");
        assert_eq!(host(&check("/", None), "10.0.0.2:8080"), "10.0.0.2:8080");
        assert_eq!(host(&check("/", None), "[fd00::2]:80"), "[fd00::2]");
        assert_eq!(host(&check("/", Some("www.example.org")), "10.0.0.2:80"), "www.example.org");
    }

    #[test]
    fn a_path_or_host_that_is_no_http_is_refused() {
        let error = |check: HttpCheck| check.request(target("10.0.0.2:80")).expect_err("refused").to_string();
        assert_eq!(error(check("health", None)), "cannot ask: path \"health\" does not begin with /");
        assert!(error(check("/a b", None)).starts_with("cannot ask: "));
        assert!(error(check("/", Some("a\r\nb: c"))).starts_with("cannot ask: "));
    }

    #[test]
    fn status_ranges_read_as_written() {
        assert_eq!(words(&check("/", None).status), "200-299, 401");
    }
}
