//! What users copy is taken by the filter as it stands.

use anyhow::Result;
use byname_core::{Config, Defaults};
use byname_test_support::examples;

#[test]
fn every_configuration_in_the_repository_is_taken() -> Result<()> {
    let examples = examples()?;
    let defaults = Defaults { namespace: Some("shop"), zone: Some("eu-a") };
    for example in &examples {
        let read = Config::from_json(&example.configuration.to_string(), &defaults);
        assert!(read.is_ok(), "{}: {}", example.place, read.unwrap_err());
    }
    // Found by searching, so this says that the search finds what it is there for.
    for place in [
        "README.md",
        "docs/configuration.md",
        "envoy/cluster.yaml",
        "envoy/ecds/",
        "examples/istio",
        "every-field.json",
    ] {
        assert!(examples.iter().any(|example| example.place.contains(place)), "no configuration was found in {place}");
    }
    Ok(())
}
