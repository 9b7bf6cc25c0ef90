//! `boardlock upgrade`: another program goes on, and nothing is lost.

use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::client::python;
use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::{Output, PATIENCE, eventually};
use crate::shown::{becomes_free, free, held_by};
use crate::survival::MAKES_AND_REMOVES;
use crate::trial::{ROOT, USER_MOUNTS};

pub fn tests() -> Vec<Trial> {
    trials![
        what_asks_for_it_goes_on("flock");
        clients_hardly_notice("python3");
        what_does_not_come_to_serve_is_taken_back("python3");
        a_user_upgrades_his_own(ROOT, USER_MOUNTS);
        who_has_less_than_the_daemon_is_refused(ROOT, "setpriv", "unshare", "python3");
        what_cannot_be_upgraded_is_named;
    ]
}

/// Another boardlock than the one that serves, which cannot be told from it but by
/// its place.
fn another(lab: &Lab) -> PathBuf {
    let copy = lab.dir().parent().unwrap().join("another");
    copy_program(BOARDLOCK.as_ref(), &copy);
    copy
}

fn upgrade(lab: &Lab, program: &std::path::Path) -> Output {
    lab.sh(
        "sh",
        &format!("cd /; {} upgrade \"$LOCKS\"", program.display()),
    )
}

/// The program of the process that serves.
fn program(lab: &Lab) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/exe", lab.daemon_pid())).unwrap()
}

fn what_asks_for_it_goes_on() {
    let lab = Lab::new(&[]);
    let supervisor = lab.supervisor_pid();
    let mut one = lab.shell();
    one.ok("touch a; exec 9>b; flock 9; exec 8>c");
    let mut waits = lab.spawn("sh", "exec 9>b; flock 9; echo have; read line");
    eventually("it waits", PATIENCE, || lab.status("b")["waiters"] == "1");
    let another = another(&lab);
    let output = upgrade(&lab, &another).ok();
    assert!(
        output.stdout.contains("is served by this boardlock"),
        "{output}"
    );
    assert_eq!(program(&lab), std::fs::canonicalize(&another).unwrap());
    assert_eq!(lab.supervisor_pid(), supervisor);
    let name = std::fs::read_to_string(format!("/proc/{}/comm", lab.daemon_pid()));
    assert_eq!(name.unwrap(), "boardlock\n");
    held_by(&lab, "a", one.pid(), "claimed");
    held_by(&lab, "b", one.pid(), "locked");
    assert_eq!(lab.status("b")["waiters"], "1");
    // Once more, from where a boardlock is by no path any more.
    let gone = lab.dir().parent().unwrap().join("gone");
    copy_program(&another, &gone);
    std::fs::remove_file(&another).unwrap();
    upgrade(&lab, &gone).ok();
    assert!(
        program(&lab).ends_with("gone"),
        "{}",
        program(&lab).display()
    );
    one.ok("echo x >&8; flock -u 9");
    waits.expect("have");
    waits.kill();
    one.ok("rm a c");
    becomes_free(&lab, "b");
}

fn clients_hardly_notice() {
    let lab = Lab::new(&[]);
    let another = another(&lab);
    let mut client = lab.spawn(python(), MAKES_AND_REMOVES);
    client.expect("ready");
    for _ in 0..4 {
        let before = lab.daemon_pid();
        upgrade(&lab, &another).ok();
        assert_ne!(lab.daemon_pid(), before);
    }
    let line = client.line();
    assert_eq!(line, "done", "{}", client.stderr());
}

fn what_does_not_come_to_serve_is_taken_back() {
    let lab = Lab::new(&[]);
    let mut one = lab.shell();
    one.ok("exec 9>b; flock 9");
    let before = program(&lab);
    // Python is what asks, and does not know how to serve.
    let asks = "import errno, os\ntry:\n    \
                os.setxattr('.', 'user.boardlock.upgrade', b'')\n\
                except OSError as error:\n    print(errno.errorcode[error.errno])";
    for _ in 0..2 {
        let output = lab.sh(python(), asks).ok();
        assert_eq!(output.stdout, "ENOEXEC\n", "{output}");
        assert_eq!(program(&lab), before);
    }
    lab.wait_for_log(|line| line.contains("back to the old"));
    held_by(&lab, "b", one.pid(), "locked");
    one.ok("exec 9>&-");
    free(&lab, "b", "closed");
}

fn a_user_upgrades_his_own() {
    let lab = Lab::of_user(NOBODY, &[]);
    let another = another(&lab);
    let asks = format!("cd /; {} upgrade \"$LOCKS\"", another.display());
    lab.sh_as(NOBODY, "sh", "echo 0 0 >b").ok();
    lab.sh_as(NOBODY, "sh", &asks).ok();
    assert!(program(&lab).ends_with("another"));
    assert_eq!(lab.sh_as(NOBODY, "sh", "ls").ok().stdout, "b\n");
}

fn who_has_less_than_the_daemon_is_refused() {
    let lab = Lab::new(&[]);
    let another = another(&lab).display().to_string();
    let before = program(&lab);
    let asks = format!("{another} upgrade \"$LOCKS\"");
    let refused = |output: Output| {
        output.fails(1).said("that is for root");
        assert_eq!(program(&lab), before);
    };
    refused(lab.sh_as(NOBODY, "sh", &asks));
    for wrapper in [
        "setpriv --bounding-set=-sys_ptrace",
        "setpriv --bounding-set=-all --inh-caps=-all",
        "setpriv --reuid=65534 --clear-groups",
        "unshare --user --map-root-user",
        "unshare --pid --fork --mount-proc",
    ] {
        refused(lab.sh("sh", &format!("{wrapper} {asks}")));
    }
    lab.wait_for_log(|line| line.contains("an upgrade is refused"));
    lab.sh("sh", &asks).ok();
}

fn what_cannot_be_upgraded_is_named() {
    let lab = Lab::new(&["--state", "none"]);
    let another = another(&lab);
    upgrade(&lab, &another).fails(1).said("--state none");
    // What is no lock directory stays what it is.
    let plain = lab.dir().parent().unwrap().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let asks = format!("{BOARDLOCK} upgrade {}", plain.display());
    lab.sh("sh", &asks)
        .fails(1)
        .said("no directory that boardlock serves");
    let mut names = [0_u8; 1024];
    let length = rustix::fs::listxattr(&plain, &mut names).unwrap_or(0);
    assert!(!String::from_utf8_lossy(&names[..length]).contains("boardlock"));
    lab.sh("sh", &format!("{BOARDLOCK} upgrade /nowhere"))
        .fails(1);
}
