//! The SDK's own host functions panic on a status that they did not expect, and a panic poisons Envoy's worker. So the filter takes
//! two things of the SDK alone, and `src/host.rs` calls Envoy.

use super::modules::Sources;

/// What of the SDK the filter may name.
const ALLOWED: [&str; 2] = ["::main!", "::types::Action;"];

/// The lines of the filter that name anything else of the SDK.
pub(super) fn check(sources: &Sources) -> Vec<String> {
    let mut errors = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| file.starts_with("src/")) {
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let mut names = line.split("proxy_wasm").skip(1);
            if names.any(|after| !ALLOWED.iter().any(|allowed| after.starts_with(allowed))) {
                errors.push(format!(
                    "{file}:{number}: names more of the SDK than its entry points and Action; call src/host.rs"
                ));
            }
        }
    }
    errors
}
