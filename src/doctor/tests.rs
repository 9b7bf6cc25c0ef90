//! Machines that are made up.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct Made {
    _root: tempfile::TempDir,
    machine: Machine,
}

/// A machine with nothing wrong, but for a /dev/fuse, which is that of this one.
fn machine(uid: u32) -> Made {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine {
        root: root.path().to_owned(),
        uid,
        path: vec!["/usr/bin".into()],
        home: Some("/home/alice".into()),
        ask: |_| Answer::Alive,
    };
    let made = Made {
        _root: root,
        machine,
    };
    made.file("/proc/sys/kernel/osrelease", "6.18.0-rc1\n");
    made.file("/proc/sys/fs/protected_regular", "2\n");
    made.file("/proc/sys/fs/fuse/max_request_timeout", "0\n");
    made.file("/proc/sys/fs/fuse/default_request_timeout", "0\n");
    made.file("/proc/self/mountinfo", "");
    made.file("/etc/fuse.conf", "# user_allow_other\nuser_allow_other\n");
    made.file("/dev/log", "");
    made
}

impl Made {
    fn file(&self, path: &str, text: &str) {
        let path = self.machine.place(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn dir(&self, path: &str, mode: u32) {
        let path = self.machine.place(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// The finding that begins so.
    #[track_caller]
    fn about(&self, dirs: &[&str], begins: &str) -> Finding {
        let dirs: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
        let all = examine(&self.machine, &dirs);
        let mut found = all.iter().filter(|one| one.what.starts_with(begins));
        let one = found.next();
        one.unwrap_or_else(|| panic!("{begins}: {all:?}")).clone()
    }

    #[track_caller]
    fn is(&self, dirs: &[&str], begins: &str, level: Level, words: &[&str]) {
        let found = self.about(dirs, begins);
        assert_eq!(found.level, level, "{found:?}");
        let text = format!("{}\n{}", found.what, found.mend.clone().unwrap_or_default());
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(found.mend.is_none(), level == Level::Ok, "{found:?}");
    }
}

#[test]
fn the_kernel() {
    let made = machine(0);
    made.is(&[], "kernel", Level::Ok, &["6.18.0-rc1"]);
    for (release, level) in [
        ("6.9.0", Level::Ok),
        ("10.0", Level::Ok),
        ("6.8.12-x", Level::Warn),
        ("5.10.0-30-amd64", Level::Warn),
        ("5.9", Level::Fail),
        ("strange", Level::Fail),
    ] {
        made.file("/proc/sys/kernel/osrelease", release);
        made.is(&[], "kernel", level, &[]);
    }
    fs::remove_file(made.machine.place("/proc/sys/kernel/osrelease")).unwrap();
    made.is(&[], "/proc", Level::Fail, &["mount -t proc"]);
}

#[test]
fn the_device() {
    let made = machine(1001);
    made.is(
        &[],
        "/dev/fuse",
        Level::Fail,
        &["modprobe fuse", "--device"],
    );
    made.file("/dev/fuse", "");
    made.is(&[], "/dev/fuse", Level::Fail, &["no device", "mknod"]);
    fs::remove_file(made.machine.place("/dev/fuse")).unwrap();
    // What every machine has, with modes that are known.
    symlink("/dev/null", made.machine.place("/dev/fuse")).unwrap();
    made.is(&[], "/dev/fuse", Level::Ok, &["all users"]);
}

#[test]
fn the_helper() {
    let made = machine(1001);
    made.is(&[], "fusermount3", Level::Fail, &["apt install fuse3"]);
    made.file("/usr/bin/fusermount3", "");
    made.is(
        &[],
        "fusermount3",
        Level::Fail,
        &["set-user-ID", "chmod u+s"],
    );
    let made = machine(0);
    made.is(&[], "fusermount3", Level::Warn, &["root needs none"]);
    // su is set-user-ID root wherever it is.
    made.dir("/usr/bin", 0o755);
    symlink("/bin/su", made.machine.place("/usr/bin/fusermount3")).unwrap();
    made.is(&[], "fusermount3", Level::Ok, &["/usr/bin/fusermount3"]);
}

#[test]
fn serving_others() {
    let made = machine(1001);
    made.is(&[], "/etc/fuse.conf", Level::Ok, &[]);
    made.file("/etc/fuse.conf", "#user_allow_other\n");
    made.is(&[], "/etc/fuse.conf", Level::Warn, &["user_allow_other"]);
    let made = machine(0);
    made.file("/etc/fuse.conf", "");
    made.is(&[], "/etc/fuse.conf", Level::Ok, &["root does not need"]);
}

#[test]
fn timeouts() {
    let made = machine(0);
    made.is(&[], "request timeouts", Level::Ok, &[]);
    made.file("/proc/sys/fs/fuse/max_request_timeout", "600\n");
    made.is(
        &[],
        "request timeouts",
        Level::Warn,
        &[
            "max_request_timeout is 600 s",
            "sysctl fs.fuse.max_request_timeout=0`",
        ],
    );
    fs::remove_dir_all(made.machine.place("/proc/sys/fs/fuse")).unwrap();
    made.is(&[], "request timeouts", Level::Ok, &[]);
}

#[test]
fn sticky_directories() {
    let made = machine(0);
    made.is(&[], "fs.protected_regular", Level::Ok, &["2"]);
    made.dir("/tmp/tbot-locks", 0o1777);
    let words = ["fs.protected_regular", "locks nothing", "chmod 0555"];
    made.is(&["/tmp/tbot-locks"], "/tmp/tbot-locks", Level::Fail, &words);
}

#[test]
fn apparmor() {
    let made = machine(1001);
    let dirs = ["/srv/locks"];
    let none = |made: &Made, dir: &str| {
        let all = examine(&made.machine, &[dir.into()]);
        !all.iter().any(|one| one.what.starts_with("AppArmor"))
    };
    assert!(none(&made, "/srv/locks"));
    made.file("/etc/apparmor.d/fusermount3", "profile fusermount3");
    assert!(none(&made, "/srv/locks"), "it is not on");
    made.file("/sys/module/apparmor/parameters/enabled", "Y\n");
    made.is(
        &dirs,
        "AppArmor",
        Level::Warn,
        &["/srv/locks", "apparmor_parser -r"],
    );
    made.file("/etc/apparmor.d/local/fusermount3", "# /srv/locks/\n");
    made.is(&dirs, "AppArmor", Level::Warn, &[]);
    made.file(
        "/etc/apparmor.d/local/fusermount3",
        "umount /srv/locks-2/,\n",
    );
    made.is(&dirs, "AppArmor", Level::Warn, &[]);
    made.file("/etc/apparmor.d/local/fusermount3", "umount /srv/locks/,\n");
    made.is(&dirs, "AppArmor", Level::Ok, &[]);
    for dir in ["/home/alice/locks", "/tmp/locks", "/run/user/1001/locks"] {
        made.is(&[dir], "AppArmor", Level::Ok, &[dir]);
    }
    made.is(&["/tmp"], "AppArmor", Level::Warn, &[]);
    let root = machine(0);
    root.file("/etc/apparmor.d/fusermount3", "");
    root.file("/sys/module/apparmor/parameters/enabled", "Y\n");
    assert!(none(&root, "/srv/locks"), "root does not go through it");
}

#[test]
fn the_log() {
    let made = machine(0);
    fs::remove_file(made.machine.place("/dev/log")).unwrap();
    made.is(&[], "/dev/log", Level::Warn, &["--log FILE"]);
}

const SERVED: &str = "\
24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
80 24 8:1 /run/locks /run/locks ro,nosuid - ext4 /dev/sda1 rw\n\
81 80 0:45 / /run/locks rw,nosuid - fuse.boardlock boardlock rw,user_id=0\n";

#[test]
fn a_served_directory() {
    let mut made = machine(0);
    made.file("/proc/self/mountinfo", SERVED);
    let dirs = ["/run/locks"];
    made.is(&dirs, "/run/locks", Level::Ok, &["served"]);
    made.machine.ask = |_| Answer::Dead;
    made.is(
        &dirs,
        "/run/locks",
        Level::Fail,
        &["stale", "umount -l /run/locks"],
    );
    made.machine.ask = |_| Answer::Silent;
    made.is(&dirs, "/run/locks", Level::Fail, &["does not answer"]);
    let over = format!("{SERVED}82 81 0:46 / /run/locks rw - tmpfs tmpfs rw\n");
    made.file("/proc/self/mountinfo", &over);
    made.is(&dirs, "/run/locks", Level::Fail, &["tmpfs hides", "umount"]);
}

#[test]
fn an_exposed_directory() {
    let made = machine(0);
    let dirs = ["/run/locks"];
    made.is(
        &dirs,
        "/run/locks",
        Level::Warn,
        &["nothing can be taken", "start boardlock"],
    );
    made.file("/run/locks", "");
    made.is(&dirs, "/run/locks", Level::Fail, &["no directory"]);
    fs::remove_file(made.machine.place("/run/locks")).unwrap();
    for (mode, level, words) in [
        (0o777, Level::Fail, "users can make files"),
        (0o775, Level::Fail, "mode 0775"),
        (0o755, Level::Warn, "its owner and root"),
        (0o555, Level::Warn, "its owner and root"),
    ] {
        made.dir("/run/locks", mode);
        made.is(&dirs, "/run/locks", level, &[words]);
    }
    // As the last daemon has left it.
    let (shut, _) = SERVED.rsplit_once("81 80").unwrap();
    made.file("/proc/self/mountinfo", shut);
    made.is(
        &dirs,
        "/run/locks",
        Level::Warn,
        &["nothing can be made in it"],
    );
    made.dir("/run/locks", 0o755);
    made.file("/run/locks/beagle", "");
    made.is(
        &dirs,
        "/run/locks",
        Level::Fail,
        &["1 files in it lock nothing", "--over"],
    );
}

#[test]
fn directories_are_found() {
    let made = machine(0);
    assert_eq!(configured(&made.machine), Vec::<PathBuf>::new());
    made.file("/proc/self/mountinfo", SERVED);
    made.file(
        "/etc/fstab",
        "# boardlock /no boardlock\n/dev/sda1 / ext4 rw 0 1\n\n\
         boardlock\t/srv/my\\040lab  boardlock defaults 0 0\n\
         boardlock /srv/two fuse.boardlock rw\nshort line\n",
    );
    for unit in [
        "boardlock.service",
        "boardlock@srv-lab\\x2dthree.service",
        "boardlock@x\\.service",
        "other.service",
    ] {
        made.file(
            &format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
            "",
        );
    }
    let found: Vec<String> = configured(&made.machine)
        .iter()
        .map(|dir| shown(dir))
        .collect();
    let wanted = [
        "/run/locks",
        "/srv/lab-three",
        "/srv/my lab",
        "/srv/two",
        "/x\\\\",
    ];
    assert_eq!(found, wanted);
    made.is(
        &["/srv/two"],
        "/srv/two: it stands in",
        Level::Fail,
        &["ln -s"],
    );
    made.file("/sbin/mount.boardlock", "");
    made.is(&["/srv/two"], "/srv/two: nobody", Level::Warn, &[]);
}
