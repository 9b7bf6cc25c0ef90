//! What a program is called: shells, interpreters, multi-call binaries.

/// Shells, by name without a version.
#[rustfmt::skip]
const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "lksh", "pdksh", "yash", "fish", "tcsh",
    "csh", "rbash", "posh", "hush",
];

/// Other interpreters, by name without a version.
#[rustfmt::skip]
const INTERPRETERS: &[&str] = &[
    "perl", "python", "pypy", "ruby", "node", "nodejs", "lua", "luajit", "tclsh", "wish",
    "expect", "php", "java", "guile",
];

const MULTI_CALL: &[&str] = &["busybox", "toybox", "coreutils"];

/// What `cmake -E` can claim with, and let go.
#[rustfmt::skip]
const CMAKE: &[&str] = &[
    "touch", "touch_nocreate", "make_directory", "copy", "copy_if_different", "rename",
    "create_symlink", "create_hardlink", "remove", "rm",
];

/// Options of the dynamic loader that take an argument of their own.
#[rustfmt::skip]
const LOADER_OPTIONS: &[&str] = &[
    "--library-path", "--inhibit-rpath", "--audit", "--preload", "--argv0",
    "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask",
];

fn has(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|known| known.as_bytes() == name)
}

/// The last part of a path.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The name in argv[0]; a login shell is "-bash".
pub(super) fn argv0(word: &[u8]) -> &[u8] {
    let name = base(word);
    name.strip_prefix(b"-").unwrap_or(name)
}

/// The name without a version: python3.11, zsh-5.9, ksh93, bash-static.
fn stem(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"-static").unwrap_or(name);
    let end = name
        .iter()
        .rposition(|byte| !(byte.is_ascii_digit() || matches!(byte, b'.' | b'-')))
        .map_or(0, |at| at + 1);
    name.get(..end).unwrap_or(name)
}

pub(super) fn is_shell(name: &[u8]) -> bool {
    has(SHELLS, stem(name))
}

pub(super) fn is_interpreter(name: &[u8]) -> bool {
    is_shell(name) || has(INTERPRETERS, stem(name))
}

pub(super) fn is_multi_call(name: &[u8]) -> bool {
    // busybox-static, busybox.static
    let name = name.strip_suffix(b".static").unwrap_or(name);
    has(MULTI_CALL, stem(name))
}

pub(super) fn is_loader(name: &[u8]) -> bool {
    [&b"ld-linux"[..], b"ld-musl", b"ld.so"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Whether `argv` of cmake is one of its file tools.
pub(super) fn cmake_tool<W: AsRef<[u8]>>(argv: &[W]) -> bool {
    match argv {
        [_, option, tool, ..] => option.as_ref() == b"-E" && has(CMAKE, tool.as_ref()),
        _ => false,
    }
}

/// Where in `argv` the program stands that a dynamic loader, `argv[0]`, runs.
pub(super) fn loaded<W: AsRef<[u8]>>(argv: &[W]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = argv.get(at)?.as_ref();
        if has(LOADER_OPTIONS, word) {
            at += 2;
        } else if word.starts_with(b"-") {
            at += 1;
        } else {
            return Some(at);
        }
    }
}

/// Which applet a multi-call binary is, and where in `argv` its own words
/// begin.
pub(super) fn applet<W: AsRef<[u8]>>(argv: &[W]) -> Option<(&[u8], usize)> {
    let first = argv0(argv.first()?.as_ref());
    if !is_multi_call(first) {
        return Some((first, 0));
    }
    let word = argv.get(1)?.as_ref();
    for option in [&b"--coreutils-prog="[..], b"--coreutils-prog-shebang="] {
        if let Some(name) = word.strip_prefix(option) {
            return Some((base(name), 1));
        }
    }
    let name = argv0(word);
    (!word.starts_with(b"-") && !name.is_empty()).then_some((name, 1))
}

/// The name under which the lists know the program of `argv`, seen through
/// loaders and multi-call binaries, and where in `argv` its own words begin.
pub(super) fn program<W: AsRef<[u8]>>(argv: &[W]) -> Option<(&[u8], usize)> {
    let mut at = 0;
    if is_loader(argv0(argv.first()?.as_ref())) {
        at = loaded(argv)?;
    }
    let (name, skip) = applet(argv.get(at..)?)?;
    Some((name, at + skip))
}

/// What a shell was told to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShellRun<'a> {
    /// `-c STRING`.
    String(&'a [u8]),
    /// A script, standard input, a terminal.
    Other,
}

/// Reads a shell's own words, `argv[0]` first.
pub(super) fn shell_run<W: AsRef<[u8]>>(argv: &[W]) -> ShellRun<'_> {
    let fish = argv
        .first()
        .is_some_and(|word| argv0(word.as_ref()) == b"fish");
    let mut given = false;
    let mut words = argv.iter().skip(1).map(AsRef::as_ref);
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix(b"--") {
            match long {
                b"" => {
                    return match words.next() {
                        Some(string) if given => ShellRun::String(string),
                        _ => ShellRun::Other,
                    };
                }
                b"rcfile" | b"init-file" | b"init-command" => {
                    words.next();
                }
                b"command" if fish => given = true,
                _ => {
                    if let Some(string) = long.strip_prefix(b"command=").filter(|_| fish) {
                        return ShellRun::String(string);
                    }
                }
            }
        } else if word.len() > 1 && (word.starts_with(b"-") || word.starts_with(b"+")) {
            for (at, &letter) in word.iter().enumerate().skip(1) {
                match letter {
                    b'c' if word.starts_with(b"-") => {
                        given = true;
                        // getopt's way: the rest of the word is the argument
                        match word.get(at + 1..) {
                            Some(rest) if fish && !rest.is_empty() => {
                                return ShellRun::String(rest);
                            }
                            _ => {}
                        }
                    }
                    b'o' | b'O' if !fish => {
                        words.next();
                    }
                    b'C' if fish => {
                        words.next();
                    }
                    _ => {}
                }
            }
        } else if given && word == b"-" {
            // an end of options, too
        } else if given {
            return ShellRun::String(word);
        } else {
            return ShellRun::Other;
        }
    }
    ShellRun::Other
}
