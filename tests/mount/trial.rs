//! Tests from plain functions that panic, and what they need of the machine.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use libtest_mimic::{Completion, Failed, Trial};

/// A need that is no program: to be root.
pub const ROOT: &str = "(root)";
/// A need that is no program: another user who can mount through fusermount3.
pub const USER_MOUNTS: &str = "(mounts by users)";

/// A need that is no program: the python libraries that `tests/run` installs.
pub const LIBRARIES: &str = "(python libraries)";

/// Where `tests/run` installs python libraries.
pub fn libraries() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/python"))
}

/// Makes trials of functions: `trials![holds; goes("zsh", ROOT); ...]`, each
/// with the programs and other things that it needs.
macro_rules! trials {
    ($($name:ident $(($($need:expr),* $(,)?))?);* $(;)?) => {
        vec![$(
            $crate::trial::trial(
                concat!(module_path!(), "::", stringify!($name)),
                &[$($($need),*)?],
                $name,
            )
        ),*]
    };
}

/// A trial that runs `test`, which panics to fail, if all that it needs is
/// there. If not it is skipped, or fails where everything has to be (CI=true).
/// What can be served at all, a machine with /dev/fuse, everyone needs.
pub fn trial(
    name: &str,
    needs: &'static [&'static str],
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let name = name.strip_prefix("mount::").unwrap_or(name).to_owned();
    let shown = name.clone();
    Trial::ignorable_test(name, move || {
        let missing = missing(needs);
        if missing.is_empty() {
            test();
            return Ok(Completion::Completed);
        }
        let reason = format!("needs {}", missing.join(", "));
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            return Err(Failed::from(format!(
                "{reason}, and under CI nothing is skipped"
            )));
        }
        eprintln!("skipped: {shown} {reason}");
        Ok(Completion::ignored_with(reason))
    })
}

/// What of `needs` is not there.
fn missing(needs: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    if !PathBuf::from("/dev/fuse").exists() {
        missing.push("/dev/fuse".to_owned());
    } else if !is_root() && which("fusermount3").is_none() {
        missing.push("fusermount3 (or root)".to_owned());
    }
    for need in needs {
        match *need {
            ROOT if is_root() => {}
            ROOT => missing.push("root".to_owned()),
            // The last thing that it makes.
            LIBRARIES if libraries().join("installed").exists() => {}
            LIBRARIES => missing.push("python libraries (tests/run installs them)".to_owned()),
            USER_MOUNTS => {
                if which("fusermount3").is_none() {
                    missing.push("fusermount3".to_owned());
                }
                let mode =
                    std::fs::metadata("/dev/fuse").map_or(0, |about| about.permissions().mode());
                if mode & 0o006 != 0o006 {
                    missing.push("/dev/fuse open to users (tests/run sees to it)".to_owned());
                }
            }
            program => {
                if which(program).is_none() {
                    missing.push(program.to_owned());
                }
            }
        }
    }
    missing
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a program is; administrators' directories count too.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        })
}
