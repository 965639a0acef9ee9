//! Makes `docs/faults.md`: for each fault what the tool does, and the very words that it says.
//!
//! The test fails when the page is not what the program says today. `UPDATE_DOCS=1 cargo test --test contract faults_page`
//! writes it anew.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::program;
use crate::support::stand_in::{File, made_up_applicants, refusal};
use crate::support::wire::head;
use crate::support::{Act, Authority, Course, Ended, Flaw, Run, StandIn, Wire};

/// A fault, what the tool does about it, and a night with it.
struct Case {
    fault: &'static str,
    does: &'static str,
    night: fn() -> Ended,
}

const CASES: &[Case] = &[
    Case { fault: "Bad inputs", does: "Nothing is asked of WebAdMIT. Code 2.", night: bad_inputs },
    Case {
        fault: "Nobody at `base-url`",
        does: "Tried again: for two minutes if the API has not answered once, else until the timeout. Code 1 or 4.",
        night: nobody,
    },
    Case { fault: "A certificate that cannot be trusted", does: "Ends at once. Code 1.", night: certificate },
    Case { fault: "A key that is not known", does: "Ends at once. Code 5.", night: unknown_key },
    Case {
        fault: "An id that is not known",
        does: "Ends at once. Code 5. (Within 30 s of a start of its own, the step tries again.)",
        night: unknown_run,
    },
    Case { fault: "An identity that is not found", does: "Shows what there is. Code 5.", night: no_identity },
    Case { fault: "Several identities that fit", does: "None is guessed. Code 5.", night: identities },
    Case { fault: "An export that is not found", does: "Shows the nearest names. Code 5.", night: no_export },
    Case { fault: "Several exports of one name", does: "None is guessed. Code 5.", night: exports },
    Case { fault: "`latest` where there is no file", does: "Shows the recent files. Code 5.", night: no_file },
    Case {
        fault: "An API that is overloaded or in maintenance",
        does: "Tried again until the timeout. The step goes well.",
        night: overloaded,
    },
    Case { fault: "An API that asks for more time than there is", does: "Ends now. Code 4.", night: retry_after },
    Case { fault: "An API that points elsewhere", does: "Not followed. Code 1.", night: redirect },
    Case { fault: "An answer for another run", does: "Not used. Code 1.", night: other_run },
    Case { fault: "A run that does not end in time", does: "One last check at the timeout. Code 4.", night: timeout },
    Case { fault: "A run that fails", does: "Code 3.", night: failed },
    Case { fault: "An export without applicants", does: "Code 3, unless `fail-on` says otherwise.", night: empty_list },
    Case {
        fault: "A file that WebAdMIT made with errors",
        does: "Downloaded, with a warning. Code 0, or 3 if `fail-on` says so.",
        night: with_errors,
    },
    Case {
        fault: "A download that is cut",
        does: "Goes on where it stopped, over a fresh URL. The step goes well.",
        night: cut,
    },
    Case {
        fault: "A file that changes while it is downloaded",
        does: "Started over. The step goes well.",
        night: changed,
    },
    Case { fault: "A URL that has expired", does: "A fresh one is asked for. The step goes well.", night: expired },
    Case {
        fault: "A store that never gives the file",
        does: "Given up after eight attempts without a new byte. Code 1.",
        night: never,
    },
    Case { fault: "A download that takes too long", does: "Cut at the timeout. Code 4.", night: slow },
    Case {
        fault: "A file that cannot be converted to UTF-8",
        does: "Left as sent, with a line in the log. The step goes well.",
        night: no_text,
    },
    Case { fault: "A directory in the file's place", does: "Left alone. Code 1.", night: directory },
    Case {
        fault: "Outputs that cannot be written",
        does: "Found out before the first request. Code 1.",
        night: outputs,
    },
];

#[test]
fn the_page_about_faults_says_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/faults.md is not what the program says; UPDATE_DOCS=1 writes it anew:\n{page}");
}

fn page() -> String {
    let mut page = String::from(
        "# Faults, and what is said of them\n\n\
         Made by `tests/contract/faults_page.rs` out of what the program really does; do not edit it by hand. Times, ports and\n\
         checksums are left out. On GitHub the last lines are the one annotation of the step; elsewhere they are on stderr,\n\
         after `error: `.\n",
    );
    for Case { fault, does, night } in CASES {
        let ended = night();
        page.push_str(&format!("\n## {fault}\n\n{does}\n\n```text\n{}```\n", words(&ended)));
    }
    page
}

/// What is said of faults, without what differs from night to night.
fn words(ended: &Ended) -> String {
    let log = ended.stdout.lines().filter(|line| {
        ["trying again in", "warning: ", "going on at", "survived", "left as sent"]
            .iter()
            .any(|words| line.contains(words))
    });
    // Of many lines alike the first one is enough.
    let mut lines: Vec<String> = Vec::new();
    for line in log.map(|line| steady(line.trim_start().split_once("  ").map_or(line, |(_, line)| line))) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(ended.failure().lines().map(steady));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A line without the ports, times and paths of this one run.
fn steady(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for index in 0..words.len() {
        for host in ["127.0.0.1", "localhost"] {
            if let Some(at) = words[index].find(&format!("{host}:")) {
                let rest: String =
                    words[index][at + host.len() + 1..].trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
                let name = if words[index][..at].ends_with('(') { "STORE" } else { "API" };
                words[index] = format!("{}{name}{rest}", &words[index][..at]);
            }
        }
        let number = words[index].trim_start_matches('(');
        let is_time = words.get(index + 1).is_some_and(|unit| unit.trim_end_matches([';', ')', ',']) == "ms");
        if is_time && number.parse::<u64>().is_ok() && !line.contains(&format!("timed out after {number} ms")) {
            words[index] = words[index].replace(number, "…");
        }
    }
    let line = words.join(" ");
    match line.split_once("(seen at ") {
        Some((before, after)) => {
            format!("{before}(seen at …{}", after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'))
        }
        None => line,
    }
}

fn github(stand_in: &StandIn) -> Run {
    Run::on_github(program()).against(stand_in)
}

fn bad_inputs() -> Ended {
    let run = Run::on_github(program())
        .input("api-key", "k")
        .input("export-id", "Applicants")
        .input("export-file-id", "74780");
    run.input("base-url", "api.webadmit.org").input("timeout", "one hour").run().exited(2)
}

fn nobody() -> Ended {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Run::on_github(program()).asking(&format!("http://{free}")).input("timeout", "200ms").run().exited(4)
}

fn certificate() -> Ended {
    let api = Wire::start_tls(Authority::new().server(Flaw::None), |_| vec![Act::Close]);
    let run = Run::on_github(program()).asking(&api.url()).file_before("system.pem", Authority::new().pem().as_bytes());
    let system = run.workspace().join("system.pem");
    run.env("SSL_CERT_FILE", system).run().exited(1)
}

fn unknown_key() -> Ended {
    github(&StandIn::start()).input("api-key", "another").run().exited(5)
}

fn unknown_run() -> Ended {
    github(&StandIn::start()).input("export-file-id", "").input("user-identity-id", "999").run().exited(5)
}

fn no_identity() -> Ended {
    github(&StandIn::start()).by_names().input("identity", "SOHPAS").run().exited(5)
}

fn identities() -> Ended {
    github(&StandIn::start()).by_names().input("identity", "Demo University").run().exited(5)
}

fn no_export() -> Ended {
    github(&StandIn::start()).by_names().input("export-name", "Nightly Aplicants").run().exited(5)
}

fn exports() -> Ended {
    github(&StandIn::start()).by_names().input("identity", "").input("export-file-id", "74780").run().exited(5)
}

fn no_file() -> Ended {
    let stand_in = StandIn::start();
    let files = json!({ "export_files": [{ "id": 74787, "export_id": 86447, "status": "Available" }] });
    let run = github(&stand_in).input("export-file-id", "latest").input("user-identity-id", "305");
    stand_in.api_next(ResponseTemplate::new(200).set_body_json(files));
    run.run().exited(5)
}

fn no_text() -> Ended {
    let stand_in = StandIn::builder().file(File::new(b"PK")).content_type("application/zip").start();
    github(&stand_in).input("encoding", "utf-8").run().exited(0)
}

fn overloaded() -> Ended {
    let stand_in = StandIn::start();
    stand_in.api_next(ResponseTemplate::new(503)).api_next(ResponseTemplate::new(503));
    stand_in.api_next(ResponseTemplate::new(200).set_body_raw("<h1>Back soon</h1>", "text/html"));
    github(&stand_in).run().exited(0)
}

fn retry_after() -> Ended {
    let stand_in = StandIn::start();
    stand_in.api_next(ResponseTemplate::new(429).insert_header("Retry-After", "7200"));
    github(&stand_in).run().exited(4)
}

fn redirect() -> Ended {
    let stand_in = StandIn::start();
    stand_in.api_next(ResponseTemplate::new(302).insert_header("Location", "https://login.example/sign-in?to=x"));
    github(&stand_in).run().exited(1)
}

fn other_run() -> Ended {
    let stand_in = StandIn::start();
    let answer = json!({ "export_files": { "id": 1, "status": "Available" } });
    stand_in.api_next(ResponseTemplate::new(200).set_body_json(answer));
    github(&stand_in).run().exited(1)
}

fn timeout() -> Ended {
    let stand_in = StandIn::builder().course(Course::by_checks(&["In Progress"])).start();
    github(&stand_in).input("timeout", "200ms").run().exited(4)
}

fn failed() -> Ended {
    github(&StandIn::builder().course(Course::by_checks(&["Queued", "Failed"])).start()).run().exited(3)
}

fn empty_list() -> Ended {
    github(&StandIn::builder().course(Course::by_checks(&["Empty List"])).start()).run().exited(3)
}

fn with_errors() -> Ended {
    let stand_in = StandIn::builder().course(Course::by_checks(&["Success With Errors"])).start();
    github(&stand_in).input("fail-on", "success_with_errors").run().exited(3)
}

fn cut() -> Ended {
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
    stand_in.store_cuts_after(41_000);
    github(&stand_in).run().exited(0)
}

fn changed() -> Ended {
    let stand_in = StandIn::builder().file(File::new(&made_up_applicants(2000))).start();
    stand_in.store_cuts_after(41_000).store_next(|_, _| vec![Act::Send(refusal(412, "PreconditionFailed"))]);
    github(&stand_in).run().exited(0)
}

fn expired() -> Ended {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| vec![Act::Send(refusal(403, "AccessDenied"))]);
    github(&stand_in).run().exited(0)
}

fn never() -> Ended {
    let stand_in = StandIn::start();
    for _ in 0..8 {
        stand_in.store_next(|_, _| vec![Act::Send(refusal(404, "NoSuchKey"))]);
    }
    github(&stand_in).run().exited(1)
}

fn slow() -> Ended {
    let stand_in = StandIn::start();
    stand_in.store_next(|_, _| vec![Act::Send(head(200, &[], 1000)), Act::Send(vec![b'x'; 500]), Act::Hang]);
    github(&stand_in).input("timeout", "300ms").run().exited(4)
}

fn directory() -> Ended {
    github(&StandIn::start()).file_before("applicants.csv/x", b"").input("filename", "applicants.csv").run().exited(1)
}

fn outputs() -> Ended {
    github(&StandIn::start()).env("GITHUB_OUTPUT", "/no/such/file").run().exited(1)
}
