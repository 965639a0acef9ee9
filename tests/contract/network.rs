//! Connections: host names, TLS, proxies, redirects.

use crate::support::{
    API_KEY, Action, Authority, ClosedPort, FILENAME, Flaw, Outcome, Request, Server, StandIn, Step, UNKNOWN_HOST,
    empty_list, github, github_at, respond, response, run_json_with_url, server_without_tls, with_growing_timeout,
};

/// Starts an API over TLS that responds with `Empty List`.
fn tls_api(authority: &Authority, flaw: Flaw) -> Server {
    Server::start_tls(authority.server(flaw), |_| empty_list())
}

/// Prepares a step that trusts none of the system's authorities, but the given one.
fn trusting(url: &str, authority: Option<&Authority>) -> Step {
    let untrusted = Authority::new().pem();
    let step = github_at(url).existing_file("system.pem", untrusted);
    let system = step.workspace().join("system.pem");
    let step = step.env("SSL_CERT_FILE", system);
    match authority {
        Some(authority) => step.existing_file("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem"),
        None => step,
    }
}

#[test]
fn retries_an_unknown_host() {
    let url = format!("http://{UNKNOWN_HOST}");
    let cause = format!("cannot connect to {UNKNOWN_HOST}: failed to lookup address information");
    let run = |timeout: &_| github_at(&url).input("allow-http", "true").input("timeout", timeout);
    let tries_again = format!("{cause}: ");
    let outcome =
        with_growing_timeout(|timeout| run(timeout).run(), |outcome| outcome.stdout.matches(&tries_again).count() > 1);
    assert!(outcome.stdout.matches(&tries_again).count() > 1, "{}", outcome.stdout);
    outcome.exited(4).with_error(&cause);
}

#[test]
fn trusts_ca_file_and_system_authorities() {
    let (system, own) = (Authority::new(), Authority::new());
    for authority in [&system, &own] {
        let api = tls_api(authority, Flaw::None);
        let step = github_at(&api.url());
        let step =
            step.existing_file("system.pem", system.pem().as_bytes()).existing_file("own.pem", own.pem().as_bytes());
        let file = step.workspace().join("system.pem");
        step.env("SSL_CERT_FILE", file).input("ca-file", "own.pem").run().exited(3);
    }
}

#[test]
fn trusts_ssl_cert_dir() {
    let authority = Authority::new();
    let api = tls_api(&authority, Flaw::None);
    // OpenSSL names the files by a hash of the subject. Any name of this form is read.
    let step = github_at(&api.url()).existing_file("certs/0a1b2c3d.0", authority.pem().as_bytes());
    let directory = step.workspace().join("certs");
    step.env("SSL_CERT_DIR", directory).run().exited(3);
}

#[test]
fn an_untrusted_certificate_of_the_api_ends_the_step() {
    let authority = Authority::new();
    for (flaw, trusted, words) in [
        (Flaw::None, None, "it is not signed by a trusted certificate authority"),
        (Flaw::Expired, Some(&authority), "it has expired"),
        (Flaw::AnotherHost, Some(&authority), "it is not valid for this host"),
    ] {
        let api = tls_api(&authority, flaw);
        let outcome = trusting(&api.url(), trusted).run().exited(1).with_error(words).with_error("ca-file");
        assert!(!outcome.stdout.contains("retrying"), "{}", outcome.stdout);
        assert!(api.requests().is_empty());
    }
}

#[test]
fn retries_a_server_without_tls() {
    let url = format!("https://localhost:{}", server_without_tls());
    let tries_again = |outcome: &Outcome| outcome.stdout.contains("; retrying in ");
    let outcome = with_growing_timeout(|timeout| trusting(&url, None).input("timeout", timeout).run(), tries_again);
    assert!(tries_again(&outcome), "{}", outcome.stdout);
    outcome
        .exited(4)
        .with_error("cannot connect to localhost")
        .with_error("the server does not use TLS on this port; is it plain http?");
}

#[test]
fn an_untrusted_certificate_of_the_store_ends_the_step() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let store = Server::start_tls(theirs.server(Flaw::None), |_| respond(200, &[], b"bytes"));
    let run = run_json_with_url("Available", &format!("{}/file.csv", store.url())).to_string();
    let api = Server::start_tls(ours.server(Flaw::None), move |_| respond(200, &[], run.as_bytes()));
    let outcome = trusting(&api.url(), Some(&ours)).run().exited(1);
    outcome
        .with_error("cannot verify the certificate of the store (localhost:")
        .with_error("it is not signed by a trusted certificate authority")
        .with_error(
            "hint: check the clock of this machine; if a proxy uses its own certificate authority, set ca-file",
        );
    assert!(store.requests().is_empty());
}

#[test]
fn only_https_needs_a_certificate_authority() {
    let empty = |run: Step| {
        let file = run.workspace().join("empty.pem");
        run.existing_file("empty.pem", b"").env("SSL_CERT_FILE", file)
    };
    let outcome = empty(github_at("https://localhost:9")).run().exited(1);
    assert!(outcome.stdout.contains("found no certificate authority in"), "{}", outcome.stdout);
    outcome.with_error("found no certificate authorities on this machine").with_error("ca-file");
    empty(github(&StandIn::start())).run().exited(0);
}

#[test]
fn rejects_a_plain_http_download_url_from_an_https_api() {
    let authority = Authority::new();
    let api = Server::start_tls(authority.server(Flaw::None), |_| {
        let run = run_json_with_url("Available", "http://127.0.0.1:9/file");
        respond(200, &[], run.to_string())
    });
    trusting(&api.url(), Some(&authority)).run().exited(1).with_error("is plain http, although the API is https");
}

#[test]
fn rejects_a_redirect_from_https_to_plain_http() {
    let authority = Authority::new();
    let plain = Server::start(|_| respond(200, &[], b"not this"));
    let elsewhere = plain.url();
    let store = Server::start_tls(authority.server(Flaw::None), move |request| {
        let redirect = response(302, &[("Location", &elsewhere)], b"");
        vec![Action::Send(if request.target.contains("redirect") { redirect } else { response(200, &[], b"bytes") })]
    });
    for (path, code) in [("file.csv", 0), ("redirect", 1)] {
        let url = format!("{}/{path}", store.url());
        let api = Server::start_tls(authority.server(Flaw::None), move |_| {
            let run = run_json_with_url("Available", &url);
            respond(200, &[], run.to_string())
        });
        let outcome = trusting(&api.url(), Some(&authority)).run().exited(code);
        if code == 0 {
            assert_eq!(outcome.read("file.csv"), b"bytes");
        } else {
            outcome.with_error("redirected from https to http");
        }
    }
    assert!(plain.requests().is_empty());
}

/// Prepares a step behind a proxy with credentials.
fn through(proxy: &Server, url: &str) -> Step {
    let step = github_at(url).input("allow-http", "true");
    step.env("http_proxy", proxy_address(proxy)).env("HTTPS_PROXY", proxy_address(proxy))
}

fn proxy_address(proxy: &Server) -> String {
    format!("http://office:proxy-password@127.0.0.1:{}", proxy.port())
}

fn has_credentials(request: &Request) -> bool {
    request.header("proxy-authorization") == Some("Basic b2ZmaWNlOnByb3h5LXBhc3N3b3Jk")
}

#[test]
fn sends_proxy_credentials_to_the_proxy_only() {
    let proxy = Server::start(|request| {
        let is_through =
            has_credentials(request) && request.target.starts_with("http://webadmit.invalid/api/v1/exports/");
        if is_through { empty_list() } else { respond(400, &[], b"") }
    });
    let outcome = through(&proxy, "http://webadmit.invalid").run().exited(3);
    assert!(!outcome.mentions("proxy-password"), "{}", outcome.stdout);
    assert_eq!(proxy.requests()[0].header("x-api-key"), Some(API_KEY));
}

#[test]
fn tunnels_tls_through_a_proxy() {
    let authority = Authority::new();
    let api = tls_api(&authority, Flaw::None);
    let port = api.port();
    let proxy = Server::start(move |request| {
        assert!(has_credentials(request) && request.method == "CONNECT", "{request:?}");
        vec![Action::Send(b"HTTP/1.1 200 Connected\r\n\r\n".to_vec()), Action::Tunnel(port)]
    });
    for (variable, requests) in [("HTTPS_PROXY", 1), ("https_proxy", 2)] {
        let step = github_at(&api.url()).env(variable, proxy_address(&proxy));
        let step = step.existing_file("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
        step.run().exited(3);
        assert_eq!((api.requests().len(), proxy.requests().len()), (requests, requests), "{variable}");
    }
    assert!(proxy.requests().iter().all(|request| request.header("x-api-key").is_none()));
    assert!(api.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn honors_http_and_all_proxy_variables() {
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        let signed = run_json_with_url("Available", "http://store.invalid/file.csv").to_string();
        let proxy = Server::start(move |request| {
            let is_call = request.target.starts_with("http://webadmit.invalid/");
            respond(200, &[], if is_call { signed.as_bytes() } else { b"bytes" })
        });
        let step = github_at("http://webadmit.invalid").input("allow-http", "true");
        let outcome = step.env(variable, format!("http://127.0.0.1:{}", proxy.port())).run().exited(0);
        assert_eq!(outcome.read("file.csv"), b"bytes", "{variable}");
        assert!(proxy.requests()[1].target.starts_with("http://store.invalid/file.csv?"), "{variable}");
    }
}

#[test]
fn honors_no_proxy() {
    let authority = Authority::new();
    let api = tls_api(&authority, Flaw::None);
    let proxy = Server::start(|_| respond(502, &[], b""));
    let run =
        through(&proxy, &api.url()).existing_file("ca.pem", authority.pem().as_bytes()).input("ca-file", "ca.pem");
    run.env("NO_PROXY", "localhost").run().exited(3);
    assert!(proxy.requests().is_empty());
}

#[test]
fn plain_http_to_loopback_bypasses_the_proxy() {
    let proxy = Server::start(|_| respond(502, &[], b""));
    let api = Server::start(|_| empty_list());
    for url in [api.url(), api.url().replace("127.0.0.1", "localhost")] {
        through(&proxy, &url).run().exited(3);
    }
    assert!(proxy.requests().is_empty(), "the key was sent to a proxy unencrypted");
}

#[test]
fn a_proxy_error_shows_no_credentials() {
    for (status, cause, hint) in [
        (403, "tunnel error: unsuccessful", "whether this machine needs a proxy"),
        (
            407,
            "the proxy requires a user name and a password",
            "hint: put the proxy's user name and password into its variable",
        ),
    ] {
        let proxy = Server::start(move |_| respond(status, &[], b""));
        let cause = format!("cannot connect to webadmit.invalid: {cause}");
        let run = |timeout: &_| through(&proxy, "https://webadmit.invalid").input("timeout", timeout).run();
        let outcome = with_growing_timeout(run, |outcome| outcome.stdout.contains(&cause));
        assert!(!outcome.mentions("proxy-password") && !outcome.mentions("b2ZmaWNl"), "{cause}: {}", outcome.stdout);
        outcome.exited(4).with_error(&cause).with_error(hint);
    }
    let proxy = Server::start(|_| respond(407, &[], b""));
    let outcome = through(&proxy, "http://webadmit.invalid").run().exited(1);
    outcome.with_error("hint: put the proxy's user name and password into its variable");
    let proxy = ClosedPort::new();
    let address = format!("http://office:proxy-password@{}", proxy.address());
    let run = || github_at("https://webadmit.invalid").env("HTTPS_PROXY", &address);
    let cause = "cannot connect to webadmit.invalid";
    let outcome =
        with_growing_timeout(|timeout| run().input("timeout", timeout).run(), |outcome| outcome.stdout.contains(cause));
    let outcome = outcome.exited(4).with_error(cause);
    assert!(!outcome.mentions("proxy-password"));
}

#[test]
fn a_store_redirect_has_neither_key_nor_referer() {
    let elsewhere = Server::start(|_| respond(200, &[], b"bytes"));
    let stand_in = StandIn::start();
    let target = format!("{}/moved.csv", elsewhere.url());
    stand_in.next_store_response(move |_, _| respond(302, &[("Location", &target)], b""));
    github(&stand_in).run().exited(0);
    let request = &elsewhere.requests()[0];
    assert_eq!((request.header("referer"), request.header("x-api-key")), (None, None));
    assert!(!request.text().contains(API_KEY));
}

#[test]
fn rejects_unusable_store_redirects() {
    let elsewhere = Server::start(|_| respond(200, &[], b"not this"));
    for (to, why) in [
        (elsewhere.url().replace("http://", "http://user:word@"), "with a user name or a password"),
        (elsewhere.url().replace("http://", "ftp://"), "that is neither https nor http"),
    ] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(move |_, _| respond(302, &[("Location", &to)], b""));
        let outcome = github(&stand_in).run().exited(1).with_error(why);
        assert!(!outcome.mentions("user:word") && outcome.files().is_empty(), "{}", outcome.stdout);
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_store_redirect_to_another_scheme_ends_the_step() {
    for to in ["file://host/etc/passwd", "javascript:alert(1)"] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(move |_, _| respond(302, &[("Location", to)], b"not this"));
        let outcome = github(&stand_in).run().exited(1).with_error("that is neither https nor http");
        assert!(outcome.files().is_empty(), "{to}");
    }
}

#[test]
fn a_store_redirect_without_a_host_is_retried_and_never_followed() {
    for to in ["http://", "file:///etc/passwd", "data:text/csv,x"] {
        let stand_in = StandIn::start();
        stand_in.next_store_response(move |_, _| respond(302, &[("Location", to)], b"not this"));
        let outcome = github(&stand_in).run().exited(0);
        assert_eq!(outcome.read(FILENAME), stand_in.file(), "{to}");
        assert!(outcome.stdout.contains("responded 302 (Found); retrying in "), "{}", outcome.stdout);
    }
}

#[test]
fn names_a_store_that_refuses_connections() {
    let store = ClosedPort::new();
    let stand_in = StandIn::start();
    let url = format!("{}/file", store.url());
    for _ in 0..50 {
        stand_in.next_api_json(run_json_with_url("Available", &url));
    }
    let outcome = github(&stand_in).input("poll-interval", "1ms").run().exited(1);
    outcome.with_error(&format!("cannot connect to the store ({}): connection refused", store.address()));
}
