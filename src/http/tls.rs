//! The certificate authorities that are trusted: the system's, and those of the input `ca-file`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

use crate::config::InputError;
use crate::workspace::variable;

/// Where systems keep their authorities in one file. One file is read in 2 ms; a directory of them takes five times as
/// long.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// What was found.
#[derive(Debug)]
pub struct TrustStore {
    /// The authorities.
    pub roots: RootCertStore,
    /// What could not be read of the system's, for the log.
    pub warnings: Vec<String>,
}

/// Reads the system's authorities: those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name where one of them is set, else the
/// first bundle that there is.
#[must_use]
pub fn from_system(variables: &[(OsString, OsString)]) -> TrustStore {
    let file = variable(variables, "SSL_CERT_FILE").map(PathBuf::from);
    let directories: Vec<PathBuf> = variable(variables, "SSL_CERT_DIR").map(directories).unwrap_or_default();
    let file = match (file, directories.as_slice()) {
        (None, []) => BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()),
        (file, _) => file,
    };
    let mut trust_store = TrustStore { roots: RootCertStore::empty(), warnings: Vec::new() };
    if let Some(file) = file {
        trust_store.add(load_certs_from_paths(Some(&file), None), &file);
    }
    for directory in directories {
        trust_store.add(load_certs_from_paths(None, Some(&directory)), &directory);
    }
    trust_store
}

fn directories(value: &OsStr) -> Vec<PathBuf> {
    let parts = value.as_bytes().split(|&byte| byte == b':').filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}

impl TrustStore {
    fn add(&mut self, found: CertificateResult, from: &Path) {
        let (added, _) = self.roots.add_parsable_certificates(found.certs);
        if added == 0 {
            self.warnings.push(format!("no certificate authority could be read from {}", from.display()));
        }
    }

    /// Adds the authorities of the input `ca-file`, a path below `root`, or tells what is wrong with it.
    pub fn add_input(&mut self, root: &Path, ca_file: &str) -> Option<InputError> {
        let path = root.join(ca_file);
        // A pipe would be waited for.
        if !path.is_file() {
            return Some(InputError::with("ca-file", ca_file, "is not a file that can be read"));
        }
        let found = load_certs_from_paths(Some(&path), None);
        let (added, _) = self.roots.add_parsable_certificates(found.certs);
        (added == 0)
            .then(|| InputError::with("ca-file", ca_file, "holds no certificate in PEM form, or cannot be read"))
    }
}
