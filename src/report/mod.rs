//! Everything that users and later steps get: the log, the outputs, the step summary and the messages.

pub(crate) mod hints;
pub mod history;
pub mod log;
pub(crate) mod message;
pub mod outputs;
pub(crate) mod summary;
