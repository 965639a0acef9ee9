//! The WebAdMIT API: its client, its data, and the resolution of names to ids.

mod client;
pub(crate) mod lists;
pub mod resolve;
mod scalar;
mod signed_url;
pub mod status;

pub(crate) use client::{ApiClient, RunResponse};
pub use signed_url::SignedUrl;
