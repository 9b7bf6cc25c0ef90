//! The file systems, each in a directory of its own; unmounted at the end.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::process::{Pid, Signal, kill_process_group};

/// The tmpfs's name.
pub const TMPFS: &str = "tmpfs";
/// The bare file system's.
pub const FLOOR: &str = "fuser";
/// Ours.
pub const OURS: &str = "boardlock";

/// How long serving a directory may take to begin: a full state file is read then.
const STARTUP: Duration = Duration::from_secs(60);

/// The file systems.
pub struct Places {
    temp: tempfile::TempDir,
    servers: Vec<(String, Child)>,
    mounted: BTreeSet<String>,
}

impl Places {
    /// The tmpfs alone.
    pub fn new() -> Places {
        let places = Places {
            temp: tempfile::tempdir().unwrap(),
            servers: Vec::new(),
            mounted: BTreeSet::from([TMPFS.to_owned()]),
        };
        let nothing: Option<&str> = None;
        let dir = places.dir(TMPFS);
        std::fs::create_dir(&dir).unwrap();
        mount(Some(TMPFS), &dir, Some(TMPFS), MsFlags::empty(), nothing).unwrap();
        places
    }

    /// The tmpfs, the bare file system and ours.
    pub fn all() -> Places {
        let mut places = Places::new();
        places.serve_floor();
        places.serve(OURS, &[]);
        places
    }

    pub fn serve_floor(&mut self) {
        let mut floor = Command::new(std::env::current_exe().unwrap());
        floor.args(["role", "floor"]).arg(self.dir(FLOOR));
        self.start(floor, FLOOR);
    }

    /// Serves one more directory by boardlock, with further arguments. How long it took
    /// to begin.
    pub fn serve(&mut self, name: &str, args: &[&str]) -> Duration {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_boardlock"));
        // The default is on a tmpfs, too.
        daemon.arg("mount").args(args);
        daemon.arg("--state").arg(self.state(name));
        daemon.arg(self.dir(name));
        self.start(daemon, name)
    }

    /// The state file of one of ours.
    pub fn state(&self, name: &str) -> PathBuf {
        self.dir(TMPFS)
            .join(format!("{}.state", name.replace(' ', "-")))
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        // The table of mounts has no blanks as they are.
        self.temp.path().join(name.replace(' ', "-"))
    }

    pub fn board(&self, name: &str) -> PathBuf {
        self.dir(name).join("b")
    }

    fn start(&mut self, mut command: Command, name: &str) -> Duration {
        let dir = self.dir(name);
        // One that nobody serves any more cannot be looked at, either.
        let _ = std::fs::create_dir(&dir);
        self.mounted.insert(name.to_owned());
        let log = self.temp.path().join("log");
        let said = std::fs::File::create(&log).unwrap();
        // A group of its own, to be ended as one.
        command.stdin(Stdio::null()).stderr(said).process_group(0);
        let device = |dir: &Path| {
            std::fs::metadata(dir).map(|about| std::os::unix::fs::MetadataExt::dev(&about))
        };
        let types = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let begin = Instant::now();
        self.servers
            .push((name.to_owned(), command.spawn().unwrap()));
        // The bare directory is mounted on itself first: it answers, and is no FUSE.
        let served = || {
            let here = format!(" {} ", dir.display());
            let fuse = |line: &str| line.contains(&here) && line.contains(" - fuse");
            types().lines().any(fuse) && device(&dir).is_ok()
        };
        while !served() {
            if begin.elapsed() > STARTUP {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("{name}: not served: {said}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        begin.elapsed()
    }

    /// The process that serves one: of ours the last that there is of two.
    pub fn server(&self, name: &str) -> u32 {
        let (_, child) = self.servers.iter().rfind(|(of, _)| of == name).unwrap();
        children(child.id()).last().copied().unwrap_or(child.id())
    }

    /// Puts all servers on the first core, with all their threads.
    pub fn to_one_core(&self) {
        for (_, server) in &self.servers {
            let all = children(server.id()).into_iter().chain([server.id()]);
            for pid in all {
                let mut taskset = Command::new("taskset");
                taskset.args(["-a", "-c", "-p", "0", &pid.to_string()]);
                assert!(taskset.stdout(Stdio::null()).status().unwrap().success());
            }
        }
    }

    /// Ends one that serves as a crash of all of it would; its directory stays, dead.
    pub fn kill(&mut self, name: &str) {
        let at = self.servers.iter().rposition(|(of, _)| of == name).unwrap();
        let (_, mut child) = self.servers.remove(at);
        let group = Pid::from_child(&child);
        let begin = Instant::now();
        // It serves until all of it has ended.
        while kill_process_group(group, Signal::KILL).is_ok() {
            let _ = child.try_wait();
            assert!(begin.elapsed() < STARTUP, "{name}: does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The processes that one has started, whichever of its threads did.
pub fn children(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| {
        let (_, after) = stat.rsplit_once(") ")?;
        after.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let mut children: Vec<u32> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_ok_and(|stat| parent(&stat) == Some(pid))
        })
        .collect();
    children.sort_unstable();
    children
}

impl Drop for Places {
    fn drop(&mut self) {
        for name in &self.mounted {
            // The bare directory below stays shut by a second one.
            while umount2(&self.dir(name), MntFlags::MNT_DETACH).is_ok() {}
        }
        for (_, server) in &mut self.servers {
            let _ = server.wait();
        }
    }
}
