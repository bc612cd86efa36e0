//! A proxy before the S3 server that does to some requests what networks and servers do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request as the rules see it.
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
    }

    pub fn is_put_of(&self, part: &str) -> bool {
        self.method == "PUT" && self.target.contains(part)
    }
}

/// What becomes of a request.
pub enum Fate {
    Forward,
    /// Forwarded without a header.
    Without(&'static str),
    /// Answered so, and not forwarded.
    Answer(u16),
    /// Forwarded, and answered so.
    DoneThenAnswer(u16),
    /// Not forwarded; the connection ends without an answer.
    Reset,
    /// Forwarded; the connection ends without an answer.
    DoneThenReset,
    /// Forwarded; the connection ends in the middle of the answer's body.
    HalfAnswer,
}

/// A proxy with one rule; ends when dropped.
pub struct Proxy {
    pub port: u16,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(server: u16, rule: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, rule) = (Arc::new(AtomicBool::new(false)), Arc::new(rule));
        let end = ended.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let rule = rule.clone();
                // A client that goes away in between is no failure of the proxy.
                std::thread::spawn(move || handle(client, server, rule.as_ref()).ok());
            }
        });
        Self { port, ended }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// One request a connection.
fn handle(mut client: TcpStream, server: u16, rule: &impl Fn(&Request) -> Fate) -> std::io::Result<()> {
    let request = read(&client)?;
    let fate = rule(&request);
    let without = if let Fate::Without(header) = fate { Some(header) } else { None };
    let answer = match fate {
        Fate::Answer(status) => status_line(status),
        Fate::Reset => return client.shutdown(Shutdown::Both),
        _ => forward(&request, server, without)?,
    };
    match fate {
        Fate::DoneThenReset => return client.shutdown(Shutdown::Both),
        Fate::DoneThenAnswer(status) => client.write_all(&status_line(status))?,
        Fate::HalfAnswer => {
            let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default() + 4;
            client.write_all(&answer[..head + (answer.len() - head) / 2])?;
        }
        _ => client.write_all(&answer)?,
    }
    client.shutdown(Shutdown::Both)
}

fn status_line(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Because\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

fn read(client: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(request)
}

fn forward(request: &Request, server: u16, without: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server))?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        if !name.eq_ignore_ascii_case("connection") && !without.is_some_and(|other| name.eq_ignore_ascii_case(other)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
