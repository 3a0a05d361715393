//! What people see of a decision: the local reply to a refused request, the line in an access log, the line of a trace.
//!
//! It may use `steer`, `resolve` and everything below them. It decides nothing.

mod decision;
mod local_reply;
mod trace_line;
mod trace_words;

pub use decision::Decision;
pub use local_reply::LocalReply;

pub(crate) use trace_line::trace_line;
