//! The grammar of `names/authority.rs`, row by row.

use byname_core::Authority;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn canonical(bytes: &[u8]) -> String {
    Authority::try_from(bytes).map_or_else(|error| format!("! {error}"), |authority| authority.to_string())
}

#[test]
fn parses_each_authority_to_its_canonical_form_or_refuses_it() {
    let label63 = "a".repeat(63);
    let label64 = "a".repeat(64);
    let name253 = [&*label63, &*label63, &*label63, &"a".repeat(61)].join(".");
    let name254 = [&*label63, &*label63, &*label63, &"a".repeat(62)].join(".");
    let rows: &[(&str, &str)] = &[
        // Names.
        ("payments", "payments"),
        ("Payments.PROD", "payments.prod"),
        ("payments.", "payments."),
        ("payments:80", "payments:80"),
        ("payments.prod.svc.cluster.local.:8080", "payments.prod.svc.cluster.local.:8080"),
        ("_http._tcp.payments", "_http._tcp.payments"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("2048", "! it is made of numbers but is not a full dotted quad"),
        ("2048.shop", "2048.shop"),
        ("1password.com", "1password.com"),
        ("-", "-"),
        (&label63, &label63),
        (&label64, "! it has a label over 63 bytes"),
        (&name253, &name253),
        (&name254, "! it is over 253 bytes"),
        (&format!("{name253}:65535"), &format!("{name253}:65535")),
        // Addresses.
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7:80", "10.0.0.7:80"),
        ("[fd00::7]", "[fd00::7]"),
        ("[FD00:0:0::7]:8080", "[fd00::7]:8080"),
        ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
        ("10.1", "! it is made of numbers but is not a full dotted quad"),
        ("010.0.0.1", "! it is made of numbers but is not a full dotted quad"),
        ("1.2.3.4.", "! it is made of numbers but is not a full dotted quad"),
        ("1.2.3.256", "! it is made of numbers but is not a full dotted quad"),
        ("1.2.3.4.5", "! it is made of numbers but is not a full dotted quad"),
        ("payments.1", "payments.1"),
        ("web.1234:80", "web.1234:80"),
        ("1.2.3.4.web.5", "1.2.3.4.web.5"),
        ("0x7f000001", "! it is made of numbers but is not a full dotted quad"),
        ("127.0x1", "! it is made of numbers but is not a full dotted quad"),
        ("0x7f.prod", "0x7f.prod"),
        ("fd00::7", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("::1", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("[fe80::1%eth0]", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("[fd00::7", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("[fd00::7]80", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("[10.0.0.7]", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        ("[]", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        // Ports.
        ("payments:", "! no port follows its ':'"),
        ("[fd00::7]:", "! no port follows its ':'"),
        ("payments:1", "payments:1"),
        ("payments:65535", "payments:65535"),
        ("payments:65536", "! its port is not a number from 1 to 65535 without leading zeros"),
        ("payments:0", "! its port is not a number from 1 to 65535 without leading zeros"),
        ("payments:080", "! its port is not a number from 1 to 65535 without leading zeros"),
        ("payments:+80", "! its port is not a number from 1 to 65535 without leading zeros"),
        ("payments:8o", "! its port is not a number from 1 to 65535 without leading zeros"),
        ("payments:80:80", "! brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone"),
        // Bytes that two parties could read differently.
        ("", "! it is empty"),
        (":80", "! it is empty"),
        (".", "! it has an empty label"),
        (".payments", "! it has an empty label"),
        ("payments..prod", "! it has an empty label"),
        ("payments..", "! it has an empty label"),
        ("a,b", "! two Host headers were joined into one"),
        ("payments, payments", "! two Host headers were joined into one"),
        ("user@payments", "! it holds userinfo before an '@'"),
        ("payments prod", "! ' ' is not allowed in a host"),
        ("payments/prod", "! '/' is not allowed in a host"),
        ("payments%2eprod", "! '%' is not allowed in a host"),
        ("payments\0", "! '\\x00' is not allowed in a host"),
        ("*.prod", "! '*' is not allowed in a host"),
        ("bücher", "! '\\xc3' is not allowed in a host"),
    ];
    for (input, expected) in rows {
        assert_eq!(canonical(input.as_bytes()), *expected, "{input:?}");
    }
}

#[test]
fn refuses_bytes_that_are_not_text() {
    assert_eq!(canonical(b"\xff\xfe"), "! '\\xff' is not allowed in a host");
    assert_eq!(canonical(&[b'a'; 65_536]), "! it is over 253 bytes");
    assert_eq!(canonical(&[0]), "! '\\x00' is not allowed in a host");
}
