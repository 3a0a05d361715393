//! The tasks that write the responses of streams. A stream whose client reads nothing holds what was sent, and its body is not asked for
//! more. So its task has to be ended, which resets the stream, and no other stream of the connection.

use std::sync::Arc;

use hyper::rt::Executor;
use tokio::sync::Notify;

tokio::task_local! {
    static CURRENT: StreamTask;
}

/// Runs the tasks of a connection's streams.
#[derive(Clone, Copy)]
pub(super) struct StreamTasks;

/// The task of one stream.
#[derive(Clone, Default)]
pub(super) struct StreamTask(Arc<Notify>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let task = StreamTask::default();
        let end = Arc::clone(&task.0);
        tokio::spawn(CURRENT.scope(task, async move {
            tokio::select! {
                () = stream => {}
                () = end.notified() => {}
            }
        }));
    }
}

impl StreamTask {
    /// The task that runs now; one without effect outside of a stream's task.
    pub(super) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// Ends the task.
    pub(super) fn end(&self) {
        self.0.notify_one();
    }
}
