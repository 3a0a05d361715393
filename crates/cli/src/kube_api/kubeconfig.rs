//! The kubeconfig: its files, and why it is not usable, in words.

use std::{
    env,
    error::Error,
    io::ErrorKind,
    iter,
    path::{Path, PathBuf},
};

use kube::config::{Kubeconfig, KubeconfigError, LoadDataError};

use super::failure::Failure;

/// Reads `file`, or else the kubeconfig that kubectl uses. Of the files in KUBECONFIG, those that do not exist are left out, as kubectl
/// does, unless none exists.
pub(super) fn read(file: Option<&Path>) -> Result<Kubeconfig, KubeconfigError> {
    if let Some(file) = file {
        return Kubeconfig::read_from(file);
    }
    let list = env::var_os("KUBECONFIG").unwrap_or_default();
    let files: Vec<PathBuf> = env::split_paths(&list).filter(|file| !file.as_os_str().is_empty()).collect();
    let mut there = files.iter().filter(|file| file.exists()).peekable();
    if there.peek().is_none() {
        return files.first().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    }
    there.try_fold(Kubeconfig::default(), |merged, file| merged.merge(Kubeconfig::read_from(file)?))
}

/// Whether there is no kubeconfig.
pub(super) fn is_missing(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.kind() == ErrorKind::NotFound,
        KubeconfigError::FindPath => true,
        _ => false,
    }
}

/// Whether another context may be usable.
pub(super) fn lacks_context(error: &KubeconfigError) -> bool {
    matches!(error, KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_))
}

/// Why no client can be made of a kubeconfig, as text for people.
pub(super) fn reason_in(error: &(dyn Error + 'static)) -> String {
    let mut causes = iter::successors(Some(error), |error| (*error).source());
    causes.find_map(|cause| cause.downcast_ref()).map_or_else(|| Failure::of_error(error).text, reason)
}

/// Why a kubeconfig is not usable, as text for people.
pub(super) fn reason(error: &KubeconfigError) -> String {
    let of_user = |field: &str, error: &LoadDataError| match error {
        LoadDataError::ReadFile(error, path) => {
            format!("{}: cannot be read: {error}; correct {field} of the user", path.display())
        }
        LoadDataError::DecodeBase64(error) => format!("{field}-data of the user is not base64: {error}"),
        LoadDataError::NoBase64DataOrFile => format!("the user has no {field}"),
    };
    match error {
        KubeconfigError::CurrentContextNotSet => "it has no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("its current context {name:?} does not exist"),
        KubeconfigError::ReadConfig(_, file) if is_missing(error) => {
            format!("there is no kubeconfig at {}", file.display())
        }
        KubeconfigError::ReadConfig(error, file) => format!("{}: cannot be read: {error}", file.display()),
        KubeconfigError::LoadClientCertificate(error) => of_user("client-certificate", error),
        KubeconfigError::LoadClientKey(error) => of_user("client-key", error),
        KubeconfigError::Parse(error) => {
            // The other lines draw the place in the file.
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("it is not a kubeconfig: {}", first.strip_prefix("error: ").unwrap_or(first))
        }
        error => Failure::of_error(error).text,
    }
}
