//! Sets up the HTTP clients of a command.

use anyhow::bail;

use crate::config::{ApiConfig, InputError, ParsedInputs};
use crate::context::Step;
use crate::environment::Environment;
use crate::http::tls::TrustStore;
use crate::http::{self, Clients, Timeouts};
use crate::report::log::Log;
use crate::webadmit::ApiClient;
use crate::workspace::Workspace;

/// Reads the certificate authorities of this machine.
pub(super) fn system_trust_store(environment: &Environment) -> TrustStore {
    TrustStore::from_system(environment.variable("SSL_CERT_FILE"), environment.variable("SSL_CERT_DIR"))
}

/// Adds the authorities in the input `ca-file`. Returns an error if it cannot be used.
pub(super) fn add_ca_file(
    trust_store: &mut TrustStore,
    workspace: &Workspace,
    inputs: &ParsedInputs,
) -> Option<InputError> {
    let path = inputs.paths.ca_file.as_deref()?;
    let result = trust_store.add_file(&workspace.root().join(path));
    result.err().map(|error| InputError::with_value("ca-file", path, &error.to_string()))
}

/// Builds the HTTP clients.
///
/// # Errors
///
/// If no certificate authority is trusted, or TLS cannot be set up.
pub(super) fn clients(api_config: &ApiConfig, trust_store: TrustStore, log: &Log) -> anyhow::Result<Clients> {
    for warning in &trust_store.warnings {
        log.line(&format!("warning: {warning}"));
    }

    let base_url = &api_config.base_url;
    if base_url.is_https() && trust_store.roots.is_empty() {
        bail!(
            "found no certificate authorities on this machine, so no https server can be trusted; install the package ca-certificates, or set SSL_CERT_FILE or ca-file to a PEM file"
        );
    }
    http::clients(trust_store.roots, Timeouts::default(), base_url.is_plain_loopback(), log.redactor())
}

/// Wraps the HTTP client for the API.
pub(super) fn api_client(step: &Step<'_>, clients: &Clients) -> ApiClient {
    let config = step.api_config();
    let redactor = step.log().redactor().clone();
    ApiClient::new(clients.api.clone(), config.base_url.clone(), config.api_key.clone(), redactor)
}
