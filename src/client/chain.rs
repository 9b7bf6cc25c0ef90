//! How a holder was found, in words: the chain `touch < sh -c < make`.

use crate::process::Lists;

/// The longest chain that is kept; what is longer ends in dots.
const CUT: &str = "...";

/// A process of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As the chain names it.
    pub name: String,
    /// What it has to do with the board.
    pub means: String,
}

/// What a chain ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process that holds.
    Holder,
    /// A session manager: nobody is left to hold.
    Manager,
}

/// The names of a chain, from the tool up.
fn names(via: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut begin, mut quotes, mut escaped) = (0, false, false);
    for (at, c) in via.char_indices() {
        match c {
            '"' if !escaped => quotes = !quotes,
            '<' if !quotes => {
                names.push(via.get(begin..at).unwrap_or_default().trim());
                begin = at + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    names.push(via.get(begin..).unwrap_or_default().trim());
    names
}

/// Each process of a chain and what it means.
pub fn links(via: &str, end: End) -> Vec<Link> {
    let (via, written) = match via.strip_suffix(" (written)") {
        Some(via) => (via, true),
        None => (via, false),
    };
    if let Some(means) = no_chain(via) {
        return vec![Link {
            name: via.to_owned(),
            means: means.to_owned(),
        }];
    }
    let lists = Lists::default();
    let names = names(via);
    let count = names.len();
    let mut subshell = false;
    let mut links = Vec::with_capacity(count);
    for (at, name) in names.into_iter().enumerate() {
        let last = at + 1 == count;
        let means = if last && name.ends_with(CUT) {
            "and so on; the chain is longer than what is kept of it".to_owned()
        } else if let Some(shell) = name.strip_suffix(" (subshell)") {
            let first = !subshell;
            subshell = true;
            match (end, first) {
                (End::Manager, _) => format!("a forked {shell}"),
                (_, true) => format!("a forked {shell}; it holds, and then its shell"),
                (_, false) => format!("a forked {shell}, which comes next"),
            }
        } else if last {
            ending(name, count, end, subshell, written)
        } else {
            passing(name, at, &lists)
        };
        links.push(Link {
            name: name.to_owned(),
            means,
        });
    }
    links
}

/// What stands there where there was no chain to be followed.
fn no_chain(via: &str) -> Option<&'static str> {
    Some(match via {
        "flock(2)" | "fcntl(2)" => {
            "locks it; the process that opened the file shows, and it goes with the lock"
        }
        "taken over" => "it stood in a lock file from before the directory was served",
        "another pid namespace" => "the process that took it cannot be seen from here",
        _ => return None,
    })
}

fn ending(name: &str, count: usize, end: End, subshell: bool, written: bool) -> String {
    match (end, subshell, count) {
        (End::Manager, _, _) => {
            "starts sessions: no process is left to hold, the user alone does".to_owned()
        }
        (_, true, _) => "the shell that it was forked from".to_owned(),
        (End::Holder, _, _) if written => "holds: its pid was written into the file".to_owned(),
        (End::Holder, _, 1) => "took it itself, and holds".to_owned(),
        (End::Holder, _, _) if name.ends_with(" -c") => {
            "has more to do than to take it, so it holds".to_owned()
        }
        (End::Holder, _, _) => "still has something to do, so it holds".to_owned(),
    }
}

fn passing(name: &str, at: usize, lists: &Lists) -> String {
    let plain = name.trim_matches('"');
    let plain = plain.strip_suffix(" -c").unwrap_or(plain);
    if name.ends_with(" -c") {
        "does nothing but take boards".to_owned()
    } else if lists.takes_only(plain) {
        "only takes boards for what started it".to_owned()
    } else if lists.only_runs(plain) || at > 0 {
        "only runs another program".to_owned()
    } else {
        "only works for what started it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(via: &str, end: End) -> Vec<String> {
        let told = |link: Link| format!("{}: {}", link.name, link.means);
        links(via, end).into_iter().map(told).collect()
    }

    #[test]
    fn chains_to_a_holder() {
        assert_eq!(
            told("touch < sh -c < make", End::Holder),
            [
                "touch: only takes boards for what started it",
                "sh -c: does nothing but take boards",
                "make: still has something to do, so it holds",
            ]
        );
        assert_eq!(
            told("touch < sudo < bash (subshell) < bash", End::Holder),
            [
                "touch: only takes boards for what started it",
                "sudo: only runs another program",
                "bash (subshell): a forked bash; it holds, and then its shell",
                "bash: the shell that it was forked from",
            ]
        );
        assert_eq!(
            told("python3", End::Holder),
            ["python3: took it itself, and holds"]
        );
        assert_eq!(
            told("sleep (written)", End::Holder),
            ["sleep: holds: its pid was written into the file"]
        );
    }

    #[test]
    fn other_ends() {
        assert_eq!(
            told("touch < sshd-session", End::Manager)
                .last()
                .map(String::as_str),
            Some("sshd-session: starts sessions: no process is left to hold, the user alone does")
        );
    }

    #[test]
    fn what_is_no_chain() {
        assert_eq!(
            told("taken over", End::Holder),
            ["taken over: it stood in a lock file from before the directory was served"]
        );
        assert!(
            told("flock(2)", End::Holder)
                .concat()
                .contains("goes with the lock")
        );
    }

    #[test]
    fn names_in_quotes_are_one() {
        assert_eq!(
            names("\"touch < \\\"sshd\" < bash"),
            ["\"touch < \\\"sshd\"", "bash"]
        );
        assert_eq!(names(""), [""]);
        assert_eq!(names("touch < b..."), ["touch", "b..."]);
    }
}
