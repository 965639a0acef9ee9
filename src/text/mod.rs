//! Text for people: redacted, sanitized and formatted. Pure.

mod encoded;
pub(crate) mod format;
mod normalize;
pub mod redact;
pub mod sanitize;

pub(crate) use normalize::normalize;
