#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::Command;

use fuser::{Config, FileAttr, FileHandle, FileType, Filesystem};
use fuser::{INodeNo, ReplyAttr, ReplyDirectory, Request, Session, SessionACL};

use super::*;
use crate::cli::options::SOURCE;
use crate::fuse::shut::Site;

/// An empty directory.
struct Empty;

impl Filesystem for Empty {
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let time = std::time::UNIX_EPOCH;
        reply.attr(
            &std::time::Duration::ZERO,
            &FileAttr {
                ino,
                size: 0,
                blocks: 0,
                atime: time,
                mtime: time,
                ctime: time,
                crtime: time,
                kind: FileType::Directory,
                perm: 0o777,
                nlink: 2,
                uid: 0,
                gid: 0,
                rdev: 0,
                blksize: 4096,
                flags: 0,
            },
        );
    }
    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, reply: ReplyDirectory) {
        reply.ok();
    }
}

/// Whether mounts can be made here; else the test has nothing to do.
fn can_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    let can = root
        && std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .is_ok();
    if !can {
        eprintln!("skipped: needs root and /dev/fuse");
    }
    can
}

fn serve(device: OwnedFd) -> fuser::BackgroundSession {
    let session = Session::from_fd(Empty, device, SessionACL::All, Config::default()).unwrap();
    session.spawn().unwrap()
}

#[test]
fn mounted_seen_and_unmounted() {
    if !can_mount() {
        return;
    }
    let temp = Site::new().unwrap();
    let dir = temp.path().join("above/the locks");
    let (mounted, device) = mount(prepare(&dir, false).unwrap(), SOURCE, None).unwrap();
    assert!(mounted.all_users);
    let served = serve(device);
    let entry = mountinfo::top(&mounted.dir).unwrap().unwrap();
    assert_eq!(entry.fstype, "fuse.boardlock");
    for option in ["rw", "nosuid", "nodev", "noexec"] {
        assert!(
            entry.options.split(',').any(|o| o == option),
            "{}",
            entry.options
        );
    }
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o777);
    let again = prepare(&dir, true).unwrap_err().to_string();
    assert!(
        again.contains("already served by a running boardlock"),
        "{again}"
    );

    // Someone else's mount over ours stays.
    nix::mount::mount(
        Some("x"),
        &dir,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    assert!(
        mounted
            .unmount()
            .unwrap_err()
            .to_string()
            .contains("something else is mounted")
    );
    nix::mount::umount(&dir).unwrap();

    // Busy and moved with a directory above it: gone from view all the same.
    let user = File::open(&dir).unwrap();
    let moved = temp.path().join("moved");
    fs::create_dir(&moved).unwrap();
    let dir = {
        let above = temp.path().join("above");
        fs::rename(&above, &moved).unwrap();
        moved.join("the locks")
    };
    mounted.unmount().unwrap();
    assert!(shut::is_shut(&fs::canonicalize(&dir).unwrap()));
    mounted.unmount().unwrap();
    drop(user);
    served.join().unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o555);
}

#[test]
fn a_dead_mount_is_detached() {
    if !can_mount() {
        return;
    }
    let temp = Site::new().unwrap();
    let (mounted, device) = mount(prepare(temp.path(), false).unwrap(), SOURCE, None).unwrap();
    drop((mounted, device));
    let error = fs::metadata(temp.path()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    let (mounted, device) = mount(temp.prepare_again().unwrap(), SOURCE, None).unwrap();
    let served = serve(device);
    assert!(fs::read_dir(temp.path()).unwrap().next().is_none());
    mounted.unmount().unwrap();
    served.join().unwrap();
    assert!(!mountinfo::top(&mounted.dir).unwrap().unwrap().ours());
    assert!(shut::is_shut(&mounted.dir));
}

/// Run again by the test below, as another user.
#[test]
fn as_this_user() {
    let Some(dir) = std::env::var_os("BOARDLOCK_TEST_USER_DIR").map(PathBuf::from) else {
        return;
    };
    let (mounted, device) = mount(prepare(&dir, false).unwrap(), SOURCE, None).unwrap();
    let served = serve(device);
    let entry = mountinfo::top(&mounted.dir).unwrap().unwrap();
    assert_eq!(entry.fstype, "fuse.boardlock");
    assert!(
        entry.options.contains("nosuid,nodev,noexec"),
        "{}",
        entry.options
    );
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o777);
    let user = File::open(&dir).unwrap();
    mounted.unmount().unwrap();
    drop(user);
    served.join().unwrap();
    assert_eq!(
        fs::metadata(&dir).unwrap().mode() & 0o777,
        0o555,
        "as it was made"
    );

    // A daemon that ended without unmounting.
    drop(mounted);
    let (mounted, device) = mount(prepare(&dir, false).unwrap(), SOURCE, Some(false)).unwrap();
    drop((mounted, device));
    let (mounted, device) = mount(prepare(&dir, false).unwrap(), SOURCE, Some(false)).unwrap();
    assert!(!mounted.all_users);
    let served = serve(device);
    mounted.unmount().unwrap();
    served.join().unwrap();
}

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    if !can_mount() || Command::new("fusermount3").arg("-V").output().is_err() {
        return;
    }
    let temp = Site::new().unwrap();
    // The test program itself may lie where that user cannot go.
    let program = temp.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::os::unix::fs::chown(temp.path(), Some(65534), Some(65534)).unwrap();
    // In a mount namespace of its own, where the device can be opened to all
    // (as udev does) and which takes its mounts with it.
    let script = "cp -a /dev/fuse \"$1/fuse\" && chmod 0666 \"$1/fuse\" && \
                  mount --bind \"$1/fuse\" /dev/fuse || exit 77; dir=$1; shift; \
                  exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$dir/program\" \"$@\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(temp.path())
        .args(["--exact", "fuse::mount::tests::as_this_user", "--nocapture"])
        .env("BOARDLOCK_TEST_USER_DIR", temp.path().join("locks"))
        .current_dir("/")
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        eprintln!("skipped: no device nodes can be made here");
        return;
    }
    let left = mountinfo::top(&fs::canonicalize(temp.path()).unwrap().join("locks")).unwrap();
    if left.is_some() {
        let _ = nix::mount::umount2(&temp.path().join("locks"), MntFlags::MNT_DETACH);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{said}"
    );
    assert_eq!(left, None);
}
