//! Served by an ordinary user, through fusermount3, with an fuse.conf of the
//! test's own.

use std::path::Path;

use libtest_mimic::Trial;

use crate::lab::{BOARDLOCK, Lab, NOBODY, copy_program};
use crate::process::Output;
use crate::trial::{ROOT, USER_MOUNTS};

pub fn tests() -> Vec<Trial> {
    trials![
        without_user_allow_other_he_serves_himself(ROOT, USER_MOUNTS, "unshare");
        with_user_allow_other_he_serves_all(ROOT, USER_MOUNTS, "unshare");
        allow_other_that_cannot_be_had_is_refused(ROOT, USER_MOUNTS, "unshare");
        his_stale_mount_is_replaced(ROOT, USER_MOUNTS, "unshare");
        one_who_may_not_mount_there_is_told(ROOT, USER_MOUNTS, "unshare");
        holders_are_found_and_their_death_is_seen(ROOT, USER_MOUNTS, "dash");
    ]
}

/// What the scripts below have: `serve ARG...` starts a daemon as nobody,
/// `stop` ends it, `as UID COMMAND` runs something in the directory as a user.
const FUNCTIONS: &str = r#"
set -e
mount --bind "$SITE/conf" /etc/fuse.conf
serve() {
    : >"$SITE/log"
    setpriv --reuid=65534 --regid=65534 --clear-groups --pdeathsig=TERM \
        "$SITE/boardlock" mount "$@" "$SITE/locks" 2>"$SITE/log" & daemon=$!
    until grep -q ready: "$SITE/log"; do
        if ! kill -0 $daemon 2>/dev/null; then
            code=0; wait $daemon || code=$?
            cat "$SITE/log" >&2; echo "exit $code"; return
        fi
    done
    cat "$SITE/log" >&2
}
as() {
    local uid=$1; shift
    setpriv --reuid="$uid" --regid="$uid" --clear-groups env -C "$SITE/locks" "$@"
}
says() { if as "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }
mounts() { grep -c " $SITE/locks " /proc/self/mountinfo || true; }
stop() {
    local code=0
    kill $daemon; wait $daemon || code=$?
    echo "exit $code, $(mounts) mounts, mode $(stat -c %a "$SITE/locks")"
}
"#;

/// Runs a script in a mount namespace of its own, where this is fuse.conf.
fn with_conf(conf: &str, script: &str) -> Output {
    use std::os::unix::fs::{PermissionsExt, chown};
    let site = tempfile::Builder::new()
        .prefix("boardlock-user-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(site.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(site.path().join("conf"), conf).unwrap();
    copy_program(Path::new(BOARDLOCK), &site.path().join("boardlock"));
    let locks = site.path().join("locks");
    std::fs::create_dir(&locks).unwrap();
    chown(&locks, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(&locks, PermissionsExt::from_mode(0o555)).unwrap();
    let script = format!("SITE={}\n{FUNCTIONS}{script}\n", site.path().display());
    // For its place for scripts alone.
    Lab::new(&[]).sh("unshare -m bash", &script)
}

fn without_user_allow_other_he_serves_himself() {
    let script = "serve; mounts; says 65534 touch b; says 65534 cat b; says 65534 rm b
        says 1234 ls; says 0 ls; stop; serve -o no_allow_other; stop";
    let output = with_conf("# nothing\n", script).ok();
    assert_eq!(
        output.stdout,
        "1\nyes\nyes\nyes\nno\nno\nexit 0, 0 mounts, mode 555\nexit 0, 0 mounts, mode 555\n",
        "{output}"
    );
    output
        .said("can be used by you alone")
        .said("for you alone");
}

fn with_user_allow_other_he_serves_all() {
    let script = "serve; mounts; says 65534 touch b; says 1234 cat b; says 0 touch b
        as 1234 bash -c 'touch c && stat -c %u c && rm c'
        as 0 bash -c 'touch c && stat -c %u c && rm c'
        says 1234 rm -f b; stop";
    let output = with_conf("user_allow_other\n", script).ok();
    // All of them are on the side of the script, which holds b.
    assert_eq!(
        output.stdout, "1\nyes\nyes\nyes\n1234\n0\nyes\nexit 0, 0 mounts, mode 555\n",
        "{output}"
    );
    output.said("for all users");
}

fn allow_other_that_cannot_be_had_is_refused() {
    let output = with_conf("", "serve -o allow_other; mounts").ok();
    assert_eq!(output.stdout, "exit 1\n0\n", "{output}");
    output
        .said("allow_other is for root alone here")
        .said("put user_allow_other into /etc/fuse.conf, or start boardlock as root");
}

fn his_stale_mount_is_replaced() {
    let script = "serve; as 65534 touch b; kill -9 $daemon; wait $daemon || true
        says 65534 touch b; mounts; serve; mounts; says 65534 touch b; stop";
    let output = with_conf("user_allow_other\n", script).ok();
    assert_eq!(
        output.stdout, "no\n1\n1\nyes\nexit 0, 0 mounts, mode 555\n",
        "{output}"
    );
    output.said("detached the mount");
}

fn one_who_may_not_mount_there_is_told() {
    // Another's directory.
    let script = "chown 0:0 $SITE/locks; serve; mounts";
    let output = with_conf("user_allow_other\n", script).ok();
    assert_eq!(output.stdout, "exit 1\n0\n", "{output}");
    output.said("cannot serve");
    // One that serves already, another user's.
    let script = "serve; code=0; \"$SITE/boardlock\" mount \"$SITE/locks\" || code=$?
        echo $code; mounts; stop";
    let output = with_conf("", script).ok();
    assert_eq!(
        output.stdout, "1\n1\nexit 0, 0 mounts, mode 555\n",
        "{output}"
    );
    output.said("already served");
}

fn holders_are_found_and_their_death_is_seen() {
    // Without privilege it sees less of other processes; of his own, enough.
    let lab = Lab::of_user(NOBODY, &["-o", "no_allow_other"]);
    let shell = "while read -r line; do eval \"$line\"; done";
    for kind in ["bash", "dash"] {
        let mut holder = lab.spawn_as(NOBODY, kind, shell);
        holder.say("(touch b); err=$(mkdir d 2>&1); sh -c 'touch c || exit 1'; echo done");
        holder.expect("done");
        let mut other = lab.spawn_as(NOBODY, kind, shell);
        other.say("head -n 1 b; head -n 1 c; true >b || echo refused; ls | wc -l");
        for _ in 0..2 {
            other.expect(&format!("0 {}", holder.pid()));
        }
        other.expect("refused");
        other.expect("3");
        holder.kill();
        other.say("touch b c && mkdir d && rm -r b c d; ls | wc -l");
        other.expect("0");
    }
}
