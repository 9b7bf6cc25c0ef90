//! The log of the system: syslog(3)'s socket, on which journald, rsyslog and others
//! listen (RFC 3164, as glibc writes it).
//!
//! Each record is sent by the path of the socket, so that a log daemon that was started
//! anew is found again. While there is none, records wait for the next one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where whoever keeps the log of the system listens (`_PATH_LOG` of glibc).
const SOCKET: &str = "/dev/log";

/// LOG_DAEMON of syslog.h, in place.
const DAEMON: u8 = 3 << 3;

/// LOG_INFO, for what says nothing of itself.
const INFO: u8 = 6;

/// Records that wait for whoever keeps the log.
const WAITING: usize = 4096;

/// Whether anybody listens for a log of the system now.
pub fn is_there() -> bool {
    send(Path::new(SOCKET), &[]).is_ok()
}

/// A writer that takes one record at a time, `<LEVEL>text` (sd-daemon(3)).
#[derive(Debug)]
pub struct SystemLog {
    socket: PathBuf,
    waiting: VecDeque<Vec<u8>>,
    dropped: u64,
}

impl SystemLog {
    /// One that sends to the log of this system.
    pub fn new() -> SystemLog {
        SystemLog::at(SOCKET.into())
    }

    fn at(socket: PathBuf) -> SystemLog {
        SystemLog {
            socket,
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Sends what waits, in order, as far as it gets.
    fn send_waiting(&mut self) {
        while let Some(first) = self.waiting.front() {
            if self.dropped > 0 {
                let text = format!("{} log lines were dropped: nobody listened", self.dropped);
                if send(&self.socket, &message(format!("<4>{text}").as_bytes())).is_err() {
                    return;
                }
                self.dropped = 0;
            }
            match send(&self.socket, first) {
                // One that is too long for the socket would wait for ever.
                Err(error) if error.raw_os_error() != Some(libc::EMSGSIZE) => return,
                _ => self.waiting.pop_front(),
            };
        }
    }
}

impl Default for SystemLog {
    fn default() -> Self {
        SystemLog::new()
    }
}

impl Write for SystemLog {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(message(record));
        self.send_waiting();
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_waiting();
        Ok(())
    }
}

fn send(socket: &Path, message: &[u8]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(message, socket).map(drop)
}

/// `<PRIORITY>boardlock[PID]: text`; whoever receives it knows the time.
fn message(record: &[u8]) -> Vec<u8> {
    let (level, text) = match record {
        [b'<', level @ b'0'..=b'7', b'>', text @ ..] => (level - b'0', text),
        text => (INFO, text),
    };
    let head = format!("<{}>boardlock[{}]: ", DAEMON | level, std::process::id());
    let mut message = head.into_bytes();
    message.extend(text.strip_suffix(b"\n").unwrap_or(text));
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_message_is_as_syslog_writes_it() {
        let pid = std::process::id();
        let text = |record: &str| String::from_utf8(message(record.as_bytes())).unwrap();
        assert_eq!(text("<3>no\n"), format!("<27>boardlock[{pid}]: no"));
        assert_eq!(text("<6>a: b\n"), format!("<30>boardlock[{pid}]: a: b"));
        assert_eq!(text("plain"), format!("<30>boardlock[{pid}]: plain"));
        assert_eq!(text("<9>x"), format!("<30>boardlock[{pid}]: <9>x"));
    }

    #[test]
    fn what_nobody_hears_waits_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = SystemLog::at(path.clone());
        log.write_all(b"<6>one\n").unwrap();
        log.write_all(b"<6>two\n").unwrap();
        let hear = |socket: &UnixDatagram| {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.rsplit(' ').next().unwrap().to_owned()
        };
        // The second daemon has a socket of its own in the same place.
        for words in [&["one", "two", "three"][..], &["four", "three"]] {
            let socket = UnixDatagram::bind(&path).unwrap();
            if words.len() == 2 {
                log.flush().unwrap();
            }
            log.write_all(b"<6>three\n").unwrap();
            for word in words {
                assert_eq!(hear(&socket), *word);
            }
            drop(socket);
            std::fs::remove_file(&path).unwrap();
            log.write_all(b"<6>four\n").unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = SystemLog::at(path.clone());
        for _ in 0..WAITING + 3 {
            log.write_all(b"<6>x\n").unwrap();
        }
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        });
        log.waiting.truncate(1);
        log.flush().unwrap();
        let heard = heard.join().unwrap();
        assert!(heard.contains("]: 3 log lines were dropped"), "{heard}");
    }
}
