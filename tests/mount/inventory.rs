//! An inventory: which boards there are, who may take them, and directories that stay.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::lab::{BOARDLOCK, Lab, NOBODY};
use crate::process::{Output, PATIENCE, Running, eventually};
use crate::shown::{becomes_free, free, held_by, holder};
use crate::site::Site;
use crate::tbot::Host;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        a_typo_locks_nothing("dash", "busybox", "flock");
        lock_tools_and_their_temporary_names_pass("dotlockfile", "lockfile", "lockfile-create");
        gits_pass_where_the_file_says_so("git");
        tbot_goes_on_unchanged("bash", "flock", "ps");
        a_board_is_for_its_users_and_groups(ROOT, "setpriv", "dash", "flock");
        who_leaves_a_group_may_no_more_however_often_he_did(ROOT, "python3");
        who_may_not_have_a_held_board_does_not_wait(ROOT, "setpriv", "flock");
        what_is_out_of_service_nobody_takes("flock");
        the_longest_lease_cuts_what_was_set();
        directories_are_there_and_stay(ROOT, "dash");
        the_file_is_read_anew("dash");
        a_broken_file_changes_nothing("dash");
        a_file_that_cannot_be_read_now_holds_up_nobody("flock");
        who_waits_is_turned_away_by_a_change("flock");
        a_broken_file_does_not_start();
        whoever_goes_on_has_the_inventory("dash");
        a_restart_finds_boards_in_directories("dash");
        a_file_can_be_checked();
        sighup_ends_what_has_no_inventory();
        commands_show_what_is_free_and_what_was_meant();
    ]
}

/// A lock directory with an inventory, and its file.
struct Listed {
    lab: Lab,
    file: PathBuf,
    _temp: TempDir,
}

impl Listed {
    #[track_caller]
    fn new(text: &str) -> Listed {
        Listed::with(&[], text)
    }

    #[track_caller]
    fn with(args: &[&str], text: &str) -> Listed {
        let (temp, file) = written(text);
        let boards = file.display().to_string();
        let mut all = vec!["--boards", &boards];
        all.extend(args);
        Listed {
            lab: Lab::new(&all),
            file,
            _temp: temp,
        }
    }

    /// Changes the file and has this process read it; waits for a line of the log.
    #[track_caller]
    fn change_by(&self, pid: u32, text: &str, logged: &str) -> String {
        let before = self.lab.log().len();
        fs::write(&self.file, text).unwrap();
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        self.lab
            .wait_for_log_from(before, |line| line.contains(logged))
    }

    #[track_caller]
    fn change(&self, text: &str) {
        self.change_by(self.lab.supervisor_pid(), text, "the inventory was read");
    }

    /// Runs a script as this user, in these supplementary groups.
    #[track_caller]
    fn sh_in(&self, uid: u32, groups: &str, script: &str) -> Output {
        self.start_in(uid, groups, script).wait(PATIENCE)
    }

    #[track_caller]
    fn start_in(&self, uid: u32, groups: &str, script: &str) -> Running {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={uid}")]);
        match groups {
            "" => command.arg("--clear-groups"),
            groups => command.arg(format!("--groups={groups}")),
        };
        // What it does last is to stay: it holds for itself.
        command.args([
            "dash",
            "-c",
            &format!("{script}\nstatus=$?; cat </dev/null; exit $status"),
        ]);
        self.lab.start(command)
    }
}

fn written(text: &str) -> (TempDir, PathBuf) {
    let temp = tempfile::Builder::new()
        .prefix("boardlock-boards-")
        .tempdir()
        .unwrap();
    let file = fs::canonicalize(temp.path()).unwrap().join("boards.toml");
    fs::write(&file, text).unwrap();
    (temp, file)
}

const BOARDS: &str = "
[directories.rack]
[boards.beagle]
[boards.\"rack/imx8\"]
";

#[track_caller]
fn no_such(output: Output) {
    assert!(!output.status.success(), "{output}");
    // As dash has it.
    let said = output.stderr.contains("nonexistent");
    assert!(
        said || output.stderr.contains("No such file or directory"),
        "{output}"
    );
}

fn a_typo_locks_nothing() {
    let listed = Listed::new(BOARDS);
    let lab = &listed.lab;
    for take in [
        "touch beagel",
        "busybox touch beagel",
        "mkdir beagel",
        "mkdir -p beagel",
        "ln -s x beagel",
        "echo x >beagel",
        ": >>beagel",
        "cp /dev/null beagel",
        "set -C; : >beagel",
        "mktemp -q -p . beagle-XXXXXX || { echo No such file or directory >&2; exit 1; }",
        "touch tmp.aaaaaa; ln tmp.aaaaaa beagel",
        "touch tmp.aaaaab; mv tmp.aaaaab beagel",
        "flock beagel true",
        "flock -n beagel true",
        "touch rack/imx7",
        "touch imx8",
        "touch beagle.lock",
    ] {
        no_such(lab.sh("dash", take));
    }
    let left: Vec<_> = lab.boards();
    assert_eq!(left, ["rack"]);
    lab.wait_for_log(|line| {
        line.contains("beagel: refused to ")
            && line.ends_with("there is no such board in the inventory; the nearest is beagle")
    });
    lab.wait_for_log(|line| line.ends_with("the nearest is rack/imx8"));
    let mut me = lab.shell();
    me.ok("touch beagle rack/imx8");
    held_by(lab, "beagle", me.pid(), "it is listed");
    held_by(lab, "rack/imx8", me.pid(), "it is listed, too");
}

fn lock_tools_and_their_temporary_names_pass() {
    let listed = Listed::new(BOARDS);
    let lab = &listed.lab;
    for (take, give) in [
        ("dotlockfile -r 0 B", "dotlockfile -u B"),
        ("lockfile -r 0 B", "rm -f B"),
        (
            "lockfile-create -r 0 --lock-name B",
            "lockfile-remove --lock-name B",
        ),
        ("t=$(mktemp -p D) && ln $t B && rm $t", "rm B"),
        ("t=$(mktemp -p D lock.XXX) && ln $t B && rm $t", "rm B"),
        (
            "t=$(mktemp -p D tmp.XXXXXX) && mv -n $t B && [ ! -e $t ]",
            "rm B",
        ),
        ("touch B && ln -sf x B", "rm B"),
        ("echo x >B && sed -i s/x/y/ B", "rm B"),
        ("touch B && flock B true", "rm B"),
    ] {
        for (board, dir) in [("beagle", "."), ("rack/imx8", "rack")] {
            let said = |command: &str| command.replace('B', board).replace('D', dir);
            let mut me = lab.shell();
            me.ok(&said(take));
            assert!(fs::symlink_metadata(lab.path(board)).is_ok(), "{take}");
            me.ok(&said(give));
            free(lab, board, give);
        }
    }
    // It locks NAME.lock, and that would be thin air.
    let mut me = lab.shell();
    assert_ne!(me.run("lockfile-create -q -r 0 beagle").outcome, "0");
    let here: Vec<String> = lab.boards();
    assert_eq!(here, ["rack"]);
}

fn gits_pass_where_the_file_says_so() {
    let config = "git config -f \"$LOCKS/beagle\" a.b c";
    let listed = Listed::new(BOARDS);
    assert!(!listed.lab.sh("sh", config).status.success());
    listed.change(&format!("temporary = [\"*.lock\"]\n{BOARDS}"));
    listed.lab.sh("sh", config).ok();
}

fn tbot_goes_on_unchanged() {
    let listed = Listed::new("[boards.board]\n");
    let lab = &listed.lab;
    let (mut one, mut two) = (Host::new(lab), Host::new(lab));
    assert!(one.request("board", 3600).unwrap());
    held_by(lab, "board", one.bash.pid(), "taken");
    assert!(
        !two.request("board", 3600).unwrap(),
        "lock-lock is looked through"
    );
    one.release("board").unwrap();
    assert!(two.request("board", 0).unwrap());
    two.release("board").unwrap();
    assert!(!one.request("baord", 0).unwrap(), "a typo");
    one.end();
    two.end();
    assert_eq!(fs::read_dir(lab.dir()).unwrap().count(), 0);
}

/// Groups and users that this machine need not know.
const GROUP: u32 = 54_321;
const STRANGER: u32 = 54_322;

fn a_board_is_for_its_users_and_groups() {
    let listed = Listed::new(&format!(
        "[boards.his]\nusers = [\"nobody\"]\n\
         [boards.theirs]\nusers = [12345]\ngroups = [{GROUP}]\n[boards.open]\n\
         [boards.roots]\nusers = []\n"
    ));
    let denied = |output: Output| {
        assert!(!output.status.success(), "{output}");
        output.said("Permission denied");
    };
    let group = GROUP.to_string();
    for take in [
        "touch B",
        "mkdir B",
        "set -C; : >B",
        "t=$(mktemp -p .) && ln $t B",
        "flock B true",
    ] {
        let take = |board: &str| take.replace('B', board);
        listed.sh_in(NOBODY, "", &take("his")).ok();
        listed.sh_in(STRANGER, "", &take("open")).ok();
        denied(listed.sh_in(STRANGER, "", &take("his")));
        denied(listed.sh_in(STRANGER, &group, &take("his")));
        denied(listed.sh_in(NOBODY, "", &take("theirs")));
        denied(listed.sh_in(NOBODY, "", &take("roots")));
        denied(listed.sh_in(NOBODY, "4", &take("theirs")));
        listed.sh_in(NOBODY, &group, &take("theirs")).ok();
        listed.sh_in(GROUP, "", &take("theirs")).ok();
        listed.lab.sh("sh", &take("theirs")).ok();
        eventually("all is free", PATIENCE, || {
            listed
                .lab
                .boards()
                .iter()
                .all(|name| name.starts_with("tmp."))
        });
    }
    // root's script would hold; who asks may not have it.
    denied(listed.lab.sh(
        "dash",
        &format!("setpriv --reuid={STRANGER} --clear-groups touch his"),
    ));
    let log = listed
        .lab
        .wait_for_log(|line| line.contains("theirs: refused to nobody"));
    let wanted = format!("the inventory has it for others; 12345 and those in {GROUP} may");
    assert!(log.ends_with(&wanted), "{log}");
    for board in ["his", "roots"] {
        listed.lab.wait_for_log(|line| {
            line.contains(&format!("{board}: refused to"))
                && line.ends_with("the inventory has it for others; nobody may")
        });
    }
}

fn who_leaves_a_group_may_no_more_however_often_he_did() {
    let listed = Listed::new(&format!("[boards.theirs]\ngroups = [{GROUP}]\n"));
    let script = format!(
        "import os
def take():
    os.close(os.open('theirs', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink('theirs')
os.setgroups([{GROUP}])
os.seteuid({STRANGER})
for _ in range(20): take()
os.seteuid(0)
os.setgroups([])
os.seteuid({STRANGER})
try:
    take()
except PermissionError:
    print('denied')
os.seteuid(0)
take()
"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &script]);
    let output = listed.lab.start(command).wait(PATIENCE).ok();
    assert_eq!(output.stdout.trim(), "denied");
}

fn who_may_not_have_a_held_board_does_not_wait() {
    let listed = Listed::new(&format!("[boards.theirs]\ngroups = [{GROUP}]\n"));
    let mut me = listed.lab.shell();
    me.ok("exec 9>theirs; flock 9");
    let output = listed.sh_in(NOBODY, "", "flock theirs true");
    output.fails(65).said("Permission denied");
    let mut waits = listed.start_in(NOBODY, &GROUP.to_string(), "flock theirs echo have");
    let waiters = |lab: &Lab| lab.status("theirs")["waiters"].clone();
    eventually("he waits", PATIENCE, || waiters(&listed.lab) == "1");
    // Whoever goes on knows his groups, too.
    kill_whoever_serves(&listed.lab);
    me.ok("flock -u 9");
    waits.expect("have");
}

fn what_is_out_of_service_nobody_takes() {
    let listed = Listed::new("[boards.beagle]\n");
    let lab = &listed.lab;
    let mut me = lab.shell();
    me.ok("touch beagle");
    listed.change("[boards.beagle]\nout_of_service = \"no power\"\n");
    held_by(lab, "beagle", me.pid(), "who has it keeps it");
    me.ok("touch beagle; flock beagle true");
    me.ok("rm beagle");
    for take in [
        "touch beagle",
        "mkdir beagle",
        "flock beagle true",
        "flock -n beagle true",
    ] {
        let output = lab.sh("sh", take);
        assert!(!output.status.success(), "{output}");
        output.said("No such device");
    }
    lab.wait_for_log(|line| line.ends_with("it is out of service; no power"));
    listed.change("[boards.beagle]\n");
    me.ok("touch beagle");
}

fn the_longest_lease_cuts_what_was_set() {
    let text = "[boards.short]\nlongest_lease = \"1h\"\n[boards.open]\n";
    let listed = Listed::with(&["--lease", "2h"], text);
    let lab = &listed.lab;
    let left = |board: &str| -> i64 { lab.status(board)["expires_in_seconds"].parse().unwrap() };
    let mut me = lab.shell();
    me.ok("touch short open");
    assert!((3590..=3600).contains(&left("short")), "{}", left("short"));
    assert!((7190..=7200).contains(&left("open")), "{}", left("open"));
    me.ok("touch -d '+5 hours' short open");
    assert!((3590..=3600).contains(&left("short")), "{}", left("short"));
    assert!(left("open") > 17_000);
    lab.wait_for_log(|line| {
        line.contains("short: the expiry that was set lies too far ahead and is cut to")
    });
    me.ok("touch -d '+10 minutes' short");
    assert!(left("short") <= 600);
    let ahead = fs::metadata(lab.path("short")).unwrap().mtime();
    me.ok("echo $(($(date +%s) + 9999)) $$ >short");
    let again = fs::metadata(lab.path("short")).unwrap().mtime();
    assert!(
        (2900..=3010).contains(&(again - ahead)),
        "{}",
        again - ahead
    );
}

fn directories_are_there_and_stay() {
    let listed = Listed::new(
        "[directories.rack]\n[directories.\"rack/shelf\"]\n[boards.\"rack/shelf/imx8\"]\n[boards.beagle]\n",
    );
    let lab = &listed.lab;
    let about = fs::metadata(lab.path("rack/shelf")).unwrap();
    assert_eq!((about.mode(), about.uid()), (0o40777, 0));
    for what in [
        "rmdir rack/shelf",
        "rmdir rack",
        "mv rack beagle",
        "mv -T rack/shelf beagle",
        "touch rack",
        "rm -rf rack",
    ] {
        assert!(!lab.sh("dash", what).status.success(), "{what}");
        assert!(lab.path("rack/shelf").is_dir(), "{what}");
    }
    lab.sh("dash", "mkdir tmp.aaaaaa && mv -T tmp.aaaaaa rack")
        .fails(1);
    let mut his = lab.spawn_as(
        NOBODY,
        "dash",
        "cd rack/shelf && touch imx8 && echo have; read x",
    );
    his.expect("have");
    held_by(lab, "rack/shelf/imx8", his.pid(), "anyone's");
    assert_eq!(lab.sh("sh", "ls rack/shelf").stdout, "imx8\n");
    his.kill();
    becomes_free(lab, "rack/shelf/imx8");
    assert_eq!(
        lab.sh("sh", "ls rack; df --output=iused . | tail -1")
            .stdout
            .trim()
            .lines()
            .next(),
        Some("shelf")
    );
}

fn the_file_is_read_anew() {
    let listed = Listed::new(BOARDS);
    let lab = &listed.lab;
    let mut me = lab.shell();
    me.ok("touch beagle rack/imx8");
    for pid in [lab.supervisor_pid(), lab.daemon_pid()] {
        let new = "[directories.new]\n[boards.\"new/one\"]\n";
        listed.change_by(pid, new, "the inventory was read: 1 boards, 1 directories");
        held_by(lab, "beagle", me.pid(), "not listed, and held");
        held_by(lab, "rack/imx8", me.pid(), "the same in a directory");
        no_such(lab.sh("dash", "touch rack/zynq"));
        let mut other = lab.shell();
        other.ok("touch new/one");
        held_by(lab, "new/one", other.pid(), "new");
        other.ok("rm new/one");
        listed.change(BOARDS);
        assert!(!lab.path("new").exists());
    }
    listed.change("[boards.other]\n");
    me.ok("rm beagle");
    no_such(lab.sh("dash", "touch beagle"));
    assert!(lab.path("rack").is_dir(), "there is a board in it");
    me.ok("rm rack/imx8");
    assert_eq!(lab.boards().len(), 0);
}

fn a_broken_file_changes_nothing() {
    let listed = Listed::new(BOARDS);
    let lab = &listed.lab;
    for (text, place) in [
        ("\n[boards.beagle\n", ":2:15: "),
        (
            "[boards.beagle]\nusers = [\"nobody-of-this-name\"]\n",
            ":2:10: there is no user",
        ),
        ("[boards.\"r/a\"]\n", ":1:9: there is no directory r"),
    ] {
        let said = listed.change_by(
            lab.supervisor_pid(),
            text,
            "the inventory stays what it was",
        );
        assert!(
            said.contains(&format!("{}{place}", listed.file.display())),
            "{said}"
        );
        let mut me = lab.shell();
        me.ok("touch beagle rack/imx8");
        me.ok("rm beagle rack/imx8");
        no_such(lab.sh("dash", "touch beagel"));
    }
    fs::remove_file(&listed.file).unwrap();
    let before = lab.log().len();
    let pid = Pid::from_raw(lab.supervisor_pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    lab.wait_for_log_from(before, |line| line.contains("cannot read"));
    lab.sh("dash", "touch beagle").ok();
}

fn a_file_that_cannot_be_read_now_holds_up_nobody() {
    // On a file system that does not answer for a while.
    let other = Lab::new(&[]);
    let mut writer = other.shell();
    writer.ok("echo '[boards.beagle]' >boards");
    let file = other.path("boards").display().to_string();
    let lab = Lab::new(&["--boards", &file]);
    let mut holder = lab.spawn("sh", "touch beagle && echo have; read x");
    holder.expect("have");
    let mut waits = lab.spawn("sh", "flock beagle echo mine");
    eventually("it waits", PATIENCE, || {
        lab.status("beagle")["waiters"] == "1"
    });
    let serves = lab.daemon_pid();
    let signal = |pid: u32, signal| {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    };
    signal(other.daemon_pid(), Signal::STOP);
    for _ in 0..3 {
        signal(lab.supervisor_pid(), Signal::HUP);
    }
    eventually("it is being read", PATIENCE, || {
        let threads = fs::read_dir(format!("/proc/{serves}/task")).unwrap();
        threads.flatten().any(|thread| {
            let waits = fs::read_to_string(thread.path().join("wchan"));
            waits.is_ok_and(|at| at.contains("request_wait_answer"))
        })
    });
    holder.kill();
    waits.expect("mine");
    let before = lab.log().len();
    signal(other.daemon_pid(), Signal::CONT);
    lab.wait_for_log_from(before, |line| line.contains("the inventory was read"));
}

fn who_waits_is_turned_away_by_a_change() {
    let listed = Listed::new("[boards.beagle]\n");
    let lab = &listed.lab;
    let mut me = lab.shell();
    me.ok("exec 9>beagle; flock 9");
    let waits = lab.spawn("sh", "flock beagle true");
    eventually("it waits", PATIENCE, || {
        lab.status("beagle")["waiters"] == "1"
    });
    listed.change("[boards.beagle]\nout_of_service = \"no power\"\n");
    let output = waits.wait(PATIENCE);
    assert!(!output.status.success(), "{output}");
    output.said("No such device");
    held_by(lab, "beagle", me.pid(), "who has it keeps it");
    me.ok("flock -u 9");
    assert_eq!(holder(lab, "beagle"), None);
    me.run("flock 9");
    assert_eq!(holder(lab, "beagle"), None, "nor by its open file");
}

fn a_broken_file_does_not_start() {
    let site = Site::new();
    fs::create_dir(site.path("locks")).unwrap();
    let (_temp, file) = written("[boards.a]\nlongest_lease = \"soon\"\n");
    let file = file.display().to_string();
    let place = format!("{file}:2:17: 'soon' is no duration");
    site.refused("locks", &["--boards", &file], 1, &[&place]);
    site.refused("locks", &["-o", &format!("boards={file}")], 1, &[&place]);
    site.refused(
        "locks",
        &["--boards", "/nowhere"],
        1,
        &["cannot read /nowhere"],
    );
    site.refused("locks", &["-o", "boards="], 2, &["needs a value"]);
    assert_eq!(site.mounts(), 0);
}

/// Kills whoever serves; another goes on.
#[track_caller]
fn kill_whoever_serves(lab: &Lab) {
    let before = lab.log().len();
    let pid = Pid::from_raw(lab.daemon_pid().cast_signed()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    lab.wait_for_log_from(before, |line| line.contains("is served on"));
}

fn whoever_goes_on_has_the_inventory() {
    let listed = Listed::new(BOARDS);
    let lab = &listed.lab;
    let mut me = lab.shell();
    me.ok("cd rack; touch imx8; exec 9>../beagle; flock 9");
    let mut waits = lab.spawn("sh", "flock beagle echo have");
    eventually("it waits", PATIENCE, || {
        lab.status("beagle")["waiters"] == "1"
    });
    let inode = |path: &str| fs::metadata(lab.path(path)).unwrap().ino();
    let before = (inode("rack"), inode("rack/imx8"));
    for text in [BOARDS, "[boards.beagle\n"] {
        fs::write(&listed.file, text).unwrap();
        kill_whoever_serves(lab);
        assert_eq!((inode("rack"), inode("rack/imx8")), before);
        held_by(lab, "rack/imx8", me.pid(), "in a directory");
        me.ok("touch imx8");
        no_such(lab.sh("dash", "touch beagel"));
    }
    lab.wait_for_log(|line| line.contains("the inventory is what it was when that was good"));
    me.ok("flock -u 9");
    waits.expect("have");
    // A good one counts again, and the bad one did not.
    listed.change("[directories.rack]\n[boards.new]\n");
    assert_eq!((inode("rack"), inode("rack/imx8")), before);
    no_such(lab.sh("dash", "touch beagle"));
    lab.sh("dash", "touch new").ok();
}

fn a_restart_finds_boards_in_directories() {
    let site = Site::new();
    fs::create_dir(site.path("locks")).unwrap();
    let (_temp, file) = written(BOARDS);
    let file = file.display().to_string();
    let rack = site.path("locks").join("rack");
    let mut daemon = site.serve("locks", &["--boards", &file]);
    let mut command = Command::new("dash");
    command.args(["-c", "touch \"$RACK/imx8\" && echo have; read x"]);
    command.env("RACK", &rack).current_dir("/");
    let mut holder = Running::start(command);
    holder.expect("have");
    for signal in [Signal::TERM, Signal::KILL] {
        let serves = crate::lab::serving(daemon.pid());
        daemon.signal(signal);
        daemon.ended(PATIENCE).unwrap();
        eventually("nobody serves", PATIENCE, || {
            !Path::new(&format!("/proc/{serves}")).exists()
        });
        daemon = site.serve("locks", &["--boards", &file]);
        let status = fs::read_to_string(rack.join("imx8")).unwrap();
        assert!(
            status.contains(&format!("\npid {}\n", holder.pid())),
            "{status}"
        );
        assert!(fs::remove_dir(&rack).is_err());
    }
    holder.kill();
    eventually("it is free", PATIENCE, || !rack.join("imx8").exists());
    assert!(rack.is_dir());
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE).ok();
}

fn a_file_can_be_checked() {
    let check = |file: &Path| {
        let mut command = Command::new(BOARDLOCK);
        command.arg("check-boards").arg(file);
        Running::start(command).wait(PATIENCE)
    };
    let (_temp, file) = written(
        "[boards.a]\npools = [\"arm\"]\n[boards.b]\npools = [\"arm\"]\nout_of_service = \"x\"\n",
    );
    let output = check(&file).ok();
    assert_eq!(
        output.stdout,
        "2 boards, 1 of them out of service; 0 directories\npool arm: a, b\n"
    );
    fs::write(&file, "[boards.a]\ntag = []\n").unwrap();
    let place = format!("boardlock: {}:2:1: unknown field `tag`", file.display());
    check(&file).fails(1).said(&place);
}

fn sighup_ends_what_has_no_inventory() {
    let mut lab = Lab::new(&[]);
    assert!(lab.stop(Signal::HUP).success());
}

/// What `.boardlock/status.json` says, by boards.
fn told(lab: &Lab) -> std::collections::BTreeMap<String, serde_json::Value> {
    let text = fs::read_to_string(lab.path(".boardlock/status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    let boards = status["boards"].as_array().unwrap().iter();
    boards
        .map(|board| (board["board"].as_str().unwrap().to_owned(), board.clone()))
        .collect()
}

fn commands_show_what_is_free_and_what_was_meant() {
    let listed = Listed::new(
        "[directories.rack]\n[boards.\"rack/imx8\"]\nout_of_service = \"no power\"\n\
         [boards.beagle]\ndescription = \"black\"\npools = [\"arm\"]\ntags = [\"emmc\"]\n\
         longest_lease = \"1h\"\nusers = [\"nobody\", 7]\n[boards.zynq]\n",
    );
    let lab = &listed.lab;
    let mut me = lab.shell();
    me.ok("touch zynq lock.abc");
    let boards = told(lab);
    let names: Vec<&str> = boards.keys().map(String::as_str).collect();
    assert_eq!(names, ["beagle", "lock.abc", "rack/imx8", "zynq"]);
    let state = |board: &str| boards[board]["state"].clone();
    assert_eq!(
        (state("beagle"), state("zynq")),
        ("free".into(), "held".into())
    );
    assert_eq!(
        boards["beagle"]["inventory"],
        serde_json::json!({
            "description": "black", "tags": ["emmc"], "pools": ["arm"],
            "longest_lease_seconds": 3600, "out_of_service": null,
            "may_take": {"users": ["7", "nobody"], "groups": []},
        })
    );
    assert_eq!(
        boards["rack/imx8"]["inventory"]["out_of_service"],
        "no power"
    );
    assert_eq!(
        boards["zynq"]["inventory"]["may_take"],
        serde_json::Value::Null
    );
    let temporary = |board: &str| boards[board]["temporary"].as_bool().unwrap();
    assert!(temporary("lock.abc") && !temporary("zynq"));
    assert!(boards["lock.abc"].get("inventory").is_none());
    me.ok("rm zynq lock.abc");
    listed.change("[boards.other]\n");
    assert_eq!(told(lab).keys().collect::<Vec<_>>(), ["other"]);
    let said = lab
        .sh("sh", "cd /; $BOARDLOCK why -d \"$LOCKS\" ohter")
        .stdout;
    assert!(
        said.contains("There is no board ohter in the inventory"),
        "{said}"
    );
    assert!(said.contains("boardlock why other"), "{said}");
    let said = lab.sh("sh", "cd /; $BOARDLOCK status -d \"$LOCKS\"").stdout;
    assert!(said.contains("other") && said.contains("free"), "{said}");
    no_such(lab.sh("dash", "touch ohter"));
    let events = fs::read_to_string(lab.path(".boardlock/events")).unwrap();
    assert!(
        events.contains("there is no such board in the inventory; the nearest is other"),
        "{events}"
    );
}
