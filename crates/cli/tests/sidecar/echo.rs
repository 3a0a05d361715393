//! An upstream that takes every upgrade and then echoes, and the client's side of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::AbortHandle,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts every upgrade, says in `x-host` which host it was asked for, and then echoes.
pub(crate) struct EchoUpstream {
    pub(crate) port: u16,
    task: AbortHandle,
}

impl EchoUpstream {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A client may close the connection at any time.
                tokio::spawn(async move { drop(serve(&mut stream).await) });
            }
        });
        Ok(Self { port, task: task.abort_handle() })
    }
}

impl Drop for EchoUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let head = read_head(stream).await?;
    let (upgrade, host) = (header(&head, "upgrade"), header(&head, "host"));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\nx-host: {host}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(())
}

/// Sends a request, and returns the head of the answer, in lower case.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Result<String> {
    stream.write_all(request.as_bytes()).await?;
    timeout(PATIENCE, read_head(stream)).await.context("no answer arrives")?
}

/// Checks that what is sent comes back.
pub(crate) async fn check_echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(b"ping").await?;
    let mut pong = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut pong)).await.context("nothing comes back")??;
    ensure!(&pong == b"ping", "{pong:?} comes back");
    Ok(())
}

/// The value of a header of a head in lower case; empty if the header is missing.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> &'h str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?.to_ascii_lowercase())
}
