//! A small HTTP/1.1 client over a socket, which sends what a test writes and hides nothing: header
//! names as they came, chunks, trailers. Like Go's, it announces no `TE: trailers`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection that is kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// A reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in the case they came in.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its end as its headers promised.
    pub whole: bool,
}

impl Answer {
    /// A header, by its name in exactly this case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header, by its name in any case; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// What the trailer tells of a failure.
    pub fn stream_error(&self) -> Option<&str> {
        let found = self.trailers.iter().find(|(known, _)| known == "X-Stream-Error");
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Connection {
    /// Asks the gateway for `length` bytes of content from `start` on: the time to the first of them,
    /// and all of them.
    pub fn range(&mut self, path: &str, start: usize, length: usize) -> (Duration, Vec<u8>) {
        let range = format!("bytes={start}-{}", start + length - 1);
        let request = head("GET", path, &[("Range", &range)]);
        let request = request.replace("Host: localhost", "Host: 127.0.0.1");
        let since = Instant::now();
        assert!(self.write(request.as_bytes()));
        let (status, _) = self.head();
        let mut body = self.bytes(1);
        let first = since.elapsed();
        body.extend(self.bytes(length - 1));
        assert_eq!(status, 206, "{range}");
        (first, body)
    }

    pub fn open(address: &str) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Writes bytes as they are; the peer may have closed already.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Sends a request without a body and reads its reply.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.write(head(method, target, headers).as_bytes());
        self.answer()
    }

    /// Reads a whole reply.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// The same from a peer that may die.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let answer = self.part(false)?;
        if answer.whole { Ok(answer) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads a reply as far as it comes; one to HEAD has no body, whatever its headers say.
    fn part(&mut self, head: bool) -> io::Result<Answer> {
        let (status, headers) = self.try_head()?;
        let (body, trailers) = (Vec::new(), Vec::new());
        let mut answer = Answer { status, headers, body, trailers, whole: true };
        if head || status == 304 {
            return Ok(answer);
        }
        if answer.field("Transfer-Encoding") == "chunked" {
            answer.whole = loop {
                match self.try_chunk() {
                    Ok(Some(chunk)) => answer.body.extend(chunk),
                    Ok(None) => break true,
                    Err(_) => break false,
                }
            };
            if answer.whole {
                answer.trailers = self.try_fields()?;
            }
        } else if let Ok(length) = answer.field("Content-Length").parse::<u64>() {
            // A connection that breaks leaves what came.
            let _ = self.stream.by_ref().take(length).read_to_end(&mut answer.body);
            answer.whole = answer.body.len() as u64 == length;
        }
        Ok(answer)
    }

    /// Reads a reply's first line and headers.
    pub fn head(&mut self) -> (u16, Vec<(String, String)>) {
        self.try_head().unwrap()
    }

    fn try_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {line:?}"));
        Ok((status.parse().unwrap(), self.try_fields()?))
    }

    /// Reads so many bytes of a body.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one chunk; none at the end, behind which the trailers stand.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().unwrap()
    }

    fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let len = usize::from_str_radix(&self.line()?, 16).unwrap();
        if len == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; len + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(len);
        Ok(Some(chunk))
    }

    /// Reads header or trailer fields to their end.
    pub fn fields(&mut self) -> Vec<(String, String)> {
        self.try_fields().unwrap()
    }

    fn try_fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { return Ok(fields) };
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

/// The text of a request without a body.
pub fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

/// Sends a request as it is, on a connection of its own, and reads the reply as far as it comes.
pub fn send(address: &str, request: &[u8], head: bool) -> Answer {
    let mut connection = Connection::open(address);
    // A listener may refuse a request before it has read all of it.
    connection.write(request);
    connection.part(head).unwrap()
}

/// `METHOD path` at an address, with headers beside `Host` and `Connection`.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let named = headers.iter().any(|(name, _)| *name == "Host");
    let host = [("Host", address)];
    let own = if named { &[][..] } else { &host };
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in own.iter().chain(headers) {
        request += &format!("{name}: {value}\r\n");
    }
    send(address, (request + "\r\n").as_bytes(), method == "HEAD")
}

/// A multipart body of one file, and the header that tells of it.
pub fn multipart(name: &str, content: &[u8]) -> (&'static str, Vec<u8>) {
    let head = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    ("multipart/form-data; boundary=edge", [head.as_bytes(), content, b"\r\n--edge--\r\n"].concat())
}

/// Posts on a connection of its own.
pub fn post(address: &str, target: &str) -> Answer {
    Connection::open(address).request("POST", target, &[])
}

/// Uploads one file on a connection of its own.
pub fn upload(address: &str, target: &str, content: &[u8]) -> Answer {
    try_upload(address, target, content).unwrap()
}

/// The same to a peer that may die.
pub fn try_upload(address: &str, target: &str, content: &[u8]) -> io::Result<Answer> {
    let (kind, body) = multipart("f", content);
    let length = body.len().to_string();
    let headers = [("Content-Type", kind), ("Content-Length", length.as_str())];
    let mut connection = Connection::new(TcpStream::connect(address)?);
    connection.write(head("POST", target, &headers).as_bytes());
    connection.write(&body);
    connection.try_answer()
}
