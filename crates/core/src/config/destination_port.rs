//! How to find the port that a client's connection was going to before it was redirected to Envoy.

use alloc::boxed::Box;

use super::header::compile_header;
use crate::wire::{self, FieldErrors, FieldPathRef};

/// The compiled form of [`wire::DestinationPort`].
#[derive(Debug)]
pub struct DestinationPort {
    header: Option<Box<str>>,
    listener_port: Option<u16>,
}

impl DestinationPort {
    pub(super) fn compile<S>(wire: &wire::Config<S>, errors: &mut FieldErrors) -> Option<Self> {
        let own = wire.destination_port.as_ref()?;
        let root = FieldPathRef::root("destinationPort");
        let header = own.header.as_deref().map(|header| compile_header(header, &root.field("header"), wire, errors));
        Some(Self { header, listener_port: own.listener_port })
    }

    /// The header in which the listener writes the port.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// The port in decimal digits, as the header has it; `None` if it is no port.
    #[must_use]
    pub fn from_header(&self, value: &[u8]) -> Option<u16> {
        core::str::from_utf8(value).ok()?.parse().ok().and_then(|port| self.redirected(port))
    }

    /// The port as a 64-bit integer in little endian, as the host has the attribute; `None` if it is no port.
    #[must_use]
    pub fn from_attribute(&self, value: &[u8]) -> Option<u16> {
        let number = i64::from_le_bytes(value.try_into().ok()?);
        u16::try_from(number).ok().and_then(|port| self.redirected(port))
    }

    /// `port`, unless the client connected to the listener itself.
    fn redirected(&self, port: u16) -> Option<u16> {
        (port != 0 && Some(port) != self.listener_port).then_some(port)
    }
}
