//! The TCP check: a connection that is accepted is a good answer.
//!
//! It sends no byte, so it says nothing of what listens; a process that hangs still accepts until its backlog is full.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

use super::{Check, CheckError};

/// Connects and closes.
#[derive(Clone, Copy, Debug)]
pub struct TcpCheck;

impl Check for TcpCheck {
    fn check(&self, target: SocketAddr) -> Pin<Box<dyn Future<Output = Result<(), CheckError>> + Send + '_>> {
        Box::pin(async move {
            connect(target).await?;
            Ok(())
        })
    }
}

pub(super) async fn connect(target: SocketAddr) -> Result<TcpStream, CheckError> {
    TcpStream::connect(target).await.map_err(|cause| CheckError::Io { step: "cannot connect", cause })
}
