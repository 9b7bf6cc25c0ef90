//! "Directories and links": claimed directories, boards in them, symbolic
//! links, and programs that walk through all of it.

use libtest_mimic::Trial;

use crate::lab::{Lab, NOBODY};
use crate::trial::ROOT;

pub fn tests() -> Vec<Trial> {
    trials![
        the_mkdir_idiom("dash", "zsh", "busybox");
        a_pid_is_written_in_the_directory;
        nobody_else_makes_anything_inside("python3");
        other_users_neither(ROOT);
        the_holders_side_does_as_it_likes_inside;
        a_directory_with_boards_is_not_removed("python3");
        its_holder_gone_it_stays_until_it_is_empty;
        opening_it_as_a_file_is_the_holders_alone("python3", "flock");
        listing_it_is_everybodys("python3");
        directories_are_renamed("python3");
        a_symbolic_link_is_a_board("python3");
        a_symbolic_link_leads_nowhere_else("python3");
        no_board_is_made_where_a_symbolic_link_points("python3");
        touch_does_not_take_a_board_through_a_link;
        walking_acquires_nothing_and_leaves_nothing;
        two_names_in_two_directories("python3");
        nothing_is_made_in_a_directory_that_is_gone("python3");
    ]
}

fn the_mkdir_idiom() {
    let lab = Lab::new(&[]);
    let script = "mkdir lock 2>/dev/null || { echo lost; exit 1; }; echo have; read x; rmdir lock";
    for shell in ["bash", "dash", "zsh", "busybox sh"] {
        let mut winner = lab.spawn(shell, script);
        winner.expect("have");
        assert_eq!(lab.holder("lock"), Some(winner.pid()), "{shell}");
        assert_eq!(lab.sh(shell, script).fails(1).stdout, "lost\n", "{shell}");
        winner.say("go");
        assert!(winner.ended(crate::process::PATIENCE).is_some());
        let mut dies = lab.spawn(shell, script);
        dies.expect("have");
        dies.kill();
        let mut next = lab.spawn(shell, script);
        next.expect("have");
        next.kill();
    }
}

fn a_pid_is_written_in_the_directory() {
    let lab = Lab::new(&[]);
    for shell in ["bash", "dash", "busybox sh"] {
        let script =
            "mkdir lock && echo $$ >lock/pid && echo have; read x; rm -r lock; echo done; read x";
        let mut me = lab.spawn(shell, script);
        me.expect("have");
        assert_eq!(lab.holder("lock"), Some(me.pid()));
        assert_eq!(lab.holder("lock/pid"), Some(me.pid()));
        let mut other = lab.shell();
        assert_eq!(other.ok("cat lock/pid"), me.pid().to_string());
        other.refused("echo $$ >lock/pid", "EBUSY");
        me.say("go");
        me.expect("done");
        assert_eq!(lab.boards(), [""; 0]);
    }
}

fn nobody_else_makes_anything_inside() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.mkdir('d'); os.mkdir('d/e')");
    me.ok("touch('mine')");
    for call in [
        "touch('d/b')",
        "opened('d/b', os.O_CREAT)",
        "opened('d/b', os.O_CREAT|os.O_WRONLY|os.O_APPEND)",
        "os.mknod('d/b')",
        "os.mkdir('d/b')",
        "os.symlink('x', 'd/b')",
        "os.link('mine', 'd/mine')",
        "os.rename('mine', 'd/mine')",
        "renameat2('mine', 'd/mine', NOREPLACE)",
        "touch('d/e/b')",
    ] {
        me.refused(call, "EBUSY");
    }
    let mut shell = lab.shell();
    shell.ok("touch tmp");
    for take in [
        "ln tmp d",
        "mv tmp d",
        "ln tmp d/",
        "cp tmp d",
        "touch d/b",
        ": >d/b",
        "ln -s x d",
        "mkdir d/b",
    ] {
        shell.refused(take, "EBUSY");
    }
    holder.ok("touch('d/b')");
    me.refused("os.rename('mine', 'd/b')", "EBUSY");
    me.refused("touch('d/b')", "EEXIST");
    assert_eq!(lab.boards(), ["d", "mine", "tmp"]);
    assert_eq!(holder.ok("sorted(os.listdir('d'))"), "['b', 'e']");
    assert_eq!(holder.ok("os.listdir('d/e')"), "[]");
}

fn other_users_neither() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell_as(NOBODY);
    holder.ok("mkdir d; touch d/b");
    for mut other in [lab.shell(), lab.shell_as(NOBODY), lab.shell_as(1234)] {
        other.refused(": >d/c", "EBUSY");
        other.refused("mkdir d/c", "EBUSY");
    }
    lab.shell_as(1234).refused("rm -f d/b", "EPERM");
    lab.shell_as(1234).refused("rm -rf d", "EPERM");
    lab.shell_as(1234).refused("mv d x", "EPERM");
    // The file's user and root may give it back, boards first.
    lab.shell_as(NOBODY).ok("rm d/b");
    lab.shell().ok("rm -r d");
    assert_eq!(lab.boards(), [""; 0]);
}

fn the_holders_side_does_as_it_likes_inside() {
    let lab = Lab::new(&[]);
    let mut me = lab.shell();
    me.ok("mkdir d; touch d/a; (touch d/b); sh -c 'touch d/c || exit 1; sleep 0'; mkdir d/e d/e/f");
    me.ok("ln d/a d/e/a; mv d/b d/e/f/; ln -s x d/l; cp d/a d/z; [ -e d/z ]");
    // Whoever makes one inside holds that one.
    me.ok("sleep 1000 & child=$!; bash -c 'touch d/own; echo $$ >d/pid; exec sleep 1000' & own=$!");
    me.ok("until [ -s d/pid ]; do :; done; kill $child");
    let own: u32 = me.ok("echo $own").parse().unwrap();
    assert_eq!(lab.holder("d/own"), Some(own));
    me.refused("busybox touch d/own", "EBUSY");
    me.ok("kill -9 $own; wait $own 2>/dev/null; [ ! -e d/own ] && [ ! -e d/pid ]");
    me.ok("rm -r d");
    assert_eq!(lab.boards(), [""; 0]);
}

fn a_directory_with_boards_is_not_removed() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("os.mkdir('d'); touch('d/b')");
    me.refused("os.rmdir('d')", "ENOTEMPTY");
    me.ok("os.mkdir('e')");
    me.refused("os.rename('e', 'd')", "ENOTEMPTY");
    me.ok("os.unlink('d/b')");
    me.ok("os.rename('e', 'd'); os.rmdir('d')");
    assert_eq!(lab.boards(), [""; 0]);
}

fn its_holder_gone_it_stays_until_it_is_empty() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("mkdir d; bash -c 'touch d/b; echo $$ >d/pid; exec sleep 1000' & child=$!");
    holder.ok("until [ -s d/pid ]; do :; done");
    let child = holder.ok("echo $child");
    holder.kill();
    assert_eq!(lab.holder("d"), Some(0));
    assert_eq!(
        lab.holder("d/b").map(|pid| pid.to_string()),
        Some(child.clone())
    );
    let mut other = lab.shell();
    other.refused("mkdir d", "EEXIST");
    other.refused("touch d/c", "EBUSY");
    other.refused("rmdir d", "ENOTEMPTY");
    other.refused("mv d e", "EPERM");
    other.ok(&format!(
        "kill -9 {child}; until [ ! -e d ]; do :; done; mkdir d"
    ));
    assert_eq!(lab.holder("d"), Some(other.pid()));
    lab.wait_for_log(|line| line.contains(" d: released") && line.contains("empty"));
}

fn opening_it_as_a_file_is_the_holders_alone() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.mkdir('d')");
    me.refused("os.open('d', os.O_RDONLY)", "EBUSY");
    me.refused("os.open('d', os.O_RDONLY|os.O_NONBLOCK)", "EBUSY");
    me.refused("os.open('d', os.O_WRONLY)", "EISDIR");
    me.refused("os.open('d', os.O_CREAT|os.O_RDONLY)", "EISDIR");
    me.ok("opened('d', os.O_RDONLY|os.O_DIRECTORY)");
    me.ok("opened('d', os.O_PATH)");
    holder.ok("opened('d', os.O_RDONLY)");
    let mut shell = lab.shell();
    for lock in [
        "flock d true",
        "flock -n d true",
        "flock -s d true",
        "exec 9<d",
        "cat d",
        "dash -c 'exec 9<d'",
    ] {
        shell.refused(lock, "EBUSY");
    }
    shell.ok("mkdir own; flock -n own true; exec 9<own; sh -c 'flock own true; :'");
    // The lock directory is nobody's.
    me.ok("opened('.', os.O_RDONLY)");
    shell.ok("flock -n . true");
}

fn listing_it_is_everybodys() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.mkdir('d'); os.mkdir('d/e'); touch('d/e/b'); os.symlink('x', 'd/l')");
    assert_eq!(me.ok("sorted(os.listdir('d'))"), "['e', 'l']");
    assert_eq!(
        me.ok("[(sorted(e.name for e in os.scandir(p)), sorted(e.is_dir(follow_symlinks=False) for e in os.scandir(p))) for p in ['d', 'd/e']]"),
        "[(['e', 'l'], [False, True]), (['b'], [False])]"
    );
    assert_eq!(
        me.ok("os.stat('d/e/..').st_ino == os.stat('d').st_ino"),
        "True"
    );
    let mut shell = lab.shell();
    assert_eq!(
        shell.ok("find . | sort | tr '\\n' ' '"),
        ". ./d ./d/e ./d/e/b ./d/l "
    );
    shell.ok("ls -laR . && ls d/* && tree 2>/dev/null; cd d/e && cat b && cd ../..");
    // A directory with more names than fit in one answer.
    holder.ok("[touch('d/e/%04d-%s' % (i, 'x' * 100)) for i in range(1500)]; None");
    assert_eq!(me.ok("len(set(os.listdir('d/e')))"), "1501");
    // One that shrinks while it is read loses no other name.
    me.ok("walk = os.scandir('d/e'); seen = [next(walk).name for i in range(10)]");
    holder.ok("[os.unlink('d/e/' + n) for n in sorted(os.listdir('d/e'))[:500]]; None");
    me.ok("seen += [e.name for e in walk]");
    assert_eq!(
        me.ok("len(seen) == len(set(seen)) and set(os.listdir('d/e')) <= set(seen)"),
        "True"
    );
}

fn directories_are_renamed() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.mkdir('d'); touch('d/b'); os.mkdir('d/e'); os.mkdir('other')");
    for call in [
        "os.rename('d', 'x')",
        "os.rename('d/b', 'b')",
        "os.rename('d/e', 'e')",
        "os.rename('d', 'd2/x')",
    ] {
        let errno = if call.contains("d2") {
            "ENOENT"
        } else {
            "EPERM"
        };
        me.refused(call, errno);
    }
    holder.refused("os.rename('d', 'd/e/d')", "EINVAL");
    holder.ok("os.rename('d', 'other/d')");
    assert_eq!(lab.holder("other/d/b"), Some(holder.pid()));
    holder.ok("os.rename('other/d', 'd'); os.rename('d/e', 'e'); os.rename('d/b', 'b')");
    assert_eq!(lab.boards(), ["b", "d", "e", "other"]);
    assert_eq!(
        holder.ok("os.stat('other/..').st_ino == os.stat('.').st_ino"),
        "True"
    );
    holder.refused("os.rename('d', 'b')", "ENOTDIR");
    holder.refused("os.rename('b', 'd')", "EISDIR");
    // Onto another's, or into it: no.
    me.ok("os.mkdir('mine')");
    me.refused("os.rename('mine', 'd')", "EBUSY");
    me.refused("os.rename('mine', 'd/mine')", "EBUSY");
    assert_eq!(lab.holder("mine"), Some(me.pid()));
    // A board moved out goes on when its directory's hold ends.
    holder.ok("touch('d/b'); os.rename('d/b', 'kept'); os.rmdir('d')");
    assert_eq!(lab.holder("kept"), Some(holder.pid()));
}

fn a_symbolic_link_is_a_board() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.symlink('me@host.42:1', 'b')");
    assert_eq!(me.ok("os.readlink('b')"), "me@host.42:1");
    assert_eq!(me.ok("os.lstat('b').st_size"), "12");
    me.refused("os.symlink('me@host.43:1', 'b')", "EEXIST");
    me.refused("touch('b')", "EEXIST");
    me.refused("os.mkdir('b')", "EEXIST");
    me.refused("os.utime('b', follow_symlinks=False)", "EBUSY");
    me.refused("os.stat('b')", "ENOENT");
    assert_eq!(holder.ok("os.readlink('b')"), "me@host.42:1");
    holder.ok("os.utime('b', ns=(5, 5), follow_symlinks=False)");
    assert_eq!(me.ok("os.lstat('b').st_mtime_ns"), "5");
    holder.kill();
    me.refused("os.lstat('b')", "ENOENT");
    me.ok("os.symlink('x' * 255, 'b')");
    assert_eq!(me.ok("len(os.readlink('b'))"), "255");
}

fn a_symbolic_link_leads_nowhere_else() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    // Where touch would follow it to something that is there.
    for target in [
        "/etc/passwd",
        "/",
        "../locks",
        "../",
        "d/b",
        "./x",
        "x/",
        ".",
        "..",
    ] {
        me.refused(&format!("os.symlink('{target}', 'b')"), "EPERM");
    }
    assert_eq!(lab.boards(), [""; 0]);
}

fn no_board_is_made_where_a_symbolic_link_points() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.symlink('target', 'b')");
    me.ok("touch('mine')");
    for client in [&mut me, &mut holder] {
        for call in [
            "opened('b', os.O_CREAT|os.O_WRONLY)",
            "opened('b', os.O_CREAT)",
            "opened('target', os.O_CREAT|os.O_WRONLY)",
            "touch('target')",
            "os.mknod('target')",
            "os.mkdir('target')",
            "os.symlink('x', 'target')",
        ] {
            client.refused(call, "EBUSY");
        }
        client.refused("opened('b', os.O_CREAT|os.O_EXCL)", "EEXIST");
        client.refused("opened('b', os.O_WRONLY)", "ENOENT");
        client.refused("os.utime('b')", "ENOENT");
    }
    me.refused("os.link('mine', 'target')", "EBUSY");
    me.refused("os.rename('mine', 'target')", "EBUSY");
    // In another directory the name is another.
    holder.ok("os.mkdir('d'); touch('d/target'); os.unlink('d/target')");
    // It goes with the link, and counts links.
    holder.ok("os.symlink('target', 'c'); os.unlink('b')");
    me.refused("touch('target')", "EBUSY");
    holder.ok("os.rename('c', 'd/c')");
    me.ok("touch('target'); os.unlink('target')");
    holder.refused("touch('d/target')", "EBUSY");
    holder.ok("os.unlink('d/c'); touch('d/target')");
}

fn touch_does_not_take_a_board_through_a_link() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.shell(), lab.shell());
    // What is the caller's own must not stand in for another's board.
    me.ok("touch mine; mkdir dir");
    me.ok("ln -s mine own && touch own && rm own");
    for (target, link) in [("mine", "b"), ("dir", "b")] {
        let made = holder.run(&format!("ln -s {target} {link}"));
        for take in [
            "touch b",
            "busybox touch b",
            ": >b",
            ": >>b",
            "mkdir b",
            "mkdir -p b",
            "tee b",
        ] {
            let took = me.run(take).outcome == "0";
            let really = lab.holder_of_any("b") == Some(me.pid());
            assert!(!took || really, "{take} with b -> {target}: {made:?}");
            if took {
                me.ok("rm -r b");
            }
        }
        holder.run("rm -f b");
    }
    holder.ok("mkdir d; touch x; ln -s x d/b || ln -s y d/b");
    for place in ["b", "d/c"] {
        // Nor one that was moved to where its target is.
        holder.run(&format!(
            "rm -f x; ln -s mine d/l; mv d/l {place}; ln d/l {place}"
        ));
        let took = me.run(&format!("touch {place}")).outcome == "0";
        let really = lab.holder_of_any(place) == Some(me.pid());
        assert!(!took || really, "{place}");
    }
}

fn walking_acquires_nothing_and_leaves_nothing() {
    let lab = Lab::new(&[]);
    let mut holder = lab.shell();
    holder.ok("touch a; mkdir d; touch d/b; ln -s x l; exec 9>open; echo note >noted");
    let tokens =
        |lab: &Lab| ["a", "d", "d/b", "open", "noted"].map(|board| lab.xattr(board, "token"));
    let before = tokens(&lab);
    let names = holder.ok("find . | sort");
    let mut me = lab.shell();
    for walk in [
        "find . -type f -exec cat {} + >/dev/null",
        "find . -ls >/dev/null",
        "grep -r token . >/dev/null",
        "grep -c . a d/b open noted",
        "tar cf - . | tar tf - | grep -q d/b",
        "du -a . >/dev/null",
        "df . >/dev/null",
        "ls -lRZ . >/dev/null",
        "stat * >/dev/null",
        "wc -c a d/b noted >/dev/null",
        "mkdir $LOCKS/../copied && cp -r d noted $LOCKS/../copied",
        "md5sum a d/b >/dev/null",
        "/usr/bin/python3 -c 'open(\"a\").read(); open(\"d/b\", \"a\")'",
        "cp noted $LOCKS/../copied/more && cp a $LOCKS/../copied/status && [ -s $LOCKS/../copied/status ]",
        "head -n1 a d/b >/dev/null; tail -n1 a >/dev/null",
        "getfattr -R -d . >/dev/null 2>&1; true",
        "busybox find . >/dev/null; busybox du . >/dev/null; busybox tar cf /dev/null .",
        "for i in *; do [ -e $i ]; [ -r $i ]; [ -w $i ]; [ -d $i ]; [ -s $i ]; done; true",
    ] {
        me.ok(walk);
        assert_eq!(holder.ok("find . | sort"), names, "{walk}");
        assert_eq!(tokens(&lab), before, "{walk}");
    }
    assert_eq!(lab.holder("d/b"), Some(holder.pid()));
    let log = lab.log();
    let warnings = log.iter().filter(|line| line.contains(" warn "));
    assert_eq!(warnings.count(), 0, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("refused")), "{log:?}");
}

fn two_names_in_two_directories() {
    let lab = Lab::new(&[]);
    let mut me = lab.python();
    me.ok("os.mkdir('d'); touch('d/b'); os.link('d/b', 'b')");
    assert_eq!(
        me.ok("os.stat('b').st_ino == os.stat('d/b').st_ino, os.stat('b').st_nlink"),
        "(True, 2)"
    );
    me.ok("os.unlink('d/b'); os.rmdir('d')");
    assert_eq!(lab.holder("b"), Some(me.pid()));
    me.refused("os.link('d', 'e')", "ENOENT");
    me.ok("os.mkdir('d')");
    me.refused("os.link('d', 'e')", "EPERM");
    // A symbolic link has names as well.
    me.ok("os.symlink('x', 'l'); os.link('l', 'd/l', follow_symlinks=False)");
    me.ok("os.unlink('l')");
    assert_eq!(me.ok("os.readlink('d/l')"), "x");
    me.ok("touch('x')");
    me.refused("touch('d/x')", "EBUSY");
}

fn nothing_is_made_in_a_directory_that_is_gone() {
    let lab = Lab::new(&[]);
    let (mut me, mut holder) = (lab.python(), lab.python());
    holder.ok("os.mkdir('d'); touch('d/b')");
    me.ok("fd = os.open('d', os.O_RDONLY|os.O_DIRECTORY); os.chdir('d')");
    holder.kill();
    assert_eq!(lab.boards(), [""; 0]);
    me.ok("os.mkdir(os.environ['LOCKS'] + '/d')");
    for call in [
        "touch('x')",
        "os.mkdir('x')",
        "opened('x', os.O_CREAT|os.O_WRONLY)",
        "os.open('x', os.O_CREAT|os.O_WRONLY, dir_fd=fd)",
        "os.symlink('x', 'y')",
        "os.stat('b')",
        "os.listdir(fd)",
    ] {
        assert_ne!(me.run(call).outcome, "ok", "{call}");
    }
    assert_eq!(lab.boards(), ["d"]);
    assert_eq!(me.ok("os.listdir(os.environ['LOCKS'] + '/d')"), "[]");
}
