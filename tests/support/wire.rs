//! A server that sends exactly the bytes that a test wants: cut, stalled, dripping or wrong.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::canary;

/// How long a test waits for an event before it fails. Much longer than any machine needs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A host name that no resolver can know: a label is empty. The system's resolver library rejects it without a query.
pub const UNKNOWN_HOST: &str = "webadmit..invalid";

/// What is done with a connection after a request has been read from it. After the last act, the next request is read,
/// unless the act ended the connection.
#[derive(Clone)]
pub enum Act {
    /// Bytes, as they are.
    Send(Vec<u8>),
    /// The same bytes again and again.
    Repeat(Vec<u8>, u64),
    /// Bytes, one at a time, with pauses between them.
    Drip(Vec<u8>, Duration),
    /// Bytes at a rate per second until so many more requests have come, and then the rest at once.
    Slow(Vec<u8>, u64, usize),
    /// Nothing for a while.
    Pause(Duration),
    /// Nothing until the gate is open.
    Await(Arc<Gate>),
    /// Nothing until the other side gives up.
    Hang,
    /// A clean end of the connection.
    Close,
    /// An end of the connection with a reset, as a broken network makes it.
    Reset,
    /// From now on, everything goes to this port of the same machine and back: what a proxy does after `CONNECT`.
    Tunnel(u16),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, whatever its letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Everything that was sent, as one text.
    pub fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, String::from_utf8_lossy(&self.body))
    }
}

/// Closed at first; a test opens it when something may go on.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = self.open.lock().unwrap();
        let _ = self.changed.wait_timeout_while(closed, PATIENCE, |open| !*open).unwrap();
    }
}

type Handler = dyn Fn(&Request) -> Vec<Act> + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
    requests: Mutex<Vec<Request>>,
    came: Condvar,
    /// Handles of all connections that are open, by the order in which they came.
    connections: Mutex<BTreeMap<usize, TcpStream>>,
    accepted: AtomicUsize,
    stopped: AtomicBool,
}

/// The server. It ends when it is dropped.
pub struct Wire {
    address: IpAddr,
    port: u16,
    shared: Arc<Shared>,
}

impl Wire {
    /// Starts a server that asks `handler` what to do with each request.
    pub fn start(handler: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::listen(IpAddr::V4(Ipv4Addr::LOCALHOST), None, handler)
    }

    /// The same on another address of this machine.
    pub fn start_at(address: IpAddr, handler: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::listen(address, None, handler)
    }

    /// Starts a server that speaks TLS.
    pub fn start_tls(tls: ServerConfig, handler: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::listen(IpAddr::V4(Ipv4Addr::LOCALHOST), Some(Arc::new(tls)), handler)
    }

    fn listen(
        address: IpAddr,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            tls,
            requests: Mutex::default(),
            came: Condvar::new(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A connection can be gone before it is accepted. The next ones are not to blame.
                let Ok(stream) = stream else { continue };
                let number = for_thread.accepted.fetch_add(1, Ordering::SeqCst);
                let Ok(handle) = stream.try_clone() else { continue };
                for_thread.connections.lock().unwrap().insert(number, handle);
                let shared = Arc::clone(&for_thread);
                thread::spawn(move || {
                    // An error here is the other side's end of the connection.
                    let _ = shared.serve(stream, number);
                    shared.connections.lock().unwrap().remove(&number);
                });
            }
        });
        Self { address, port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address; by its name where it speaks TLS.
    pub fn url(&self) -> String {
        match self.shared.tls {
            Some(_) => format!("https://localhost:{}", self.port),
            None => format!("http://{}:{}", self.address, self.port),
        }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    #[track_caller]
    pub fn wait_for_requests(&self, number: usize) {
        let requests = self.shared.requests.lock().unwrap();
        let (requests, _) =
            self.shared.came.wait_timeout_while(requests, PATIENCE, |requests| requests.len() < number).unwrap();
        assert!(requests.len() >= number, "{} of {number} requests came", requests.len());
    }
}

impl Drop for Wire {
    /// Whatever a test was about: no server has got a secret that is not for it.
    fn drop(&mut self) {
        if !thread::panicking() {
            self.requests().iter().for_each(canary::check);
        }
        self.shared.stopped.store(true, Ordering::SeqCst);
        for stream in self.shared.connections.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((self.address, self.port));
    }
}

/// A connection, encrypted or not.
trait Connection: Read + Write {
    /// Ends it cleanly.
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
            self.requests.lock().unwrap().push(request.clone());
            self.came.notify_all();
            for act in (self.handler)(&request) {
                let stream = connection.get_mut();
                match act {
                    Act::Send(bytes) => stream.write_all(&bytes)?,
                    Act::Repeat(bytes, times) => (0..times).try_for_each(|_| stream.write_all(&bytes))?,
                    Act::Drip(bytes, pause) => bytes.chunks(1).try_for_each(|byte| {
                        thread::sleep(pause);
                        stream.write_all(byte)
                    })?,
                    Act::Slow(bytes, per_second, requests) => {
                        let enough = self.requests.lock().unwrap().len().saturating_add(requests);
                        let part = usize::try_from(per_second / 200).unwrap().max(1);
                        bytes.chunks(part).try_for_each(|part| {
                            if self.requests.lock().unwrap().len() < enough {
                                thread::sleep(Duration::from_millis(5));
                            }
                            stream.write_all(part)
                        })?;
                    }
                    Act::Pause(time) => thread::sleep(time),
                    Act::Await(gate) => gate.pass(),
                    Act::Hang => return io::copy(&mut connection, &mut io::sink()).map(drop),
                    Act::Close => return stream.close(),
                    Act::Reset => {
                        // The reset goes out when the last handle is closed.
                        self.connections.lock().unwrap().remove(&number);
                        return SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    }
                    Act::Tunnel(port) => return tunnel(&socket, port),
                }
            }
        }
        Ok(())
    }
}

/// A port of this machine on which nobody listens, and that nobody else gets as long as this lives. A port that is only free
/// can become that of another test's server at any moment.
pub struct Nobody {
    _socket: Socket,
    address: SocketAddr,
}

impl Nobody {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { _socket: socket, address }
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A server that says something before it is asked, and then listens to the end: its port. It lives as long as the test's
/// process.
pub fn greeter(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.write_all(greeting).and_then(|()| io::copy(&mut stream, &mut io::sink()));
            });
        }
    });
    port
}

fn tunnel(here: &TcpStream, port: u16) -> io::Result<()> {
    let there = TcpStream::connect(("127.0.0.1", port))?;
    let (mut from_here, mut to_there) = (here.try_clone()?, there.try_clone()?);
    let (mut from_there, mut to_here) = (there, here.try_clone()?);
    let back = thread::spawn(move || {
        let _ = io::copy(&mut from_there, &mut to_here);
        to_here.shutdown(Shutdown::Both)
    });
    let _ = io::copy(&mut from_here, &mut to_there);
    to_there.shutdown(Shutdown::Both)?;
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

/// A whole answer. Its length is announced, unless the headers say something of it themselves.
pub fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = head(status, headers, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// The head of an answer whose body has so many bytes.
pub fn head(status: u16, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let tells = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !tells("content-length") && !tells("transfer-encoding") {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    (text + "\r\n").into_bytes()
}
