//! The strings of `sh -c`.

use proptest::prelude::*;

use crate::process::Lists;
use crate::process::command::only_claims;

fn claims(string: &str) -> bool {
    only_claims(string.as_bytes(), false, &Lists::default())
}

#[test]
#[rustfmt::skip]
fn these_only_claim() {
    for string in [
        "", "  ", "# nothing", ": >x", ">x", "touch x", "touch x # now", "touch x;", "touch x\n",
        "touch 'a b' \"c d\" e\\ f", "'touch' x", "\\touch x", "/usr/bin/touch x",
        "touch x || exit 1", "touch x && echo ok", "touch x 2>&1", "touch x >/dev/null 2>&1",
        "touch x &>/dev/null", "touch x >&2", "touch x 2>&-", "touch x >| y", "cat_=1 touch x",
        "A=b C=\"d e\" touch x", "A=b", "touch \"$BOARD\" ~/x ${X:-y} x*", "touch $1 $@ $? $# $$",
        "echo $$ >x", "echo $PPID > \"$d\"/x", "(touch x)", "( touch x ) >log", "{ touch x; }",
        "! touch x", "if touch x; then echo ok; else exit 1; fi",
        "if ! touch x\nthen\nexit 1\nfi",
        "if test -e x; then exit 1; elif [ -e y ]; then exit 2; fi; touch x",
        "until touch x; do sleep 1; done", "while ! touch x 2>/dev/null; do sleep 1; done",
        "while :; do touch x && break; sleep 5; done", "for b in a b; do touch $b; done",
        "for b; do touch $b; done", "for b\ndo touch $b\ndone",
        "case $1 in a) touch a;; b|c) touch b ;; (*) exit 1; esac", "case x in esac",
        "[ -e x ] || touch x", "[[ -e x && ! ( -e y || a < b ) ]] || touch x",
        "test -e x || ( touch x && echo \"$(date): got it\" )", "touch x | tee log",
        "touch x |& tee log", "touch x & ", "echo \"$(hostname) `date`\" >x",
        "echo \"`echo \\`date\\``\" >x", "touch -d @$(( $(date +%s) + 60 )) x", "X=$(mktemp)",
        "touch ${X:-$(hostname)}", "sudo touch x", "sudo -n -u lab touch x", "sudo -u $U touch x",
        "env A=b touch x", "timeout 5 touch x", "timeout -k 5 -s KILL 10 touch x",
        "timeout $T touch x", "nice -n 5 touch x", "nice -5 touch x", "flock -n l touch x",
        "flock l -c 'touch x'", "sudo env A=b timeout 5 touch x", "su lab -c 'touch x'",
        "setuidgid lab touch x", "find . -name x -exec touch {} \\;", "xargs touch <list",
        "exec touch x", "exec sudo touch x", "command touch x", "command -v touch",
        "builtin echo", "busybox touch x", "cmake -E touch x", "sh -c 'touch x'",
        "sudo sh -c 'touch x || exit 1'", "bash -lc \"touch x\"",
        "set -e; cd /locks; umask 0; touch x; logger got; id; true", "touch a\\\nb",
        "touch x <<<word", "/lib64/ld-linux-x86-64.so.2 /bin/touch x", "rm -f x", "ln -s a x",
        "mkdir x && echo $$ >x/pid", "touch $'a b'", "touch a=b[1]", "/bin/busybox touch x",
        "export A=b; touch x", "touch x \\", "echo {a,b} >x",
    ] {
        assert!(claims(string), "{string:?}");
    }
}

#[test]
#[rustfmt::skip]
fn these_work() {
    for string in [
        "touch x; work; rm x", "touch x && ./prepare", "./touch x", "bin/install x",
        "/opt/lab/install x", "~/bin/touch x", "$TOOL x", "to* x", "${X} y", "`echo touch` x",
        "$(echo)touch x", "exec 9>x", "exec 9>x; flock 9", "exec work", "exec", "exec {fd}>x",
        "sleep 5", "touch x; sleep 5", "for i in 1 2; do sleep 1; done", "(work)", "{ work; }",
        "echo $(work)", "echo \"$(work)\"", "echo `work`", "echo \"`work`\"",
        "echo ${x:-$(work)}", "echo $((1 + $(work)))", "A=$(work)", "touch x >$(work)",
        "[[ -e $(work) ]]", "for b in $(work); do touch $b; done", "case $(work) in a) ;; esac",
        "case x in $(work)) ;; esac", "f() { touch x; }", "function f { touch x; }",
        "f () (touch x)", "eval touch x", ". ./env", "source env", "trap 'rm x' EXIT; touch x",
        "touch x & wait", "read line", "((i++))", "for ((;;)) do :; done", "touch x <<E\nE",
        "touch x <(work)", "A=(touch x)", "touch 'x", "touch \"x", "touch `x", "touch $(x",
        "(touch x", "touch x)", "if touch x", "fi", "done", "}", "esac", "touch x;; touch y",
        "[[ -e x", "touch ${x", "sudo make install", "sudo -n make install",
        "sudo -u lab make install", "sudo ./touch x", "timeout 5 make install",
        "env make install", "find . -delete", "find . -exec work \\;", "xargs", "sudo", "sudo -i",
        "timeout 5 sleep 5", "sh job", "sh -c \"touch $X\"", "sh", "sh -c 'work'",
        "sudo sh -c 'touch x; work'", "su lab -c work", "flock l -c 'work'", "cmake -E sleep 5",
        "cmake --build .", "busybox", "busybox sh -c work", "python3 -c x",
        "while touch x; do work; done; sleep 1", "until touch x; do sleep 1; done; sleep 1",
        "echo $((1+1)", "command ./prepare", "touch x; select y in a; do :; done",
        "coproc touch x", "echo ${ work; }", "let x=1", "{fd}>x touch", "touch x 2>&1 | work",
        "touch $'a\\'b; work'", "and touch x", "time work", "!work",
    ] {
        assert!(!claims(string), "{string:?}");
    }
}

#[test]
fn fish_has_its_own_words() {
    let fish = |string: &str| only_claims(string.as_bytes(), true, &Lists::default());
    for string in [
        "touch x; or exit 1",
        "touch x; and echo ok",
        "if not touch x; exit 1; end",
        "begin; touch x; end",
        "while not touch x; sleep 1; end",
        "for b in a b; touch $b; end",
        "touch x || exit 1",
    ] {
        assert!(fish(string), "{string:?}");
    }
    for string in [
        "touch x; and work",
        "begin; touch x",
        "end",
        "touch (work)",
        "touch `work`",
    ] {
        assert!(!fish(string), "{string:?}");
    }
}

#[test]
fn depth_and_effort_are_bounded() {
    let deep =
        |open: &str, close: &str| format!("{}touch x{}", open.repeat(3000), close.repeat(3000));
    for string in [
        deep("(", ")"),
        deep("( ", ")"),
        deep("echo $(", ")"),
        deep("echo \"$(", ")\""),
        deep("${x:-", "}"),
        deep("$((", "))"),
        deep("{ ", "; }"),
        deep("if ", "; then :; fi"),
        "sudo -u ".repeat(5000),
        "env -u ".repeat(5000),
        "exec ".repeat(5000),
        "command ".repeat(5000),
        "\\`".repeat(5000),
        "`".repeat(5001),
        "x=".repeat(200_000),
        "a".repeat(100_000),
        "for x in ".repeat(5000),
        "case ".repeat(5000),
    ] {
        let begin = std::time::Instant::now();
        claims(&string);
        assert!(begin.elapsed().as_secs() < 5, "{}...", &string[..20]);
    }
    assert!(!claims(&deep("( ", ")")));
    assert!(claims("( ( ( ( touch x ) ) ) )"));
}

proptest! {
    #[test]
    fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200), fish: bool) {
        only_claims(&bytes, fish, &Lists::default());
    }

    #[test]
    fn no_words_are_too_much(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "touch", "x", "sudo", "-u", "env", "sh", "-c", "if", "then", "fi", "while", "do",
                "done", "case", "in", "esac", "for", "[[", "]]", "{", "}", "(", ")", ";", ";;",
                "&", "|", "<", ">", "<<<", "&>", "$(", "$((", "))", "${", "`", "\"", "'", "\\",
                "$", "$'", "\n", "#", "exec", "2>&1", "A=b", "!", "find", "-exec", "\\`", "end",
            ]),
            0..60,
        ),
        blanks: bool,
        fish: bool,
    ) {
        let string = words.join(if blanks { " " } else { "" });
        only_claims(string.as_bytes(), fish, &Lists::default());
    }

    /// What a shell is certain to run is found, whatever stands around it.
    #[test]
    fn work_is_never_missed(
        before in prop::sample::select(vec![
            "touch x; ", "touch x && ", "if touch x; then ", "{ ", "( ", "echo \"$(", "! ",
            "echo 'a;b'; ", "touch x | ", "A=b ", "touch x & ",
        ]),
        work in prop::sample::select(vec!["work", "./touch", "make install", "\"work\"", "wo'r'k"]),
        after in prop::sample::select(vec!["; }", " )", ")\"", "; fi", "", " >log", " # end"]),
    ) {
        let string = format!("{before}{work}{after}");
        prop_assert!(!claims(&string));
    }
}
