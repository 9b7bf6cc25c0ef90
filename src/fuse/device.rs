//! Getting a FUSE device that is mounted: by mount(2) where that is allowed,
//! else through fusermount3, which is setuid root.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::mountinfo::FSTYPE;
use super::prepare::MountError;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
/// The helper waits for nothing but the kernel.
const HELPER_TIME: Duration = Duration::from_secs(10);

/// Mounts by mount(2); none where that is not for us.
pub(super) fn mount_directly(
    dir: &Path,
    source: &str,
    all_users: bool,
) -> Result<Option<OwnedFd>, MountError> {
    let device = match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => {
            let failed = MountError::io(dir, "opening /dev/fuse", &error);
            let missing = error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::NODEV.raw_os_error());
            return Err(if missing {
                failed.remedy("run `modprobe fuse` as root; a container needs `--device /dev/fuse`")
            } else {
                failed
            });
        }
    };
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if all_users {
        data.push_str(",allow_other");
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match nix::mount::mount(Some(source), dir, Some(FSTYPE), flags, Some(data.as_str())) {
        Ok(()) => Ok(Some(device.into())),
        Err(nix::errno::Errno::EPERM) => Ok(None),
        Err(nix::errno::Errno::ENODEV) => Err(MountError::new(
            dir,
            "the kernel knows no file system type fuse",
        )
        .remedy("run `modprobe fuse` as root")),
        Err(error) => Err(MountError::io(dir, "mount(2)", error)),
    }
}

/// Why the helper did not mount.
pub(super) enum HelperError {
    /// fuse.conf does not let a user serve others.
    AllowOther,
    /// Anything else.
    Other(MountError),
}

/// Mounts through fusermount3.
pub(super) fn mount_by_helper(
    dir: &Path,
    source: &str,
    all_users: bool,
) -> Result<OwnedFd, HelperError> {
    let other = |error: MountError| HelperError::Other(error);
    let failed = |doing: &str, error: io::Error| other(MountError::io(dir, doing, error));
    let (theirs, ours) = UnixStream::pair().map_err(|e| failed("making a socket", e))?;
    ours.set_read_timeout(Some(HELPER_TIME))
        .map_err(|e| failed("making a socket", e))?;
    let mut options = format!("fsname={source},subtype=boardlock,nosuid,nodev,noexec");
    if all_users {
        options.push_str(",allow_other");
    }
    let mut command = Command::new(HELPER);
    command.arg("-o").arg(options).arg("--").arg(dir);
    // The socket is its stdin: a descriptor that it inherits with no help.
    command
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| other(no_helper(dir, &e)))?;
    drop(command);
    let received = receive(&ours);
    let said = finish(child);
    match received {
        Ok(Some(device)) => Ok(device),
        Ok(None) | Err(_) if said.contains("user_allow_other") => Err(HelperError::AllowOther),
        Ok(None) => Err(other(helper_failed(dir, &said))),
        Err(error) if said.is_empty() => Err(failed("waiting for fusermount3", error)),
        Err(_) => Err(other(helper_failed(dir, &said))),
    }
}

fn no_helper(dir: &Path, error: &io::Error) -> MountError {
    if error.kind() == io::ErrorKind::NotFound {
        MountError::new(
            dir,
            "mounting takes root, or fusermount3, which is not installed",
        )
        .remedy("run `apt install fuse3`, or start boardlock as root")
    } else {
        MountError::io(dir, "starting fusermount3", error)
    }
}

fn helper_failed(dir: &Path, said: &str) -> MountError {
    let said = crate::printable::printable(said.trim_start_matches("fusermount3: "));
    let failed = MountError::new(dir, format!("fusermount3 refused: {said}"));
    if said.contains("write access") || said.contains("not owned") {
        failed.remedy(
            "a user can serve only a directory of his own; serve that, or start boardlock as root",
        )
    } else if said.contains("/dev/fuse: Permission denied") {
        failed.remedy("run `chmod 0666 /dev/fuse` as root, as udev does")
    } else if said.contains("Operation not permitted") {
        failed.remedy("a container needs `--cap-add SYS_ADMIN --device /dev/fuse`")
    } else if said.contains("/dev/fuse") || said.contains("fuse device not found") {
        failed.remedy("run `modprobe fuse` as root; a container needs `--device /dev/fuse`")
    } else {
        failed
    }
}

/// The descriptor that the helper sends; none if it ended without.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0_u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match recvmsg(
            socket.as_fd(),
            &mut buffers,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// Waits for the helper to end, not for ever; what it said on stderr.
fn finish(mut child: Child) -> String {
    wait(&mut child);
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // It is dead: what it wrote is in the pipe. What cannot be read is
        // left out.
        let _ = File::from(OwnedFd::from(stderr))
            .take(4096)
            .read_to_string(&mut said);
    }
    said.trim().to_owned()
}

/// Waits for `child`, kills it when it takes too long; whether it succeeded.
fn wait(child: &mut Child) -> bool {
    let deadline = Instant::now() + HELPER_TIME;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => {
                // It may be stuck in the kernel for good: not waited for.
                let _ = child.kill();
                return false;
            }
        }
    }
}

/// Unmounts through fusermount3; what it says when it does not.
pub(super) fn unmount_by_helper(dir: &Path, lazily: bool) -> io::Result<()> {
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if lazily {
        command.arg("-z");
    }
    command.arg("--").arg(dir);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("fusermount3 is not installed"),
        _ => error,
    })?;
    if wait(&mut child) {
        return Ok(());
    }
    Err(io::Error::other(finish(child)))
}
