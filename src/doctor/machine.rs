//! What concerns all lock directories of a machine.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Finding, Machine, shown};

/// Linux versions: what it is made for, and what a service that outlives its death takes.
const NEEDED: (u32, u32) = (5, 10);
const BETTER: (u32, u32) = (6, 9);

/// Where Ubuntu's profile lets fusermount3 mount, beside home directories.
const ALLOWED: [&str; 5] = ["/mnt", "/media", "/tmp", "/cvmfs", "/run/user"];
const PROFILE: &str = "/etc/apparmor.d/fusermount3";
const LOCAL: &str = "/etc/apparmor.d/local/fusermount3";

pub(super) fn examine(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![
        kernel(machine),
        device(machine),
        helper(machine),
        allow_other(machine),
        timeouts(machine),
        protected_regular(machine),
    ];
    findings.extend(log(machine));
    findings
}

fn kernel(machine: &Machine) -> Finding {
    let Ok(release) = machine.read("/proc/sys/kernel/osrelease") else {
        return Finding::fail(
            "/proc: it does not tell the kernel's version",
            "mount it: `mount -t proc proc /proc`",
        );
    };
    let release = crate::printable::printable(release.trim());
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|n| n.parse().ok());
    let version: Option<(u32, u32)> = number().zip(number());
    match version {
        Some(version) if version >= BETTER => Finding::ok(format!("kernel: Linux {release}")),
        Some(version) if version >= NEEDED => Finding::warn(
            format!(
                "kernel: Linux {release}; before 6.9 the death of the process that serves ends \
                 the mount, and there is no `boardlock upgrade`"
            ),
            "boot Linux 6.9 or later",
        ),
        _ => Finding::fail(
            format!("kernel: Linux {release}; boardlock is made for 5.10 and later"),
            "boot a later kernel",
        ),
    }
}

fn device(machine: &Machine) -> Finding {
    const DEVICE: &str = "/dev/fuse";
    let about = match fs::metadata(machine.place(DEVICE)) {
        Ok(about) => about,
        Err(error) => {
            return Finding::fail(
                format!("{DEVICE}: {error}"),
                "run `modprobe fuse` as root; a container needs `--device /dev/fuse`",
            );
        }
    };
    if !about.file_type().is_char_device() {
        return Finding::fail(
            format!("{DEVICE}: it is no device"),
            format!("remove it, then `mknod -m 0666 {DEVICE} c 10 229` as root"),
        );
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o006 == 0o006 {
        Finding::ok(format!("{DEVICE}: open to all users"))
    } else if machine.is_root() {
        Finding::warn(
            format!("{DEVICE}: mode {mode:04o}, so that root alone can serve"),
            format!("for users to serve, too: `chmod 0666 {DEVICE}`, as udev does"),
        )
    } else {
        Finding::fail(
            format!("{DEVICE}: mode {mode:04o}, not open to users"),
            format!("run `chmod 0666 {DEVICE}` as root, as udev does"),
        )
    }
}

fn helper(machine: &Machine) -> Finding {
    let bad = |what: String, mend: &str| {
        if machine.is_root() {
            Finding::warn(format!("{what}; root needs none, users cannot serve"), mend)
        } else {
            Finding::fail(what, mend)
        }
    };
    let found = machine
        .path
        .iter()
        .map(|dir| dir.join("fusermount3"))
        .find_map(|file| Some((fs::metadata(machine.place(&file)).ok()?, file)));
    match found {
        None => bad(
            "fusermount3: not there".to_owned(),
            "run `apt install fuse3`",
        ),
        Some((about, file)) if about.mode() & 0o4000 == 0 || about.uid() != 0 => bad(
            format!("fusermount3: {} is not set-user-ID root", shown(&file)),
            &format!(
                "run `chown root: {file} && chmod u+s {file}` as root",
                file = shown(&file)
            ),
        ),
        Some((_, file)) => Finding::ok(format!("fusermount3: {}", shown(&file))),
    }
}

fn allow_other(machine: &Machine) -> Finding {
    const CONFIGURATION: &str = "/etc/fuse.conf";
    let allowed = machine
        .read(CONFIGURATION)
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "user_allow_other"));
    if allowed {
        Finding::ok(format!("{CONFIGURATION}: users may serve other users"))
    } else if machine.is_root() {
        Finding::ok(format!(
            "{CONFIGURATION}: no user_allow_other, which root does not need"
        ))
    } else {
        Finding::warn(
            format!("{CONFIGURATION}: no user_allow_other: what a user serves, he alone can use"),
            format!("put a line `user_allow_other` into {CONFIGURATION}, or serve as root"),
        )
    }
}

fn timeouts(machine: &Machine) -> Finding {
    let mut limits = Vec::new();
    for name in ["default_request_timeout", "max_request_timeout"] {
        let path = format!("/proc/sys/fs/fuse/{name}");
        match machine.read(&path) {
            Ok(text) if text.trim() == "0" => {}
            Ok(text) => limits.push((name, crate::printable::printable(text.trim()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Finding::warn(format!("{path}: {error}"), "look into it as root"),
        }
    }
    if limits.is_empty() {
        return Finding::ok("request timeouts: none");
    }
    let shown: Vec<String> = limits
        .iter()
        .map(|(name, limit)| format!("fs.fuse.{name} is {limit} s"))
        .collect();
    let reset: Vec<String> = limits
        .iter()
        .map(|(name, _)| format!("fs.fuse.{name}=0"))
        .collect();
    Finding::warn(
        format!(
            "request timeouts: {}; who waits for a board is sent back to ask anew before, and \
             where that cannot be done, gets \"No locks available\"",
            shown.join(", ")
        ),
        format!("run `sysctl {}`, and mount anew", reset.join(" ")),
    )
}

fn protected_regular(machine: &Machine) -> Finding {
    match machine.read("/proc/sys/fs/protected_regular") {
        Ok(text) if text.trim() != "0" => Finding::ok(format!(
            "fs.protected_regular: {}, no matter to what is served, as it is not sticky",
            crate::printable::printable(text.trim())
        )),
        _ => Finding::ok("fs.protected_regular: off"),
    }
}

fn log(machine: &Machine) -> Option<Finding> {
    (!machine.place("/dev/log").exists()).then(|| {
        Finding::warn(
            "/dev/log: nobody keeps a system log; what is mounted by mount(8) or --daemon logs \
             nowhere",
            "give `--log FILE` or `-o log=FILE`, or install a log daemon",
        )
    })
}

/// Whether AppArmor lets users mount there; root does not go through fusermount3.
pub(super) fn apparmor(machine: &Machine, dir: &Path) -> Option<Finding> {
    let on = machine.read("/sys/module/apparmor/parameters/enabled");
    let confined = on.is_ok_and(|on| on.trim() == "Y") && machine.place(PROFILE).exists();
    if !confined || machine.is_root() {
        return None;
    }
    let name = shown(dir);
    let home = machine.home.as_deref();
    let allowed = ALLOWED.iter().map(Path::new).chain(home);
    if allowed
        .into_iter()
        .any(|above| dir.starts_with(above) && dir != above)
    {
        return Some(Finding::ok(format!(
            "AppArmor: fusermount3 may mount at {name}"
        )));
    }
    let local = machine.read(LOCAL).unwrap_or_default();
    let told = local
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .any(|line| names(line, &name));
    if told {
        Some(Finding::ok(format!(
            "AppArmor: {LOCAL} has rules for {name}"
        )))
    } else {
        Some(Finding::warn(
            format!("AppArmor: {PROFILE} does not let fusermount3 mount at {name}"),
            format!(
                "put the rules of /usr/share/doc/boardlock/examples/apparmor/fusermount3, for \
                 {name}, into {LOCAL}, then run `apparmor_parser -r {PROFILE}` as root; or serve \
                 a directory in your home"
            ),
        ))
    }
}

/// Whether a rule has this directory in it, and not only one whose name begins so.
fn names(rule: &str, dir: &str) -> bool {
    let mut after = rule
        .match_indices(dir)
        .map(|(at, _)| &rule[at + dir.len()..]);
    after.any(|after| !after.starts_with(|c: char| c.is_alphanumeric() || "-_.".contains(c)))
}
