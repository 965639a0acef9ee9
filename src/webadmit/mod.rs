//! The WebAdMIT API: its client, its data, and the resolution of names to ids.

mod bounded_list;
mod client;
mod created;
mod kind;
pub(crate) mod lists;
mod model;
mod remote_file;
pub mod resolve;
mod run;
mod scalar;
mod signed_url;
pub mod status;

pub(crate) use client::ApiClient;
pub use created::CreationTime;
pub use kind::RunKind;
pub(crate) use kind::RunRef;
pub(crate) use model::{ApiKey, BaseUrl, Id};
pub(crate) use remote_file::RemoteFiles;
pub(crate) use run::RunResponse;
pub use signed_url::SignedUrl;
