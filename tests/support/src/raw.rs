//! Requests as bytes, for what no HTTP library agrees to send.

use std::{io::ErrorKind, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends bytes as they are and reads until the other side closes.
///
/// # Errors
/// Where nothing listens on the port, or the other side does not close.
pub async fn raw_http1(port: u16, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // The other side may close before it has read all of it.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the connection stays open")?;
    // What was sent in vain may end the connection the hard way; what was said before that is still there.
    if let Err(error) = end
        && error.kind() != ErrorKind::ConnectionReset
    {
        return Err(error.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What came of a request over HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Http2Outcome {
    /// An answer, with this body.
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

/// Sends one request over HTTP/2 with these header fields as they are, and gives what comes of it. RFC 9113 for frames,
/// RFC 7541 for fields: literals without indexing and without Huffman coding.
///
/// # Errors
/// Where nothing listens on the port, or nothing comes.
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
    // The other side may close before it has read all of it; what it says is still there to be read.
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

/// A text with its length as an integer of a 7-bit prefix.
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
