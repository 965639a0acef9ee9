//! Text for people: redacted, sanitized and formatted. Pure.

pub mod format;
pub mod redact;
pub mod sanitize;
