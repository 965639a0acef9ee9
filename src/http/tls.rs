//! The trusted certificate authorities: the system's, and those of the input `ca-file`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use rustls::RootCertStore;
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

/// Where systems have all authorities in one file. Reading it takes 2 ms; a directory of them takes five times as long.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// The trusted certificate authorities.
#[derive(Debug)]
pub(crate) struct TrustStore {
    pub(crate) roots: RootCertStore,
    /// A warning for each of the system's files and directories in which no authority was found.
    pub(crate) warnings: Vec<String>,
}

impl TrustStore {
    /// Reads the system's authorities: from `SSL_CERT_FILE` and `SSL_CERT_DIR` if one of them is set, else from the first
    /// bundle that exists.
    #[must_use]
    pub(crate) fn from_system(ssl_cert_file: Option<&OsStr>, ssl_cert_dir: Option<&OsStr>) -> Self {
        let directories: Vec<PathBuf> = ssl_cert_dir.map(split_directories).unwrap_or_default();
        let file = match (ssl_cert_file, directories.as_slice()) {
            (None, []) => BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()),
            (file, _) => file.map(PathBuf::from),
        };

        let mut store = Self { roots: RootCertStore::empty(), warnings: Vec::new() };
        if let Some(file) = file {
            // Reading a pipe could block.
            let certificates =
                if file.is_file() { load_certs_from_paths(Some(&file), None) } else { CertificateResult::default() };
            store.add(certificates, &file);
        }
        for directory in directories {
            store.add(load_certs_from_paths(None, Some(&directory)), &directory);
        }
        store
    }

    fn add(&mut self, certificates: CertificateResult, from: &Path) {
        let (added, _) = self.roots.add_parsable_certificates(certificates.certs);
        if added == 0 {
            self.warnings.push(format!("found no certificate authority in {}", from.display()));
        }
    }

    /// Adds the authorities in a PEM file.
    ///
    /// # Errors
    ///
    /// If the path is not a file, or the file has no certificate.
    pub(crate) fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        // Reading a pipe could block.
        if !path.is_file() {
            bail!("is not a readable file");
        }
        let certificates = load_certs_from_paths(Some(path), None);
        let (added, _) = self.roots.add_parsable_certificates(certificates.certs);
        if added == 0 {
            bail!("contains no certificate in PEM format, or cannot be read");
        }
        Ok(())
    }
}

fn split_directories(value: &OsStr) -> Vec<PathBuf> {
    let parts = value.as_bytes().split(|&byte| byte == b':').filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}
