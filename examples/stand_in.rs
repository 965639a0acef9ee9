//! A stand-in for WebAdMIT and its store, for trying the action or the image by hand and in CI:
//! `cargo run --example stand_in -- ADDRESS STATUS…`.
//!
//! It prints the base URL and the key, and goes on until it is stopped. Each check of the run sees the next status.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example shows something, and ends where it cannot")]

#[path = "../tests/support/mod.rs"]
mod support;

use support::stand_in::{EXPORT, EXPORT_NAME, IDENTITY, KEY, RUN};
use support::{Course, StandIn};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1".to_owned());
    let mut statuses: Vec<String> = arguments.collect();
    if statuses.is_empty() {
        statuses = ["Queued", "In Progress", "Available"].map(str::to_owned).to_vec();
    }
    let course: Vec<&str> = statuses.iter().map(String::as_str).collect();
    let address = address.parse().expect("the first argument is an IP address of this machine");
    let stand_in = StandIn::builder().address(address).course(Course::by_checks(&course)).start();
    println!("base-url={}", stand_in.api_url());
    println!("api-key={KEY}\nexport-name={EXPORT_NAME}\nidentity=SOPHAS");
    println!("export-id={EXPORT}\nexport-file-id={RUN}\nuser-identity-id={IDENTITY}");
    loop {
        std::thread::park();
    }
}
