//! Response bodies, and reading request bodies with a limit.

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::error::ApiError;

/// Something kept alive until a body was sent or dropped: a connection's busy mark, a share of a memory budget.
pub(crate) type Held = Box<dyn Any + Send>;

/// A response body that is in memory.
pub(crate) struct Body {
    bytes: Option<Bytes>,
    announce: bool,
    _held: Vec<Held>,
}

impl Body {
    /// A body whose length is announced.
    pub(crate) fn sized(bytes: Bytes) -> Self {
        Self { bytes: (!bytes.is_empty()).then_some(bytes), announce: true, _held: Vec::new() }
    }

    /// A body that ends with its stream, as file downloads do.
    pub(crate) fn streamed(bytes: Bytes) -> Self {
        Self { announce: false, ..Self::sized(bytes) }
    }

    /// No body.
    pub(crate) fn empty() -> Self {
        Self::sized(Bytes::new())
    }

    /// Keeps `held` until this body is gone.
    pub(crate) fn hold(mut self, held: Held) -> Self {
        self._held.push(held);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.announce && self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len) as u64;
        if self.announce {
            SizeHint::with_exact(length)
        } else {
            let mut hint = SizeHint::new();
            hint.set_lower(length);
            hint
        }
    }
}

/// Reads a whole body of less than `limit` bytes, within `patience`.
///
/// # Errors
/// 400 when the body is longer, breaks off or is not there in time.
pub(crate) async fn read_limited(body: Incoming, limit: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let reading = async {
        let mut parts = Parts::default();
        let mut body = body;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::bad_request(format!("reading the request failed: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if parts.length + data.len() >= limit {
                return Err(ApiError::bad_request(format!("request body is not below {limit} bytes")));
            }
            parts.push(data);
        }
        Ok(parts.join())
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::bad_request("request body did not arrive in time")),
    }
}

/// Reads a body that must be exactly `length` bytes long; no two of its frames may be `patience` apart.
///
/// # Errors
/// 400 when it is shorter, longer, breaks off or stalls.
pub(crate) async fn read_exact(mut body: Incoming, length: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let mut parts = Parts::default();
    loop {
        let next = tokio::time::timeout(patience, body.frame()).await;
        let Some(frame) = next.map_err(|_| ApiError::bad_request("upload stalled"))? else { break };
        let frame = frame.map_err(|error| ApiError::bad_request(format!("upload broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if parts.length + data.len() > length {
            return Err(ApiError::bad_request(format!("upload is longer than the announced {length} bytes")));
        }
        parts.push(data);
    }
    if parts.length < length {
        let got = parts.length;
        return Err(ApiError::bad_request(format!("upload ended after {got} of the announced {length} bytes")));
    }
    Ok(parts.join())
}

/// Reads a body and throws it away.
///
/// # Errors
/// 400 when it breaks off.
pub(crate) async fn discard(mut body: Incoming) -> Result<(), ApiError> {
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| ApiError::bad_request(format!("upload broke off: {error}")))?;
    }
    Ok(())
}

/// Frames of a body. One frame is handed on as it is, several are copied together once.
#[derive(Default)]
struct Parts {
    first: Option<Bytes>,
    more: Vec<Bytes>,
    length: usize,
}

impl Parts {
    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.length += data.len();
        if self.first.is_none() {
            self.first = Some(data);
        } else {
            self.more.push(data);
        }
    }

    fn join(self) -> Bytes {
        let Some(first) = self.first else { return Bytes::new() };
        if self.more.is_empty() {
            return first;
        }
        let mut whole = BytesMut::with_capacity(self.length);
        whole.extend_from_slice(first.chunk());
        for part in self.more {
            whole.extend_from_slice(&part);
        }
        whole.freeze()
    }
}
