//! The WebAdMIT API: its client, its data, and the resolution of names to ids.

mod client;
pub(crate) mod lists;
mod model;
pub mod resolve;
mod run;
mod scalar;
mod signed_url;
pub mod status;

pub(crate) use client::ApiClient;
pub(crate) use model::{ApiKey, BaseUrl, Id};
pub(crate) use run::RunResponse;
pub use signed_url::SignedUrl;
