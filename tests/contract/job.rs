use crate::program;
use crate::support::{Course, Run, StandIn};

#[test]
fn a_run_is_waited_for_and_its_file_brought_home() {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Queued", "In Progress", "Available"])).start();
    let ended = Run::on_github(program()).against(&stand_in).run().exited(0);
    println!("{}{}{}", ended.stdout, ended.output_text, ended.summary);
    assert_eq!(ended.outputs["status"], "available");
    assert_eq!(ended.files(), ["Test-API-Export.csv"]);
    assert_eq!(ended.read("Test-API-Export.csv"), stand_in.file());
}
