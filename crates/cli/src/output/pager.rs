//! A pager for text that is longer than the terminal.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::ColorChoice;

/// The pager if `PAGER` is not set.
const DEFAULT: &str = "less";
/// less ends if the text fits on a screen, shows colours, and leaves the text on the screen.
const LESS: &str = "FRX";

static IS_OFF: AtomicBool = AtomicBool::new(false);

/// Turns the pager off for this process.
pub fn turn_off() {
    IS_OFF.store(true, Ordering::Relaxed);
}

/// Shows `text` in a pager, and returns whether it did. It does not if the standard output or input is no terminal, if the text fits,
/// or if there is no pager.
pub(super) fn show(text: &str, has_colours: ColorChoice) -> bool {
    let Some(pager) = pager(text) else { return false };
    // The terminal sends an interrupt to both. The pager decides what it does; without this, byname would end and leave it behind.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let _handled = runtime.as_ref().ok().and_then(|runtime| {
        let _context = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).ok()
    });
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(stdin) = child.stdin.take() {
        // A person who quits the pager closes the pipe.
        drop(write_to(stdin, text, has_colours));
    }
    // The shell ends with 127 where the pager is not installed.
    !child.wait().is_ok_and(|status| status.code() == Some(127))
}

fn write_to(mut pager: impl Write, text: &str, has_colours: ColorChoice) -> io::Result<()> {
    match has_colours {
        ColorChoice::Never => write!(pager, "{}", anstream::adapter::strip_str(text)),
        _ => pager.write_all(text.as_bytes()),
    }
}

fn pager(text: &str) -> Option<OsString> {
    if IS_OFF.load(Ordering::Relaxed) || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return None;
    }
    let (_, height) = terminal_size::terminal_size_of(io::stdout())?;
    if text.lines().count() < usize::from(height.0) {
        return None;
    }
    let pager = env::var_os("PAGER").unwrap_or_else(|| DEFAULT.into());
    (!pager.is_empty() && pager != "cat").then_some(pager)
}
