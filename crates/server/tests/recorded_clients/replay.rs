//! Plays recorded clients against a server, in the recorded order.
//!
//! Before a request is sent, every answer that had arrived by then when it was recorded has been received: as much runs at
//! the same time as did then, within a session and between connections, and no clock is needed.

use std::collections::HashMap;

use traces::{Connection, Exchange, Step, Twin};

use crate::compare;
use crate::requests::{self, Login, Wids};
use crate::site::Site;
use crate::wire::{RawAnswer, Session, Wire};

/// What happens, in the order of its times; of two things at the same time the first in this list comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answered(usize, usize),
    Closed(usize),
    Opened(usize),
    Asked(usize, usize),
}

/// When the session had ended that a new one had to wait for. Connections are placed in time to the millisecond only, so
/// that the two may seem to overlap.
fn end_of_session_before(connections: &[&Connection], exchange: &Exchange) -> f64 {
    if exchange.status() != Some(101) {
        return 0.0;
    }
    let finishes = connections.iter().flat_map(|connection| connection.session()).filter(|one| one.path() == "/finish");
    let earlier = finishes.filter(|finish| finish.asked < exchange.asked && finish.answered - exchange.asked < 1.0);
    earlier.map(|finish| finish.answered).fold(0.0, f64::max)
}

/// A player with what it remembers from one step to the next.
pub(crate) struct Player<'a> {
    site: &'a Site,
    twin: &'a Twin,
    login: Login,
    manifests: compare::Manifests,
    differences: Vec<String>,
}

/// A connection that is open.
#[derive(Default)]
struct Line {
    wire: Option<Wire>,
    session: Option<Session>,
    open: HashMap<usize, tokio::task::JoinHandle<RawAnswer>>,
    wids: Wids,
    finished: bool,
}

impl<'a> Player<'a> {
    pub(crate) fn new(site: &'a Site, twin: &'a Twin) -> Self {
        Self { site, twin, login: Login::default(), manifests: HashMap::new(), differences: Vec::new() }
    }

    /// Plays steps; those that overlap in time have to be played together.
    pub(crate) async fn play(&mut self, steps: &[Step]) {
        let connections: Vec<&Connection> = steps.iter().flat_map(|step| &step.connections).collect();
        let mut events = Vec::new();
        for (number, connection) in connections.iter().enumerate() {
            events.push((connection.opened, Event::Opened(number)));
            events.push((connection.close.at, Event::Closed(number)));
            for (position, exchange) in connection.exchanges.iter().enumerate() {
                let asked = exchange.asked.max(end_of_session_before(&connections, exchange));
                events.push((asked, Event::Asked(number, position)));
                if exchange.answer.is_some() {
                    events.push((exchange.answered, Event::Answered(number, position)));
                }
            }
        }
        events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut lines: HashMap<usize, Line> = HashMap::new();
        for (_, event) in events {
            match event {
                Event::Opened(number) => {
                    let wire = Some(Wire::connect(self.site.address).await);
                    lines.insert(number, Line { wire, ..Line::default() });
                }
                Event::Asked(number, position) => {
                    let line = lines.get_mut(&number).expect("a connection is opened first");
                    self.ask(line, position, connections[number]).await;
                }
                Event::Answered(number, position) => {
                    let line = lines.get_mut(&number).expect("a connection is opened first");
                    self.take_answer(line, position, &connections[number].exchanges[position]).await;
                }
                Event::Closed(number) => {
                    let line = lines.remove(&number).expect("a connection is opened first");
                    self.close(line, connections[number]).await;
                }
            }
        }
    }

    /// Fails the test when anything was answered otherwise than recorded.
    pub(crate) fn expect_no_differences(self) {
        assert!(self.differences.is_empty(), "{}\n", self.differences.join("\n"));
    }

    async fn ask(&mut self, line: &mut Line, position: usize, connection: &Connection) {
        let exchange = &connection.exchanges[position];
        if exchange.status() == Some(101) && exchange.path().ends_with("/backup") {
            crate::source::leave_behind(self.site, self.twin, connection).await;
        }
        let request = requests::prepare(self.twin, exchange, &self.site.secret, &self.login, &line.wids);
        if let (Some(body), Some(sent)) = (&exchange.body, &request.body)
            && exchange.param("file-name").as_deref() == Some(formats::MANIFEST_NAME)
        {
            let id = self.twin.manifest(body.blob.as_ref().expect("recorded manifests are decoded")).snapshot();
            self.manifests.insert(id, (body.length, sent.len() as u64));
        }
        match (&mut line.wire, &mut line.session) {
            (Some(_), _) if exchange.stream.is_some() => {
                panic!("{}: there is no session\n{}", exchange.target, self.differences.join("\n"))
            }
            (Some(wire), _) => {
                let first = format!("{} {} HTTP/1.1", exchange.method, request.target);
                wire.send(&first, &request.headers, &request.body.unwrap_or_default()).await;
            }
            (None, Some(session)) => {
                // A client that died in the middle of an upload had sent most of it.
                let cut = exchange.answer.is_none().then_some(request.body.as_ref().map_or(0, |body| body.len() / 2));
                let sending = session.send(&exchange.method, &request.target, &request.headers, request.body, cut);
                line.open.insert(position, sending.await);
            }
            (None, None) => panic!("{} on a closed connection", exchange.target),
        }
    }

    async fn take_answer(&mut self, line: &mut Line, position: usize, exchange: &Exchange) {
        let answer = match line.open.remove(&position) {
            Some(sending) => sending.await.unwrap_or_else(|error| panic!("{}: {error}", exchange.target)),
            None => {
                let answer = line.wire.as_mut().expect("an open connection").receive().await;
                answer.unwrap_or_else(|error| panic!("{} {}: {error}", exchange.method, exchange.target))
            }
        };
        self.learn(line, exchange, &answer);
        if !exchange.path().ends_with("_index") || exchange.method != "POST" {
            self.differences.extend(compare::differences(self.twin, &self.manifests, exchange, &answer));
        }
        if answer.status == 101 {
            line.session = Some(line.wire.take().expect("an open connection").upgrade().await);
        }
        line.finished |= exchange.path() == "/finish" && answer.status == 200;
    }

    /// Remembers tickets and numbers of writers.
    fn learn(&mut self, line: &mut Line, exchange: &Exchange, answer: &RawAnswer) {
        if exchange.path().ends_with("/access/ticket") && answer.status == 200 {
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let text = |name: &str| json["data"][name].as_str().unwrap_or_default().to_owned();
            self.login = Login { ticket: text("ticket"), csrf: text("CSRFPreventionToken") };
        }
        if exchange.path().ends_with("_index") && exchange.method == "POST" {
            // Two writers opened at the same moment get their numbers either way round.
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let (recorded, actual) = (exchange.data().and_then(|data| data.as_u64()), json["data"].as_u64());
            let mut translated = exchange.clone();
            if let (Some(recorded), Some(actual)) = (recorded, actual) {
                line.wids.insert(recorded, actual);
                let answer = translated.answer.as_mut().expect("it was answered");
                answer.body.json = Some(serde_json::json!({ "data": actual }));
            }
            self.differences.extend(compare::differences(self.twin, &self.manifests, &translated, answer));
        }
    }

    async fn close(&mut self, line: Line, connection: &Connection) {
        let (mut recorded, mut actual): (Vec<u64>, Vec<u64>) = line.wids.iter().map(|(a, b)| (*a, *b)).unzip();
        recorded.sort_unstable();
        actual.sort_unstable();
        if recorded != actual {
            self.differences.push(format!("writers {actual:?} instead of {recorded:?}"));
        }
        if let Some(wire) = line.wire {
            wire.close(connection.close.notified).await;
        }
        let Some(session) = line.session else { return };
        session.close(connection.close.notified).await;
        let upgrade = connection.upgrade().expect("a session has an upgrade");
        if upgrade.path().ends_with("/backup") && !line.finished {
            crate::source::wait_for_end_of_backup(self.site, upgrade).await;
        }
    }
}
