//! The JSON Schema of the configuration, made from the wire structs.

use alloc::string::String;

use schemars::generate::SchemaSettings;

use super::config::Config;

impl Config {
    /// The schema (draft 2020-12) as text: fields, types, defaults. It cannot express errors of meaning, such as a duplicate
    /// port; [`Config::read`](crate::Config::read) reports those.
    #[must_use]
    pub fn json_schema_text() -> String {
        let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Self>();
        schema.insert("title".into(), "byname configuration".into());
        alloc::format!("{:#}\n", schema.as_value())
    }
}
