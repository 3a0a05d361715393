//! Load without much cost of its own: bytes that are made beforehand, plain sockets, one thread for client and upstream.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::world::Name;

/// What an ordinary HTTP client sends besides, traced and with a token.
const HEADERS: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip, deflate\r\n\
    authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

const HEAD_END: &[u8] = b"\r\n\r\n";
const MAX_MESSAGE_BYTES: usize = 4096;

/// Requests that are ready to be sent, and the authority with which each has to arrive.
pub(super) struct Requests {
    all: Vec<(Vec<u8>, Name)>,
    next: AtomicUsize,
}

impl Requests {
    pub(super) fn new(names: Vec<Name>) -> Self {
        let request = |name: &Name| format!("GET /items/42 HTTP/1.1\r\nhost: {}\r\n{HEADERS}\r\n", name.asked);
        let all = names.into_iter().map(|name| (request(&name).into_bytes(), name)).collect();
        Self { all, next: AtomicUsize::new(0) }
    }

    fn take(&self, same: bool) -> Result<&(Vec<u8>, Name)> {
        let index = if same { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) % self.all.len() };
        self.all.get(index).context("there is no name to ask for")
    }
}

/// What one turn asks.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    /// How many requests.
    pub(super) requests: usize,
    /// Whether all are for one name.
    pub(super) same: bool,
    /// Whether they have to arrive with their canonical authority.
    pub(super) steered: bool,
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

    /// Sends the requests of `turn` over all connections, one at a time on each, and checks every answer.
    pub(super) async fn run(&mut self, requests: &Arc<Requests>, turn: Turn) -> Result<()> {
        let left = Arc::new(AtomicUsize::new(turn.requests));
        let mut tasks = JoinSet::new();
        for mut stream in self.connections.drain(..) {
            let (requests, left) = (Arc::clone(requests), Arc::clone(&left));
            tasks.spawn(async move {
                let mut buffer = vec![0; MAX_MESSAGE_BYTES];
                while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let (bytes, name) = requests.take(turn.same)?;
                    stream.write_all(bytes).await?;
                    let expected = if turn.steered { &name.canonical } else { &name.asked };
                    check(read_response(&mut stream, &mut buffer, expected.len()).await?, expected, &name.asked)?;
                }
                anyhow::Ok(stream)
            });
        }
        while let Some(stream) = tasks.join_next().await {
            self.connections.push(stream??);
        }
        Ok(())
    }
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

fn check(response: &[u8], expected: &str, asked: &str) -> Result<()> {
    let body = find(response, HEAD_END).and_then(|head| response.get(head + HEAD_END.len()..));
    ensure!(
        response.starts_with(b"HTTP/1.1 200 ") && body == Some(expected.as_bytes()),
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
        if !request.ends_with(HEAD_END) {
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

fn header<'r>(request: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let rest = request.get(find(request, name)? + name.len()..)?;
    rest.get(..find(rest, b"\r\n")?)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
