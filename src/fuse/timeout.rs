//! How long a request may wait for its answer. Since Linux 6.15 an administrator
//! can limit that for all FUSE mounts; the kernel aborts one that is slower, and
//! with it go all boards. Waits for a board last as long as they must, so they are
//! sent back to the kernel before (`crate::process::nudge`).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where the kernel's limits are, in seconds, 0 for none (sysctl/fs.rst).
const LIMITS: &str = "/proc/sys/fs/fuse";

/// The kernel looks each 15 s and takes no shorter limit (FUSE_TIMEOUT_TIMER_FREQ).
const SHORTEST: u64 = 15;

/// Until when a request has to be answered, from its arrival on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the kernel was told to allow.
    pub allowed: Duration,
    /// When to send a wait back to the kernel: late enough not to be a cost,
    /// early enough for what is next.
    pub send_back: Duration,
    /// When to end one with an error, since sending it back has come to nothing.
    pub give_up: Duration,
}

impl Limits {
    fn of(allowed: Duration) -> Limits {
        Limits {
            allowed,
            send_back: allowed / 2,
            give_up: allowed / 4 * 3,
        }
    }
}

/// The limits of a mount whose handshake has just been done; none on most
/// systems. Later changes do not concern it.
///
/// # Errors
/// When they are there and cannot be read.
pub fn limits() -> io::Result<Option<Limits>> {
    read(Path::new(LIMITS))
}

fn read(dir: &Path) -> io::Result<Option<Limits>> {
    let seconds = |name: &str| match fs::read_to_string(dir.join(name)) {
        Ok(text) => text
            .trim()
            .parse::<u64>()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {text:?}"))),
        // A kernel that has no such limit.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    let allowed = in_force(
        seconds("default_request_timeout")?,
        seconds("max_request_timeout")?,
    );
    Ok(allowed.map(|allowed| Limits::of(Duration::from_secs(allowed))))
}

/// The limit of a mount whose daemon asks for none, which fuser cannot: the
/// default, but no longer than the longest (`init_server_timeout` in
/// fs/fuse/inode.c).
fn in_force(default: u64, longest: u64) -> Option<u64> {
    let limit = match (default, longest) {
        (0, 0) => return None,
        (0, limit) | (limit, 0) => limit,
        (default, longest) => default.min(longest),
    };
    Some(limit.max(SHORTEST))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As measured with Linux 6.18: the mount went at the first multiple of 15 s
    /// at which the wait was older than this.
    #[test]
    fn the_limit_is_the_kernels() {
        for (default, longest, limit) in [
            (0, 0, None),
            (0, 15, Some(15)),
            (0, 3, Some(15)),
            (5, 0, Some(15)),
            (20, 0, Some(20)),
            (31, 0, Some(31)),
            (60, 20, Some(20)),
            (10, 60, Some(15)),
            (65535, 65535, Some(65535)),
        ] {
            assert_eq!(in_force(default, longest), limit, "{default} {longest}");
        }
    }

    #[test]
    fn the_limits_are_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None, "an older kernel");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("default_request_timeout", "0\n");
        write("max_request_timeout", "0\n");
        assert_eq!(read(dir.path()).unwrap(), None);
        write("max_request_timeout", "60\n");
        let limits = read(dir.path()).unwrap().unwrap();
        assert_eq!(limits.allowed, Duration::from_secs(60));
        assert_eq!(limits.send_back, Duration::from_secs(30));
        assert_eq!(limits.give_up, Duration::from_secs(45));
        write("default_request_timeout", "many\n");
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("default_request_timeout"), "{error}");
    }

    #[test]
    fn there_is_time_between_them() {
        for allowed in [15, 16, 17, 65535] {
            let limits = Limits::of(Duration::from_secs(allowed));
            let second = Duration::from_secs(1);
            assert!(limits.send_back + second < limits.give_up);
            assert!(limits.give_up + second < limits.allowed);
        }
    }
}
