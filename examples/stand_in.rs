//! Serves a stand-in for WebAdMIT and its store, to try the action or the image against it:
//! `cargo run --example stand_in -- ADDRESS STATUS…`.
//!
//! Prints the inputs to use, and runs until it is stopped. Each check of a run or batch sees the next status, and the
//! last one stays. Without arguments, the address is 127.0.0.1, and the run is successful.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example prints its results, and ends where it fails")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::SystemTime;

use support::{
    API_KEY, EXPORT_ID, EXPORT_NAME, IDENTITY_ID, PDF_BATCH_ID, PDF_TEMPLATE_ID, PDF_TEMPLATE_NAME, RUN_ID,
    SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, StandIn, StoredFile, applicants_csv,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let address = address.parse().expect("the first argument is an IP address of this machine");
    let arguments: Vec<String> = arguments.collect();
    let mut statuses: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if statuses.is_empty() {
        statuses = vec!["Queued", "In Progress", "Available"];
    }

    let stand_in = StandIn::builder()
        .address(address)
        .statuses(&statuses)
        .file(StoredFile::new(&applicants_csv(40)).created_at(SystemTime::now()))
        .export(SECOND_EXPORT_ID, SECOND_EXPORT_NAME, SECOND_RUN_ID, |run| run.filename("Interviews-of-the-Week.csv"))
        .start();
    println!("base-url={}", stand_in.api_url());
    println!("api-key={API_KEY}\nexport-name={EXPORT_NAME}\nidentity=SOPHAS");
    println!("export-id={EXPORT_ID}\nexport-file-id={RUN_ID}\nuser-identity-id={IDENTITY_ID}");
    println!("\nFor several exports and a PDF Manager batch:");
    println!("export-id={EXPORT_ID},{SECOND_EXPORT_ID}\nexport-file-id={RUN_ID},{SECOND_RUN_ID}");
    println!("pdf-template={PDF_TEMPLATE_NAME}\npdf-template-id={PDF_TEMPLATE_ID}\npdf-batch-id={PDF_BATCH_ID}");
    loop {
        std::thread::park();
    }
}
