//! What the programs have in common that speak to the kit in `bench/ann`: its files, its messages, its clock.

#![allow(dead_code, reason = "not every program uses all of it")]

use serde_json::Value;
use std::io::Read;

/// `Result` with any error.
pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Numbers of a `.npy` file in C order: columns, and the bytes of all, or of so many rows of 4-byte numbers at least.
pub fn npy(path: &str, rows: Option<usize>) -> Result<(usize, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path)?;
    match rows {
        Some(rows) => {
            Read::take(&mut file, 256).read_to_end(&mut bytes)?;
            let columns = String::from_utf8_lossy(&bytes)
                .split("'shape': (")
                .nth(1)
                .and_then(|rest| rest.split(')').next()?.split(',').nth(1)?.trim().parse::<u64>().ok());
            file.take(columns.unwrap_or(1) * rows as u64 * 4).read_to_end(&mut bytes)?;
        }
        None => _ = file.read_to_end(&mut bytes)?,
    }
    let length = bytes.get(8..10).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes).ok_or("no npy file")?;
    let (header, body) = bytes.split_at_checked(10 + usize::from(length)).ok_or("a short npy file")?;
    let header = String::from_utf8_lossy(header);
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).ok_or("no shape")?;
    let columns = shape.split(',').nth(1).and_then(|n| n.trim().parse().ok()).unwrap_or(1);
    Ok((columns, body.to_vec()))
}

/// Words of four bytes.
pub fn words<T>(bytes: &[u8], of: impl Fn([u8; 4]) -> T) -> Vec<T> {
    bytes.chunks_exact(4).filter_map(|b| b.try_into().ok()).map(of).collect()
}

/// Writes a `.npy` file.
pub fn write_npy(path: &str, kind: &str, shape: &[usize], body: &[u8]) -> Result<()> {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({},), }}", shape.join(", "));
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(body);
    Ok(std::fs::write(path, out)?)
}

/// A text in a message.
pub fn text<'m>(message: &'m Value, field: &str) -> Result<&'m str> {
    message.get(field).and_then(Value::as_str).ok_or_else(|| format!("no {field}").into())
}

/// A number in a message.
pub fn number(message: &Value, field: &str) -> Result<usize> {
    message.get(field).and_then(Value::as_u64).map(|n| n as usize).ok_or_else(|| format!("no {field}").into())
}

/// CPU seconds of this process.
pub fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Writes what a search has found, `k` ids a query, and how long each query took in each turn, where that is wanted.
pub fn write_found(message: &Value, ids: &[i64], k: usize, latencies: &[f64]) -> Result<()> {
    let count = ids.len() / k.max(1);
    let body: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    write_npy(text(message, "ids")?, "<i8", &[count, k], &body)?;
    match message.get("latencies").and_then(Value::as_str).filter(|_| !latencies.is_empty()) {
        Some(path) => {
            let body: Vec<u8> = latencies.iter().flat_map(|seconds| seconds.to_le_bytes()).collect();
            write_npy(path, "<f8", &[latencies.len() / count.max(1), count], &body)
        }
        None => Ok(()),
    }
}
