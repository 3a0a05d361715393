//! Files that Envoy watches: their names, their versions and their layout.

use std::path::Path;

use crate::{
    input::InputError,
    output::yaml::{Comment, Yaml, map, print},
};

/// Envoy reads a file by what its name ends in, and takes one without such an end for something else.
///
/// # Errors
/// Where it would not read `file` as YAML.
pub fn check_name(file: &Path) -> Result<(), InputError> {
    let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    // A pipe or a device is not what Envoy reads in the end.
    let is_file = std::fs::metadata(file).map_or(true, |there| there.is_file());
    match is_yaml || !is_file {
        true => Ok(()),
        false => {
            let reason = "would not be read by Envoy, which knows YAML by the end of the name";
            Err(InputError::new(&file.display().to_string(), reason, "call it .yaml"))
        }
    }
}

/// A file of resources that Envoy discovers, with a comment above. Its version, which Envoy's admin interface shows, changes with
/// the resources.
pub(super) fn discovery_file(comment: Comment, resources: Vec<Yaml>) -> String {
    let resources = print(&map! { "resources": resources });
    let version = format!("{:08x}", crc32fast::hash(resources.as_bytes()));
    print(&map! { "version_info": Yaml::commented(comment, version) }) + &resources
}
