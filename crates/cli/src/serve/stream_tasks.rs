//! The tasks that write the responses of streams. A stream whose client reads nothing holds what was sent, and its body is not asked for
//! more. So its task has to be ended, which resets the stream, and no other stream of the connection.

use futures_util::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

tokio::task_local! {
    static CURRENT: StreamTask;
}

/// Runs the tasks of a connection's streams.
#[derive(Clone, Copy)]
pub(super) struct StreamTasks;

/// The task of one stream.
#[derive(Clone)]
pub(super) struct StreamTask(AbortHandle);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let (end, registration) = AbortHandle::new_pair();
        // An async block around the stream would keep room for it twice.
        tokio::spawn(CURRENT.scope(StreamTask(end), Abortable::new(stream, registration)));
    }
}

impl StreamTask {
    /// The task that runs now; `None` outside of a stream's task.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Ends the task.
    pub(super) fn end(&self) {
        self.0.abort();
    }
}
