//! Numbers and addresses as text. Every steered request writes some, so the machinery of formatting is avoided.

use alloc::string::String;
use core::{fmt::Write, net::IpAddr};

/// Appends a number in decimal.
pub(crate) fn write_number(number: u16, to: &mut String) {
    if number >= 10 {
        write_number(number / 10, to);
    }
    to.push(char::from(b'0' + (number % 10) as u8));
}

/// Appends an address and a port: `10.0.0.7:8080`, `[fd00::7]:8080`.
pub(crate) fn write_socket_address(address: IpAddr, port: u16, to: &mut String) {
    match address {
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    to.push('.');
                }
                write_number(octet.into(), to);
            }
        }
        // Writing to a String cannot fail.
        IpAddr::V6(v6) => drop(write!(to, "[{v6}]")),
    }
    to.push(':');
    write_number(port, to);
}
