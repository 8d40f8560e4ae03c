//! zstd with bounded memory: contexts are reused, and no frame decides how much is allocated for its content.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::stream::read::Decoder;

/// Level of what we write.
const LEVEL: i32 = 1;
/// Largest window that a frame may ask for, as a power of two: 128 MiB, the largest plain size of a blob.
const WINDOW_LOG_MAX: u32 = 27;
/// Most idle scratch sets kept.
const MAX_IDLE: usize = 8;
/// Largest scratch buffer that is kept: a full fixed-size chunk.
const MAX_KEPT_BUFFER: usize = 4 << 20;

/// zstd contexts and a buffer, used by one caller at a time.
struct Scratch {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let (compressor, decompressor) = (Compressor::new(LEVEL)?, Decompressor::new()?);
        Ok(Self { compressor, decompressor, buffer: Vec::new() })
    }
}

/// Idle scratch sets. A pool and not a set per thread: threads come and go, and only as many sets as are used at one
/// time should hold memory.
static IDLE: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());

/// Why a zstd stream was not decoded.
#[derive(Debug)]
pub(crate) enum ZstdFailure {
    /// The stream is broken, cut, or followed by something else.
    Broken(std::io::Error),
    /// The content is longer than the limit.
    TooLong,
}

/// Compresses `plain` into the front of `out`; returns the length, `None` when it does not fit.
pub(crate) fn compress(plain: &[u8], out: &mut [u8]) -> Option<usize> {
    with_scratch(|scratch| scratch.compressor.compress_to_buffer(plain, out)).ok()
}

/// Decodes a stream whose content has at most `limit` bytes and hands it to `look`; allocates no more than `limit`.
pub(crate) fn decompress_and<T>(stream: &[u8], limit: usize, look: impl FnOnce(&[u8]) -> T) -> Result<T, ZstdFailure> {
    let decoded = with_scratch(|scratch| {
        scratch.buffer.clear();
        scratch.buffer.reserve_exact(limit);
        scratch.decompressor.decompress_to_buffer(stream, &mut scratch.buffer)?;
        Ok(look(&scratch.buffer))
    });
    decoded.map_err(ZstdFailure::Broken)
}

/// Decodes a stream whose content has at most `limit` bytes into a new vector of exactly that capacity.
pub(crate) fn decompress_known(stream: &[u8], limit: usize) -> Result<Vec<u8>, ZstdFailure> {
    let mut plain = Vec::with_capacity(limit);
    with_scratch(|scratch| scratch.decompressor.decompress_to_buffer(stream, &mut plain))
        .map_err(ZstdFailure::Broken)?;
    Ok(plain)
}

/// Decodes a stream of unknown content length, growing with what really comes and never past `limit`.
///
/// The decoder's window takes up to 128 MiB besides, as far as the frame asks for it.
pub(crate) fn decompress_growing(stream: &[u8], limit: usize) -> Result<Vec<u8>, ZstdFailure> {
    const FIRST: usize = 64 << 10;
    let mut decoder = Decoder::with_buffer(stream).map_err(ZstdFailure::Broken)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(ZstdFailure::Broken)?;
    let mut plain = Vec::new();
    loop {
        let filled = plain.len();
        if filled == limit {
            let mut more = [0];
            let read = decoder.read(&mut more).map_err(ZstdFailure::Broken)?;
            return if read == 0 { Ok(plain) } else { Err(ZstdFailure::TooLong) };
        }
        let room = filled.max(FIRST).min(limit - filled);
        if filled == 0 {
            // Memory that is zero already: the first part is all there is of a manifest.
            plain = vec![0; room];
        } else {
            plain.reserve_exact(room);
            plain.resize(filled + room, 0);
        }
        let read = read_full(&mut decoder, &mut plain[filled..]).map_err(ZstdFailure::Broken)?;
        plain.truncate(filled + read);
        if read < room {
            return Ok(plain);
        }
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> std::io::Result<T>) -> std::io::Result<T> {
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut scratch = match idle {
        Some(scratch) => scratch,
        None => Scratch::new()?,
    };
    let result = work(&mut scratch);
    if scratch.buffer.capacity() > MAX_KEPT_BUFFER {
        scratch.buffer = Vec::new();
    }
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < MAX_IDLE {
        idle.push(scratch);
    }
    result
}
