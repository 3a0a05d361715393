//! A table in its packed form: the same table, or refused whole.

use base64::{Engine, engine::general_purpose::STANDARD};
use byname_core::{Config, Defaults, wire};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    config_validation::refused,
    fixture::{ask, config, shop, try_config},
};

fn packed(text: &str) -> Value {
    let deflate = STANDARD.encode(miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6));
    json!({"bytes": text.len(), "deflate": deflate})
}

fn table(packed: &Value) -> Value {
    json!({"table": {"version": 7, "packed": packed}})
}

#[test]
fn is_the_same_table() {
    let plain = config(json!({"table": {"version": 7, "services": shop()}}));
    let unpacked = config(table(&packed(&shop().to_string())));
    assert_eq!(unpacked.table.version(), 7);
    let counts = |config: &Config| (config.table.services(), config.table.endpoints());
    assert_eq!(counts(&unpacked), counts(&plain));
    for name in ["payments", "payments.prod", "db-0.db", "10.96.0.10", "unready", "nope"] {
        assert_eq!(ask(&unpacked, name), ask(&plain, name), "{name}");
    }
    assert_eq!(config(table(&packed("{}"))).table.services(), 0);
}

#[test]
fn is_unpacked_for_programs_too() {
    let text = table(&packed(&shop().to_string()));
    let whole = json!({"version": 1, "table": text["table"]}).to_string();
    let mut config: wire::Config = serde_json::from_str(&whole).expect("it is read as it stands");
    assert!(config.table.services.is_empty());
    config.unpack().expect("it is whole");
    assert_eq!((config.table.services.len(), config.table.packed.is_none()), (6, true));
    let read = Config::from_wire(
        serde_json::from_str(&whole).expect("likewise"),
        &Defaults { namespace: Some("shop"), ..Defaults::default() },
    );
    assert_eq!(read.expect("it is whole").table.services(), 6);
}

#[test]
fn names_the_field_inside() {
    refused(
        table(&packed(r#"{"shop/a": {"ports": [{"port": 0}]}}"#)),
        "table.services[\"shop/a\"].ports[0].port: \"0\" is not a port",
    );
    refused(
        table(&packed(r#"{"shop/a": {"ports": [{"number": 80}]}}"#)),
        "table.services[\"shop/a\"].ports[0].number cannot be read: unknown field `number`",
    );
    refused(table(&packed("{")), "table.services cannot be read: EOF");
    refused(table(&packed("[]")), "table.services cannot be read");
    refused(table(&packed("")), "table.services cannot be read");
}

#[test]
fn is_refused_if_it_is_torn() {
    const TORN: &str = "table.packed.deflate is not deflated text in base64 of the length in `bytes`";
    let whole = packed(&shop().to_string());
    let (bytes, deflate) = (whole["bytes"].as_u64().expect("a number"), whole["deflate"].as_str().expect("a text"));
    let deflated = STANDARD.decode(deflate).expect("it was encoded so");
    for cut in 0..deflated.len() {
        let part = json!({"bytes": bytes, "deflate": STANDARD.encode(&deflated[..cut])});
        let error = try_config(table(&part)).expect_err("a part of it");
        assert!(error.starts_with(TORN), "{cut}: {error}");
    }
    for (bytes, deflate, why) in [
        (bytes - 1, deflate, "one byte too few"),
        (bytes + 1, deflate, "one byte too many"),
        (0, deflate, "no bytes"),
        (bytes, "", "nothing"),
        (bytes, "%%%%", "not base64"),
        (bytes, deflate.get(1..).expect("a text"), "not whole base64"),
        (bytes, &STANDARD.encode(shop().to_string()), "not deflated"),
    ] {
        let error = try_config(table(&json!({"bytes": bytes, "deflate": deflate}))).expect_err(why);
        assert!(error.starts_with(TORN), "{why}: {error}");
    }
    // A megabyte that unfolds from a few bytes is not unfolded beyond what is said.
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b' '; 1 << 20], 6);
    refused(table(&json!({"bytes": 2, "deflate": STANDARD.encode(bomb)})), TORN);
}

#[test]
fn is_refused_if_it_would_be_too_large_or_has_services_beside_it() {
    refused(
        table(&json!({"bytes": u32::MAX, "deflate": ""})),
        "table.packed.bytes: 4294967295 bytes are more than the limit of 67108864",
    );
    refused(
        json!({"table": {"services": shop(), "packed": packed("{}")}}),
        "table must set exactly one of services and packed",
    );
    refused(table(&json!({"bytes": 2, "deflate": "e30=", "zip": 1})), "table.packed.zip cannot be read: unknown field");
}

#[test]
fn leaves_out_the_fields_of_a_newer_program_inside() {
    let inside = packed(r#"{"shop/web": {"ports": [{"port": 80, "weight": 1}], "colour": "blue"}}"#);
    refused(table(&inside), "table.services[\"shop/web\"].ports[0].weight cannot be read: unknown field");
    let mut newer = table(&inside);
    newer["minor"] = (wire::MINOR + 1).into();
    let config = config(newer);
    assert_eq!((config.left_out().count, ask(&config, "web")), (2, "service web.shop:80".into()));
}
