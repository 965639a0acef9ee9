//! A server that sends exactly the bytes that a test specifies: complete, cut, stalled, slow or wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::leaks;

/// How long a test waits for an event before it fails. Much longer than any machine needs.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(120);

/// A host name with an empty label. The system's resolver rejects it without a query.
pub const UNKNOWN_HOST: &str = "webadmit..invalid";

/// What a server does after it has read a request. After the last action, it reads the next request, unless the connection has
/// ended.
#[derive(Clone)]
pub enum Action {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends the same bytes a number of times.
    Repeat(Vec<u8>, u64),
    /// Sends one byte at a time, with a pause before each.
    Drip(Vec<u8>, Duration),
    /// Sends bytes at a limited rate. After `until_requests` more requests, sends the rest at once.
    Throttle { bytes: Vec<u8>, bytes_per_second: u64, until_requests: usize },
    /// Sends nothing until the test opens the gate.
    WaitFor(Arc<Gate>),
    /// Sends nothing until the client closes the connection.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets the connection, as a broken network does.
    Reset,
    /// Forwards everything to this port of the same machine and back, as a proxy does after `CONNECT`.
    Tunnel(u16),
}

/// A request as the server received it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the value of a header, whatever its letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Returns the bytes that `Range` asks for, of a file of `total` bytes. Empty if they are beyond its end.
    pub fn range(&self, total: u64) -> Option<Range<u64>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let end = last.parse::<u64>().map_or(total, |last| total.min(last + 1));
        Some(first.parse().ok()?..end)
    }

    /// Returns the whole request as one text.
    pub fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, String::from_utf8_lossy(&self.body))
    }
}

/// A gate that is closed until the test opens it.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let is_open = self.is_open.lock().unwrap();
        let _ = self.changed.wait_timeout_while(is_open, EVENT_TIMEOUT, |is_open| !*is_open).unwrap();
    }
}

type Handler = dyn Fn(&Request) -> Vec<Action> + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    requests_changed: Condvar,
    /// Handles of all open connections, in the order in which they were accepted.
    connections: Mutex<BTreeMap<usize, TcpStream>>,
    accepted: AtomicUsize,
    responding: Mutex<Responding>,
    is_stopped: AtomicBool,
}

/// The connections on which a response is being sent.
#[derive(Default)]
struct Responding {
    connections: BTreeSet<usize>,
    /// The most that there were at one time.
    max: usize,
}

/// An HTTP server on loopback. It stops when it is dropped.
pub struct Server {
    address: IpAddr,
    port: u16,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts a server that asks `handler` what to do with each request.
    pub fn start(handler: impl Fn(&Request) -> Vec<Action> + Send + Sync + 'static) -> Self {
        Self::listen(IpAddr::V4(Ipv4Addr::LOCALHOST), None, handler)
    }

    /// Starts a server on another address of this machine.
    pub fn start_at(address: IpAddr, handler: impl Fn(&Request) -> Vec<Action> + Send + Sync + 'static) -> Self {
        Self::listen(address, None, handler)
    }

    /// Starts a server that speaks TLS.
    pub fn start_tls(tls: ServerConfig, handler: impl Fn(&Request) -> Vec<Action> + Send + Sync + 'static) -> Self {
        Self::listen(IpAddr::V4(Ipv4Addr::LOCALHOST), Some(Arc::new(tls)), handler)
    }

    fn listen(
        address: IpAddr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Vec<Action> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            tls,
            requests: Mutex::default(),
            requests_changed: Condvar::new(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            responding: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        });

        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client can close its connection before it is accepted.
                let Ok(stream) = stream else { continue };
                let number = for_thread.accepted.fetch_add(1, Ordering::SeqCst);
                let Ok(handle) = stream.try_clone() else { continue };
                // Otherwise, the last byte of a response would wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                for_thread.connections.lock().unwrap().insert(number, handle);

                let shared = Arc::clone(&for_thread);
                thread::spawn(move || {
                    // An error here means that the client closed the connection.
                    let _ = shared.serve(stream, number);
                    shared.end_response(number);
                    shared.connections.lock().unwrap().remove(&number);
                });
            }
        });
        Self { address, port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its URL: with the host name where it speaks TLS, else with the address.
    pub fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}", self.port),
            None => format!("http://{}:{}", self.address, self.port),
        }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Returns how many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns how many responses it was sending at one time, at most. A response ends with its last byte, or when the client
    /// closes the connection.
    pub fn max_concurrent_responses(&self) -> usize {
        self.shared.responding.lock().unwrap().max
    }

    /// Waits until it has received this number of requests.
    #[track_caller]
    pub fn wait_for_requests(&self, number: usize) {
        let requests = self.shared.requests.lock().unwrap();
        let is_waiting = |requests: &mut Vec<Request>| requests.len() < number;
        let (requests, _) =
            self.shared.requests_changed.wait_timeout_while(requests, EVENT_TIMEOUT, is_waiting).unwrap();
        assert!(requests.len() >= number, "received {} of {number} requests", requests.len());
    }
}

impl Drop for Server {
    /// Checks that no request had a secret that is not for this server, whatever the test was about.
    fn drop(&mut self) {
        if !thread::panicking() {
            self.requests().iter().for_each(leaks::assert_no_leak);
        }
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        for stream in self.shared.connections.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect((self.address, self.port));
    }
}

/// A connection, encrypted or not.
trait Connection: Read + Write {
    fn close(&mut self) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}

impl Connection for StreamOwned<ServerConnection, TcpStream> {
    fn close(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        self.flush()?;
        self.sock.shutdown(Shutdown::Both)
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream, number: usize) -> io::Result<()> {
        let stream = socket.try_clone()?;
        let connection: Box<dyn Connection> = match &self.tls {
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, stream))
            }
            None => Box::new(stream),
        };
        let mut connection = BufReader::new(connection);

        while let Some(request) = read_request(&mut connection)? {
            self.begin_response(number);
            self.requests.lock().unwrap().push(request.clone());
            self.requests_changed.notify_all();

            let mut actions = (self.handler)(&request).into_iter().peekable();
            while let Some(action) = actions.next() {
                let stream = connection.get_mut();
                match action {
                    Action::Send(bytes) if actions.peek().is_none() => {
                        // After the last byte, the client can send its next request before this thread goes on.
                        let (bytes, last) = bytes.split_at(bytes.len().saturating_sub(1));
                        stream.write_all(bytes)?;
                        self.end_response(number);
                        stream.write_all(last)?;
                    }
                    Action::Send(bytes) => stream.write_all(&bytes)?,
                    Action::Repeat(bytes, times) => (0..times).try_for_each(|_| stream.write_all(&bytes))?,
                    Action::Drip(bytes, pause) => bytes.chunks(1).try_for_each(|byte| {
                        thread::sleep(pause);
                        stream.write_all(byte)
                    })?,
                    Action::Throttle { bytes, bytes_per_second, until_requests } => {
                        let limit = self.requests.lock().unwrap().len().saturating_add(until_requests);
                        let chunk_size = usize::try_from(bytes_per_second / 200).unwrap().max(1);
                        let (bytes, last) = bytes.split_at(bytes.len().saturating_sub(1));
                        bytes.chunks(chunk_size).try_for_each(|chunk| {
                            if self.requests.lock().unwrap().len() < limit {
                                thread::sleep(Duration::from_millis(5));
                            }
                            stream.write_all(chunk)
                        })?;
                        if actions.peek().is_none() {
                            self.end_response(number);
                        }
                        stream.write_all(last)?;
                    }
                    Action::WaitFor(gate) => gate.wait(),
                    Action::Hang => return io::copy(&mut connection, &mut io::sink()).map(drop),
                    Action::Close => {
                        self.end_response(number);
                        return stream.close();
                    }
                    Action::Reset => {
                        self.end_response(number);
                        // The system sends the reset when the last handle is closed.
                        self.connections.lock().unwrap().remove(&number);
                        return SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    }
                    Action::Tunnel(port) => return tunnel(&socket, port),
                }
            }
            self.end_response(number);
        }
        Ok(())
    }

    /// Counts the responses that are being sent, with the one on this connection.
    fn begin_response(&self, number: usize) {
        let mut responding = self.responding.lock().unwrap();
        let connections = self.connections.lock().unwrap();
        responding.connections.retain(|number| connections.get(number).is_some_and(|stream| !is_closed(stream)));
        responding.connections.insert(number);
        responding.max = responding.max.max(responding.connections.len());
    }

    fn end_response(&self, number: usize) {
        self.responding.lock().unwrap().connections.remove(&number);
    }
}

/// Returns whether the client has closed the connection, which a thread that sends a response notices later.
fn is_closed(stream: &TcpStream) -> bool {
    // The flags MSG_PEEK and MSG_DONTWAIT of Linux.
    match SockRef::from(stream).recv_with_flags(&mut [MaybeUninit::uninit()], 0x02 | 0x40) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn tunnel(client: &TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port))?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let (mut from_server, mut to_client) = (server, client.try_clone()?);

    let back = thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        to_client.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut from_client, &mut to_server);
    to_server.shutdown(Shutdown::Both)?;
    back.join().unwrap()
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());

    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }

    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// A port of this machine that refuses connections, and that no other server gets while this value lives.
pub struct ClosedPort {
    _socket: Socket,
    address: SocketAddr,
}

impl ClosedPort {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { _socket: socket, address }
    }

    /// Returns host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts a server that speaks plain text at once, before any TLS handshake, and returns its port. It lives as long as the
/// test process.
pub fn server_without_tls() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let greeting =
                    stream.write_all(b"HTTP/1.1 400 The plain HTTP request was sent to an HTTPS port\r\n\r\n");
                let _ = greeting.and_then(|()| io::copy(&mut stream, &mut io::sink()));
            });
        }
    });
    port
}

/// Sends a whole response.
pub fn respond(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<Action> {
    vec![Action::Send(response(status, headers, body))]
}

/// Returns a whole response. Its length is announced, unless the headers do that themselves.
pub fn response(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [&head(status, headers, body.len()), body].concat()
}

/// Returns the head of a response whose body has `length` bytes.
pub fn head(status: u16, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    (text + "\r\n").into_bytes()
}

/// Returns the start of a response, up to this number of bytes of its body.
pub fn cut(response: &[u8], body_length: usize) -> Vec<u8> {
    let end = body_start(response) + body_length;
    response[..end.min(response.len())].to_vec()
}

/// Returns where the body of a response starts.
pub fn body_start(response: &[u8]) -> usize {
    response.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4
}
