//! Just enough HTTP to see that a server on this machine answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer.
const MOST: u64 = 16 * 1024 * 1024;

/// The body of an address; an error unless the status is 200.
pub(super) fn get(address: &str, path: &str, secret: Option<&str>) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("http://{address}{path}: {e}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let key = secret.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{key}\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).unwrap_or("no status");
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("http://{address}{path} answers {status}")) }
}

/// The first whole number under a name, in JSON of our own.
pub(super) fn number(json: &str, name: &str) -> Option<i64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_name() {
        assert_eq!(number(r#"{"members":30,"points":{"granted":-4}}"#, "granted"), Some(-4));
        assert_eq!(number(r#"{"members":"many"}"#, "members"), None);
    }
}
