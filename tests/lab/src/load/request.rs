//! One HTTP/1.1 request on a connection of its own, and who answered it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::real;

/// Largest answer read, in bytes: the generator asks for names, not for files.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks `target` for `path` and returns the name of the real that answered, or in a few words why none did.
/// All of it together takes at most about `limit`.
pub(super) fn ask(target: SocketAddr, path: &str, limit: Duration) -> Result<String, String> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&target, limit).map_err(|error| reason("connect", &error))?;
    let left = limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
    stream
        .set_read_timeout(Some(left))
        .and_then(|()| stream.set_write_timeout(Some(left)))
        .map_err(|error| reason("set a timeout", &error))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| reason("send", &error))?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).map_err(|error| reason("receive", &error))?;
    parse(&answer)
}

/// The step that failed and how, without addresses: equal failures must count as one kind.
fn reason(step: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => format!("{step}: timed out"),
        kind => format!("{step}: {kind}"),
    }
}

/// The real's name out of a complete answer: status 200, the header, and a body as long as announced.
fn parse(answer: &[u8]) -> Result<String, String> {
    if answer.is_empty() {
        return Err("receive: connection closed without an answer".into());
    }
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err("receive: incomplete head".into());
    };
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("answer: {status}"));
    }
    let (mut name, mut length) = (None, None);
    for (key, value) in lines.filter_map(|line| line.split_once(':')) {
        if key.eq_ignore_ascii_case(real::HEADER) {
            name = Some(value.trim().to_owned());
        } else if key.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        }
    }
    if length.is_some_and(|length| body.len() < length) {
        return Err("receive: incomplete body".into());
    }
    name.ok_or_else(|| format!("answer: no {} header", real::HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_the_header() {
        let answer = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 6\r\nx-real: real2\r\n\r\nreal2\n";
        assert_eq!(parse(answer), Ok("real2".to_owned()));
    }

    #[test]
    fn what_is_not_a_whole_good_answer_is_a_failure() {
        for (answer, why) in [
            (&b""[..], "closed without"),
            (b"HTTP/1.1 200 OK\r\nX-Real: r", "incomplete head"),
            (b"HTTP/1.1 200 OK\r\nX-Real: real1\r\nContent-Length: 6\r\n\r\nrea", "incomplete body"),
            (b"HTTP/1.1 503 Service Unavailable\r\nX-Real: real1\r\n\r\n", "503"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "no X-Real"),
        ] {
            let error = parse(answer).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_refused_connection_is_named() {
        // Port 1 on loopback has no listener.
        let error = ask("127.0.0.1:1".parse().unwrap(), "/", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, "connect: connection refused");
    }
}
