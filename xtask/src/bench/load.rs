//! Load with little cost of its own: prepared bytes, plain sockets, and one thread for client and upstream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep_until,
};

use super::traffic::{Requests, Traffic};

const HEAD_END: &[u8] = b"\r\n\r\n";
/// Enough connections to keep one worker busy.
pub(super) const CONNECTIONS: usize = 8;
pub(super) const MAX_MESSAGE_BYTES: usize = 4096;

/// The requests of one turn.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// The number of requests.
    pub(super) requests: usize,
    pub(super) traffic: Traffic,
    /// Whether requests must arrive with their canonical authority.
    pub(super) rewritten: bool,
    /// The time between requests over all connections. `None` sends each request right after the last response.
    pub(super) pace: Option<Duration>,
}

/// Connections that stay open across turns, so that no turn pays for opening them.
pub(super) struct Client {
    connections: Vec<TcpStream>,
}

impl Client {
    pub(super) async fn connect(port: u16, connections: usize) -> Result<Self> {
        let mut client = Self { connections: Vec::new() };
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            client.connections.push(stream);
        }
        Ok(client)
    }

    /// Sends the requests of `turn` over all connections, one at a time on each, and checks every response. Returns the
    /// response times.
    pub(super) async fn run(&mut self, requests: &Arc<Requests>, turn: Turn) -> Result<Vec<Duration>> {
        let left = Arc::new(AtomicUsize::new(turn.requests));
        let mut tasks = JoinSet::new();
        let connections = u32::try_from(self.connections.len())?;
        for (number, mut stream) in (0..).zip(self.connections.drain(..)) {
            let (requests, left) = (Arc::clone(requests), Arc::clone(&left));
            let mut pace = turn.pace.map(|pace| Pace::new(pace * number, pace * connections));
            tasks.spawn(async move {
                let mut buffer = vec![0; MAX_MESSAGE_BYTES];
                let mut times = Vec::new();
                while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let (bytes, name) = requests.take(turn.traffic)?;
                    let expected = if turn.rewritten { &name.canonical } else { &name.asked };
                    let since = match &mut pace {
                        Some(pace) => pace.wait().await,
                        None => Instant::now(),
                    };
                    let answer = ask(&mut stream, &mut buffer, bytes, expected.len()).await?;
                    times.push(since.elapsed());
                    check(answer, expected, &name.asked)?;
                }
                anyhow::Ok((stream, times))
            });
        }
        let mut all = Vec::with_capacity(turn.requests);
        while let Some(ended) = tasks.join_next().await {
            let (stream, times) = ended??;
            self.connections.push(stream);
            all.extend(times);
        }
        Ok(all)
    }
}

/// The times at which one connection sends requests.
pub(super) struct Pace {
    due: Instant,
    every: Duration,
}

impl Pace {
    pub(super) fn new(after: Duration, every: Duration) -> Self {
        Self { due: Instant::now() + after, every }
    }

    /// Waits until the next request is due, and returns the start of its response time. If the previous response was
    /// late, this is the due time, so that slow responses cannot hide the delay that they cause. A timer that fires
    /// late is the client's own delay, and does not count.
    pub(super) async fn wait(&mut self) -> Instant {
        let due = self.due;
        self.due += self.every;
        if Instant::now() >= due {
            return due;
        }
        sleep_until(due.into()).await;
        Instant::now()
    }
}

/// Sends one request and reads the whole response. `body` is the length of the expected body.
pub(super) async fn ask<'b>(
    stream: &mut TcpStream,
    buffer: &'b mut [u8],
    request: &[u8],
    body: usize,
) -> Result<&'b [u8]> {
    stream.write_all(request).await?;
    read_response(stream, buffer, body).await
}

/// Reads a head and a body. An expected response has a body of the expected length.
async fn read_response<'b>(stream: &mut TcpStream, buffer: &'b mut [u8], body: usize) -> Result<&'b [u8]> {
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        ensure!(read > 0, "Envoy closed a connection or answered more than {MAX_MESSAGE_BYTES} bytes");
        filled += read;
        let so_far = buffer.get(..filled).unwrap_or_default();
        if let Some(head) = find(so_far, HEAD_END)
            && (filled >= head + HEAD_END.len() + body || !so_far.starts_with(b"HTTP/1.1 200"))
        {
            break;
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

/// The body of a response with status 200; `None` for other responses.
pub(super) fn body(response: &[u8]) -> Option<&[u8]> {
    let head = find(response, HEAD_END).filter(|_| response.starts_with(b"HTTP/1.1 200 "))?;
    response.get(head + HEAD_END.len()..)
}

fn check(response: &[u8], expected: &str, asked: &str) -> Result<()> {
    ensure!(
        body(response) == Some(expected.as_bytes()),
        "{asked:?} should arrive as {expected:?}, and the answer is:\n{}",
        String::from_utf8_lossy(response),
    );
    Ok(())
}

/// Listens on a free port and answers every request with its authority as the body.
pub(super) async fn start_upstream() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Envoy closes its connections when it ends, which is no error.
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    Ok(port)
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    let mut filled = 0;
    let mut answer = Vec::new();
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let request = buffer.get(..filled).unwrap_or_default();
        // Envoy sends the next request only after the response.
        if !is_whole(request) {
            continue;
        }
        let authority = header(request, b"\r\nhost: ").context("Envoy sent no host")?;
        answer.clear();
        answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", authority.len()).as_bytes());
        answer.extend_from_slice(authority);
        stream.write_all(&answer).await?;
        filled = 0;
    }
}

/// Whether the buffer holds a whole request with its body.
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = find(request, HEAD_END) else { return false };
    let length = header(request, b"\r\ncontent-length: ").and_then(|length| str::from_utf8(length).ok());
    request.len() >= head + HEAD_END.len() + length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn header<'r>(request: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let rest = request.get(find(request, name)? + name.len()..)?;
    rest.get(..find(rest, b"\r\n")?)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::{
        super::traffic::{get, post},
        *,
    };

    #[test]
    fn a_request_is_complete_with_its_body() {
        let (get, post) = (get("web"), post("web"));
        assert!(is_whole(&get) && is_whole(&post));
        assert!(!is_whole(&get[..get.len() - 1]) && !is_whole(&post[..post.len() - 1]));
    }

    #[test]
    fn only_a_successful_response_has_a_body() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nweb"), Some(&b"web"[..]));
        assert_eq!(body(b"HTTP/1.1 503 Service Unavailable\r\n\r\nweb"), None);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
