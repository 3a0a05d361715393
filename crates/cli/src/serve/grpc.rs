//! The framing of gRPC messages, with no more memory than is under way.
//!
//! tonic keeps a buffer as large as the largest message for as long as a stream lives: Envoy's first message has 60 kB and the
//! filter's names 100 kB or more, so thousands of streams took a gigabyte. And it copies resources that all streams share.

use std::{
    collections::VecDeque,
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Response,
    body::{Body, Frame},
    header::{CONTENT_TYPE, HeaderValue},
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, string},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Duration, Instant, timeout_at},
};
use tonic::Status;

use super::{
    discovery::{DeltaDiscoveryResponse, Resource},
    inbox::HeldBytes,
};

/// Whether the message is compressed, and its length.
const HEADER_BYTES: usize = 5;
/// The longest message that a client may send: all names of a client that reconnects, to subscribe and with their versions.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// Time from the first byte of a message to its last.
const WHOLE_MESSAGE: Duration = Duration::from_secs(10);
/// Bytes from which a resource is shared and not copied: a frame more costs as much as a copy of so many.
const SHARED_BYTES: usize = 4_096;

/// Fields of the messages below, by their numbers in `discovery.rs`.
const RESOURCES: u32 = 2;
const VERSION: u32 = 1;
const RESOURCE: u32 = 2;
const NAME: u32 = 3;
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;

/// The messages of a client.
pub(super) struct Streaming<T, B> {
    body: B,
    /// The start of the next message.
    buffer: BytesMut,
    /// The bytes of the buffer.
    held: HeldBytes,
    /// When the next message began to come.
    begun: Option<Instant>,
    /// Looks at the bytes of a message before it is decoded.
    check: fn(&[u8]) -> Result<(), String>,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + Default, B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin> Streaming<T, B> {
    /// The messages in `body`. `check` may refuse the bytes of one before it is decoded.
    pub(super) fn new(body: B, held: HeldBytes, check: fn(&[u8]) -> Result<(), String>) -> Self {
        Self { body, buffer: BytesMut::new(), held, begun: None, check, message: PhantomData }
    }

    /// The next message, with its bytes; `None` at the end.
    ///
    /// # Errors
    /// If the client sends something else or too much, takes too long to send a message, or the connection breaks.
    pub(super) async fn message(&mut self) -> Result<Option<(T, HeldBytes)>, Status> {
        loop {
            if let Some(message) = self.take()? {
                self.begun = None;
                return Ok(Some(message));
            }
            let frame = if self.buffer.is_empty() {
                self.body.frame().await
            } else {
                let begun = *self.begun.get_or_insert_with(Instant::now);
                timeout_at(begun + WHOLE_MESSAGE, self.body.frame()).await.map_err(|_elapsed| {
                    let seconds = WHOLE_MESSAGE.as_secs();
                    Status::deadline_exceeded(format!("a message was not whole within {seconds} s; reconnect"))
                })?
            };
            match frame {
                Some(Ok(frame)) => {
                    // There are no trailers in a request.
                    if let Ok(data) = frame.into_data() {
                        self.held.grow(data.len()).map_err(Status::resource_exhausted)?;
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Status::unavailable(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::internal("the request ends inside of a message")),
            }
        }
    }

    /// The message that the buffer begins with, if it is whole.
    fn take(&mut self) -> Result<Option<(T, HeldBytes)>, Status> {
        let Some((&[is_compressed, a, b, c, d], rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        if is_compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not supported; send grpc-encoding: identity"));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE_BYTES {
            let text = format!("a message of {length} bytes is too long; a message may have {MAX_MESSAGE_BYTES}");
            return Err(Status::out_of_range(text));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        (self.check)(body).map_err(Status::out_of_range)?;
        let message = T::decode(body).map_err(|error| Status::internal(error.to_string()))?;
        match rest.len() == length {
            // Gives the memory back.
            true => self.buffer = BytesMut::new(),
            false => drop(self.buffer.split_to(HEADER_BYTES + length)),
        }
        Ok(Some((message, self.held.split(HEADER_BYTES + length))))
    }
}

/// What is to be sent on a stream. A channel has room for 32 of them as soon as it is there, so the message is elsewhere.
pub(super) type Outgoing = Result<Box<DeltaDiscoveryResponse>, Status>;

/// The body of a stream's response, whose messages come from a channel, and end with them or with a status.
pub(super) struct Responses {
    messages: mpsc::Receiver<Outgoing>,
    /// What is left of the message under way.
    chunks: VecDeque<Bytes>,
    has_ended: bool,
    /// Dropped with the body.
    _read: oneshot::Sender<Infallible>,
}

impl Responses {
    /// `read` is dropped once the client has read all, or has left.
    pub(super) fn new(messages: mpsc::Receiver<Outgoing>, read: oneshot::Sender<Infallible>) -> Self {
        Self { messages, chunks: VecDeque::new(), has_ended: false, _read: read }
    }

    pub(super) fn into_http(self) -> Response<tonic::body::Body> {
        let mut response = Response::new(tonic::body::Body::new(self));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.messages.poll_recv(context)) {
            Some(Ok(message)) => {
                let mut chunks = chunks(&message);
                let first = chunks.pop_front().unwrap_or_default();
                self.chunks = chunks;
                return Poll::Ready(Some(Ok(Frame::data(first))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

/// The value of a resource, if it is sent without a copy.
fn shared_value(resource: &Resource) -> Option<&Bytes> {
    resource.resource.as_ref().map(|any| &any.value).filter(|value| value.len() >= SHARED_BYTES)
}

/// The bytes of a message and its header, in pieces: large resources are shared with all streams that they are sent on.
fn chunks(message: &DeltaDiscoveryResponse) -> VecDeque<Bytes> {
    let DeltaDiscoveryResponse { resources, type_url, nonce, removed_resources, control_plane } = message;
    let around = DeltaDiscoveryResponse {
        resources: Vec::new(),
        type_url: type_url.clone(),
        nonce: nonce.clone(),
        removed_resources: removed_resources.clone(),
        control_plane: control_plane.clone(),
    };
    let mut chunks = VecDeque::new();
    let length = message.encoded_len();
    let shared: usize = resources.iter().filter_map(shared_value).map(Bytes::len).sum();
    let mut own = BytesMut::with_capacity(HEADER_BYTES + length - shared);
    own.put_u8(0);
    // Far below 4 GB: the protocol bounds messages, and the API the objects that they are made of.
    own.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for resource in resources {
        encode_key(RESOURCES, WireType::LengthDelimited, &mut own);
        encode_varint(resource.encoded_len() as u64, &mut own);
        match (&resource.resource, shared_value(resource)) {
            (Some(any), Some(value)) => {
                // The order of fields is free in protobuf: the value comes last.
                string::encode(VERSION, &resource.version, &mut own);
                string::encode(NAME, &resource.name, &mut own);
                encode_key(RESOURCE, WireType::LengthDelimited, &mut own);
                encode_varint(any.encoded_len() as u64, &mut own);
                string::encode(TYPE_URL, &any.type_url, &mut own);
                encode_key(VALUE, WireType::LengthDelimited, &mut own);
                encode_varint(value.len() as u64, &mut own);
                chunks.push_back(own.split().freeze());
                chunks.push_back(value.clone());
            }
            // There is room: the buffer has the length of all that is not shared.
            _ => resource.encode_raw(&mut own),
        }
    }
    around.encode_raw(&mut own);
    chunks.push_back(own.freeze());
    debug_assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), HEADER_BYTES + length, "every byte is announced");
    chunks
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    use super::{
        super::{discovery::Any, inbox::Inbox},
        *,
    };

    fn response(sizes: &[usize]) -> DeltaDiscoveryResponse {
        let resource = |size: &usize| Resource {
            version: "0123456789abcdef".to_owned(),
            resource: Some(Any { type_url: "type".to_owned(), value: vec![b'x'; *size].into() }),
            name: format!("resource of {size} bytes"),
        };
        DeltaDiscoveryResponse {
            resources: sizes.iter().map(resource).collect(),
            type_url: "type".to_owned(),
            nonce: "7".to_owned(),
            removed_resources: vec!["gone".to_owned()],
            control_plane: None,
        }
    }

    #[test]
    fn a_message_is_what_prost_reads() {
        for sizes in [&[][..], &[1], &[0, 4_095, 4_096, 5], &[100_000], &[70_000, 3, 200_000]] {
            let message = response(sizes);
            let chunks = chunks(&message);
            let large = sizes.iter().filter(|size| **size >= SHARED_BYTES).count();
            assert_eq!(chunks.len(), 2 * large + 1, "{sizes:?}");
            let whole: Vec<u8> = chunks.into_iter().flatten().collect();
            let (header, body) = whole.split_at(HEADER_BYTES);
            assert_eq!(header, [&[0][..], &u32::try_from(body.len()).unwrap().to_be_bytes()].concat());
            assert_eq!(DeltaDiscoveryResponse::decode(body).unwrap(), message, "{sizes:?}");
        }
    }

    #[test]
    fn a_large_resource_is_not_copied() {
        let message = response(&[100_000]);
        let value = &message.resources[0].resource.as_ref().unwrap().value;
        assert!(chunks(&message).iter().any(|chunk| chunk.as_ptr() == value.as_ptr()));
    }

    /// What is read of these bytes, which come in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> (Vec<DeltaDiscoveryResponse>, Result<(), Status>) {
        let pieces = bytes.chunks(size).map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
        let body = StreamBody::new(stream::iter(pieces.collect::<Vec<_>>()));
        let mut streaming = Streaming::<DeltaDiscoveryResponse, _>::new(body, Inbox::default().hold(None), |_| Ok(()));
        let mut messages = Vec::new();
        loop {
            match streaming.message().now_or_never().expect("nothing waits") {
                Ok(Some((message, _))) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => return (messages, Err(status)),
            }
        }
    }

    #[tokio::test]
    async fn messages_come_in_pieces() {
        let sent = [response(&[3]), response(&[]), response(&[20_000])];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| chunks(message).into_iter().flatten()).collect();
        for size in [1, 4, 7, 1_000, bytes.len()] {
            let (messages, end) = read(&bytes, size);
            assert!(messages == sent && end.is_ok(), "in pieces of {size} bytes");
        }
        let (messages, end) = read(&bytes[..bytes.len() - 1], 1_000);
        assert_eq!((messages.len(), end.unwrap_err().code()), (2, tonic::Code::Internal));
    }

    #[test]
    fn memory_is_given_back_after_a_message() {
        let bytes: Vec<u8> = chunks(&response(&[60_000])).into_iter().flatten().collect();
        let body = StreamBody::new(stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)))]));
        let mut streaming = Streaming::<DeltaDiscoveryResponse, _>::new(body, Inbox::default().hold(None), |_| Ok(()));
        assert!(streaming.message().now_or_never().unwrap().unwrap().is_some());
        assert_eq!(streaming.buffer.capacity(), 0);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for (bytes, code) in [
            (&[1, 0, 0, 0, 0][..], tonic::Code::Unimplemented),
            (&[0, 0xFF, 0xFF, 0xFF, 0xFF][..], tonic::Code::OutOfRange),
            (&[0, 0, 0, 0, 1, 0xFF][..], tonic::Code::Internal),
        ] {
            let (messages, end) = read(bytes, 100);
            assert_eq!((messages.len(), end.unwrap_err().code()), (0, code), "{bytes:?}");
        }
    }
}
