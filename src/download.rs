//! The download: from a URL that lives for seconds to a file in place.
//!
//! A loop of attempts. Each one asks for what is missing, over a URL of its own; [`range`] says what the answer means,
//! and the file is put into place when all of it is there and all of one version.

pub mod convert;
pub mod destination;
pub mod name;
pub mod pieces;
pub mod range;
pub mod source;

use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, IF_MATCH, RANGE, TRANSFER_ENCODING,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::Mutex;

use crate::api::DownloadUrl;
use crate::failure::Failure;
use crate::fault::{Fault, Kind, Side};
use crate::figures;
use crate::http;
use crate::inputs::Encoding;
use crate::journal::{Progress, Saved, Text};
use crate::retry::Attempts;
use crate::secrets::Secrets;
use crate::step::Step;
use destination::{Destination, InPlace, Partial};
use pieces::{Pieces, Spread};
use range::{Asked, Head, Meaning};
use source::Source;

/// While bytes come in, the log has a line this often.
const PROGRESS: Duration = Duration::from_secs(5);

/// The store's error is a short XML document; of a longer answer nothing is read.
const LARGEST_ERROR: usize = 1 << 16;

/// A store that names another version each time must not be asked for ever.
const MOST_VERSIONS: u32 = 4;

/// For the store's error so much time is taken.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// How the file is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What it is to be called, where the store's name is not wanted.
    pub filename: Option<&'a str>,
    /// What it is called where the store has no name for it.
    pub fallback_name: &'a str,
    /// What becomes of its text.
    pub encoding: Encoding,
    /// When and how several connections are used.
    pub spread: Spread,
}

/// Fetches the file and puts it into place. `fresh` asks the API for another URL.
///
/// # Errors
///
/// A [`Failure`] when the file cannot be had or not be stored. The partial file is gone then, and an older file is as
/// it was.
pub async fn download(
    step: &Step<'_>,
    store: &Client,
    first: DownloadUrl,
    fresh: impl AsyncFnMut() -> Result<DownloadUrl, Failure>,
    destination: &Destination,
    order: Order<'_>,
) -> Result<Saved, Failure> {
    let since = step.clock.now();
    let mut transfer = Transfer::new(destination, order, since)?;
    let mut attempts = Attempts::none(since);
    let source = Mutex::new(Source::new(step, first, fresh));
    let mut worn = None;
    loop {
        let most_before = transfer.most;
        let (url, number) = source.lock().await.url(step, worn).await?;
        worn = Some(number);
        let fault = match transfer.attempt(step, store, &source, &url, number).await {
            Ok(()) => break,
            Err(Interruption::Fault(fault) | Interruption::StartOver(fault)) => fault,
            Err(Interruption::Disk(error)) => return Err(Failure::Local(error)),
            Err(Interruption::Failure(failure)) => return Err(failure),
        };
        attempts.count(transfer.most > most_before);
        step.recover(fault, attempts).await?;
    }
    let filename = order.filename.or(transfer.name.as_deref()).unwrap_or(order.fallback_name).to_owned();
    let InPlace { path, size, sha256, source_sha256, text } = destination.save(transfer.partial, &filename)?;
    let text = transfer.left_as_sent.map_or(text, Text::LeftAsSent);
    let content_type = match &text {
        Text::From(_) => transfer.converted_type,
        Text::AsSent | Text::LeftAsSent(_) => transfer.content_type,
    };
    let took = step.clock.now().saturating_sub(since);
    Ok(Saved { path, filename, size, sha256, source_sha256, content_type, text, took })
}

/// Why an attempt ended before the file was complete.
enum Interruption {
    /// The store, or the way to it.
    Fault(Fault),
    /// The same, and nothing is held any more.
    StartOver(Fault),
    /// The disk.
    Disk(anyhow::Error),
    /// Something that ends the step.
    Failure(Failure),
}

impl From<Fault> for Interruption {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<anyhow::Error> for Interruption {
    fn from(error: anyhow::Error) -> Self {
        Self::Disk(error)
    }
}

/// What is held of the file, and what is known of it.
struct Transfer<'a> {
    destination: &'a Destination,
    order: Order<'a>,
    partial: Partial,
    /// The strong validator of what is held. Without one it cannot be continued.
    etag: Option<String>,
    total: Option<u64>,
    /// The most bytes that were ever held: an attempt that does not get past them has brought nothing new. Of another
    /// version every byte is new, for as many versions as a file can have in a night.
    most: u64,
    version: Option<String>,
    versions: u32,
    name: Option<String>,
    content_type: Option<String>,
    /// The same when it is converted.
    converted_type: Option<String>,
    /// Why the text is not converted, although that is wanted.
    left_as_sent: Option<String>,
    /// Whether one connection has to do.
    alone: bool,
    meter: Meter,
}

impl<'a> Transfer<'a> {
    fn new(destination: &'a Destination, order: Order<'a>, now: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            destination,
            order,
            partial: destination.partial()?,
            etag: None,
            total: None,
            most: 0,
            version: None,
            versions: 0,
            name: None,
            content_type: None,
            converted_type: None,
            left_as_sent: None,
            alone: false,
            meter: Meter { at: now, held: 0 },
        })
    }

    /// Asks for what is missing and takes what comes. Ends well only when the file is complete.
    async fn attempt<F: AsyncFnMut() -> Result<DownloadUrl, Failure>>(
        &mut self,
        step: &Step<'_>,
        store: &Client,
        source: &Mutex<Source<F>>,
        url: &DownloadUrl,
        number: usize,
    ) -> Result<(), Interruption> {
        let asked = self.missing()?;
        let answer = ask(store, url.reveal(), asked.as_ref()).await?;
        match answer.meaning {
            Meaning::Whole { total, etag } => {
                self.start_over()?;
                self.notice(etag.as_deref());
                (self.total, self.etag) = (total, etag);
                self.describe(&answer.response, step.log.secrets())?;
                self.begin(step, &answer.host);
                self.receive(step, store, source, answer.response, number, total).await
            }
            Meaning::Rest { until, total } => {
                self.total = Some(total);
                step.log.line(&format!("going on at {}", figures::bytes(self.partial.held())));
                self.receive(step, store, source, answer.response, number, Some(until)).await
            }
            Meaning::StartOver(what) => {
                self.start_over()?;
                let status = answer.response.status();
                let kind = if status.is_success() { Kind::Mismatch } else { Kind::Status(status.as_u16()) };
                Err(Fault::store(kind, format!("the store ({}) {what}: starting over", answer.host)).into())
            }
            Meaning::Unusable(kind, what) => Err(answer.unusable(kind, what).into()),
            Meaning::Refused => Err(answer.refusal(step).await.into()),
        }
    }

    /// Notices that the whole file is of another version than the last time.
    fn notice(&mut self, etag: Option<&str>) {
        if etag.is_some() && self.version.as_deref() != etag {
            self.version = etag.map(str::to_owned);
            self.versions += 1;
            if self.versions <= MOST_VERSIONS {
                self.most = 0;
            }
        }
    }

    /// What to ask for: the rest, where what is held can be continued; else everything.
    fn missing(&mut self) -> anyhow::Result<Option<Asked>> {
        let from = self.partial.held();
        match &self.etag {
            Some(etag) if from > 0 => Ok(Some(Asked { from, until: None, etag: etag.clone(), total: self.total })),
            _ => {
                self.start_over()?;
                Ok(None)
            }
        }
    }

    fn start_over(&mut self) -> anyhow::Result<()> {
        (self.etag, self.total) = (None, None);
        self.partial.start_over()
    }

    /// Takes the name and the media type from an answer that has the file from its beginning.
    fn describe(&mut self, response: &Response, secrets: &Secrets) -> anyhow::Result<()> {
        let disposition = response.headers().get(CONTENT_DISPOSITION).map(reqwest::header::HeaderValue::as_bytes);
        let disposition = disposition.filter(|value| !secrets.hold(&String::from_utf8_lossy(value)));
        self.name = name::of_answer(disposition, response.url()).filter(|name| !secrets.hold(name));
        let sent = text(response.headers(), CONTENT_TYPE);
        let told = |sent: &str| Some(secrets.words(sent)).filter(|told| !told.is_empty());
        (self.content_type, self.left_as_sent) = (sent.and_then(told), None);
        if self.order.encoding == Encoding::Utf8 {
            match convert::charset(sent) {
                Ok(charset) => {
                    self.destination.convert(&mut self.partial, charset)?;
                    self.converted_type = sent.map(convert::in_utf_8).as_deref().and_then(told);
                }
                Err(why) => self.left_as_sent = Some(secrets.words(&why)),
            }
        }
        Ok(())
    }

    fn begin(&self, step: &Step<'_>, host: &str) {
        let what = self.order.filename.or(self.name.as_deref()).unwrap_or("the file");
        let size = self.total.map(|total| format!(", {}", figures::bytes(total))).unwrap_or_default();
        step.log.line(&format!("downloading {what}{size} from {host}"));
    }

    /// Takes the body. It must end at `until`, or where its chunks say; then the file must be complete. Where the
    /// connection turns out to be held back, the rest comes over several.
    async fn receive<F: AsyncFnMut() -> Result<DownloadUrl, Failure>>(
        &mut self,
        step: &Step<'_>,
        store: &Client,
        source: &Mutex<Source<F>>,
        mut response: Response,
        number: usize,
        until: Option<u64>,
    ) -> Result<(), Interruption> {
        let (since, from) = (step.clock.now(), self.partial.held());
        let may_spread = !self.alone && until.is_some() && until == self.total && takes_ranges(&response);
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.body_fault(error))? else { break };
            let held = self.partial.held();
            if until.is_some_and(|until| held + chunk.len() as u64 > until) {
                // Not one byte past its end belongs to the file; what came before may be no better.
                self.start_over()?;
                let words = "the store sent more than it had announced: starting over";
                return Err(Fault::store(Kind::Mismatch, words).into());
            }
            self.take(step, held, &chunk)?;
            let (held, time) = (self.partial.held(), step.clock.now().saturating_sub(since));
            if may_spread
                && let Some(total) = self.total
                && self.order.spread.is_worth_it(total - held, held - from, time)
                && let Some(etag) = self.etag.clone()
            {
                Pieces::new(step, store, source, self, etag, total).fetch(response, number).await?;
                break;
            }
        }
        let held = self.partial.held();
        if self.total.is_none_or(|total| held == total) && until.is_none_or(|until| held == until) {
            return Ok(());
        }
        let words = format!("the store sent less than was asked for: {}", self.progress());
        Err(Fault::store(Kind::Cut, words).into())
    }

    /// Puts bytes to their place.
    fn take(&mut self, step: &Step<'_>, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.partial.place(at, bytes)?;
        let progress = self.progress();
        if progress.held > self.most {
            self.most = progress.held;
            step.journal.borrow_mut().overcome(Side::Store);
        }
        self.meter.read(step, progress);
        Ok(())
    }

    fn body_fault(&self, error: reqwest::Error) -> Fault {
        let (kind, words) = http::reduce_in_body(error);
        Fault::store(kind, format!("at {} of the download, {words}", self.progress()))
    }

    fn progress(&self) -> Progress {
        Progress { held: self.partial.received(), total: self.total }
    }
}

fn takes_ranges(response: &Response) -> bool {
    response.status() == StatusCode::PARTIAL_CONTENT
        || text(response.headers(), ACCEPT_RANGES).is_some_and(|unit| unit.trim().eq_ignore_ascii_case("bytes"))
}

/// An answer of the store, and what it means.
struct Answer {
    response: Response,
    meaning: Meaning,
    host: String,
}

/// Asks the store for the file, or for a part of it.
async fn ask(store: &Client, url: &Url, asked: Option<&Asked>) -> Result<Answer, Fault> {
    let mut request = store.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if let Some(asked) = asked {
        request = request.header(RANGE, asked.range()).header(IF_MATCH, &asked.etag);
    }
    let response = request.send().await.map_err(|error| connection_fault(url, error))?;
    let (meaning, host) = (range::judge(&head(&response), asked), crate::inputs::host(response.url()));
    Ok(Answer { response, meaning, host })
}

impl Answer {
    fn unusable(&self, kind: Kind, what: &str) -> Fault {
        Fault::store(kind, format!("the store ({}) {what}", self.host))
    }

    async fn refusal(self, step: &Step<'_>) -> Fault {
        refusal(step, &self.host, self.response).await
    }
}

/// Tells now and then how far the download is.
struct Meter {
    at: Duration,
    held: u64,
}

impl Meter {
    fn read(&mut self, step: &Step<'_>, progress: Progress) {
        step.journal.borrow_mut().progress = Some(progress);
        let now = step.clock.now();
        let passed = now.saturating_sub(self.at);
        if passed < PROGRESS {
            return;
        }
        let share = progress.total.filter(|&total| total > 0).map(|total| {
            let percent = u128::from(progress.held) * 100 / u128::from(total);
            format!(" ({percent} %)")
        });
        let speed = figures::speed(progress.held.saturating_sub(self.held), passed);
        step.log.line(&format!("{progress}{}, {speed}", share.unwrap_or_default()));
        *self = Self { at: now, held: progress.held };
    }
}

fn head(response: &Response) -> Head {
    let header = |name| text(response.headers(), name).map(str::to_owned);
    // A coding can be named in a header of its own.
    let codings = response.headers().get_all(CONTENT_ENCODING).iter();
    let codings = codings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Head {
        status: response.status().as_u16(),
        etag: header(ETAG),
        length: header(CONTENT_LENGTH),
        range: header(CONTENT_RANGE),
        content_coding: codings.reduce(|all, coding| format!("{all},{coding}")),
        content_type: header(CONTENT_TYPE),
        transfer_coding: header(TRANSFER_ENCODING),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn connection_fault(url: &Url, error: reqwest::Error) -> Fault {
    let (kind, cause) = http::reduce(error);
    let host = crate::inputs::host(url);
    let words = match kind {
        Kind::Certificate => format!("the certificate of the store ({host}) cannot be trusted: {cause}"),
        Kind::Connect => format!("no connection to the store ({host}): {cause}"),
        Kind::StoreRedirect => format!("the store ({host}) {cause}"),
        _ => format!("no answer from the store ({host}): {cause}"),
    };
    Fault::store(kind, words)
}

/// What the store says instead of sending the file. Its `<Code>` tells more than the status: `AccessDenied` is an
/// expired URL, `NoSuchKey` a file that is gone.
async fn refusal(step: &Step<'_>, host: &str, response: Response) -> Fault {
    let status = response.status();
    let retry_after = http::retry_after(response.headers(), &step.clock);
    // Its words are worth some seconds, but not the whole timeout.
    let body = tokio::time::timeout(ERROR_TIME, http::small_body(response, LARGEST_ERROR)).await;
    let body = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
    let code = error_code(&body).filter(|code| !step.log.secrets().hold(code));
    let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
    let words = format!("the store ({host}) answered {}{code}", http::status_words(status));
    Fault { retry_after, ..Fault::store(Kind::Status(status.as_u16()), words) }
}

/// The `<Code>` of the store's error document: letters and digits alone, so that nothing else can be told by it.
fn error_code(body: &[u8]) -> Option<String> {
    const LONGEST: usize = 48;
    let body = String::from_utf8_lossy(body);
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.len() <= LONGEST && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::{Meter, error_code};
    use crate::clock::Clock;
    use crate::corpus;
    use crate::inputs;
    use crate::journal::{Journal, Progress};
    use crate::log::{Log, Reader};
    use crate::step::Step;

    #[derive(Clone, Default)]
    struct Lines(Rc<RefCell<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_five_seconds_the_log_tells_how_far_the_download_is() {
        let service = inputs::read(&[("INPUT_API_KEY".into(), "k".into())]).service.unwrap();
        let (clock, lines) = (Clock::start(), Lines::default());
        let (log, journal) =
            (Log::to(lines.clone(), lines.clone(), Reader::Other, clock), RefCell::new(Journal::default()));
        let step = Step { service: &service, clock, log: &log, journal: &journal };
        let mut meter = Meter { at: clock.now(), held: 0 };
        for (millis, held, total) in [
            (0, 1_000_000, Some(80_000_000)),
            (4_999, 9_000_000, Some(80_000_000)),
            (1, 20_000_000, Some(80_000_000)),
            (4_999, 30_000_000, Some(80_000_000)),
            (5_001, 50_000_000, None),
            (5_000, 0, Some(0)),
        ] {
            tokio::time::advance(std::time::Duration::from_millis(millis)).await;
            meter.read(&step, Progress { held, total });
        }
        let lines = String::from_utf8(lines.0.borrow().clone()).unwrap();
        assert_eq!(
            lines,
            "  0:05  20.0 MB of 80.0 MB (25 %), 4.0 MB/s\n  0:15  50.0 MB, 3.0 MB/s\n  0:20  0 bytes of 0 bytes, 0 bytes/s\n"
        );
        assert_eq!(journal.borrow().progress, Some(Progress { held: 0, total: Some(0) }));
    }

    #[test]
    fn only_a_plain_code_is_taken_from_the_stores_error() {
        for (body, code) in [
            (
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>",
                Some("AccessDenied"),
            ),
            ("<Code>NoSuchKey</Code><Code>Other</Code>", Some("NoSuchKey")),
            ("<Code></Code>", None),
            ("<Code>a b</Code>", None),
            ("<Code>::error::x</Code>", None),
            ("<Code>AccessDenied", None),
            ("", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), code, "{body}");
        }
        assert_eq!(error_code(format!("<Code>{}</Code>", "a".repeat(49)).as_bytes()), None);
    }

    /// What stores have sent, or could.
    const ERRORS: [&str; 14] = [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
        "<Error><Code>NoSuchKey</Code><Key>export_files/1.csv</Key></Error>",
        "\u{feff}<Error><Code>SlowDown</Code></Error>",
        "<Error xmlns=\"http://s3.amazonaws.com/doc/\"><s3:Code>AccessDenied</s3:Code></Error>",
        "<Error><Code lang=\"en\">AccessDenied</Code></Error>",
        "<Error><Code><![CDATA[::error::x]]></Code></Error>",
        "<Error><!-- <Code>Commented</Code> --><Code>Real</Code></Error>",
        "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Error><Code>&b;</Code></Error>",
        "<Error><Code>\r\n##[error]x</Code></Error>",
        "<Error><Code><Code><Code></Code></Code></Code></Error>",
        "<Error><Code>AccessDenied",
        "</Code><Code>",
        "<\0E\0r\0r\0o\0r\0>\0<\0C\0o\0d\0e\0>\0",
        "{\"error\":{\"code\":\"AuthenticationFailed\"}}",
    ];

    proptest! {
        #[test]
        fn of_no_error_more_than_a_plain_code_is_taken(body in corpus::mutated(&ERRORS)) {
            if let Some(code) = error_code(&body) {
                prop_assert!((1..=48).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }

        #[test]
        fn whatever_the_store_says_its_code_is_letters_and_digits(
            before in "(?:<Code>|</Code>|.)*",
            inside in "(?:<Code>|[A-Za-z0-9]|.)*",
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let body = [before.as_bytes(), &bytes, b"<Code>", inside.as_bytes(), b"</Code>"].concat();
            if let Some(code) = error_code(&body) {
                prop_assert!((1..=48).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
}
