//! The lines of a recording as they are.

use serde::Deserialize;
use serde_json::Value;

/// One line. Lines about settings, windows and frames are known but not used.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    Step(StepEvent),
    ConnOpen { conn: u64, server: String, t: f64 },
    H1(Box<H1>),
    Upgraded {},
    H2Preface {},
    H2Settings {},
    H2SettingsAck {},
    H2WindowUpdate {},
    H2Setup {},
    H2Stream(Box<H2Stream>),
    H2Summary(Summary),
    H2FrameLog {},
    H2Goaway {},
    ConnClose(ConnClose),
}

#[derive(Deserialize)]
pub(crate) struct StepEvent {
    pub(crate) step: String,
    pub(crate) identity: String,
    pub(crate) command: String,
    pub(crate) exit: i64,
    pub(crate) t: f64,
}

#[derive(Deserialize)]
pub(crate) struct H1 {
    pub(crate) conn: u64,
    pub(crate) t_req: f64,
    pub(crate) request: H1Message,
    pub(crate) t_resp_end: f64,
    pub(crate) response: H1Message,
}

#[derive(Deserialize)]
pub(crate) struct H1Message {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: BodyEvent,
}

#[derive(Deserialize)]
pub(crate) struct H2Stream {
    pub(crate) conn: u64,
    pub(crate) stream: u64,
    pub(crate) t_req: f64,
    pub(crate) t_resp_end: Option<f64>,
    pub(crate) request: H2Message,
    pub(crate) response: Option<H2Message>,
    #[serde(default)]
    pub(crate) incomplete: bool,
}

#[derive(Deserialize)]
pub(crate) struct H2Message {
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<BodyEvent>,
}

#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) conn: u64,
    pub(crate) max_concurrent_requests: u64,
    #[serde(default)]
    pub(crate) streams_left_out_here: u64,
}

#[derive(Deserialize)]
pub(crate) struct ConnClose {
    pub(crate) conn: u64,
    pub(crate) t: f64,
    pub(crate) how: String,
    pub(crate) bytes_client: u64,
}

#[derive(Deserialize)]
pub(crate) struct BodyEvent {
    pub(crate) length: u64,
    pub(crate) json: Option<Value>,
    pub(crate) text: Option<String>,
    pub(crate) first64: Option<String>,
    pub(crate) first16: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) blob_decoded: Option<Value>,
    pub(crate) same_body_as_connection: Option<u64>,
}
