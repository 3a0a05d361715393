//! Replays every input of the committed corpus through the functions that libFuzzer calls, without libFuzzer.

use std::{fs, panic, path::Path};

use byname_core_fuzz::TARGETS;

/// A target with fewer inputs than this has lost its corpus.
const LEAST_INPUTS: usize = 60;

#[test]
fn every_input_of_the_corpus_keeps_the_rules() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("every target has a corpus") {
            let path = entry.expect("an entry of the corpus").path();
            let bytes = fs::read(&path).expect("an input");
            if panic::catch_unwind(|| target(&bytes)).is_err() {
                broken.push(path.display().to_string());
            }
            inputs += 1;
        }
        println!("{name}: {inputs} inputs");
        assert!(inputs >= LEAST_INPUTS, "{name} has {inputs} inputs, and should have at least {LEAST_INPUTS}");
    }
    assert!(broken.is_empty(), "these inputs break a rule (see above):\n{}", broken.join("\n"));
}
