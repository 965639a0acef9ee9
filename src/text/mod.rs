//! Text for people: redacted, sanitized and formatted. Pure.

mod encoded;
pub(crate) mod format;
pub mod redact;
pub mod sanitize;
