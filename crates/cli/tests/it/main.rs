//! The program as users run it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

mod behaviour;
mod corners;
mod deployed;
mod flags;
mod forms;
mod garbage;
mod golden;
mod input;
mod kubectl;
mod left_out;
mod readme;
mod run;
mod terminal;
mod typed_names;
