//! Load without much cost of its own: bytes that are made beforehand, plain sockets, one thread for client and upstream.

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
/// Enough to keep one worker busy.
pub(super) const CONNECTIONS: usize = 8;
pub(super) const MAX_MESSAGE_BYTES: usize = 4096;

/// What one turn asks.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// How many requests.
    pub(super) requests: usize,
    pub(super) traffic: Traffic,
    /// Whether they have to arrive with their canonical authority.
    pub(super) rewritten: bool,
    /// From one request to the next, of all connections together; none where each follows the last at once.
    pub(super) pace: Option<Duration>,
}

/// Connections that are kept from turn to turn, so that none of them pays for opening them.
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

    /// Sends the requests of `turn` over all connections, one at a time on each, and checks every answer. Gives the time
    /// that each took.
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

/// When one connection is to send its requests.
pub(super) struct Pace {
    due: Instant,
    every: Duration,
}

impl Pace {
    pub(super) fn new(after: Duration, every: Duration) -> Self {
        Self { due: Instant::now() + after, every }
    }

    /// Waits until the next request is due, and says since when it counts: where the answer before came too late, since it
    /// was due, or slow answers would hide what they delay. What the timer wakes too late is the client's own.
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

/// One request and the whole answer, whose body has this many bytes where it is the one that is due.
pub(super) async fn ask<'b>(
    stream: &mut TcpStream,
    buffer: &'b mut [u8],
    request: &[u8],
    body: usize,
) -> Result<&'b [u8]> {
    stream.write_all(request).await?;
    read_response(stream, buffer, body).await
}

/// Reads a head and a body, which has the length that is expected or is not what is expected.
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

/// The body of an answer that is 200; of others there is none.
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

/// Listens on a free port and answers every request with the authority that it came with.
pub(super) async fn start_upstream() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // An Envoy that ends closes its connections; that is no fault of the upstream's.
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
        // Envoy sends the next request when the last is answered.
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

/// Whether all of a request is there, its body too.
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
    fn a_request_is_whole_with_its_body() {
        let (get, post) = (get("web"), post("web"));
        assert!(is_whole(&get) && is_whole(&post));
        assert!(!is_whole(&get[..get.len() - 1]) && !is_whole(&post[..post.len() - 1]));
    }

    #[test]
    fn a_body_is_that_of_an_answer_that_succeeded() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nweb"), Some(&b"web"[..]));
        assert_eq!(body(b"HTTP/1.1 503 Service Unavailable\r\n\r\nweb"), None);
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
