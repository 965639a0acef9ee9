//! The key and signatures in responses, in any encoding, never reach the log, files or other servers. `support/leaks.rs` searches
//! every step of every test; in these tests there is something to find.

use serde_json::json;
use wiremock::ResponseTemplate;

use crate::support::{
    API_KEY, Action, EXPORT_ID, EXPORT_NAME, RUN_ID, Request, Server, StandIn, Step, StoredFile, error_response,
    export_json, exports_json, github, identities_json, leaks, respond, run_json, run_json_with_url, shell,
};

/// Returns a secret in several encodings and places.
pub(super) fn disguises(secret: &str) -> Vec<String> {
    let encoded: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    vec![
        secret.to_owned(),
        secret.to_uppercase(),
        encoded,
        leaks::base64(format!("{secret}x").as_bytes()),
        leaks::base64(format!("12{secret}").as_bytes()),
        // Long texts are cut about here, and half of the secret would be left.
        format!("{} {secret}", "x".repeat(275)),
        format!("{}{secret}", " ".repeat((16 << 10) - 20)),
        format!("https://elsewhere.example/{secret}?{secret}"),
    ]
}

fn step(stand_in: &StandIn) -> Step {
    github(stand_in).input("poll-interval", "1ms").input("output-file", "out.env")
}

#[test]
fn redacts_the_key_in_api_responses() {
    for disguised in disguises(API_KEY) {
        let stand_in = StandIn::start();
        stand_in.next_api_error(503, json!({ "message": disguised }));
        stand_in.next_api_error(500, json!({ "errors": { &disguised: [&disguised] } }));
        stand_in
            .next_api_response(ResponseTemplate::new(200).set_body_raw("<html>", &format!("text/html; x={disguised}")));
        stand_in.next_api_json(run_json(&disguised));
        step(&stand_in).run().exited(0);
        stand_in.next_api_error(404, json!({ "message": disguised }));
        let outcome = step(&stand_in).run().exited(5);
        assert!(disguised != API_KEY || outcome.error().contains("): ***"), "{}", outcome.error());
        let to = format!(
            "https://{}.example/{disguised}",
            disguised.split(' ').next().unwrap().replace(['/', ':', '?'], ".")
        );
        stand_in.next_api_response(ResponseTemplate::new(302).insert_header("Location", to.as_str()));
        step(&stand_in).run().exited(1);
    }
}

#[test]
fn redacts_the_key_in_lists() {
    for disguised in disguises(API_KEY) {
        let stand_in = StandIn::start();
        let identity = json!({ "id": 305, "type": disguised, "association": "SOPHAS", "organization": disguised, "institution": disguised, "cycle": disguised });
        let identities = || identities_json(std::slice::from_ref(&identity));
        let exports = || exports_json(&[export_json(EXPORT_ID, EXPORT_NAME), export_json(7, &disguised)]);
        stand_in.next_api_json(identities()).next_api_json(exports());
        step(&stand_in).by_names().input("export-file-id", &RUN_ID.to_string()).run().exited(0);
        stand_in.next_api_json(identities());
        step(&stand_in).by_names().input("identity", "unknown").run().exited(5);
        stand_in.next_api_json(identities()).next_api_json(exports());
        step(&stand_in).by_names().input("export-name", "nothing").run().exited(5);
        stand_in
            .next_api_json(identities())
            .next_api_json(json!({ "export_files": [{ "id": 9, "export_id": 8, "status": disguised }] }));
        let latest = step(&stand_in).by_names().input("export-name", "").input("export-id", "5");
        latest.input("export-file-id", "latest").run().exited(5);
        for form in ["", "--json"] {
            stand_in.next_api_json(identities()).next_api_json(exports());
            shell(&stand_in).arg("list").arg(form).run().exited(0);
        }
    }
}

#[test]
fn never_requests_a_url_with_the_key() {
    for disguised in disguises(API_KEY) {
        for url in [
            format!("/{disguised}.csv"),
            format!("/file?response-content-disposition=attachment;filename={disguised}.csv"),
        ] {
            let stand_in = StandIn::start();
            let url = format!("{}{}", stand_in.store().url(), url.replace(' ', "%20"));
            stand_in.next_api_json(run_json_with_url("Available", &url));
            step(&stand_in).run().exited(1).with_error("contains the API key, which must only be sent to the API");
            assert!(stand_in.store().requests().is_empty(), "{disguised}");
        }
    }
    let stand_in = StandIn::start();
    stand_in.next_api_json(run_json_with_url("Available", &format!("{API_KEY}://store.example/file")));
    step(&stand_in).run().exited(1).with_error("has the scheme ***");
}

#[test]
fn redacts_the_key_in_store_responses() {
    for disguised in disguises(API_KEY) {
        let stand_in = StandIn::with_file(b"bytes");
        let code = disguised.clone();
        stand_in.next_store_response(move |_, _| vec![Action::Send(error_response(403, &code))]);
        stand_in.next_store_response(move |_, _| {
            let disposition = format!("attachment; filename=\"{disguised}.csv\"");
            let headers = [("Content-Disposition", disposition.as_str()), ("Content-Type", &disguised)];
            respond(200, &headers, b"bytes")
        });
        step(&stand_in).run().exited(0);
    }
}

/// Returns the signature of a request to the store.
pub(super) fn signature(request: &Request) -> String {
    let (_, rest) = request.target.split_once("Signature=").unwrap();
    rest.split(['&', '%']).next().unwrap().to_owned()
}

#[test]
fn redacts_the_signature_in_store_responses() {
    for index in 0..disguises("").len() {
        let stand_in = StandIn::start();
        let disguised = move |request: &Request| disguises(&signature(request)).remove(index);
        stand_in.next_store_response(move |request, _| vec![Action::Send(error_response(403, &disguised(request)))]);
        stand_in.next_store_response(move |request, _| {
            let disposition = format!("attachment; filename=\"{}.csv\"", disguised(request));
            let headers = [("Content-Disposition", disposition.as_str()), ("Content-Type", &disguised(request))];
            respond(200, &headers, b"bytes")
        });
        step(&stand_in).run().exited(0);
    }
}

#[test]
fn redacts_the_signature_of_a_redirect() {
    const OTHER: &str = "Signature0CanaryOfARedirect0123456789";
    let stand_in = StandIn::start();
    let to = format!("{}/elsewhere?Signature={OTHER}", stand_in.store().url());
    let redirects = move |_: &Request, _: &StoredFile| respond(302, &[("Location", &to)], b"");
    stand_in.next_store_response(redirects.clone());
    // The stand-in refuses this signature. The next attempt has a valid one.
    step(&stand_in).run().exited(0);
    let elsewhere = Server::start(|request| {
        let sent = signature(request);
        if request.target.starts_with("/second") {
            let disposition = format!("attachment; filename={OTHER}.csv");
            let headers = [("Content-Disposition", disposition.as_str()), ("Content-Type", OTHER)];
            return respond(200, &headers, b"bytes");
        }
        assert_eq!(sent, OTHER);
        respond(302, &[("Location", "/second?Signature=Signature0CanaryOfNobody0123")], b"")
    });
    let to = format!("{}/first?Signature={OTHER}", elsewhere.url());
    stand_in.next_store_response(move |_, _| respond(302, &[("Location", &to)], b""));
    step(&stand_in).run().exited(0);
    let refusing = Server::start(|_| vec![Action::Send(error_response(403, OTHER))]);
    let to = format!("{}/first?Signature={OTHER}", refusing.url());
    stand_in.next_store_response(move |_, _| respond(302, &[("Location", &to)], b""));
    step(&stand_in).run().exited(0);
}

#[test]
fn redacts_signed_urls_in_api_messages() {
    let stand_in = StandIn::start();
    let url = "https://s3.example/file.csv?AWSAccessKeyId=x&Signature=Signature0Canary0123456789ABCDEF%3D&x=y";
    let encoded = percent_encoding::utf8_percent_encode(url, percent_encoding::NON_ALPHANUMERIC).to_string();
    for disguised in [url, &encoded, &format!("see <{url}>"), &format!("see {encoded}.")] {
        stand_in.next_api_json(run_json(disguised));
        stand_in.next_api_error(503, json!({ "message": disguised }));
        step(&stand_in).run().exited(0);
        stand_in.next_api_error(404, json!({ "message": disguised }));
        step(&stand_in).run().exited(5);
    }
}

#[test]
fn sends_the_key_to_the_api() {
    let stand_in = StandIn::start();
    github(&stand_in).run().exited(0);
    assert!(stand_in.api_requests().iter().all(|request| request.headers["x-api-key"] == API_KEY));
    // Every test checks that the store did not receive it.
}
