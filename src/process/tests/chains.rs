//! The chains of callers.md, row by row, and the rules one by one.

use super::tree::*;
use crate::lock::caller::Standing;
use crate::lock::ids::{Gid, ProcessId, StartTime, Uid, User};
use crate::process::{BadName, Reach};

fn touch() -> P {
    prog("touch x")
}

fn sshd() -> [P; 2] {
    [daemon("sshd").forked(), daemon("sshd")]
}

fn chain(below: &[P], above: &[P]) -> Vec<P> {
    [below, above].concat()
}

const SHELLS: &[&str] = &[
    "/bin/bash",
    "/bin/dash",
    "/bin/zsh",
    "/bin/ksh",
    "/bin/ksh93",
    "/bin/mksh",
    "/usr/bin/yash",
    "/usr/bin/fish",
    "/bin/tcsh",
    "/bin/sh",
];

#[test]
fn a_chain_is_told_from_the_tool_up_to_the_holder() {
    let chain = [touch(), sh("sh", "touch x || exit 1"), prog("make")];
    let (caller, _) = Tree::chain(&chain).caller(Reach::Holder);
    assert_eq!(caller.via(), "touch < sh -c < make");
    let flash = script("/bin/bash", "flash");
    let (caller, _) = Tree::chain(&[touch(), flash.clone().forked(), flash]).caller(Reach::Holder);
    assert_eq!(caller.via(), "touch < flash (subshell) < flash");
}

#[test]
fn a_script_holds_for_its_tools_and_its_subshells_before_it() {
    for shell in SHELLS {
        let job = script(shell, "job");
        let sub = job.clone().forked();
        assert_eq!(verdict(&[touch(), job.clone()]), "1 via touch", "{shell}");
        assert_eq!(
            verdict(&[touch(), sub.clone(), job.clone()]),
            "1,2 via touch",
            "{shell}"
        );
        assert_eq!(
            verdict(&[touch(), sub.clone(), sub.clone(), job.clone()]),
            "1,2,3 via touch",
            "{shell}"
        );
        // (set -C; : >b)
        assert_eq!(verdict(&[sub, job.clone()]), "0,1 via job", "{shell}");
        assert_eq!(verdict(&[job]), "0 via job", "{shell}");
    }
}

#[test]
fn an_interactive_shell_holds() {
    for (comm, word) in [("bash", "-bash"), ("zsh", "zsh"), ("fish", "/usr/bin/fish")] {
        let login = argv(comm, &[word]);
        assert_eq!(
            verdict(&[touch(), login.clone(), daemon("sshd")]),
            "1 via touch"
        );
        assert_eq!(
            verdict(&[touch(), login.clone().forked(), login, daemon("sshd")]),
            "1,2 via touch"
        );
    }
}

#[test]
fn a_shell_that_only_claims_is_passed() {
    let caller = prog("/usr/bin/python3 job.py");
    for string in [
        "touch x",
        "touch x || exit 1",
        "touch x 2>&1",
        "touch x && echo ok",
    ] {
        for shell in ["sh", "dash", "fish", "mksh", "bash"] {
            let via = format!("2 via touch < {shell} -c");
            assert_eq!(
                verdict(&[touch(), sh(shell, string), caller.clone()]),
                via,
                "{string}"
            );
        }
    }
    assert_eq!(verdict(&[touch(), caller.clone()]), "1 via touch");
    assert_eq!(verdict(&[sh("sh", ": >x"), caller.clone()]), "1 via sh -c");
    // system(3) of newer C libraries
    let system = argv("sh", &["sh", "-c", "--", "touch x"]);
    assert_eq!(verdict(&[touch(), system, caller]), "2 via touch < sh -c");
}

#[test]
fn a_shell_at_work_holds() {
    let caller = prog("/usr/bin/python3 job.py");
    let work = sh("sh", "touch x; work; rm x");
    assert_eq!(
        verdict(&[touch(), work.clone(), caller.clone()]),
        "1 via touch"
    );
    assert_eq!(
        verdict(&[touch(), work.clone().forked(), work, caller.clone()]),
        "1,2 via touch"
    );
    assert_eq!(
        verdict(&[sh("sh", "exec 9>x; sleep 9"), caller]),
        "0 via sh"
    );
}

#[test]
fn subshells_of_a_carrier_are_part_of_it() {
    let carrier = sh("sh", "(touch x) || exit 1");
    let sub = carrier.clone().forked();
    assert_eq!(
        verdict(&[
            touch(),
            sub.clone(),
            sub.clone(),
            carrier.clone(),
            prog("make")
        ]),
        "4 via touch < sh (subshell) < sh (subshell) < sh -c"
    );
    // alone, it outlives its shell
    assert_eq!(verdict(&[touch(), sub, prog("make")]), "1 via touch");
}

#[test]
fn wrappers_are_passed() {
    let job = script("/bin/bash", "job");
    let sudo = prog("sudo touch x").exe(None).uid(0);
    assert_eq!(
        verdict(&[touch(), sudo.clone().forked().leader(), sudo, job.clone()]),
        "3 via touch < sudo < sudo"
    );
    assert_eq!(
        verdict(&[
            touch(),
            sh("bash", "touch x"),
            argv("su", &["su", "lab", "-c", "touch x"]),
            job.clone()
        ]),
        "3 via touch < bash -c < su"
    );
    for line in [
        "runuser -u lab touch x",
        "doas touch x",
        "env A=b touch x",
        "timeout 5 touch x",
        "nice touch x",
        "time touch x",
        "strace touch x",
        "xargs touch",
        "find . -exec touch",
        "parallel touch",
        "flock l touch x",
        "watch touch x",
        "script -c touch",
        "unshare -p -f",
        "nsenter -p",
        "bwrap --",
        "tini --",
        "dumb-init touch x",
        "catatonit touch x",
        "stdbuf -o0",
        "logsave l",
        "systemd-inhibit --why",
    ] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(
            verdict(&[touch(), prog(line), job.clone()]),
            format!("2 via touch < {name}"),
            "{line}"
        );
    }
    for name in ["parallel", "parallel.moreut", "chronic", "unbuffer"] {
        let wrapper = argv(name, &["/usr/bin/perl", "/usr/bin/w", "touch"]);
        assert_eq!(
            verdict(&[touch(), wrapper, job.clone()]),
            format!("2 via touch < {name}"),
        );
    }
    let perl = prog("/usr/bin/perl /usr/bin/parallel touch");
    assert_eq!(verdict(&[touch(), perl, job]), "2 via touch < parallel");
}

#[test]
fn a_wrapper_is_known_by_its_words() {
    let job = script("/bin/bash", "job");
    let fakeroot = prog("faketime now touch x");
    assert_eq!(
        verdict(&[touch(), fakeroot.clone(), job.clone()]),
        "2 via touch < faketime"
    );
    assert_eq!(
        verdict(&[touch(), fakeroot.clone().forked(), fakeroot, job.clone()]),
        "3 via touch < faketime < faketime"
    );
    let run = argv("run.py", &["/usr/bin/python3", "./run.py", "touch", "x"]);
    assert_eq!(
        verdict(&[touch(), run, job.clone()]),
        "2 via touch < run.py"
    );
    // a shell never is, by comm, argv[0] or exe
    let with = argv("with", &["/bin/bash", "./with", "touch", "x"]);
    assert_eq!(verdict(&[touch(), with, job.clone()]), "1 via touch");
    let with = argv("with", &["with", "touch", "x"]).exe(Some("/bin/bash (deleted)"));
    assert_eq!(verdict(&[touch(), with, job.clone()]), "1 via touch");
    // longer, and all of the child's
    assert_eq!(
        verdict(&[touch(), argv("t", &["touch", "x"]), job.clone()]),
        "1 via touch"
    );
    assert_eq!(
        verdict(&[touch(), argv("t", &["a", "x"]), job.clone()]),
        "1 via touch"
    );
    let silent = argv::<&str>("touch", &[]);
    assert_eq!(verdict(&[silent, prog("make"), job]), "1 via touch");
}

#[test]
fn wrappers_and_locks_hold_for_themselves() {
    let job = script("/bin/bash", "job");
    for line in ["flock x work", "find . -delete", "xargs", "sudo -e x"] {
        let name = line.split(' ').next().unwrap();
        assert_eq!(verdict(&[prog(line), job.clone()]), format!("0 via {name}"));
    }
}

#[test]
fn build_tools_hold() {
    for make in ["make lock", "ninja"] {
        assert_eq!(verdict(&[touch(), prog(make), prog("bash")]), "1 via touch");
        assert_eq!(
            verdict(&[
                touch(),
                sh("sh", "touch x && true"),
                prog(make),
                prog("bash")
            ]),
            "2 via touch < sh -c"
        );
    }
    let recipe = argv(
        "bash",
        &["/bin/bash", "-eu", "-o", "pipefail", "-c", "touch x"],
    );
    assert_eq!(
        verdict(&[touch(), recipe, prog("make")]),
        "2 via touch < bash -c"
    );
}

#[test]
fn cmake_touches_and_works() {
    assert_eq!(
        verdict(&[prog("cmake -E touch x"), prog("make")]),
        "1 via cmake"
    );
    assert_eq!(
        verdict(&[prog("cmake -P lock.cmake"), prog("make")]),
        "0 via cmake"
    );
    assert_eq!(
        verdict(&[prog("cmake -E sleep 5"), prog("make")]),
        "0 via cmake"
    );
}

#[test]
fn programs_hold() {
    for program in [
        "python3 job.py",
        "perl -e x",
        "ruby job",
        "node job.js",
        "java -jar job",
        "expect job",
    ] {
        assert_eq!(
            verdict(&[touch(), prog(program), prog("make")]),
            "1 via touch"
        );
        let name = program.split(' ').next().unwrap();
        assert_eq!(
            verdict(&[prog(program), prog("make")]),
            format!("0 via {name}")
        );
    }
}

#[test]
fn ssh_leaves_nobody() {
    assert_eq!(
        verdict(&chain(&[touch().leader()], &sshd())),
        "detached via touch < sshd"
    );
    for shell in ["dash", "fish", "tcsh"] {
        assert_eq!(
            verdict(&chain(&[touch(), sh(shell, "touch x").leader()], &sshd())),
            format!("detached via touch < {shell} -c < sshd")
        );
    }
    let or = sh("bash", "touch x || exit 1").leader();
    assert_eq!(
        verdict(&chain(&[touch(), or], &sshd())),
        "detached via touch < bash -c < sshd"
    );
    let redirect = sh("bash", ": >x").leader();
    assert_eq!(
        verdict(&chain(&[redirect], &sshd())),
        "detached via bash -c < sshd"
    );
    let sudo = prog("sudo touch x").leader();
    assert_eq!(
        verdict(&chain(
            &[touch(), prog("sudo touch x").forked().leader(), sudo],
            &sshd()
        )),
        "detached via touch < sudo < sudo < sshd"
    );
    assert_eq!(
        verdict(&[touch().leader(), daemon("sshd-session"), daemon("sshd")]),
        "detached via touch < sshd-session"
    );
}

#[test]
fn ssh_with_work_holds() {
    let work = sh("bash", "touch x; work").leader();
    assert_eq!(verdict(&chain(&[touch(), work], &sshd())), "1 via touch");
    let shell = argv("bash", &["-bash"]).leader();
    assert_eq!(verdict(&chain(&[touch(), shell], &sshd())), "1 via touch");
    assert_eq!(
        verdict(&chain(&[touch(), prog("bash").leader()], &sshd())),
        "1 via touch"
    );
}

#[test]
fn copies_over_ssh_leave_nobody() {
    let sftp = prog("/usr/lib/openssh/sftp-server").leader();
    assert_eq!(
        verdict(&chain(&[sftp], &sshd())),
        "detached via sftp-server"
    );
    assert_eq!(verdict(&sshd()), "detached via sshd");
    assert_eq!(
        verdict(&chain(&[prog("scp -t /locks").leader()], &sshd())),
        "detached via scp < sshd"
    );
    let rsync = prog("rsync --server . /locks");
    let pair = [rsync.clone().forked(), rsync.clone().leader()];
    assert_eq!(
        verdict(&chain(&pair, &sshd())),
        "detached via rsync < rsync < sshd"
    );
    let carried = [
        rsync.clone().forked(),
        rsync,
        sh("sh", "rsync --server . /locks").leader(),
    ];
    assert_eq!(
        verdict(&chain(&carried, &sshd())),
        "detached via rsync < rsync < sh -c < sshd"
    );
    // a fork of rsync that exec'd something is no part of it
    assert_eq!(
        verdict(&[touch(), prog("rsync a b"), prog("make")]),
        "1 via touch"
    );
}

#[test]
fn cron_leaves_nobody_unless_there_is_work() {
    let cron = [daemon("cron").forked(), daemon("cron")];
    let alone = sh("sh", "touch x").leader();
    assert_eq!(
        verdict(&chain(&[touch(), alone], &cron)),
        "detached via touch < sh -c < cron"
    );
    let atd = [daemon("atd").forked(), daemon("atd")];
    let alone = sh("sh", "touch x").leader();
    assert_eq!(
        verdict(&chain(&[touch(), alone], &atd)),
        "detached via touch < sh -c < atd"
    );
    let work = sh("sh", "touch x; work").leader();
    assert_eq!(verdict(&chain(&[touch(), work], &cron)), "1 via touch");
    let job = [
        touch(),
        script("/bin/sh", "job"),
        sh("sh", "/opt/job").leader(),
    ];
    assert_eq!(verdict(&chain(&job, &cron)), "1 via touch");
}

#[test]
fn terminal_servers_and_containers_leave_nobody() {
    for manager in [
        "tmux: server",
        "screen",
        "containerd-shim",
        "supervisord",
        "systemd",
    ] {
        assert_eq!(
            verdict(&[touch().leader(), daemon(manager)]),
            format!("detached via touch < {manager}")
        );
    }
    let python = argv("supervisord", &["/usr/bin/python3", "/usr/bin/supervisord"]);
    assert_eq!(
        verdict(&[touch().leader(), python]),
        "detached via touch < supervisord"
    );
    assert_eq!(verdict(&[touch().leader()]), "detached via touch < init");
}

#[test]
fn an_orphaned_subshell_holds_to_its_end() {
    let sub = script("/bin/bash", "job").forked();
    assert_eq!(verdict(&[touch(), sub.clone()]), "1 via touch");
    assert_eq!(
        verdict(&[touch(), sub.clone(), sub.clone()]),
        "1,2 via touch"
    );
    assert_eq!(
        verdict(&[touch(), sub.clone(), daemon("systemd")]),
        "1 via touch"
    );
    // its shell has run another program in its place
    assert_eq!(verdict(&[touch(), sub, prog("work")]), "1 via touch");
}

#[test]
fn a_tool_whose_script_ended_claims_nothing() {
    assert_eq!(verdict(&[touch()]), "orphan via touch < init");
    assert_eq!(
        verdict(&[touch(), daemon("systemd")]),
        "orphan via touch < systemd"
    );
    assert_eq!(
        verdict(&[touch(), sh("sh", "touch x")]),
        "orphan via touch < sh -c < init"
    );
    // seen from within a pid namespace
    let tree = Tree::chain(&[touch().below(0)]);
    assert_eq!(tree.verdict(), "orphan via touch");
    let tree = Tree::chain(&[touch().below(0).leader()]);
    assert_eq!(tree.verdict(), "detached via touch");
}

#[test]
fn the_first_process_of_a_container_manages_other_sessions() {
    let init = prog("entry").ns(&[1]).leader();
    assert_eq!(
        verdict(&[touch().ns(&[9]), init.clone(), prog("x")]),
        "1 via touch"
    );
    assert_eq!(
        verdict(&[touch().ns(&[9]).leader(), init.clone()]),
        "detached via touch < entry"
    );
    assert_eq!(
        verdict(&[
            touch().ns(&[9]),
            prog("env touch x").ns(&[8]).leader(),
            init
        ]),
        "detached via touch < env < entry"
    );
    // the daemon's own numbering
    assert_eq!(
        verdict(&[touch().leader(), prog("entry").leader()]),
        "1 via touch"
    );
    let tini = prog("tini -- touch x").ns(&[1]).leader();
    assert_eq!(
        verdict(&[touch().ns(&[7]), tini, daemon("containerd-shim")]),
        "detached via touch < tini < containerd-shim"
    );
}

#[test]
fn pid_1_asks() {
    let tree = Tree::new();
    let (caller, pins) = tree
        .resolver()
        .caller(Some(pid(1)), USER, Reach::Holder)
        .unwrap();
    assert!(matches!(caller.standing, Standing::Detached(_)));
    assert!(pins.is_empty());
    // and a subshell of a container's script seen from inside
    let entry = script("/bin/sh", "entry");
    tree.put(1, 0, 1, &entry);
    tree.put(REQUESTER, 1, 1, &entry.forked());
    assert_eq!(tree.verdict(), "0 via entry");
}

#[test]
fn names_do_not_apply_to_scripts() {
    let caller = prog("make");
    for interpreter in [
        "/bin/bash",
        "/usr/bin/perl",
        "/usr/bin/python3.11",
        "/usr/bin/expect",
    ] {
        for name in ["install", "touch", "time", "env", "init", "login"] {
            let job = script(interpreter, name);
            assert_eq!(
                verdict(&[job.clone(), caller.clone()]),
                format!("0 via {name}")
            );
            assert_eq!(verdict(&[touch(), job, caller.clone()]), "1 via touch");
        }
    }
    // by exe alone
    let job = argv("install", &["install"]).exe(Some("/usr/bin/bash"));
    assert_eq!(verdict(&[job, caller.clone()]), "0 via install");
    // the tool itself, with and without a look at its exe
    assert_eq!(
        verdict(&[prog("install a x"), caller.clone()]),
        "1 via install"
    );
    assert_eq!(
        verdict(&[prog("install a x").exe(None), caller.clone()]),
        "1 via install"
    );
    // awk is none
    assert_eq!(verdict(&[prog("mawk -f x"), caller]), "1 via mawk");
}

#[test]
fn multi_call_binaries_go_by_the_applet() {
    let box_ = |comm: &str, words: &str| {
        argv(comm, &words.split(' ').collect::<Vec<_>>()).exe(Some("/bin/busybox"))
    };
    let caller = prog("make");
    let touches = [
        box_("touch", "touch x"),
        box_("busybox", "busybox touch x"),
        box_("busybox", "/bin/busybox touch x"),
        box_("exe", "touch x"),
        box_("exe", "touch x").exe(None),
        box_("busybox", "busybox touch x").exe(None),
        box_("toybox", "toybox touch x").exe(Some("/bin/toybox")),
        box_("coreutils", "coreutils touch x").exe(Some("/bin/coreutils")),
        box_("coreutils", "coreutils --coreutils-prog=touch x").exe(Some("/bin/coreutils")),
        box_(
            "touch",
            "/bin/coreutils --coreutils-prog-shebang=touch /bin/touch x",
        )
        .exe(Some("/bin/coreutils")),
        box_(
            "ld-linux-x86-64",
            "/lib64/ld-linux-x86-64.so.2 --library-path /l /bin/touch x",
        ),
        box_(
            "ld-musl-x86_64.",
            "/lib/ld-musl-x86_64.so.1 --preload a.so -- touch x",
        ),
        box_(
            "ld-linux-x86-64",
            "/lib64/ld-linux-x86-64.so.2 /bin/busybox touch x",
        ),
    ];
    for p in touches {
        assert_eq!(
            verdict(&[p.clone(), caller.clone()]),
            "1 via touch",
            "{:?}",
            p.argv
        );
    }
    for p in [
        box_("busybox", "busybox"),
        box_("busybox", "busybox --list"),
    ] {
        assert_eq!(verdict(&[p, caller.clone()]), "0 via busybox");
    }
    // its shell
    for shell in [
        box_("sh", "sh -c A"),
        box_("busybox", "busybox sh -c A"),
        box_("ash", "-ash -c A"),
        box_("busybox.static", "busybox.static ash -c A"),
    ] {
        let mut carrier = shell.clone();
        *carrier.argv.last_mut().unwrap() = "touch x".into();
        assert_eq!(verdict(&[touch(), shell, caller.clone()]), "1 via touch");
        assert!(verdict(&[touch(), carrier, caller.clone()]).starts_with("2 via touch < "));
    }
    // a script of it, and what it runs in a fork of itself
    let job = box_("install", "/bin/busybox sh ./install");
    assert_eq!(verdict(&[job.clone(), caller.clone()]), "0 via install");
    assert_eq!(
        verdict(&[job.clone().forked(), job, caller.clone()]),
        "0,1 via install"
    );
    let job = box_("job", "/bin/sh ./job");
    let within = box_("touch", "/bin/sh ./job").forked();
    assert_eq!(verdict(&[within, job, caller]), "1 via touch");
}

#[test]
fn lists_can_be_extended() {
    let mut tree = Tree::chain(&[prog("claim x"), prog("carry on"), prog("make")]);
    assert_eq!(tree.verdict(), "0 via claim");
    tree.lists.add_one_shot("claim").unwrap();
    assert_eq!(tree.verdict(), "1 via claim");
    tree.lists.add_wrapper("carry").unwrap();
    assert_eq!(tree.verdict(), "2 via claim < carry");
    tree.lists.add_session_manager("make").unwrap();
    assert_eq!(tree.verdict(), "orphan via claim < carry < make");
    // who names a script means it, and only 15 bytes count
    let mut tree = Tree::chain(&[
        touch(),
        script("/bin/bash", "labwrap-of-our-site"),
        prog("make"),
    ]);
    tree.lists.add_wrapper("labwrap-of-our-site").unwrap();
    assert_eq!(tree.verdict(), "2 via touch < labwrap-of-our-");
    assert_eq!(tree.lists.add_wrapper(""), Err(BadName::Empty));
    assert_eq!(tree.lists.add_wrapper("/bin/x"), Err(BadName::Character));
    assert_eq!(tree.lists.add_one_shot("a\n"), Err(BadName::Character));
}

#[test]
fn threads_stand_for_their_process() {
    let tree = Tree::chain(&[prog("python3 job.py"), prog("make")]);
    tree.thread(500, REQUESTER);
    let (caller, _) = tree
        .resolver()
        .caller(Some(pid(500)), USER, Reach::Holder)
        .unwrap();
    let id = ProcessId {
        pid: pid(REQUESTER),
        start: StartTime(1000),
    };
    assert_eq!(caller.requester, Some(id));
    assert_eq!(caller.lineage(), [id]);
}

#[test]
fn the_unseen_and_the_vanished() {
    let tree = Tree::new();
    let (caller, pins) = tree.resolver().caller(None, USER, Reach::Root).unwrap();
    assert!(matches!(caller.standing, Standing::Unseen));
    assert!(pins.is_empty() && caller.requester.is_none());
    let (caller, _) = tree
        .resolver()
        .caller(Some(pid(77)), USER, Reach::Root)
        .unwrap();
    assert!(matches!(caller.standing, Standing::Orphan(_)));
    // a parent that is never there
    let tree = Tree::chain(&[touch().below(77)]);
    assert_eq!(tree.verdict(), "orphan via ");
    // a parent that has ended
    let tree = Tree::chain(&[touch(), prog("make").state('Z')]);
    assert_eq!(tree.verdict(), "orphan via ");
}

#[test]
fn starts_within_one_tick_are_told_apart_by_a_second_look() {
    assert_eq!(
        verdict(&[touch().start(5), prog("make").start(5)]),
        "1 via touch"
    );
    assert_eq!(
        verdict(&[touch().start(5), prog("make").start(6)]),
        "1 via touch"
    );
}

#[test]
fn ancestors_go_as_far_as_asked() {
    let tree = Tree::chain(&[
        touch(),
        prog("env touch x"),
        script("/bin/sh", "job").forked(),
        script("/bin/sh", "job"),
        prog("make"),
        prog("bash"),
    ]);
    let up = |reach| -> Vec<u32> {
        let (caller, _) = tree.caller(reach);
        assert_eq!(caller.lineage().len(), 2);
        caller
            .ancestors
            .iter()
            .map(|process| process.pid.get())
            .collect()
    };
    assert_eq!(up(Reach::Holder), [100, 99, 98, 97]);
    assert_eq!(up(Reach::Root), [100, 99, 98, 97, 96, 95, 1]);
}

#[test]
fn a_holder_is_told_with_its_user_and_its_command() {
    let user = |uid| User {
        uid: Uid(uid),
        gid: Gid(uid),
    };
    let candidate = |chain: &[P]| match Tree::chain(chain).caller(Reach::Holder).0.standing {
        Standing::Process(candidate) => candidate,
        other => panic!("{other:?}"),
    };
    let own = candidate(&[prog("python3 job.py").uid(7)]);
    assert_eq!((own.user, own.command.as_str()), (USER, "python3 job.py"));
    let above = candidate(&[touch(), prog("make all").uid(7)]);
    assert_eq!((above.user, above.command.as_str()), (user(7), "make all"));
    let silent = candidate(&[touch(), argv::<&str>("a\tb", &[])]);
    assert_eq!(silent.command, "[a\\tb]");
    let odd = candidate(&[
        touch(),
        argv("x", &["x", "a\nb", "\u{e4}\u{202e}", "\u{1b}[1m", "\\"]),
    ]);
    assert_eq!(odd.command, "x a\\nb \u{e4}\\xe2\\x80\\xae \\x1b[1m \\\\");
    let long = candidate(&[touch(), argv("x", &["y".repeat(500)])]);
    assert_eq!(long.command, format!("{}...", "y".repeat(117)));
    let exact = candidate(&[touch(), argv("x", &["y".repeat(120)])]);
    assert_eq!(exact.command, "y".repeat(120));
}

#[test]
fn a_comm_can_look_like_anything() {
    assert_eq!(
        verdict(&[argv("a) R 1 (b", &["a"]), prog("make")]),
        "0 via \"a) R 1 (b\""
    );
    // Nor does it make a chain of its own.
    let chain = Tree::chain(&[argv("touch < sshd", &["a"]), prog("make")]);
    let (caller, _) = chain.caller(Reach::Holder);
    assert_eq!(caller.via(), "\"touch < sshd\"");
    assert_eq!(verdict(&[touch(), argv(") S 1 1", &["a"])]), "1 via touch");
}

#[test]
fn kernel_threads_hold_for_themselves() {
    let mut thread = argv::<&str>("touch", &[]);
    thread.flags |= 0x20_0040;
    assert_eq!(verdict(&[thread]), "0 via touch");
}

#[test]
fn endless_carriers_end() {
    let tree = Tree::new();
    tree.put(300, 299, 1, &touch());
    for number in 2..300 {
        tree.put(number, number - 1, 1, &prog("env env"));
    }
    let (caller, pins) = tree
        .resolver()
        .caller(Some(pid(300)), USER, Reach::Holder)
        .unwrap();
    assert_eq!(caller.lineage().len(), 1);
    assert_eq!(pins.len(), 1);
    assert!(caller.via().len() <= 200);
}
