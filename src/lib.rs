//! Brings the file of a WebAdMIT export home.
pub mod api {
    pub mod status;
}
pub mod clean;
pub mod inputs;
