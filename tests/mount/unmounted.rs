//! A lock directory that is lazily unmounted while boards are held.

use std::process::Command;

use libtest_mimic::Trial;

use crate::lab::NOBODY;
use crate::lab::as_user;
use crate::process::{Output, PATIENCE, Running};
use crate::site::Site;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![a_lazy_unmount_gives_nothing_out_and_loses_nothing(
        ROOT, "umount", "flock"
    )]
}

const SHELL: &str = "while read -r line; do eval \"$line\"; echo \"= $?\"; done";

fn tell(shell: &mut Running, line: &str) -> String {
    shell.say(line);
    shell.line()
}

fn a_lazy_unmount_gives_nothing_out_and_loses_nothing() {
    let site = Site::new();
    let dir = site.path("locks");
    std::fs::create_dir(&dir).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(site.temp.path(), open).unwrap();
    let mut daemon = site.serve("locks", &[]);
    let shell = || {
        let mut command = Command::new("sh");
        command.args(["-c", SHELL]).current_dir("/").env("L", &dir);
        Running::start(command)
    };
    // The bare directory is shut.
    let other = |script: &str| -> Output {
        let mut command = as_user(NOBODY);
        command.args(["sh", "-c", script]).current_dir("/");
        Running::start({
            command.env("L", &dir);
            command
        })
        .wait(PATIENCE)
    };
    let [mut claims, mut locks, mut waits] = [shell(), shell(), shell()];
    assert_eq!(tell(&mut claims, "touch $L/a"), "= 0");
    assert_eq!(tell(&mut locks, "exec 9>$L/b; flock 9"), "= 0");
    assert_eq!(tell(&mut waits, "exec 9>>$L/b"), "= 0");
    waits.say("flock 9");
    let unmounted = Command::new("umount").arg("-l").arg(&dir).status();
    assert!(unmounted.unwrap().success());
    for board in ["a", "b", "c"] {
        other(&format!("touch $L/{board}")).fails(1);
        other(&format!("set -C; : >$L/{board}")).fails(2);
        other(&format!("flock -n $L/{board} true")).fails(73);
    }
    // Who has files open goes on with them, and with nobody else.
    site.refused("locks", &[], 1, &["another process has it locked"]);
    assert!(
        waits
            .next_line(std::time::Duration::from_millis(100))
            .is_none()
    );
    assert_eq!(tell(&mut locks, "flock -u 9"), "= 0");
    assert_eq!(waits.line(), "= 0");
    assert_eq!(tell(&mut locks, "flock -n 9"), "= 1");
    assert_eq!(tell(&mut locks, "exec 9>&-"), "= 0");
    assert_eq!(tell(&mut waits, "exec 9>&-"), "= 0");
    // With the last of them it ends.
    daemon.ended(PATIENCE).expect("it ends");
    let _again = site.serve("locks", &[]);
    let shown = std::fs::read_to_string(dir.join("a")).unwrap();
    assert!(
        shown.starts_with(&format!("0 {}\n", claims.pid())),
        "{shown}"
    );
    other("touch $L/a").fails(1);
    // The kernel may drop the last close with the connection: that one has it until it
    // ends then, and nobody else does.
    if let Ok(shown) = std::fs::read_to_string(dir.join("b")) {
        let held = format!("0 {}\n", waits.pid());
        assert!(shown.starts_with(&held), "{shown}");
        other("touch $L/b").fails(1);
    }
    waits.kill();
    other("touch $L/b && rm $L/b").ok();
    assert_eq!(tell(&mut claims, "rm $L/a"), "= 0");
}
