//! `--over`: lock files that lay in the directory before it was served.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{Lab, NOBODY};
use crate::process::{PATIENCE, eventually};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        the_living_and_the_unexpired_are_taken_over(ROOT);
        all_else_stays_where_it_is_and_is_told;
        after_the_end_the_files_are_as_they_were;
        a_pid_that_was_given_out_again_is_not_the_writer;
        what_is_taken_over_is_held_like_any_other(ROOT);
        taken_over_boards_end_with_process_and_expiry;
        strange_files_do_no_harm;
        the_name_of_what_tells_about_it_is_no_board;
        files_of_one_user_count_as_his(ROOT);
    ]
}

/// A process that holds, until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dead() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn from_now(secs: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + secs
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(dir.join(name), content).unwrap();
}

fn the_living_and_the_unexpired_are_taken_over() {
    let (sleeper, dead) = (Sleeper::new(), dead());
    let (pid, ahead) = (sleeper.pid(), from_now(3600));
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, "living", format!("0 {pid}\n"));
        write(dir, "living-ahead", format!("{ahead} {pid}\n"));
        write(dir, "living-overdue", format!("1000 {pid}"));
        write(dir, "dead-ahead", format!("{ahead} {dead}\n"));
        write(dir, "nobody-ahead", format!("{ahead} 0\n"));
        std::os::unix::fs::chown(dir.join("nobody-ahead"), Some(NOBODY), Some(NOBODY)).unwrap();
        write(dir, "dead-past", format!("1000 {dead}\n"));
        write(dir, "dead", format!("0 {dead}\n"));
        write(dir, "nothing", "0 0\n");
    });
    let boards = [
        "dead-ahead",
        "living",
        "living-ahead",
        "living-overdue",
        "nobody-ahead",
    ];
    assert_eq!(lab.boards(), boards);
    for (board, holder) in [
        ("living", pid),
        ("living-ahead", pid),
        ("living-overdue", pid),
        ("dead-ahead", 0),
        ("nobody-ahead", 0),
    ] {
        assert_eq!(lab.holder(board), Some(holder), "{board}");
    }
    let mut me = lab.shell();
    assert_eq!(
        me.ok("cat living"),
        format!("0 {pid}"),
        "what was written stays"
    );
    assert_eq!(
        me.ok("stat -c '%u %Y' nobody-ahead"),
        format!("{NOBODY} {ahead}")
    );
    assert_eq!(me.ok("stat -c %Y living-ahead"), ahead.to_string());
    assert_eq!(lab.xattr("living", "expires"), None);
    assert_eq!(
        lab.xattr("living-overdue", "expires").as_deref(),
        Some("1970-01-01T00:16:40Z")
    );
    for board in boards {
        me.refused(&format!("busybox touch {board}"), "EBUSY");
        lab.wait_for_log(|line| {
            line.contains(&format!(" {board}: acquired by")) && line.contains("taken over")
        });
    }
    for free in ["dead-past", "dead", "nothing"] {
        me.ok(&format!("touch {free}"));
        lab.wait_for_log(|line| line.contains(&format!(" {free}: not taken over")));
    }
}

const NOT_OURS: [(&str, &str); 10] = [
    ("empty", ""),
    ("pid-alone", "1\n"),
    ("words", "held by me\n"),
    ("three", "0 1 2\n"),
    ("negative", "0 -1\n"),
    ("far", "253402300800 0\n"),
    ("huge", "99999999999999999999999 1\n"),
    ("huge-pid", "0 4294967297\n"),
    (".hidden", "see\n"),
    ("README", "this is no lock\n"),
];

fn all_else_stays_where_it_is_and_is_told() {
    let lab = Lab::over(&["--over"], |dir| {
        for (name, content) in NOT_OURS {
            write(dir, name, content);
        }
    });
    assert_eq!(lab.boards(), [""; 0]);
    let mut me = lab.shell();
    for (name, _) in NOT_OURS {
        let line = lab.wait_for_log(|line| line.contains(&format!(" {name}: not taken over")));
        assert!(line.contains(", it"), "the reason: {line}");
        me.ok(&format!("touch {name} && rm {name}"));
    }
}

fn after_the_end_the_files_are_as_they_were() {
    let sleeper = Sleeper::new();
    let living = format!("0 {}\n", sleeper.pid());
    let mut before = Vec::new();
    let look = |dir: &Path, before: &mut Vec<(String, String, SystemTime)>| {
        for (name, _) in NOT_OURS.iter().chain([&("living", "")]) {
            let file = dir.join(name);
            let content = std::fs::read_to_string(&file).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            before.push(((*name).to_owned(), content, modified));
        }
    };
    let mut lab = Lab::over(&["--over"], |dir| {
        for (name, content) in NOT_OURS {
            write(dir, name, content);
        }
        write(dir, "living", &living);
        std::fs::create_dir(dir.join("dir")).unwrap();
        look(dir, &mut before);
    });
    assert_eq!(lab.boards(), ["living"]);
    let mut me = lab.shell();
    me.ok("rm living; echo other >living; touch words; mkdir dir; cd /");
    assert_eq!(lab.stop(Signal::TERM).code(), Some(0));
    let mut after = Vec::new();
    look(lab.dir(), &mut after);
    assert_eq!(before, after);
    assert!(lab.dir().join("dir").is_dir());
}

fn a_pid_that_was_given_out_again_is_not_the_writer() {
    let sleeper = Sleeper::new();
    let pid = sleeper.pid();
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, "old", format!("0 {pid}\n"));
        write(dir, "old-ahead", format!("{} {pid}\n", from_now(3600)));
        let long_ago = SystemTime::now() - Duration::from_secs(86400);
        for name in ["old", "old-ahead"] {
            let file = std::fs::File::options()
                .write(true)
                .open(dir.join(name))
                .unwrap();
            file.set_modified(long_ago).unwrap();
        }
    });
    // Written before the process began.
    assert_eq!(lab.holder("old"), None);
    assert_eq!(lab.holder("old-ahead"), Some(0));
}

fn what_is_taken_over_is_held_like_any_other() {
    let mut holder = crate::process::Running::start({
        let mut command = crate::lab::as_user(NOBODY);
        command.args([
            "bash",
            "-c",
            "echo $$; while read -r line; do eval \"$line\"; echo done; done",
        ]);
        command
    });
    let pid: u32 = holder.line().parse().unwrap();
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, "b", format!("0 {pid}\n"));
        write(dir, "c", format!("0 {pid}\n"));
    });
    assert_eq!(lab.holder("b"), Some(pid));
    // The file was root's; the claim is the process's user's.
    assert_eq!(lab.shell().ok("stat -c %u b"), NOBODY.to_string());
    lab.shell_as(1234).refused("rm -f b", "EPERM");
    holder.say(&format!("cd {}; touch b && rm b", lab.dir().display()));
    holder.expect("done");
    assert_eq!(lab.boards(), ["c"]);
    holder.kill();
    assert_eq!(lab.boards(), [""; 0]);
}

fn taken_over_boards_end_with_process_and_expiry() {
    let sleeper = Sleeper::new();
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, "process", format!("0 {}\n", sleeper.pid()));
        write(dir, "expiry", format!("{} 0\n", from_now(3)));
    });
    assert_eq!(lab.holder("process"), Some(sleeper.pid()));
    drop(sleeper);
    assert_eq!(lab.holder("process"), None);
    eventually("its time is up", PATIENCE, || {
        lab.holder("expiry").is_none()
    });
}

fn the_name_of_what_tells_about_it_is_no_board() {
    let sleeper = Sleeper::new();
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, ".boardlock", format!("0 {}\n", sleeper.pid()));
    });
    lab.wait_for_log(|line| line.contains(".boardlock: not taken over: the lock directory"));
    let output = lab.sh("sh", "ls -A; test -f .boardlock/status.json").ok();
    assert_eq!(output.stdout, "");
}

fn strange_files_do_no_harm() {
    let ahead = from_now(3600);
    let lab = Lab::over(&["--over"], |dir| {
        write(dir, "ahead", format!("{ahead} 0"));
        write(dir, "binary", b"\xff\xfe\x00");
        write(dir, "big", vec![b'0'; 100_000]);
        write(dir, "padded", format!("{ahead} 0{}", " ".repeat(5000)));
        write(dir, "bad\nname", format!("{ahead} 0\n"));
        std::fs::create_dir(dir.join("dir")).unwrap();
        std::os::unix::fs::symlink("ahead", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("away")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.join("fifo"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    });
    assert_eq!(lab.boards(), ["ahead"]);
    lab.wait_for_log(|line| line.contains(r"bad\nname: not taken over"));
}

fn files_of_one_user_count_as_his() {
    let ahead = from_now(3600);
    let lab = Lab::over(&["--over", "--max-per-user", "2"], |dir| {
        for name in ["a", "b", "c"] {
            write(dir, name, format!("{ahead} 0\n"));
            std::os::unix::fs::chown(dir.join(name), Some(NOBODY), None).unwrap();
        }
        write(dir, "roots", format!("{ahead} 0\n"));
    });
    // What does not fit is told of loudly: it was held, and is free now.
    assert_eq!(lab.boards(), ["a", "b", "roots"]);
    lab.wait_for_log(|line| line.contains(" c: not taken over") && line.contains("warn"));
    lab.shell_as(NOBODY).refused("touch x", "EDQUOT");
}
