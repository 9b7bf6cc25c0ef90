//! One process on the way up. What costs a read is read once and when asked.

use std::cell::OnceCell;
use std::io;

use super::lists::Lists;
use super::names::{self, ShellRun};
use super::proc::{FORKED, Held, Proc, Stat, Status};
use super::text::{printable, shortened};
use crate::lock::ids::{Pid, ProcessId, StartTime};
use crate::printable::quoted;

const KERNEL_THREAD: u32 = 0x20_0000;

/// A command line is shown no longer.
const COMMAND: usize = 120;
/// A name is shown no longer; an applet's can be any word.
const NAME: usize = 40;

pub(super) struct Node {
    pub id: ProcessId,
    /// None for a process that is there and may not be read.
    pub stat: Option<Stat>,
    pub held: Option<Held>,
    words: OnceCell<Vec<Vec<u8>>>,
    status: OnceCell<Option<Status>>,
    program: OnceCell<Program>,
}

/// What a process runs.
#[derive(Debug)]
pub(super) struct Program {
    pub name: Vec<u8>,
    /// Whether the built-in lists apply: not to scripts and kernel threads.
    listed: bool,
    pub shell: bool,
    /// A busybox or the like, whatever it calls itself.
    multi_call: bool,
    /// Where its own words begin on its command line.
    at: usize,
}

impl Node {
    pub fn new(pid: Pid, stat: Option<Stat>, held: Option<Held>) -> Node {
        let start = stat.as_ref().map_or(StartTime(0), |stat| stat.start);
        Node {
            id: ProcessId { pid, start },
            stat,
            held,
            words: OnceCell::new(),
            status: OnceCell::new(),
            program: OnceCell::new(),
        }
    }

    /// The same with its status, where that was read before.
    pub fn with_status(self, status: Status) -> Node {
        // A new node has none yet.
        let _ = self.status.set(Some(status));
        self
    }

    pub fn comm(&self) -> &[u8] {
        self.stat.as_ref().map_or(b"?", |stat| &stat.comm)
    }

    pub fn session(&self) -> u32 {
        self.stat.as_ref().map_or(0, |stat| stat.session)
    }

    pub fn leads_session(&self) -> bool {
        self.session() == self.id.pid.get()
    }

    pub fn is_forked(&self) -> bool {
        self.has(FORKED) && !self.has(KERNEL_THREAD)
    }

    fn has(&self, flag: u32) -> bool {
        self.stat
            .as_ref()
            .is_some_and(|stat| stat.flags & flag != 0)
    }

    pub fn words(&self, proc: &Proc) -> io::Result<&[Vec<u8>]> {
        fill(&self.words, || match self.stat {
            Some(_) => proc.cmdline(self.id.pid),
            None => Ok(Vec::new()),
        })
        .map(Vec::as_slice)
    }

    pub fn status(&self, proc: &Proc) -> io::Result<Option<&Status>> {
        fill(&self.status, || proc.status(self.id.pid)).map(Option::as_ref)
    }

    pub fn program(&self, proc: &Proc, lists: &Lists) -> io::Result<&Program> {
        fill(&self.program, || self.find_program(proc, lists))
    }

    fn find_program(&self, proc: &Proc, lists: &Lists) -> io::Result<Program> {
        let comm = self.comm();
        let mut program = Program {
            name: comm.to_vec(),
            listed: self.stat.is_some() && !self.has(KERNEL_THREAD),
            shell: false,
            multi_call: false,
            at: 0,
        };
        if !program.listed {
            return Ok(program);
        }
        let words = self.words(proc)?;
        // What a dynamic loader runs stands in for what was exec'd.
        let loader = names::is_loader(comm) || names::is_loader(names::argv0(first(words)));
        if loader {
            program.at = names::loaded(words).unwrap_or(0);
        }
        let own = words.get(program.at..).unwrap_or_default();
        let argv0 = names::argv0(first(own));
        let comm = if program.at > 0 { argv0 } else { comm };
        // exe is read last: it changes nothing where argv[0] says enough.
        let exe = if names::is_interpreter(argv0) || program.at > 0 {
            None
        } else {
            proc.exe(self.id.pid)?
        };
        let exe = exe.as_deref().map(names::base).unwrap_or_default();

        // "exe" is what busybox is called that ran /proc/self/exe.
        let mut alias = names::is_multi_call(comm) || comm == b"exe";
        program.multi_call = alias || names::is_multi_call(exe) || names::is_multi_call(argv0);
        let mut applet = argv0;
        if program.multi_call {
            match names::applet(own) {
                Some((name, skip)) => {
                    applet = name;
                    program.at += skip;
                }
                None => alias = false,
            }
        }
        let by = [applet, exe];
        program.shell = names::is_shell(comm) || by.iter().any(|name| names::is_shell(name));
        program.name = comm.to_vec();
        if alias || (program.multi_call && !names::is_interpreter(applet) && !applet.is_empty()) {
            program.name = applet.to_vec();
        } else if by.iter().any(|name| names::is_interpreter(name)) && !names::is_interpreter(comm)
        {
            program.listed = false;
        } else if names::is_interpreter(comm) && !program.shell {
            // perl /usr/bin/parallel
            let script = own.iter().skip(1).find(|word| !word.starts_with(b"-"));
            if let Some(script) = script.filter(|word| lists.is_script(names::base(word))) {
                program.name = names::base(script).to_vec();
            }
        }
        program.listed |= lists.is_script(&program.name);
        Ok(program)
    }

    pub fn is_one_shot(&self, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        let program = self.program(proc, lists)?;
        if !program.listed {
            return Ok(false);
        }
        if program.name == b"cmake" {
            let own = self.words(proc)?.get(program.at..).unwrap_or_default();
            return Ok(names::cmake_tool(own));
        }
        Ok(lists.is_one_shot(&program.name))
    }

    pub fn is_wrapper(&self, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        let program = self.program(proc, lists)?;
        Ok(program.listed && lists.is_wrapper(&program.name))
    }

    pub fn is_manager(&self, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        let program = self.program(proc, lists)?;
        Ok(program.listed && lists.is_manager(&program.name))
    }

    /// Whether it was forked by the shell `parent`, to run a part of it.
    pub fn is_subshell_of(&self, parent: &Node, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        Ok(self.is_forked()
            && self.comm() == parent.comm()
            && self.program(proc, lists)?.shell
            && self.words(proc)? == parent.words(proc)?)
    }

    /// Whether it is a tool that busybox's shell `parent` runs in a fork of
    /// itself: the name alone has changed.
    pub fn is_tool_within(&self, parent: &Node, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        Ok(self.is_forked()
            && self.comm() != parent.comm()
            && lists.is_one_shot(self.comm())
            && self.words(proc)? == parent.words(proc)?
            && proc
                .exe(self.id.pid)?
                .is_some_and(|exe| names::is_multi_call(names::base(&exe))))
    }

    /// Whether it is no shell and its words end with those of `child`.
    pub fn runs(&self, child: &Node, proc: &Proc, lists: &Lists) -> io::Result<bool> {
        let (own, other) = (self.words(proc)?, child.words(proc)?);
        Ok(!other.is_empty()
            && own.len() > other.len()
            && own.ends_with(other)
            && !self.program(proc, lists)?.shell)
    }

    /// The string a shell was told to run, and whether it is fish.
    pub fn string(&self, proc: &Proc, lists: &Lists) -> io::Result<Option<(&[u8], bool)>> {
        let program = self.program(proc, lists)?;
        if !program.shell {
            return Ok(None);
        }
        let own = self.words(proc)?.get(program.at..).unwrap_or_default();
        Ok(match names::shell_run(own) {
            ShellRun::String(string) => Some((string, program.name == b"fish")),
            ShellRun::Other => None,
        })
    }

    pub fn name(&self, proc: &Proc, lists: &Lists) -> io::Result<String> {
        let name = shortened(printable(&self.program(proc, lists)?.name), NAME);
        // Who calls a program "touch < sshd" makes no chain of its own by that.
        if lists.is_manager(name.as_bytes()) {
            return Ok(name);
        }
        Ok(quoted(name, |c| "._+@:-[]/=%\\?".contains(c)))
    }

    /// Its command line, or its name where it has none.
    pub fn command(&self, proc: &Proc) -> io::Result<String> {
        let words = self.words(proc)?;
        if words.is_empty() {
            return Ok(format!("[{}]", printable(self.comm())));
        }
        let mut text = String::new();
        for word in words {
            if !text.is_empty() {
                text.push(' ');
            }
            // Four characters to a byte at most; what is cut needs no work.
            text.push_str(&printable(word.get(..COMMAND + 1).unwrap_or(word)));
            if text.len() > 4 * COMMAND {
                break;
            }
        }
        Ok(shortened(text, COMMAND))
    }
}

fn first(words: &[Vec<u8>]) -> &[u8] {
    words.first().map(Vec::as_slice).unwrap_or_default()
}

/// The cell's value, made if need be.
fn fill<T>(cell: &OnceCell<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
