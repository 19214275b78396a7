//! An answer as the tests look at it, and requests written byte by byte for those that no client would send.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

/// An answer, as text.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every value of a header that may be there more than once.
    pub(crate) fn headers_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status and hands out the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// A member of the body that is text.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let json = self.json();
        json[member].as_str().unwrap_or_else(|| panic!("no {member} in {json}")).to_owned()
    }

    /// Asserts that this is a whole problem, with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.is_whole_problem().json()["code"], code, "{}", self.body);
        self
    }

    /// Asserts that this is a problem as RFC 9457 and the house want it, whatever it is about.
    #[track_caller]
    pub(crate) fn is_whole_problem(&self) -> &Self {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["type"], format!("urn:sesame:problem:{}", json["code"].as_str().unwrap()));
        assert_eq!(json["status"], self.status);
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"));
        for member in ["title", "detail", "instance"] {
            assert!(!json[member].as_str().unwrap().is_empty(), "{member}");
        }
        self
    }

    /// Asserts that the first complaint is about this field.
    #[track_caller]
    pub(crate) fn names_field(&self, field: &str) {
        assert_eq!(self.json()["errors"][0]["field"], field, "{}", self.body);
    }
}

/// Sends one request made of these lines.
pub(crate) fn ask(address: SocketAddr, head: &str, headers: &[&str], body: &str) -> Reply {
    let mut request = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Transfer-Encoding") || header.starts_with("Content-Length")) {
        request.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    request.push_str("\r\n");
    request.push_str(body);
    send(address, request.as_bytes())
}

/// Sends these bytes on a connection of their own and reads to its end.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(address).unwrap();
    // A server may answer and close before it has read everything; its answer counts.
    _ = socket.write_all(request);
    let mut bytes = Vec::new();
    _ = socket.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Reply { status, headers, body: body.to_owned() }
}
