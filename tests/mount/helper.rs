//! `mount.boardlock`: mount(8), umount(8) and fstab, and the background, each in a mount
//! and pid namespace of its own, in which the helper is installed.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::client::python;
use crate::lab::BOARDLOCK;
use crate::process::{Output, Running};
use crate::site::Site;
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        fstab_mounts_and_unmounts(ROOT, "unshare", "mount", "umount", "findmnt", "setsid");
        mount_takes_type_and_options(ROOT, "unshare", "mount", "umount", "findmnt");
        failures_have_the_codes_of_mount(ROOT, "unshare", "mount");
        a_user_mounts_what_fstab_lets_him(ROOT, "unshare", "mount", "umount", "fusermount3");
        what_is_logged_reaches_the_system(ROOT, "unshare", "mount", "umount", "python3");
        the_background_keeps_nothing_of_the_foreground(ROOT, "unshare", "umount", "flock");
        the_background_is_given_up_with_the_foreground(ROOT, "unshare");
        one_of_its_processes_is_told_to_end(ROOT, "unshare", "mount", "findmnt");
        another_mount_namespace(ROOT, "unshare", "mount", "umount", "findmnt");
    ]
}

/// Sees to the machine that the script gets: the helper, a /dev and an fstab of its own,
/// and `$site` to work in. All that it starts ends with it.
const INSTALLED: &str = r#"
set -eu
say() { echo "$*"; }
mkdir sbin up work dev run
ln -s "$BOARDLOCK" up/mount.boardlock
ln -s "$BOARDLOCK" up/mount.fuse.boardlock
cp "$BOARDLOCK" up/boardlock
mount -t tmpfs own sbin
mkdir sbin/up sbin/work
cp -rL up/. sbin/up
mount -t overlay -o lowerdir=/usr/sbin,upperdir=sbin/up,workdir=sbin/work own /usr/sbin
mount -t tmpfs own dev
for node in null zero full random urandom fuse tty; do cp -a /dev/$node dev; done
chmod 0666 dev/fuse
mount --bind dev /dev
mount -t tmpfs -o mode=0755 own /run
touch fstab fuse.conf
mount --bind fstab /etc/fstab
[ ! -e /etc/fuse.conf ] || mount --bind fuse.conf /etc/fuse.conf
log=$site/log
shown() { findmnt -rno SOURCE,FSTYPE -t fuse.boardlock "$1" || echo none; }
# Others have some, too.
all() { findmnt -rno SOURCE,FSTYPE,TARGET -t fuse.boardlock | grep -e " $site" -e " /run" || echo none; }
gone() { while pgrep -f "^[^ ]*$1" >/dev/null; do sleep 0.01; done; }
"#;

/// Runs a script on a machine with the helper.
#[track_caller]
fn machine(script: &str) -> Output {
    let site = Site::new();
    std::fs::set_permissions(
        site.temp.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c"])
        .arg(format!("{INSTALLED}{script}"))
        .current_dir(site.path(""))
        .env("site", site.path(""))
        .env("BOARDLOCK", BOARDLOCK)
        .env("PYTHON", python())
        .env("LC_ALL", "C")
        .env_remove("BOARDLOCK_LOG");
    Running::start(command).wait(Duration::from_secs(60))
}

fn fstab_mounts_and_unmounts() {
    let output = machine(
        r#"
        echo "boardlock /run/locks boardlock defaults,lease=2h,nofail,_netdev,x-systemd.automount,log=$log 0 0" >fstab
        mkdir /run/locks
        mount /run/locks
        shown /run/locks
        setsid -w sh -c 'touch /run/locks/b; head -n 3 /run/locks/b; grep -o "^expires_in_seconds 7" /run/locks/b'
        mount -a
        all | wc -l
        umount /run/locks
        shown /run/locks
        mount -a
        shown /run/locks
        umount /run/locks
        gone mount.boardlock
        grep -c 'ready: /run/locks is a lock directory' "$log"
        grep -c 'is unmounted' "$log"
        "#,
    )
    .ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    let [first, expiry, board, state, left, rest @ ..] = lines.as_slice() else {
        panic!("{output}");
    };
    assert_eq!(*first, "boardlock fuse.boardlock", "{output}");
    assert!(!expiry.starts_with("0 "), "{output}");
    assert_eq!((*board, *state), ("board b", "state held"));
    assert_eq!(*left, "expires_in_seconds 7");
    let rest_wanted = ["1", "none", "boardlock fuse.boardlock", "2", "2"];
    assert_eq!(rest, rest_wanted, "{output}");
    assert_eq!(output.stderr, "", "nothing is said of what goes well");
}

fn mount_takes_type_and_options() {
    let output = machine(
        r#"
        mount -t boardlock none /run/a -o "log=$log" 2>&1 || { mkdir /run/a; mount -t boardlock none /run/a -o "log=$log"; }
        shown /run/a
        mkdir /run/b
        mount -t fuse.boardlock boardlock /run/b -o "log=$log,release=holder"
        shown /run/b
        mount.boardlock boardlock /run/c -o rw,noatime -o "log=$log" -n
        shown /run/c
        mount.boardlock boardlock /run/d -f -o lease=1h; echo fake $?
        [ ! -e /run/d ]
        mount.boardlock boardlock /run/d -s -o "vers=3,log=$log"; echo sloppy $?
        mount.boardlock -h | head -n 1
        mount.boardlock --version
        umount /run/a /run/b /run/c /run/d
        "#,
    )
    .ok();
    let wanted = [
        "none fuse.boardlock",
        "boardlock fuse.boardlock",
        "boardlock fuse.boardlock",
        "fake 0",
        "sloppy 0",
        "Serve a lock directory, for mount(8) and fstab(5)",
        concat!("mount.boardlock ", env!("CARGO_PKG_VERSION")),
    ];
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(&lines[lines.len() - wanted.len()..], wanted, "{output}");
}

fn failures_have_the_codes_of_mount() {
    let output = machine(
        r#"
        code() { set +e; "$@" 2>said; echo $?; cat said >&2; set -e; }
        mkdir /run/full; touch /run/full/b
        code mount -t boardlock boardlock /run/full -o "log=$log"
        code mount -t boardlock boardlock /run/locks2 -o "log=$log"
        code mount -t boardlock boardlock /run/full -o lese=2h
        code mount -t boardlock boardlock /run/full -o ro
        code mount.boardlock boardlock
        code mount.boardlock boardlock /run/x -t ext4
        mkdir /run/locks; mount -t boardlock boardlock /run/locks -o "log=$log"
        code mount -t boardlock boardlock /run/locks -o "log=$log"
        code mount -t boardlock boardlock /run/locks -o remount,lease=1h
        shown /run/locks
        umount /run/locks
        "$BOARDLOCK" mount --daemon --log "$log" /run/full && exit 9
        "#,
    );
    let words: Vec<&str> = output.stdout.lines().collect();
    // mkdir is not mount's to do; what is missing is made by the helper, or refused before.
    assert_eq!(words[0], "32", "{output}");
    assert!(["0", "32"].contains(&words[1]), "{output}");
    let codes = ["1", "1", "1", "1", "32", "1", "boardlock fuse.boardlock"];
    assert_eq!(&words[2..], codes, "{output}");
    for said in [
        "boardlock: cannot serve /run/full: it is not empty (b)",
        "boardlock: -o lese: no such option; is 'lease' meant?",
        "boardlock: -o ro is not possible",
        "already served by a running boardlock",
        "-o remount is not possible: options are fixed while it is served",
        "-t ext4: this mounts boardlock alone",
    ] {
        assert!(output.stderr.contains(said), "{said}: {output}");
    }
    assert_eq!(output.status.code(), Some(1), "{output}");
}

fn a_user_mounts_what_fstab_lets_him() {
    let output = machine(
        r#"
        mkdir /run/home; chown 65534 /run/home
        cat >fstab <<X
boardlock /run/home/locks boardlock noauto,user,log=/run/home/log,state=/run/home/state 0 0
X
        mkdir -m 0555 /run/home/locks; chown 65534 /run/home/locks
        as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
        as mount /run/home/locks
        shown /run/home/locks
        as setsid -w sh -c 'touch /run/home/locks/b && cat /run/home/locks/b' | sed -n 3,4p
        as umount /run/home/locks 2>&1 || as fusermount3 -u /run/home/locks
        all
        # mount(8) passes on what undoes the nosuid of `user`; it is mounted so all the same.
        cat >fstab <<X
boardlock /run/b boardlock noauto,users,exec,suid,dev,nosymfollow,log=$log 0 0
X
        mkdir /run/b; mount /run/b
        findmnt -rno OPTIONS -t fuse.boardlock /run/b | grep -o nosuid,nodev,noexec
        umount /run/b
        "#,
    )
    .ok();
    let wanted = "boardlock fuse.boardlock\nstate held\nholder nobody\nnone\n\
                  nosuid,nodev,noexec\n";
    assert_eq!(output.stdout, wanted, "{output}");
}

/// Takes what is sent to /dev/log, line by line.
const LOG: &str = r"
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('/dev/log')
os.chmod('/dev/log', 0o666)
print('listening', flush=True)
while True:
    print(s.recv(65536).decode(), file=open('syslog', 'a'), flush=True)
";

fn what_is_logged_reaches_the_system() {
    let output = machine(&format!(
        r#"
        mkdir /run/a /run/b
        mount -t boardlock boardlock /run/a
        mkfifo up2
        cat >log.py <<'X'
{LOG}
X
        "$PYTHON" log.py >up2 &
        read -r line <up2
        mount -t boardlock boardlock /run/b -o lease=3h
        setsid -w sh -c 'touch /run/b/one; touch /run/a/two'
        umount /run/b /run/a
        while [ "$(grep -c 'is unmounted' syslog)" -lt 2 ]; do sleep 0.01; done
        grep -c '^<30>boardlock\[[0-9]*\]: ready: /run/[ab] is' syslog
        grep -c '^<30>boardlock\[[0-9]*\]: one: acquired by root' syslog
        grep -c '^<30>boardlock\[[0-9]*\]: two: acquired by root' syslog
        kill %1 2>/dev/null || :
        "#
    ))
    .ok();
    // What was logged before anybody listened as well.
    assert_eq!(output.stdout, "2\n1\n1\n", "{output}");
    assert!(output.stderr.contains("nobody listens"), "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
}

fn the_background_keeps_nothing_of_the_foreground() {
    let output = machine(
        r#"
        mkdir here; cd here
        exec 9>../file; flock 9
        all=$("$BOARDLOCK" mount --daemon --log "$log" ../locks 2>&1 8>../other)
        [ -z "$all" ] || say "$all"
        exec 9>&-
        flock -n ../file true; echo file $?
        cd ..
        rmdir here
        for pid in $(pgrep -f "^$BOARDLOCK mount --daemon"); do
            say "$(readlink /proc/$pid/cwd) $(readlink /proc/$pid/fd/2)"
            [ "$(ps -o sid= -p $pid)" != "$(ps -o sid= -p $$)" ] || echo same session
        done
        umount locks
        "#,
    )
    .ok();
    assert_eq!(
        output.stdout, "file 0\n/ /dev/null\n/ /dev/null\n",
        "{output}"
    );
}

fn the_background_is_given_up_with_the_foreground() {
    let output = machine(
        r#"
        # A pipe that nobody reads any more.
        mkfifo pipe; exec 8<>pipe 7>pipe 8<&-
        mkdir locks
        for state in "$site/state" none; do
            BOARDLOCK_BACKGROUND=1 "$BOARDLOCK" mount --daemon --log "$log" --state $state locks >&7
            all
        done
        grep -c 'nobody waits' "$log"
        "#,
    )
    .ok();
    assert_eq!(output.stdout, "none\nnone\n2\n", "{output}");
}

fn one_of_its_processes_is_told_to_end() {
    let output = machine(
        r#"
        for which in 1 2; do
            mkdir -p /run/locks
            mount -t boardlock boardlock /run/locks -o "log=$log"
            pid=$(pgrep -f '^[^ ]*mount.boardlock' | sort -n | sed -n ${which}p)
            kill -TERM "$pid"
            gone mount.boardlock
            shown /run/locks
        done
        "#,
    )
    .ok();
    assert_eq!(output.stdout, "none\nnone\n", "{output}");
}

fn another_mount_namespace() {
    let output = machine(
        r#"
        mkdir /run/locks
        unshare -m sleep 1000 &
        other=$!
        while [ "$(readlink /proc/$other/ns/mnt)" = "$(readlink /proc/$$/ns/mnt)" ]; do sleep 0.01; done
        mount -N $other -t boardlock boardlock /run/locks -o "log=$log"
        shown /run/locks
        nsenter -m -t $other findmnt -no FSTYPE -t fuse.boardlock /run/locks
        umount -N $other /run/locks
        kill $other
        "#,
    )
    .ok();
    assert_eq!(output.stdout, "none\nfuse.boardlock\n", "{output}");
}
