//! Whether a process could do to the daemon whatever it likes, so that it may as
//! well ask for it: the rule of ptrace(2) (kernel/ptrace.c, ptrace_may_access),
//! and the same pid namespace. Root of a container is not root here.

use std::io;
use std::path::PathBuf;

use super::proc::Proc;
use crate::lock::ids::Pid;

impl Proc {
    /// Whether `other` has the user, the namespaces and at least the capabilities of
    /// `own`. A no where that cannot be seen.
    ///
    /// # Errors
    /// When /proc fails.
    pub fn is_equal(&self, other: Pid, own: Pid) -> io::Result<bool> {
        let (Some(of_other), Some(of_own)) = (self.powers(other)?, self.powers(own)?) else {
            return Ok(false);
        };
        Ok(of_other.uids == of_own.uids
            && of_other.namespaces == of_own.namespaces
            && of_own.capabilities & !of_other.capabilities == 0)
    }

    fn powers(&self, pid: Pid) -> io::Result<Option<Powers>> {
        let Some(status) = self.status_text(pid)? else {
            return Ok(None);
        };
        let status = String::from_utf8_lossy(&status);
        let value = |key: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
        };
        let uids = value("Uid:").map(|ids| ids.split_whitespace().take(3).map(str::to_owned));
        let capabilities = value("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
        let (user, pids) = (self.namespace(pid, "user"), self.namespace(pid, "pid"));
        let (Some(uids), Some(capabilities), Some(user), Some(pids)) =
            (uids, capabilities, user, pids)
        else {
            return Ok(None);
        };
        Ok(Some(Powers {
            uids: uids.collect(),
            namespaces: [user, pids],
            capabilities,
        }))
    }
}

/// What a process may do.
struct Powers {
    /// Real, effective, saved.
    uids: Vec<String>,
    namespaces: [PathBuf; 2],
    capabilities: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OWN: u32 = 10;

    /// A /proc with the daemon, and another process that differs by `change`.
    fn is_equal(change: impl FnOnce(String) -> String, user: &str, pids: &str) -> bool {
        let root = tempfile::tempdir().unwrap();
        let status = "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t0000000000080024\n".to_owned();
        let put = |pid: u32, status: String, user: &str, pids: &str| {
            let dir = root.path().join(pid.to_string());
            std::fs::create_dir_all(dir.join("ns")).unwrap();
            std::fs::write(dir.join("status"), status).unwrap();
            std::os::unix::fs::symlink(user, dir.join("ns/user")).unwrap();
            std::os::unix::fs::symlink(pids, dir.join("ns/pid")).unwrap();
        };
        put(OWN, status.clone(), "user:[1]", "pid:[2]");
        put(20, change(status), user, pids);
        let proc = Proc::at(root.path().to_owned());
        let pid = |number| Pid::new(number).unwrap();
        assert!(!proc.is_equal(pid(30), pid(OWN)).unwrap(), "nobody");
        proc.is_equal(pid(20), pid(OWN)).unwrap()
    }

    #[test]
    fn one_with_the_same_or_more_is_equal() {
        assert!(is_equal(|same| same, "user:[1]", "pid:[2]"));
        let all = |status: String| status.replace("0000000000080024", "000001ffffffffff");
        assert!(is_equal(all, "user:[1]", "pid:[2]"));
    }

    #[test]
    fn any_less_is_not() {
        let less = |status: String| status.replace("080024", "080004");
        assert!(!is_equal(less, "user:[1]", "pid:[2]"));
        let user = |status: String| status.replace("Uid:\t0\t0", "Uid:\t1000\t0");
        assert!(!is_equal(user, "user:[1]", "pid:[2]"));
        assert!(!is_equal(|same| same, "user:[9]", "pid:[2]"));
        assert!(!is_equal(|same| same, "user:[1]", "pid:[9]"));
        assert!(!is_equal(|_| String::new(), "user:[1]", "pid:[2]"));
    }
}
