//! Connections without a stream: how many there may be, and for how long.
//!
//! Each costs memory, and nobody has proved on it who they are. An Envoy whose stream was refused connects anew, perhaps to another server.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// Time that a connection may be without a stream.
pub(super) const LONGEST: Duration = Duration::from_secs(10);
/// Connections that may be without a stream at once: ten seconds' worth of new streams.
const PLACES: usize = 2_000;

/// The places of all connections without a stream.
#[derive(Clone)]
pub(super) struct WaitingRoom {
    places: Arc<Semaphore>,
    longest: Duration,
}

/// A connection's place.
pub(super) struct Place {
    room: WaitingRoom,
    permit: OwnedSemaphorePermit,
}

/// Why a connection without a stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    TooLong,
    TooMany,
}

impl Turned {
    /// The reason as the value of a label.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::TooLong => "no_stream",
            Self::TooMany => "too_many_without_stream",
        }
    }

    /// The reason as text for people.
    pub(super) fn text(self) -> String {
        match self {
            Self::TooLong => format!("it has had no open stream for {} s", LONGEST.as_secs()),
            Self::TooMany => format!("{PLACES} other connections have no open stream, the limit"),
        }
    }
}

impl WaitingRoom {
    pub(super) fn new() -> Self {
        Self::with(PLACES, LONGEST)
    }

    fn with(places: usize, longest: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), longest }
    }

    /// A place for a connection, if one is free.
    pub(super) fn enter(&self) -> Result<Place, Turned> {
        let permit = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Turned::TooMany)?;
        Ok(Place { room: self.clone(), permit })
    }
}

impl Place {
    /// Waits until the connection has to be closed, which has so many streams open.
    pub(super) async fn turned(self, open: &mut watch::Receiver<usize>) -> Turned {
        let Self { room, permit } = self;
        let mut place = Some(permit);
        loop {
            if timeout(room.longest, open.wait_for(|open| *open > 0)).await.is_err() {
                return Turned::TooLong;
            }
            drop(place.take());
            drop(open.wait_for(|open| *open == 0).await);
            match room.enter() {
                Ok(Place { permit, .. }) => place = Some(permit),
                Err(turned) => return turned,
            }
        }
    }
}

/// A stream that is open on a connection, for as long as this lives.
pub(super) struct OpenOn(Arc<watch::Sender<usize>>);

impl OpenOn {
    pub(super) fn new(open: &Arc<watch::Sender<usize>>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(Arc::clone(open))
    }
}

impl Drop for OpenOn {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_connection_is_turned_away_when_it_has_no_stream_for_long() {
        let (room, open) = (WaitingRoom::with(1, SHORT), Arc::new(watch::Sender::new(0)));
        let (begun, mut seen) = (Instant::now(), open.subscribe());
        let streams = async {
            let (one, other) = (OpenOn::new(&open), OpenOn::new(&open));
            sleep(SHORT * 3).await;
            drop(one);
            sleep(SHORT * 3).await;
            drop(other);
        };
        let place = room.enter().unwrap();
        let (turned, ()) = tokio::join!(place.turned(&mut seen), streams);
        assert_eq!(turned, Turned::TooLong);
        assert!(begun.elapsed() >= SHORT * 7, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_connection_with_a_stream_takes_no_place() {
        let (room, open) = (WaitingRoom::with(2, Duration::from_secs(60)), Arc::new(watch::Sender::new(0)));
        let mut seen = open.subscribe();
        let (other, place) = (room.enter().unwrap(), room.enter().unwrap());
        assert_eq!(room.enter().err(), Some(Turned::TooMany));
        let streams = async {
            let stream = OpenOn::new(&open);
            sleep(SHORT).await;
            // Somebody takes the place meanwhile.
            let newer = room.enter().unwrap();
            drop(stream);
            newer
        };
        let (turned, newer) = tokio::join!(place.turned(&mut seen), streams);
        assert_eq!(turned, Turned::TooMany);
        drop((other, newer));
        assert!(room.enter().is_ok());
    }
}
