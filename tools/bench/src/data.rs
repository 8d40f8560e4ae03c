//! Synthetic input, and the machine's own rates.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use crate::MIB;

/// Writes `bytes` of reproducible data: in every 4 MiB, the first half is random and the second compressible text.
pub(crate) fn write_image(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut block = vec![0; 1 << 20];
    for position in 0..bytes / MIB {
        let random = position % 4 < 2;
        for word in block.chunks_exact_mut(8) {
            let value = next();
            // Eight letters out of sixteen: four bits of information in every byte.
            let letters = (value & 0x0f0f_0f0f_0f0f_0f0f) + 0x6161_6161_6161_6161;
            word.copy_from_slice(&if random { value } else { letters }.to_le_bytes());
        }
        out.write_all(&block)?;
    }
    out.flush()?;
    Ok(())
}

/// Sum of the chunk files' lengths below a datastore.
pub(crate) fn stored_bytes(store: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for file in chunk_files(store)? {
        bytes += fs::metadata(file)?.len();
    }
    Ok(bytes)
}

/// SHA-256 of one core, in MiB/s.
pub(crate) fn sha256_rate() -> f64 {
    let block = vec![0x5a; 4 << 20];
    let begin = Instant::now();
    for _ in 0..128 {
        black_box(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, black_box(&block)));
    }
    512.0 / begin.elapsed().as_secs_f64()
}

/// Copies every chunk file into one directory, in MiB/s of stored bytes.
pub(crate) fn copy_rate(store: &Path, scratch: &Path) -> anyhow::Result<f64> {
    let target = scratch.join("copy");
    fs::create_dir(&target)?;
    let files = chunk_files(store)?;
    let begin = Instant::now();
    let mut bytes = 0;
    for (number, file) in files.iter().enumerate() {
        bytes += fs::copy(file, target.join(number.to_string()))?;
    }
    let rate = bytes as f64 / MIB as f64 / begin.elapsed().as_secs_f64();
    fs::remove_dir_all(&target)?;
    Ok(rate)
}

fn chunk_files(store: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for directory in fs::read_dir(store.join(".chunks"))? {
        for file in fs::read_dir(directory?.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}
