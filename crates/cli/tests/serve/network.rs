//! What lies between Envoys and servers: connections go to one server after another, as through a Service, and can be throttled,
//! cut in the middle of a message, or left open and silent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

/// What happens to the bytes of every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Good,
    /// Only so many bytes a second pass in each direction.
    Throttled(usize),
    /// Connections stay open, and nothing passes.
    Silent,
    /// Connections end after so many bytes of the server, wherever a message ends.
    Cut(usize),
    /// Connections end, and no new one is accepted for long.
    Down,
}

pub(crate) struct Network {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    /// Connections that reached a server.
    opened: Arc<AtomicUsize>,
    accept: AbortHandle,
}

#[derive(Clone)]
struct State {
    condition: Condition,
    servers: Vec<u16>,
    /// Connections of an earlier generation end.
    generation: usize,
}

impl Network {
    /// Leads to these ports of this machine, in turn; one that takes no connection is passed over.
    pub(crate) async fn to(servers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, seen) =
            watch::channel(State { condition: Condition::Good, servers: servers.to_vec(), generation: 0 });
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let accept = tokio::spawn(async move {
            for turn in 0.. {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(client, turn, seen.clone(), Arc::clone(&counted)));
            }
        });
        Self { port, state, opened, accept: accept.abort_handle() }
    }

    /// Sets what happens to bytes, from now on and for open connections too.
    pub(crate) fn set(&self, condition: Condition) {
        self.state.send_modify(|state| state.condition = condition);
    }

    /// Leads new connections to these ports.
    pub(crate) fn lead_to(&self, servers: &[u16]) {
        self.state.send_modify(|state| state.servers = servers.to_vec());
    }

    /// Ends all connections.
    pub(crate) fn end_connections(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Leads to these ports from now on: open connections end.
    pub(crate) fn move_to(&self, servers: &[u16]) {
        self.lead_to(servers);
        self.end_connections();
    }

    /// Connections that reached a server until now.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end_connections();
        self.accept.abort();
    }
}

async fn connect(client: TcpStream, turn: usize, mut state: watch::Receiver<State>, opened: Arc<AtomicUsize>) {
    let State { condition, servers, generation } = state.borrow().clone();
    if condition == Condition::Down {
        return;
    }
    let mut server = None;
    for number in 0..servers.len() {
        server = TcpStream::connect(("127.0.0.1", servers[(turn + number) % servers.len()])).await.ok();
        if server.is_some() {
            break;
        }
    }
    let Some(server) = server else { return };
    opened.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (to_the_server, to_the_client) = (state.clone(), state.clone());
    tokio::select! {
        () = pass(from_client, to_server, to_the_server, false) => {}
        () = pass(from_server, to_client, to_the_client, true) => {}
        _ = state.wait_for(|state| state.generation != generation || state.condition == Condition::Down) => {}
    }
}

/// Passes bytes on until one side ends.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    is_from_server: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let condition = match state.wait_for(|state| state.condition != Condition::Silent).await {
            Ok(state) => state.condition,
            Err(_) => return,
        };
        let (end, step) = match condition {
            Condition::Cut(bytes) if is_from_server => (read.min(bytes.saturating_sub(passed)), read),
            Condition::Throttled(bytes) => (read, (bytes / 10).max(1)),
            _ => (read, read),
        };
        for part in buffer[..end].chunks(step) {
            if to.write_all(part).await.is_err() {
                return;
            }
            if step < read {
                sleep(Duration::from_millis(100)).await;
            }
        }
        passed += end;
        if end < read {
            return;
        }
    }
}
