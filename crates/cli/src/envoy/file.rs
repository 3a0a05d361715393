//! Files that Envoy watches: their names, their versions and their layout.

use std::path::Path;

use crate::{
    input::InputError,
    output::yaml::{Comment, Yaml, map, print},
};

/// Refuses names of files that Envoy would not read as YAML: Envoy goes by the extension.
///
/// # Errors
/// If Envoy would not read `file` as YAML.
pub fn check_name(file: &Path) -> Result<(), InputError> {
    let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    // Envoy does not read a pipe or a device itself: something else copies it.
    let is_file = std::fs::metadata(file).map_or(true, |there| there.is_file());
    match is_yaml || !is_file {
        true => Ok(()),
        false => {
            let reason = "is not a name that Envoy reads as YAML";
            Err(InputError::new(&file.display().to_string(), reason, "use a name that ends in .yaml"))
        }
    }
}

/// A file of resources that Envoy discovers, with a comment at its start. The version changes with the resources, and Envoy's admin
/// interface shows it.
pub(super) fn discovery_file(comment: Comment, resources: Vec<Yaml>) -> String {
    let resources = print(&map! { "resources": resources });
    let version = format!("{:08x}", crc32fast::hash(resources.as_bytes()));
    print(&map! { "version_info": Yaml::commented(comment, version) }) + &resources
}
