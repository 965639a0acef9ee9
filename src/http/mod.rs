//! HTTP: both clients, TLS, response headers, request errors, and the retry policy.

mod client;
pub mod error;
pub mod headers;
pub mod retry;
pub mod tls;
mod url;

pub use client::{Clients, Timeouts, clients};
pub use url::{has_credentials, host, is_loopback, origin};
