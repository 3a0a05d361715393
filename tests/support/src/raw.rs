//! Requests as bytes, for requests that no HTTP library would send.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes unchanged, and reads until the peer closes the connection.
///
/// # Errors
/// If nothing listens on the port, or the peer does not close the connection.
pub async fn raw_http1(port: u16, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // The peer may close the connection before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the connection stays open")?;
    // Unread bytes may make the peer reset the connection. The text received before the reset still counts.
    if let Err(error) = end
        && error.kind() != ErrorKind::ConnectionReset
    {
        return Err(error.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The outcome of a request over HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http2Outcome {
    /// A reply with this body.
    Body(String),
    /// The stream was reset.
    Reset,
    /// The connection was closed.
    Closed,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const MAX_FRAME_BYTES: usize = 16_384;

/// Sends one request over HTTP/2 with these header fields unchanged, and returns the outcome. RFC 9113 defines the
/// frames, and RFC 7541 the fields, sent as literals without indexing and without Huffman coding.
///
/// # Errors
/// If nothing listens on the port, or no outcome arrives.
pub async fn raw_http2(port: u16, fields: &[(&[u8], &[u8])]) -> Result<Http2Outcome> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_text(&mut block, name);
        push_text(&mut block, value);
    }
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    push_frame(&mut sent, SETTINGS, 0, 0, &[]);
    let pieces = block.chunks(MAX_FRAME_BYTES).count();
    for (index, piece) in block.chunks(MAX_FRAME_BYTES).enumerate() {
        let (kind, flags) = if index == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        push_frame(&mut sent, kind, flags | if index + 1 == pieces { END_HEADERS } else { 0 }, 1, piece);
    }
    // The peer may close the connection before it has read everything. Its frames can still be read.
    let _ = stream.write_all(&sent).await;
    timeout(PATIENCE, read_outcome(&mut stream)).await.context("nothing comes of it")
}

async fn read_outcome(stream: &mut TcpStream) -> Http2Outcome {
    let mut body = Vec::new();
    while let Some((kind, flags, stream_id, payload)) = read_frame(stream).await {
        match (kind, stream_id) {
            (SETTINGS, 0) if flags & ACK == 0 => {
                let mut acknowledged = Vec::new();
                push_frame(&mut acknowledged, SETTINGS, ACK, 0, &[]);
                let _ = stream.write_all(&acknowledged).await;
            }
            (GOAWAY, 0) => return Http2Outcome::Closed,
            (RST_STREAM, 1) => return Http2Outcome::Reset,
            (DATA, 1) => body.extend(payload),
            _ => {}
        }
        if stream_id == 1 && matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Http2Outcome::Body(String::from_utf8_lossy(&body).into_owned());
        }
    }
    Http2Outcome::Closed
}

async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [length @ .., kind, flags, a, b, c, d] = head;
    let [high, middle, low] = length;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff, payload))
}

fn push_frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream_id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    to.extend(length.iter().skip(1));
    to.extend([kind, flags]);
    to.extend(stream_id.to_be_bytes());
    to.extend(payload);
}

/// Appends a text after its length, an integer with a 7-bit prefix.
fn push_text(to: &mut Vec<u8>, text: &[u8]) {
    match text.len().checked_sub(127) {
        None => to.push(text.len() as u8),
        Some(mut rest) => {
            to.push(127);
            while rest > 0x7f {
                to.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            to.push(rest as u8);
        }
    }
    to.extend(text);
}
