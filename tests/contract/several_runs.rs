//! Several runs in one step: exports, and batches of PDF Manager templates.

use serde_json::Value;

use crate::support::{EXPORT_NAME, PDF_TEMPLATE_NAME, SECOND_EXPORT_NAME, StandIn, github};

#[test]
fn fetches_two_exports_and_a_pdf_batch() {
    let stand_in = StandIn::builder()
        .statuses(&["Queued", "In Progress", "Available"])
        .export(86447, SECOND_EXPORT_NAME, 74787, |run| run.filename("interviews.csv"))
        .start();
    let names = format!("{EXPORT_NAME}\n{SECOND_EXPORT_NAME}");
    let step = github(&stand_in).by_names().input("export-name", &names).input("pdf-template", PDF_TEMPLATE_NAME);
    let outcome = step.run().exited(0);
    println!("{}\n{}\n{}", outcome.stdout, outcome.output_text, outcome.summary);

    let files: Value = serde_json::from_str(&outcome.outputs["files"]).unwrap();
    assert_eq!(files.as_array().unwrap().len(), 3);
}
