//! A recording as steps, connections and exchanges, in the order of their times.

use std::collections::HashMap;

use serde_json::Value;

use crate::event::{BodyEvent, Event, H1, H2Message, H2Stream, StepEvent};

/// Headers of every request inside a session, before its content type.
const CONSTANT_HEADERS: [(&str, &str); 3] =
    [(":scheme", "https"), (":authority", "localhost:8007"), ("user-agent", "proxmox-backup-client/1.0")];

/// One recording. All times are milliseconds since it began.
#[derive(Debug, Clone)]
pub struct Recording {
    /// Name of its file, without the ending.
    pub name: &'static str,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One command of a stock program, with the connections it made.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it was for.
    pub name: String,
    /// Who ran it.
    pub identity: String,
    /// The command line.
    pub command: String,
    /// Its exit code.
    pub exit: i64,
    /// When it began.
    pub began: f64,
    /// In the order of their numbers.
    pub connections: Vec<Connection>,
}

/// One connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its number in the recording, from 1.
    pub number: u64,
    /// Which of the two recorded servers it went to.
    pub server: String,
    /// When it was opened.
    pub opened: f64,
    /// In the order in which they were asked.
    pub exchanges: Vec<Exchange>,
    /// How it ended.
    pub close: Close,
    /// Most requests that were open at once inside its session.
    pub most_open: u64,
    /// Requests that the recording has not.
    pub(crate) left_out: u64,
}

/// The end of a connection; all recorded ones were ended by the client.
#[derive(Debug, Clone, Default)]
pub struct Close {
    /// When.
    pub at: f64,
    /// Whether TLS was told so; else the socket just closed.
    pub notified: bool,
    /// Bytes inside TLS that the client had sent.
    pub client_bytes: u64,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Number of the HTTP/2 stream inside a session; `None` for HTTP/1.1.
    pub stream: Option<u64>,
    /// When the request began.
    pub asked: f64,
    /// When the answer was complete; without an answer, never.
    pub answered: f64,
    /// `GET` and so on.
    pub method: String,
    /// Path and query as sent, leading slashes included.
    pub target: String,
    /// In order; the names as sent. The pseudo headers of HTTP/2 but method and path are among them.
    pub headers: Vec<(String, String)>,
    /// The request's body, if it has one.
    pub body: Option<Body>,
    /// The answer; `None` when the client died before.
    pub answer: Option<Answer>,
    /// Whether this was recorded, or concluded from the rest of the recording.
    pub recorded: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line of HTTP/1.1.
    pub line: Option<String>,
    /// In order, without pseudo headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Body,
}

/// What is known of a body.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// Its length.
    pub length: u64,
    /// The whole of it, when it is JSON.
    pub json: Option<Value>,
    /// The whole of it, when it is text.
    pub text: Option<String>,
    /// Its first bytes.
    pub start: Vec<u8>,
    /// Its SHA-256 in hex.
    pub sha256: Option<String>,
    /// What the blob contains that it is: JSON as such, text as a string.
    pub blob: Option<Value>,
}

impl Recording {
    /// Returns the connections of all steps.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.steps.iter().flat_map(|step| &step.connections)
    }

    pub(crate) fn parse(name: &'static str, text: &str) -> Recording {
        let mut recording = Recording { name, steps: Vec::new() };
        let mut places: HashMap<u64, usize> = HashMap::new();
        for line in text.lines() {
            let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error} in {line:.200}"));
            match event {
                Event::Step(step) => recording.steps.push(Step::new(step)),
                Event::ConnOpen { conn, server, t } => {
                    places.insert(conn, recording.steps.len() - 1);
                    let step = recording.steps.last_mut().expect("a step comes first");
                    step.connections.push(Connection::new(conn, server, t * 1000.0));
                }
                Event::H1(h1) => recording.find(&places, h1.conn).push_h1(*h1),
                Event::H2Stream(stream) => recording.find(&places, stream.conn).push_stream(*stream),
                Event::H2Summary(summary) => {
                    let connection = recording.find(&places, summary.conn);
                    connection.most_open = summary.max_concurrent_requests;
                    connection.left_out = summary.streams_left_out_here;
                }
                Event::ConnClose(close) => {
                    let connection = recording.find(&places, close.conn);
                    connection.close = Close {
                        at: connection.opened + close.t,
                        notified: close.how == "close_notify",
                        client_bytes: close.bytes_client,
                    };
                }
                Event::Upgraded {}
                | Event::H2Preface {}
                | Event::H2Settings {}
                | Event::H2SettingsAck {}
                | Event::H2WindowUpdate {}
                | Event::H2Setup {}
                | Event::H2FrameLog {}
                | Event::H2Goaway {} => {}
            }
        }
        for connection in recording.steps.iter_mut().flat_map(|step| &mut step.connections) {
            connection.sort();
        }
        recording.repeat_bodies();
        recording.repeat_blobs();
        recording
    }

    fn find(&mut self, places: &HashMap<u64, usize>, number: u64) -> &mut Connection {
        let step = &mut self.steps[places[&number]];
        step.connections.iter_mut().find(|connection| connection.number == number).expect("it was opened")
    }

    /// Puts the bodies back that were recorded once for several connections: such a body has a length and nothing else.
    fn repeat_bodies(&mut self) {
        let mut seen: HashMap<(String, u64), Body> = HashMap::new();
        for exchange in self.steps.iter_mut().flat_map(|step| &mut step.connections).flat_map(|one| &mut one.exchanges)
        {
            let (None, Some(answer)) = (exchange.stream, &mut exchange.answer) else { continue };
            let key = (exchange.target.clone(), answer.body.length);
            if answer.body.json.is_some() {
                seen.insert(key, answer.body.clone());
            } else if answer.body.text.is_none() && answer.body.length > 0 {
                answer.body = seen.get(&key).cloned().expect("a repeated body was recorded before");
            }
        }
    }

    /// Puts the contents of blobs back that were recorded once for several connections. Blobs are equal when their first
    /// bytes are, for those have their checksum.
    fn repeat_blobs(&mut self) {
        let key = |body: &Body| (body.length, body.start.get(..16).map(<[u8]>::to_vec));
        let told = |body: &Body| body.blob.clone().filter(|blob| !is_reference(blob));
        let known: HashMap<_, Value> =
            self.bodies().filter_map(|body| told(body).map(|blob| (key(body), blob))).collect();
        for body in self.bodies() {
            if body.blob.as_ref().is_some_and(is_reference) {
                body.blob = Some(known[&key(body)].clone());
            }
        }
    }

    fn bodies(&mut self) -> impl Iterator<Item = &mut Body> {
        let connections = self.steps.iter_mut().flat_map(|step| &mut step.connections);
        connections.flat_map(|one| &mut one.exchanges).flat_map(|exchange| {
            exchange.body.iter_mut().chain(exchange.answer.as_mut().map(|answer| &mut answer.body))
        })
    }
}

/// Whether the content of a blob was replaced by a note where to find it.
fn is_reference(blob: &Value) -> bool {
    blob.as_str().is_some_and(|text| text.starts_with("same as in connection "))
}

impl Step {
    fn new(event: StepEvent) -> Step {
        Step {
            name: event.step,
            identity: event.identity,
            command: event.command,
            exit: event.exit,
            began: event.t * 1000.0,
            connections: Vec::new(),
        }
    }
}

impl Connection {
    fn new(number: u64, server: String, opened: f64) -> Connection {
        let close = Close::default();
        Connection { number, server, opened, exchanges: Vec::new(), close, most_open: 1, left_out: 0 }
    }

    /// Returns the exchanges of the session inside the connection.
    pub fn session(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().filter(|exchange| exchange.stream.is_some())
    }

    /// Returns the request that turned the connection into a session.
    pub fn upgrade(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.status() == Some(101))
    }

    pub(crate) fn sort(&mut self) {
        self.exchanges.sort_by(|a, b| a.asked.total_cmp(&b.asked).then(a.stream.cmp(&b.stream)));
    }

    fn push_h1(&mut self, event: H1) {
        let (method, target) = {
            let mut words = event.request.line.split(' ');
            (words.next().expect("a method").to_owned(), words.next().expect("a target").to_owned())
        };
        let status = event.response.line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        self.exchanges.push(Exchange {
            stream: None,
            asked: self.opened + event.t_req,
            answered: self.opened + event.t_resp_end,
            method,
            target,
            headers: event.request.headers,
            body: Some(Body::new(event.request.body)).filter(|body| body.length > 0),
            answer: Some(Answer {
                status,
                line: Some(event.response.line),
                headers: event.response.headers,
                body: Body::new(event.response.body),
            }),
            recorded: true,
        });
    }

    fn push_stream(&mut self, event: H2Stream) {
        let mut headers = event.request.headers;
        let mut take = |name: &str| {
            let at = headers.iter().position(|(key, _)| key == name).expect("a pseudo header");
            headers.remove(at).1
        };
        let (method, target) = (take(":method"), take(":path"));
        // Later connections of a recording leave out what is always the same.
        for (at, (name, value)) in CONSTANT_HEADERS.into_iter().enumerate() {
            if !headers.iter().any(|(key, _)| key == name) {
                headers.insert(at, (name.to_owned(), value.to_owned()));
            }
        }
        self.exchanges.push(Exchange {
            stream: Some(event.stream),
            asked: self.opened + event.t_req,
            answered: event.t_resp_end.map_or(f64::INFINITY, |end| self.opened + end),
            method,
            target,
            headers,
            body: event.request.body.map(Body::new),
            answer: event.response.filter(|_| !event.incomplete).map(Answer::of_stream),
            recorded: true,
        });
    }
}

impl Exchange {
    /// Returns the path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the query's parameters, decoded, in their order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Returns one parameter of the query.
    pub fn param(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns a header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// Returns what is behind `data` in the answer's JSON.
    pub fn data(&self) -> Option<&Value> {
        self.answer.as_ref()?.body.json.as_ref()?.get("data")
    }
}

impl Answer {
    fn of_stream(message: H2Message) -> Answer {
        let status = message.headers.iter().find(|(key, _)| key == ":status").and_then(|(_, code)| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            line: None,
            headers: message.headers.into_iter().filter(|(key, _)| !key.starts_with(':')).collect(),
            body: message.body.map(Body::new).unwrap_or_default(),
        }
    }

    /// Returns a header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Body {
    fn new(event: BodyEvent) -> Body {
        let start = event.first64.or(event.first16).unwrap_or_default();
        Body {
            length: event.length,
            json: event.json.filter(|_| event.same_body_as_connection.is_none()),
            text: event.text,
            start: hex::decode(start).expect("first bytes are hex"),
            sha256: event.sha256,
            blob: event.blob_decoded,
        }
    }

    /// Returns all of its bytes, when the recording has them.
    pub fn bytes(&self) -> Option<&[u8]> {
        (self.start.len() as u64 == self.length).then_some(&self.start)
    }
}
