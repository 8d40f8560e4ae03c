//! Speaking to a running task: a Unix socket for each, one line of JSON either way.
//!
//! ```text
//! {"command":"set","rate-out":"2MiB"}      ->  {"ok":true}
//! {"command":"status"}                     ->  {"ok":true,"state":"running", ...}
//! {"command":"resume"}                     ->  {"error":"it is not paused"}
//! ```
//!
//! The socket is made by the process that runs the task and lies about as a file when that was killed; then nobody answers.

use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use formats::Upid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

/// Longest line either way, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// How long an answer is waited for, and a request by who answers it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest path a socket can have, in bytes; a longer one takes a detour.
const MAX_SOCKET_PATH: usize = 107;

/// What a running task can be asked for. What it cannot do it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Request {
    /// To end soon, as failed.
    Stop,
    /// To hold until it may go on.
    Pause,
    /// To go on.
    Resume,
    /// To change its rates for the rest of the run.
    Set {
        /// Most it may receive in a second, as a rate of `sync.cfg`; `None` changes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_in: Option<String>,
        /// Most it may send in a second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_out: Option<String>,
    },
    /// To say how it goes.
    Status,
}

/// A request, and who it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is asked for.
    pub request: Request,
    /// Who asks: whoever the sender speaks for, else the user at the other end of the socket.
    pub who: String,
}

/// A request as it travels.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(flatten)]
    request: Request,
    /// For whom the sender speaks. It is taken at its word: who may use the socket may do anything to the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// What a running task answers: `{"ok":true, ...}` or `{"error":"..."}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(
    /// What it says beyond `ok`, or why it refuses.
    pub Result<Map<String, Value>, String>,
);

impl Answer {
    /// Done; there is nothing to say.
    pub fn ok() -> Self {
        Self(Ok(Map::new()))
    }

    /// Refused.
    pub fn error(reason: impl Into<String>) -> Self {
        Self(Err(reason.into()))
    }

    fn to_line(&self) -> String {
        let mut object = Map::new();
        match &self.0 {
            Ok(more) => {
                object.insert("ok".to_owned(), Value::Bool(true));
                object.extend(more.clone());
            }
            Err(reason) => {
                object.insert("error".to_owned(), Value::String(reason.clone()));
            }
        }
        format!("{}\n", Value::Object(object))
    }

    fn parse(line: &str) -> Option<Self> {
        let Ok(Value::Object(mut object)) = serde_json::from_str(line) else { return None };
        match (object.remove("ok"), object.remove("error")) {
            (_, Some(Value::String(reason))) => Some(Self(Err(reason))),
            (Some(Value::Bool(true)), None) => Some(Self(Ok(object))),
            _ => None,
        }
    }
}

/// Why a task could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens: it has ended, has not begun, or takes no requests.
    #[error("task {0} does not listen: it has ended, or has not begun yet")]
    Nobody(Box<Upid>),
    /// It does not answer as it should.
    #[error("task {upid} gave no answer")]
    NoAnswer {
        /// The task.
        upid: Box<Upid>,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It answered that it will not.
    #[error("task {upid} refuses: {reason}")]
    Refused {
        /// The task.
        upid: Box<Upid>,
        /// Why.
        reason: String,
    },
}

/// The socket of a task in the directory of such sockets: process and number of the task, in hex.
pub fn socket_path(dir: &Path, upid: &Upid) -> PathBuf {
    dir.join(format!("{:08X}-{:08X}.sock", upid.pid, upid.task_id))
}

/// Sends one request to the task `upid` and waits for its answer, at most some seconds.
///
/// # Errors
/// [`ControlError`]: nobody listens, there is no answer, or it is a refusal.
pub fn send(dir: &Path, upid: &Upid, request: &Request) -> Result<Map<String, Value>, ControlError> {
    send_for(dir, upid, request, None)
}

/// As [`send`], on behalf of somebody whom the log of the task is to name.
///
/// # Errors
/// As [`send`].
pub fn send_for(
    dir: &Path,
    upid: &Upid,
    request: &Request,
    by: Option<&str>,
) -> Result<Map<String, Value>, ControlError> {
    let path = socket_path(dir, upid);
    let stream = reach(&path, |short| UnixStream::connect(short));
    let stream = stream.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::Nobody(Box::new(upid.clone())),
        _ => ControlError::NoAnswer { upid: Box::new(upid.clone()), source },
    })?;
    let envelope = Envelope { request: request.clone(), by: by.map(str::to_owned) };
    let answer =
        ask(stream, &envelope).map_err(|source| ControlError::NoAnswer { upid: Box::new(upid.clone()), source })?;
    answer.0.map_err(|reason| ControlError::Refused { upid: Box::new(upid.clone()), reason })
}

fn ask(mut stream: UnixStream, request: &Envelope) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    Answer::parse(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("`{}`", line.trim_end())))
}

/// The listening end of a task's socket. Dropping it removes the socket.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: tokio::net::UnixListener,
}

impl Listener {
    /// Makes the socket of the task `upid`; one that a dead process left is replaced. Needs a runtime of tokio.
    ///
    /// # Errors
    /// The directory or the socket cannot be made.
    pub fn bind(dir: &Path, upid: &Upid) -> io::Result<Self> {
        // Only the user and group of the service get as far as the socket.
        DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        let path = socket_path(dir, upid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = reach(&path, |short| tokio::net::UnixListener::bind(short))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
        Ok(Self { path, listener })
    }

    /// Answers requests with `answer`, one after the other, until dropped.
    pub async fn serve<A, F>(&self, answer: A)
    where
        A: Fn(Asked) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let answer = Arc::new(answer);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let answer = Arc::clone(&answer);
                    tokio::spawn(async move {
                        // Who asked may have gone; that is no concern of the task.
                        let _ = tokio::time::timeout(2 * PATIENCE, reply(stream, &*answer)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take requests to a running task");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that stays is taken for what it is: nobody listens.
        let _ = fs::remove_file(&self.path);
    }
}

async fn reply<A, F>(mut stream: tokio::net::UnixStream, answer: &A) -> io::Result<()>
where
    A: Fn(Asked) -> F,
    F: Future<Output = Answer>,
{
    let uid = stream.peer_cred()?.uid();
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    tokio::io::BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(Envelope { request, by }) => {
            let who = by.map_or_else(|| user_name(uid), |by| by.chars().filter(|c| !c.is_control()).take(64).collect());
            answer(Asked { request, who }).await
        }
        Err(error) => Answer::error(format!("not understood: {error}")),
    };
    writer.write_all(answer.to_line().as_bytes()).await
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| format!("user {}", user.name))
}

/// Calls `work` with a path to the same socket that is short enough for one.
fn reach<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH {
        return work(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return work(path) };
    let dir = fs::File::open(dir)?;
    work(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{new_upid, superuser};

    fn upid() -> Upid {
        new_upid("syncjob", None, superuser())
    }

    async fn send_from_elsewhere(
        dir: &Path,
        upid: &Upid,
        request: Request,
    ) -> Result<Map<String, Value>, ControlError> {
        let (dir, upid) = (dir.to_owned(), upid.clone());
        tokio::task::spawn_blocking(move || send(&dir, &upid, &request)).await.unwrap()
    }

    #[test]
    fn requests_and_answers_are_one_line_of_json() {
        let set = Request::Set { rate_in: None, rate_out: Some("2MiB".to_owned()) };
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"{"command":"set","rate-out":"2MiB"}"#);
        assert_eq!(serde_json::from_str::<Request>(r#"{"command":"stop"}"#).unwrap(), Request::Stop);
        assert_eq!(Answer::ok().to_line(), "{\"ok\":true}\n");
        assert_eq!(Answer::error("no").to_line(), "{\"error\":\"no\"}\n");
    }

    #[tokio::test]
    async fn a_task_answers_or_refuses_also_where_paths_are_long() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("x".repeat(100)).join("control");
        let upid = upid();
        let listener = Listener::bind(&dir, &upid).unwrap();
        let serving = tokio::spawn(async move {
            listener
                .serve(|asked| async move {
                    match asked.request {
                        Request::Status => Answer(Ok([("who".to_owned(), asked.who.into())].into_iter().collect())),
                        _ => Answer::error("not now"),
                    }
                })
                .await;
        });

        let status = send_from_elsewhere(&dir, &upid, Request::Status).await.unwrap();
        assert_eq!(status["who"], user_name(nix::unistd::geteuid().as_raw()));
        let (there, task) = (dir.clone(), upid.clone());
        let told = tokio::task::spawn_blocking(move || send_for(&there, &task, &Request::Status, Some("alice@pbs")));
        assert_eq!(told.await.unwrap().unwrap()["who"], "alice@pbs");
        let refused = send_from_elsewhere(&dir, &upid, Request::Pause).await.unwrap_err();
        assert!(matches!(&refused, ControlError::Refused { reason, .. } if reason == "not now"), "{refused}");

        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        assert!(!socket_path(&dir, &upid).exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_process_answers_nobody_and_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let upid = upid();
        assert!(matches!(send(root.path(), &upid, &Request::Stop), Err(ControlError::Nobody(_))));

        let path = socket_path(root.path(), &upid);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(matches!(send(root.path(), &upid, &Request::Stop), Err(ControlError::Nobody(_))));

        Listener::bind(root.path(), &upid).unwrap();
    }
}
