//! Whose side this process is on.

/// More than there are processes above any other.
const DEEPEST: usize = 1000;

/// Whether a process is this one, or above it: what it holds, this one may let go of.
pub fn is_above(pid: u32) -> bool {
    let mut at = std::process::id();
    for _ in 0..DEEPEST {
        if at == pid {
            return true;
        }
        match parent(at) {
            Some(parent) if parent > 0 => at = parent,
            _ => return false,
        }
    }
    false
}

fn parent(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = text.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::is_above;

    #[test]
    fn what_is_above() {
        assert!(is_above(std::process::id()));
        assert!(is_above(std::os::unix::process::parent_id()));
        assert!(!is_above(u32::MAX));
    }
}
