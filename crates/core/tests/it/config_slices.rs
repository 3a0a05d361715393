//! A configuration that is read in slices is the one that is read whole, or is left to be read whole.

use byname_core::{Config, ConfigReading, Defaults, ReadingStep};
use serde_json::{Map, Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::shop;

const DEFAULTS: Defaults<'_> = Defaults { namespace: Some("shop"), zone: None, node: None, id: None };

/// How a text is read in slices, and the number of slices; `Err` with the text if it has to be read whole.
fn slices(text: &str) -> (Result<String, String>, usize) {
    let mut reading = ConfigReading::new(text.as_bytes().to_vec());
    let mut count = 0;
    loop {
        count += 1;
        let read = match reading.step(&DEFAULTS) {
            ReadingStep::More => continue,
            ReadingStep::Done(config) => Ok(format!("{config:?}")),
            ReadingStep::Whole(whole) => {
                assert_eq!(whole, text.as_bytes(), "the whole text");
                Err("whole".to_owned())
            }
        };
        return (read, count);
    }
}

fn whole(text: &str) -> Result<String, String> {
    Config::read(text, &DEFAULTS).map(|config| format!("{config:?}")).map_err(|errors| errors.to_string())
}

fn large(count: u32) -> Map<String, Value> {
    let service = |number: u32| {
        let address = |first: u32| std::net::Ipv4Addr::from(first + number).to_string();
        json!({
            "clusterIPs": [address(0x0A60_0000)],
            "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 8080}],
            "endpoints": [{"addresses": [address(0x0AF4_0000), address(0x0AF5_0000)]}],
        })
    };
    (0..count).map(|number| (format!("shop/web-{number}"), service(number))).collect()
}

fn with_table(table: &Value) -> String {
    // Fields before and behind the table, and one that looks like it.
    let text = json!({"version": 1, "accessLog": true, "table": table}).to_string();
    text.replace("\"version\":1}", "\"version\":1 } ").replace('}', "} ")
}

#[test]
fn a_large_table_takes_many_slices() {
    let services = Value::Object(large(5_000));
    let plain = with_table(&json!({"version": 7, "services": services}));
    let packed = with_table(&json!({"version": 7, "packed": byname_core::wire::Packed::new(&services.to_string())}));
    let expected = whole(&plain).expect("it is valid");
    for text in [&plain, &packed] {
        let (read, count) = slices(text);
        assert!(read.as_ref() == Ok(&expected), "the same configuration");
        assert!(count > 10, "{count} slices");
        assert!(whole(text).as_ref() == Ok(&expected), "the same as the whole text gives");
    }
}

#[test]
fn unusual_texts_are_read_whole() {
    let services = shop();
    let packed = byname_core::wire::Packed::new(&services.to_string());
    for (text, why) in [
        (json!({"version": 1}), "no table"),
        (json!({"version": 1, "table": {"version": 7}}), "no Services"),
        (json!({"version": 1, "minor": 1_000, "table": {"services": services}}), "a newer byname"),
        (json!({"version": 1, "table": {"services": services, "packed": packed}}), "both forms"),
        (json!({"version": 1, "table": {"services": {"shop/a": {"ports": [{"port": 0}]}}}}), "an error in a Service"),
        (json!({"version": 1, "table": {"services": {"shop/a": {"port": 80}}}}), "an unknown field"),
        (json!({"version": 1, "table": {"services": {}}, "tables": 1}), "an unknown field beside the table"),
    ] {
        assert_eq!(slices(&text.to_string()).0, Err("whole".to_owned()), "{why}");
    }
    // A Service twice is found only beside the other.
    let twice = "{\"version\": 1, \"table\": {\"services\": {\"shop/a\": {\"ports\": [{\"port\": 80}]}, \"shop/a\": {\"ports\": []}}}}";
    assert_eq!(slices(twice).0, Err("whole".to_owned()));
}

/// Whatever happens to a text, it is never taken if it is refused whole, and never as something else.
#[test]
fn broken_texts_are_never_taken() {
    let plain = json!({"version": 1, "table": {"version": 7, "services": {
        "shop/a": {"clusterIPs": ["10.96.0.1"], "ports": [{"name": "ht\"tp\\", "port": 80}]},
        "shop/b": {"type": "ExternalName", "externalName": "a.shop"},
    }, "singleMachine": true}, "trace": {"requestHeader": "x-trace"}})
    .to_string()
    .replace("ht\\\"tp\\\\", "http");
    let mut taken = 0;
    let mut check = |text: &str| {
        let (read, _) = slices(text);
        if read.is_ok() {
            assert_eq!(read, whole(text), "{text}");
            taken += 1;
        }
    };
    for at in 0..plain.len() {
        let (before, rest) = plain.split_at(at);
        let (_, behind) = rest.split_at(1);
        check(before);
        check(rest);
        check(&format!("{before}{behind}"));
        for byte in ["\"", "\\", "{", "}", "[", "]", ",", ":", " ", "0", "x", "\u{0}", "é"] {
            check(&format!("{before}{byte}{rest}"));
            check(&format!("{before}{byte}{behind}"));
        }
    }
    assert!(taken > 200, "{taken} of the texts are still valid");
}
