//! HTTP: the two clients, TLS, response headers, errors and the retry policy.

mod client;
pub mod error;
pub mod retry;
pub mod tls;

pub use client::*;
