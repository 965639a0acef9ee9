//! The way to the servers: names, connections, TLS and proxies.

use wiremock::ResponseTemplate;

use crate::program;
use crate::support::stand_in::{KEY, run_json};
use crate::support::wire::{greeter, response};
use crate::support::{Act, Authority, Ended, Flaw, Nobody, Request, Run, StandIn, UNKNOWN_HOST, Wire, in_time};

/// An API over TLS that says of the run that it has nothing.
fn empty_list(authority: &Authority, flaw: Flaw) -> Wire {
    Wire::start_tls(authority.server(flaw), |_| vec![Act::Send(empty_answer())])
}

fn empty_answer() -> Vec<u8> {
    response(200, &[], run_json("Empty List", None).to_string().as_bytes())
}

/// A run that trusts no authority of the machine, and perhaps the given one.
fn trusting(url: &str, authority: Option<&Authority>) -> Run {
    let nobody = Authority::new().pem();
    let run = Run::on_github(program()).asking(url).file_before("system.pem", nobody.as_bytes());
    let system = run.workspace().join("system.pem");
    let run = run.env("SSL_CERT_FILE", system);
    match authority {
        Some(authority) => run.file_before("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem"),
        None => run,
    }
}

#[test]
fn a_host_whose_name_is_not_known_is_named_and_tried_again() {
    let url = format!("http://{UNKNOWN_HOST}");
    let cause = format!("no connection to {UNKNOWN_HOST}: failed to lookup address information");
    let run =
        |timeout: &_| Run::on_github(program()).asking(&url).input("allow-http", "true").input("timeout", timeout);
    let tries_again = format!("{cause}: ");
    let ended = in_time(|timeout| run(timeout).run(), |ended| ended.stdout.matches(&tries_again).count() > 1);
    assert!(ended.stdout.matches(&tries_again).count() > 1, "{}", ended.stdout);
    ended.exited(4).failing_with(&cause);
}

#[test]
fn a_ca_file_is_trusted_besides_the_systems_authorities() {
    let (system, own) = (Authority::new(), Authority::new());
    for authority in [&system, &own] {
        let api = empty_list(authority, Flaw::None);
        let run = Run::on_github(program()).asking(&api.url());
        let run = run.file_before("system.pem", system.pem().as_bytes()).file_before("own.pem", own.pem().as_bytes());
        let file = run.workspace().join("system.pem");
        run.env("SSL_CERT_FILE", file).input("ca-file", "own.pem").run().exited(3);
    }
}

#[test]
fn ssl_cert_dir_is_obeyed() {
    let authority = Authority::new();
    let api = empty_list(&authority, Flaw::None);
    // A directory of authorities names them by the hash of their subjects; any name of that form is read.
    let run = Run::on_github(program()).asking(&api.url()).file_before("certs/0a1b2c3d.0", authority.pem().as_bytes());
    let directory = run.workspace().join("certs");
    run.env("SSL_CERT_DIR", directory).run().exited(3);
}

#[test]
fn a_certificate_that_cannot_be_trusted_ends_the_step_at_once() {
    let authority = Authority::new();
    for (flaw, trusted, words) in [
        (Flaw::None, None, "it is not signed by an authority that is trusted here"),
        (Flaw::Expired, Some(&authority), "it has expired"),
        (Flaw::AnotherHost, Some(&authority), "it was made out to another host"),
    ] {
        let api = empty_list(&authority, flaw);
        let ended = trusting(&api.url(), trusted).run().exited(1).failing_with(words).failing_with("ca-file");
        assert!(!ended.stdout.contains("trying again"), "{}", ended.stdout);
        assert!(api.requests().is_empty());
    }
}

#[test]
fn a_server_without_tls_is_a_connection_that_fails() {
    let port =
        greeter(b"HTTP/1.1 400 The plain HTTP request was sent to an HTTPS port, or the other way round\r\n\r\n");
    let url = format!("https://localhost:{port}");
    let tries_again = |ended: &Ended| ended.stdout.contains("; trying again in ");
    let ended = in_time(|timeout| trusting(&url, None).input("timeout", timeout).run(), tries_again);
    assert!(tries_again(&ended), "{}", ended.stdout);
    ended
        .exited(4)
        .failing_with("no connection to localhost")
        .failing_with("it does not speak TLS: is it plain http, or another port?");
}

#[test]
fn a_store_with_a_certificate_that_cannot_be_trusted_ends_the_step_at_once() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let store = Wire::start_tls(theirs.server(Flaw::None), |_| vec![Act::Send(response(200, &[], b"bytes"))]);
    let answer = run_json("Available", Some(format!("{}/file.csv", store.url()))).to_string();
    let api = Wire::start_tls(ours.server(Flaw::None), move |_| vec![Act::Send(response(200, &[], answer.as_bytes()))]);
    let ended = trusting(&api.url(), Some(&ours)).run().exited(1);
    ended
        .failing_with("the certificate of the store (localhost:")
        .failing_with("it is not signed by an authority that is trusted here")
        .failing_with("ca-file");
    assert!(store.requests().is_empty());
}

#[test]
fn without_any_authority_https_fails_before_the_first_call_and_http_works() {
    let empty = |run: Run| {
        let file = run.workspace().join("empty.pem");
        run.file_before("empty.pem", b"").env("SSL_CERT_FILE", file)
    };
    let ended = empty(Run::on_github(program()).asking("https://localhost:9")).run().exited(1);
    assert!(ended.stdout.contains("no certificate authority could be read from"), "{}", ended.stdout);
    ended.failing_with("no certificate authorities were found on this machine").failing_with("ca-file");
    empty(Run::on_github(program()).against(&StandIn::start())).run().exited(0);
}

#[test]
fn when_the_api_is_https_the_download_url_must_be_too() {
    let authority = Authority::new();
    let api = Wire::start_tls(authority.server(Flaw::None), |_| {
        let answer = run_json("Available", Some("http://127.0.0.1:9/file".to_owned()));
        vec![Act::Send(response(200, &[], answer.to_string().as_bytes()))]
    });
    trusting(&api.url(), Some(&authority)).run().exited(1).failing_with("is plain http, although the API is https");
}

#[test]
fn a_file_comes_over_tls_and_is_never_redirected_to_plain_http() {
    let authority = Authority::new();
    let plain = Wire::start(|_| vec![Act::Send(response(200, &[], b"not this"))]);
    let elsewhere = plain.url();
    let store = Wire::start_tls(authority.server(Flaw::None), move |request| {
        let redirect = response(302, &[("Location", &elsewhere)], b"");
        vec![Act::Send(if request.target.contains("redirect") { redirect } else { response(200, &[], b"bytes") })]
    });
    for (path, code) in [("file.csv", 0), ("redirect", 1)] {
        let url = format!("{}/{path}", store.url());
        let api = Wire::start_tls(authority.server(Flaw::None), move |_| {
            let answer = run_json("Available", Some(url.clone()));
            vec![Act::Send(response(200, &[], answer.to_string().as_bytes()))]
        });
        let ended = trusting(&api.url(), Some(&authority)).run().exited(code);
        if code == 0 {
            assert_eq!(ended.read("file.csv"), b"bytes");
        } else {
            ended.failing_with("redirected from https to a place without it");
        }
    }
    assert!(plain.requests().is_empty());
}

/// A run that is sent through a proxy, whose credentials are marked.
fn through(proxy: &Wire, url: &str) -> Run {
    let address = format!("http://office:proxy-password@127.0.0.1:{}", proxy.port());
    let run = Run::on_github(program()).asking(url).input("allow-http", "true");
    run.env("http_proxy", &address).env("HTTPS_PROXY", address)
}

fn basic(request: &Request) -> bool {
    request.header("proxy-authorization") == Some("Basic b2ZmaWNlOnByb3h5LXBhc3N3b3Jk")
}

#[test]
fn a_proxy_is_used_and_its_credentials_are_for_it_alone() {
    let proxy = Wire::start(|request| {
        let through = basic(request) && request.target.starts_with("http://webadmit.invalid/api/v1/exports/");
        vec![Act::Send(if through { empty_answer() } else { response(400, &[], b"") })]
    });
    let ended = through(&proxy, "http://webadmit.invalid").run().exited(3);
    assert!(!ended.tells("proxy-password"), "{}", ended.stdout);
    assert_eq!(proxy.requests()[0].header("x-api-key"), Some(KEY));
}

#[test]
fn a_proxy_carries_tls_without_seeing_the_key() {
    let authority = Authority::new();
    let api = empty_list(&authority, Flaw::None);
    let port = api.port();
    let proxy = Wire::start(move |request| {
        assert!(basic(request) && request.method == "CONNECT", "{request:?}");
        vec![Act::Send(b"HTTP/1.1 200 Connected\r\n\r\n".to_vec()), Act::Tunnel(port)]
    });
    let run = through(&proxy, &api.url()).file_before("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
    run.run().exited(3);
    assert_eq!((api.requests().len(), proxy.requests()[0].header("x-api-key")), (1, None));
    assert_eq!(api.requests()[0].header("proxy-authorization"), None);
}

#[test]
fn a_file_comes_over_the_proxy_too_and_any_proxy_variable_will_do() {
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        let signed = run_json("Available", Some("http://store.invalid/file.csv".to_owned())).to_string();
        let proxy = Wire::start(move |request| {
            let is_call = request.target.starts_with("http://webadmit.invalid/");
            vec![Act::Send(response(200, &[], if is_call { signed.as_bytes() } else { b"bytes" }))]
        });
        let run = Run::on_github(program()).asking("http://webadmit.invalid").input("allow-http", "true");
        let ended = run.env(variable, format!("http://127.0.0.1:{}", proxy.port())).run().exited(0);
        assert_eq!(ended.read("file.csv"), b"bytes", "{variable}");
        assert!(proxy.requests()[1].target.starts_with("http://store.invalid/file.csv?"), "{variable}");
    }
}

#[test]
fn no_proxy_goes_past_the_proxy() {
    let authority = Authority::new();
    let api = empty_list(&authority, Flaw::None);
    let proxy = Wire::start(|_| vec![Act::Send(response(502, &[], b""))]);
    let run = through(&proxy, &api.url()).file_before("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
    run.env("NO_PROXY", "localhost").run().exited(3);
    assert!(proxy.requests().is_empty());
}

#[test]
fn plain_http_to_this_very_machine_does_not_leave_it() {
    let proxy = Wire::start(|_| vec![Act::Send(response(502, &[], b""))]);
    let api = Wire::start(|_| vec![Act::Send(empty_answer())]);
    for url in [api.url(), api.url().replace("127.0.0.1", "localhost")] {
        through(&proxy, &url).run().exited(3);
    }
    assert!(proxy.requests().is_empty(), "the key went to a proxy, unencrypted");
}

#[test]
fn a_proxy_that_refuses_is_told_of_without_its_credentials() {
    for (status, cause, hint) in [
        (403, "tunnel error: unsuccessful", "whether a proxy stands between"),
        (407, "tunnel error: proxy authorization required", "hint: a proxy asks for a user name and a password"),
    ] {
        let proxy = Wire::start(move |_| vec![Act::Send(response(status, &[], b""))]);
        let cause = format!("no connection to webadmit.invalid: {cause}");
        let run = |timeout: &_| through(&proxy, "https://webadmit.invalid").input("timeout", timeout).run();
        let ended = in_time(run, |ended| ended.stdout.contains(&cause));
        assert!(!ended.tells("proxy-password") && !ended.tells("b2ZmaWNl"), "{cause}: {}", ended.stdout);
        ended.exited(4).failing_with(&cause).failing_with(hint);
    }
    let proxy = Wire::start(|_| vec![Act::Send(response(407, &[], b""))]);
    let ended = through(&proxy, "http://webadmit.invalid").run().exited(1);
    ended.failing_with("hint: a proxy asks for a user name and a password");
    let nobody = Nobody::new();
    let address = format!("http://office:proxy-password@{}", nobody.address());
    let run = || Run::on_github(program()).asking("https://webadmit.invalid").env("HTTPS_PROXY", &address);
    let cause = "no connection to webadmit.invalid";
    let ended = in_time(|timeout| run().input("timeout", timeout).run(), |ended| ended.stdout.contains(cause));
    let ended = ended.exited(4).failing_with(cause);
    assert!(!ended.tells("proxy-password"));
}

#[test]
fn a_redirect_of_the_store_to_another_host_has_neither_key_nor_referer() {
    let elsewhere = Wire::start(|_| vec![Act::Send(response(200, &[], b"bytes"))]);
    let stand_in = StandIn::start();
    let target = format!("{}/moved.csv", elsewhere.url());
    stand_in.store_next(move |_, _| vec![Act::Send(response(302, &[("Location", &target)], b""))]);
    Run::on_github(program()).against(&stand_in).run().exited(0);
    let request = &elsewhere.requests()[0];
    assert_eq!((request.header("referer"), request.header("x-api-key")), (None, None));
    assert!(!request.text().contains(KEY));
}

#[test]
fn a_redirect_of_the_store_to_a_place_that_may_not_be_asked_is_not_followed() {
    let elsewhere = Wire::start(|_| vec![Act::Send(response(200, &[], b"not this"))]);
    for (to, why) in [
        (elsewhere.url().replace("http://", "http://user:word@"), "with a user name or a password"),
        (elsewhere.url().replace("http://", "ftp://"), "that is neither https nor http"),
    ] {
        let stand_in = StandIn::start();
        stand_in.store_next(move |_, _| vec![Act::Send(response(302, &[("Location", &to)], b""))]);
        let ended = Run::on_github(program()).against(&stand_in).run().exited(1).failing_with(why);
        assert!(!ended.tells("user:word") && ended.files().is_empty(), "{}", ended.stdout);
    }
    assert!(elsewhere.requests().is_empty());
    // What is no place at all is an answer like other refusals, or an end.
    for to in ["file:///etc/passwd", "data:text/csv,x", "javascript:alert(1)", "http://"] {
        let stand_in = StandIn::start();
        stand_in.store_next(move |_, _| vec![Act::Send(response(302, &[("Location", to)], b"not this"))]);
        let ended = Run::on_github(program()).against(&stand_in).run();
        match ended.status.code() {
            Some(0) => assert_eq!(ended.read("Test-API-Export.csv"), stand_in.file(), "{to}"),
            code => assert_eq!((code, ended.files().len()), (Some(1), 0), "{to}"),
        }
    }
}

#[test]
fn an_answer_that_is_redirected_to_names_the_origin_only() {
    let stand_in = StandIn::start();
    let to = format!("https://elsewhere.example:8443/path?api_key={KEY}");
    stand_in.api_next(ResponseTemplate::new(301).insert_header("Location", to.as_str()));
    let ended = Run::on_github(program()).against(&stand_in).run().exited(1);
    ended.failing_with("redirected to https://elsewhere.example:8443;");
}

#[test]
fn a_store_that_cannot_be_reached_is_named_with_the_reason() {
    let nobody = Nobody::new();
    let stand_in = StandIn::start();
    let url = format!("{}/file", nobody.url());
    for _ in 0..50 {
        stand_in.api_next(ResponseTemplate::new(200).set_body_json(run_json("Available", Some(url.clone()))));
    }
    let ended = Run::on_github(program()).against(&stand_in).input("poll-interval", "1ms").run().exited(1);
    ended.failing_with(&format!("no connection to the store ({}): connection refused", nobody.address()));
}
