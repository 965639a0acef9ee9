//! HTTP: both clients, TLS, URLs, response headers and their parameters, request errors, and the retry policy.

mod client;
pub(crate) mod error;
pub(crate) mod headers;
pub(crate) mod parameters;
pub(crate) mod retry;
pub(crate) mod tls;
mod url;

pub use client::{Clients, Timeouts, clients};
pub(crate) use url::{has_credentials, host, is_loopback, origin};
