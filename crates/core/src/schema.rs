//! The JSON Schema of the configuration, from the very structs that it is read into.

use alloc::string::String;

use schemars::generate::SchemaSettings;

use crate::wire;

impl wire::Config {
    /// The schema (draft 2020-12) as text. It tells the form: fields, types, defaults. Errors of meaning, such as a port of
    /// a Service that is given twice, show when a configuration is read.
    #[must_use]
    pub fn json_schema_text() -> String {
        let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Self>();
        schema.insert("title".into(), "byname configuration".into());
        alloc::format!("{:#}\n", schema.as_value())
    }
}
