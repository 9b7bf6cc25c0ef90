//! Made-up /proc trees.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use crate::lock::caller::{Caller, Candidate, Standing};
use crate::lock::ids::{Gid, Pid, ProcessId, Uid, User};
use crate::process::{Lists, Pin, Proc, Reach, Resolver};

/// A process to be written into a tree.
#[derive(Clone)]
pub struct P {
    pub comm: String,
    pub argv: Vec<String>,
    pub exe: Option<String>,
    pub flags: u32,
    pub leader: bool,
    pub state: char,
    pub uid: u32,
    pub nspid: Vec<u32>,
    /// Where it hangs if not below the next of its chain.
    pub ppid: Option<u32>,
    pub start: Option<u64>,
}

pub fn argv<S: Into<String> + Clone>(comm: &str, words: &[S]) -> P {
    let argv: Vec<String> = words.iter().cloned().map(Into::into).collect();
    let exe = argv.first().map(|word| match word.strip_prefix('/') {
        Some(_) => word.clone(),
        None => format!("/usr/bin/{}", word.trim_start_matches('-')),
    });
    P {
        comm: comm.chars().take(15).collect(),
        argv,
        exe,
        flags: 0x40_0000,
        leader: false,
        state: 'S',
        uid: 1000,
        nspid: Vec::new(),
        ppid: None,
        start: None,
    }
}

/// A program with simple words.
pub fn prog(line: &str) -> P {
    let words: Vec<&str> = line.split(' ').collect();
    argv(words[0].rsplit('/').next().unwrap(), &words)
}

/// A shell run with `-c`.
pub fn sh(shell: &str, string: &str) -> P {
    argv(shell, &[shell, "-c", string])
}

/// A script by its `#!` line.
pub fn script(interpreter: &str, name: &str) -> P {
    argv(name, &[interpreter, &format!("./{name}")])
}

/// A daemon with a title instead of words.
pub fn daemon(comm: &str) -> P {
    argv(comm, &[&format!("{comm}: title")]).exe(Some("/usr/sbin/daemon"))
}

impl P {
    pub fn forked(mut self) -> P {
        self.flags |= 0x40;
        self
    }
    pub fn leader(mut self) -> P {
        self.leader = true;
        self
    }
    pub fn exe(mut self, exe: Option<&str>) -> P {
        self.exe = exe.map(str::to_owned);
        self
    }
    pub fn uid(mut self, uid: u32) -> P {
        self.uid = uid;
        self
    }
    pub fn state(mut self, state: char) -> P {
        self.state = state;
        self
    }
    pub fn ns(mut self, own: &[u32]) -> P {
        self.nspid = own.to_vec();
        self
    }
    pub fn below(mut self, ppid: u32) -> P {
        self.ppid = Some(ppid);
        self
    }
    pub fn start(mut self, start: u64) -> P {
        self.start = Some(start);
        self
    }
}

pub struct Tree {
    pub dir: TempDir,
    pub lists: Lists,
}

pub const USER: User = User {
    uid: Uid(1000),
    gid: Gid(1000),
};

pub fn pid(number: u32) -> Pid {
    Pid::new(number).unwrap()
}

/// The pid of a chain's first process; the one above it has the next lower.
pub const REQUESTER: u32 = 100;

impl Tree {
    pub fn new() -> Tree {
        let tree = Tree {
            dir: TempDir::new().unwrap(),
            lists: Lists::default(),
        };
        tree.put(1, 0, 1, &prog("/sbin/init").uid(0));
        tree
    }

    /// A tree with one chain, the requester first, the last one below pid 1.
    pub fn chain(chain: &[P]) -> Tree {
        let tree = Tree::new();
        let mut session = 1;
        let last = REQUESTER + 1 - chain.len() as u32;
        for (at, process) in chain.iter().enumerate().rev() {
            let number = REQUESTER - at as u32;
            let ppid = if number == last { 1 } else { number - 1 };
            if process.leader {
                session = number;
            }
            tree.put(number, ppid, session, process);
        }
        tree
    }

    pub fn put(&self, number: u32, ppid: u32, session: u32, p: &P) {
        let dir = self.dir.path().join(number.to_string());
        fs::create_dir_all(&dir).unwrap();
        let ppid = p.ppid.unwrap_or(ppid);
        let start = p.start.unwrap_or(u64::from(number) * 10);
        let stat = format!(
            "{number} ({}) {} {ppid} {number} {session} 0 -1 {} 1 2 3 4 5 6 7 8 20 0 1 0 {start} 9 9\n",
            p.comm, p.state, p.flags
        );
        fs::write(dir.join("stat"), stat).unwrap();
        let mut nspid = vec![number];
        nspid.extend(&p.nspid);
        let nspid: Vec<String> = nspid.iter().map(u32::to_string).collect();
        let status = format!(
            "Name:\t{}\nTgid:\t{number}\nPid:\t{number}\nPPid:\t{ppid}\n\
             Uid:\t1\t2\t3\t{uid}\nGid:\t1\t2\t3\t{uid}\nGroups:\t4 5 \nNSpid:\t{}\n",
            p.comm,
            nspid.join("\t"),
            uid = p.uid,
        );
        fs::write(dir.join("status"), status).unwrap();
        let words: String = p.argv.iter().map(|word| format!("{word}\0")).collect();
        fs::write(dir.join("cmdline"), words).unwrap();
        if let Some(exe) = &p.exe {
            let _ = fs::remove_file(dir.join("exe"));
            symlink(exe, dir.join("exe")).unwrap();
        }
    }

    /// A thread of a process: its status is all that is read of it.
    pub fn thread(&self, tid: u32, of: u32) {
        let dir = self.dir.path().join(tid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let status = fs::read_to_string(self.dir.path().join(format!("{of}/status"))).unwrap();
        fs::write(dir.join("status"), status).unwrap();
    }

    pub fn resolver(&self) -> Resolver {
        Resolver::new(Proc::at(self.dir.path().to_owned()), self.lists.clone())
    }

    pub fn caller(&self, reach: Reach) -> (Caller, Vec<Pin>) {
        self.resolver()
            .caller(Some(pid(REQUESTER)), USER, reach)
            .unwrap()
    }

    /// What the rules make of the requester, in short.
    pub fn verdict(&self) -> String {
        let (caller, pins) = self.caller(Reach::Holder);
        let lineage: Vec<ProcessId> = pins.iter().map(|pin| pin.process).collect();
        assert_eq!(lineage, caller.lineage());
        match &caller.standing {
            Standing::Process(candidate) => shown(candidate),
            Standing::Detached(via) => format!("detached via {via}"),
            Standing::Orphan(via) => format!("orphan via {via}"),
            Standing::Unseen => "unseen".into(),
        }
    }

    pub fn written(&self, writer: u32, number: u64) -> String {
        match self.resolver().written(pid(writer), number).unwrap() {
            Some((candidate, pins)) => {
                assert_eq!(pins.len(), candidate.lineage.len());
                shown(&candidate)
            }
            None => "none".into(),
        }
    }
}

/// The lineage, counted from the requester up, and the chain without the
/// lineage that it ends with.
pub fn shown(candidate: &Candidate) -> String {
    let up =
        |process: &ProcessId| (i64::from(REQUESTER) - i64::from(process.pid.get())).to_string();
    let lineage: Vec<String> = candidate.lineage.iter().map(up).collect();
    let via = &candidate.via.0;
    let names: Vec<&str> = via.split(" < ").collect();
    let passed = names.len().saturating_sub(lineage.len()).max(1);
    let passed = names[..passed].join(" < ");
    format!("{} via {passed}", lineage.join(","))
}

pub fn verdict(chain: &[P]) -> String {
    Tree::chain(chain).verdict()
}
