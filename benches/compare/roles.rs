//! This program as another process: a server, a holder, a client that counts.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{cycles, floor, growth, handover};

/// Plays a role.
pub fn play(name: &str, args: &[&str]) {
    match (name, args) {
        ("floor", [dir]) => floor::serve(Path::new(dir)),
        ("cycle", [kind, path]) => cycles::count(kind, Path::new(path)),
        ("hold", [path]) => handover::hold(Path::new(path)),
        ("wait", [path]) => handover::wait(Path::new(path)),
        ("claim", [path]) => handover::claim(Path::new(path)),
        ("boards", [dir, count]) => growth::hold(Path::new(dir), count.parse().unwrap()),
        _ => panic!("no role: {name} {args:?}"),
    }
}

/// Such a process; it is killed at the end.
pub struct Role {
    pub child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    pub fn start(args: &[&str]) -> Role {
        Role::start_on(false, args)
    }

    /// The same, on the first core only.
    pub fn start_on(first_core: bool, args: &[&str]) -> Role {
        let program = std::env::current_exe().unwrap();
        let mut command = if first_core {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", "0"]).arg(program);
            taskset
        } else {
            Command::new(program)
        };
        let mut child = command
            .arg("role")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut role = Role {
            child,
            stdin,
            stdout,
        };
        assert_eq!(role.line(), "ready");
        role
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(
            self.stdout.read_line(&mut line).unwrap() > 0,
            "it has ended"
        );
        line.trim_end().to_owned()
    }

    pub fn say(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").unwrap();
    }

    /// Does what it is told; the moment that it names.
    pub fn told(&mut self, word: &str) -> u64 {
        self.say(word);
        self.line().parse().unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line to who started us.
pub fn say(what: impl std::fmt::Display) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}
