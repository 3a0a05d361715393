//! The program as its users run it.

mod behaviour;
mod garbage;
mod golden;
mod input;
mod run;
