//! `.boardlock`, the directory in the mount that tells about it.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::lab::{Lab, NOBODY};
use crate::trial::{LIBRARIES, ROOT};

pub fn tests() -> Vec<Trial> {
    trials![
        it_is_found_and_not_listed("find", "python3");
        the_status_tells_who_has_what("jq", "flock", "python3");
        the_status_tells_who_was_refused_and_why(ROOT, "jq");
        nothing_is_made_or_removed_there(ROOT, "busybox", "flock");
        whoever_walks_it_comes_to_an_end("find", "tar", "grep", "python3");
        reads_of_one_open_are_of_one_moment("bash");
        what_can_be_done_here_is_told("awk");
        boards_by_the_thousand_are_told("jq", "python3");
        each_change_is_an_event(ROOT, "jq");
        tail_follows_the_events("tail");
        who_polls_is_woken("python3");
        what_ended_is_remembered_and_how(ROOT, "jq", "flock");
        what_is_counted_is_read_by_prometheus(ROOT, LIBRARIES, "python3", "flock");
        a_board_is_taken_by_force(ROOT, "jq", "setfattr", "python3");
        a_locked_board_is_taken_by_force_and_goes_to_who_waits(ROOT, "setfattr", "flock", "bash");
    ]
}

fn it_is_found_and_not_listed() {
    let lab = Lab::new(&[]);
    let script = "
        touch b; echo *; echo .[!.]*; ls -A; find . | sort; echo --
        ls .boardlock; ls -d .boardlock; cd .boardlock && pwd -P | sed 's,.*/,,'
        python3 -c 'import os; print(os.listdir(\"..\"))'
        stat -c '%A %h' . status.json; [ -e status.json ] && [ ! -e nothing ] && echo there";
    let output = lab.sh("sh", script).ok();
    assert_eq!(
        output.stdout,
        "b\n.[!.]*\nb\n.\n./b\n--\ncapabilities\nevents\nhistory.json\nmetrics\nstatus.json\n\
         .boardlock\n.boardlock\n['b']\ndr-xr-xr-x 1\n-r--r--r-- 1\nthere\n",
        "{output}"
    );
}

fn the_status_tells_who_has_what() {
    let lab = Lab::new(&["--lease", "1h"]);
    let script = r#"
        set -e
        jq -c .boards .boardlock/status.json
        mkdir rack1; touch rack1/beagle a; ln -s nowhere l; echo 'a "note"' >a
        jq -c '.boards[] | [.board, .kind, .state, .uid, .pid == '$$', .token, .waiters, .note]' \
            .boardlock/status.json
        jq -c '.boards[0] | .expires_unix - .since_unix, .via, .lock, .locks, (.command | length > 0)' \
            .boardlock/status.json
        jq -r '[.version, .directory, .boardlock, (.now_unix | type)] | @tsv' .boardlock/status.json
        rm a l
        exec 9>a; flock 9
        flock a true 9>&- & until jq -e '.boards[0].waiters == 1' .boardlock/status.json; do :; done
        jq -c '.boards[0] | .lock, .locks, .waiting[0].place, .waiting[0].pid == '$!'' .boardlock/status.json
        exec 9>&-; wait; rm -r rack1
        jq -c .boards .boardlock/status.json
        "#;
    let output = lab.sh("bash", script).ok();
    let uid = rustix::process::geteuid().as_raw();
    let version = env!("CARGO_PKG_VERSION");
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    // However often it was asked whether somebody waits yet.
    lines.retain(|line| *line != "false");
    assert_eq!(
        lines,
        [
            "[]".to_owned(),
            format!(r#"["a","file","held",{uid},true,3,0,"a \"note\""]"#),
            format!(r#"["l","link","held",{uid},true,4,0,null]"#),
            format!(r#"["rack1","directory","held",{uid},true,1,0,null]"#),
            format!(r#"["rack1/beagle","file","held",{uid},true,2,0,null]"#),
            "3600".to_owned(),
            r#""touch < bash""#.to_owned(),
            "null".to_owned(),
            "0".to_owned(),
            "true".to_owned(),
            format!("1\t{}\t{version}\tnumber", lab.dir().display()),
            "true".to_owned(),
            r#""exclusive""#.to_owned(),
            "1".to_owned(),
            "1".to_owned(),
            "true".to_owned(),
            "[]".to_owned(),
        ],
        "{output}"
    );
}

fn the_status_tells_who_was_refused_and_why() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn(
        "sh",
        "touch b; echo have; read line; rm b; touch b; echo again; read line",
    );
    holder.expect("have");
    lab.sh_as(NOBODY, "sh", "touch b").fails(1);
    lab.sh_as(NOBODY, "sh", "rm -f b").fails(1);
    let asked =
        r#"jq -c '.boards[] | .refused[] | [.uid, .code, .reason, .via]' .boardlock/status.json"#;
    let output = lab.sh("sh", asked).ok();
    assert_eq!(
        output.stdout,
        format!(
            "[{NOBODY},\"busy_now\",\"held by another\",\"touch < sh\"]\n\
             [{NOBODY},\"not_yours\",\"it is another's to release\",\"rm < sh\"]\n"
        )
    );
    // Another hold, with nobody refused yet.
    holder.say("go");
    holder.expect("again");
    assert_eq!(lab.sh("sh", asked).ok().stdout, "");
}

fn nothing_is_made_or_removed_there() {
    let lab = Lab::new(&[]);
    // What each command says is its own affair: that it fails, and why.
    let script = r#"
        touch mine
        may_not() { if said=$("$@" 2>&1); then echo "done: $*"; else case $said in
            *"not permitted"*|*"is a directory"*|*"s a directory"*|*"File exists"*|*"directory not empty"*|*"overwrite directory"*|*"No locks available"*) ;;
            *) echo "$*: $said";; esac; fi; }
        may_not touch .boardlock/x
        may_not touch .boardlock/status.json
        may_not touch .boardlock
        may_not busybox touch .boardlock/status.json
        may_not mkdir .boardlock
        may_not mkdir .boardlock/x
        may_not ln -s x .boardlock
        may_not ln -s x .boardlock/x
        may_not ln -s .boardlock x
        may_not ln mine .boardlock/x
        may_not ln .boardlock/status.json x
        may_not mv mine .boardlock
        may_not mv -T mine .boardlock
        may_not mv .boardlock x
        may_not mv .boardlock/status.json x
        may_not rm -f .boardlock/status.json
        may_not rm -rf .boardlock
        may_not rmdir .boardlock
        may_not cp /dev/null .boardlock/status.json
        may_not sh -c 'echo x >.boardlock/status.json'
        may_not sh -c 'echo x >>.boardlock/events'
        may_not truncate -s 0 .boardlock/status.json
        may_not chmod 666 .boardlock/status.json
        may_not setfattr -n user.boardlock.note -v x .boardlock/status.json
        may_not flock -n .boardlock/status.json true
        getfattr -d .boardlock/status.json .boardlock
        [ ! -w .boardlock/status.json ] || echo writable
        ls -A; ls .boardlock | wc -l; rm mine"#;
    for uid in [0, NOBODY] {
        let from = lab.log().len();
        let output = lab.sh_as(uid, "sh", script).ok();
        assert_eq!(output.stdout, "mine\n5\n", "{output}");
        let user = if uid == 0 { "root" } else { "nobody" };
        lab.wait_for_log_from(from, |line| {
            line.contains(".boardlock/x: refused to") && line.contains(user)
        });
    }
}

fn whoever_walks_it_comes_to_an_end() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn("sh", "touch b; mkdir d; echo have; read line");
    holder.expect("have");
    let script = r#"
        find . .boardlock -type f -exec cat {} + >/dev/null || echo find
        grep -r state . .boardlock >/dev/null || echo grep
        tar cf /dev/null . .boardlock 2>/dev/null; [ $? -le 1 ] || echo tar
        python3 -c 'import os
for top in (".", ".boardlock"):
    for dir, _, files in os.walk(top):
        for name in files: open(os.path.join(dir, name), "rb").read()'
        wc -c .boardlock/* >/dev/null; du -s . .boardlock >/dev/null; df . >/dev/null
        ls"#;
    lab.wait_for_log(|line| line.contains("d: acquired"));
    let before = lab.log().len();
    let output = lab.sh("sh", script).ok();
    assert_eq!(output.stdout, "b\nd\n", "{output}");
    let said = lab.log().split_off(before);
    assert!(said.is_empty(), "{said:?}");
}

fn reads_of_one_open_are_of_one_moment() {
    let lab = Lab::new(&[]);
    let script = r#"
        set -e
        exec 3<.boardlock/status.json
        read -r -n 10 -u 3 first
        for board in {1..50}; do touch board-with-a-name-$board; done
        rest=$(cat <&3); [[ "$first$rest" != *name* ]] && echo as it was
        rm board*; exec 4<.boardlock/status.json; read -r -n 10 -u 4 first
        [[ $(cat <&4) != *name* ]] && echo as it is"#;
    let output = lab.sh("bash", script).ok();
    assert_eq!(output.stdout, "as it was\nas it is\n", "{output}");
}

fn what_can_be_done_here_is_told() {
    let lab = Lab::new(&["-o", "release=holder", "--lease", "90m"]);
    let script = "awk 'NF != 2' .boardlock/capabilities
        grep -x -e 'release holder' -e 'lease 5400' -e 'expire keep' -e 'open wait' \\
            -e 'state 2' -e 'version .*' .boardlock/capabilities";
    let output = lab.sh("sh", script).ok();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        output.stdout,
        format!("version {version}\nstate 2\nrelease holder\nexpire keep\nopen wait\nlease 5400\n")
    );
}

fn boards_by_the_thousand_are_told() {
    let lab = Lab::new(&[]);
    let script = r#"
import json, os, subprocess
names = ["%04d" % n for n in range(3000)]
for name in names:
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
first = open(".boardlock/status.json")
start = first.read(100)
for name in names[::2]:
    os.unlink(name)
for name in names[1::4]:
    os.rename(name, "x" + name)
told = json.loads(start + first.read())
assert [b["board"] for b in told["boards"]] == names, len(told["boards"])
told = json.load(open(".boardlock/status.json"))
left = sorted(set(os.listdir(".")))
assert [b["board"] for b in told["boards"]] == left, len(told["boards"])
assert {b["pid"] for b in told["boards"]} == {os.getpid()}
print(len(left))
"#;
    let output = lab.sh("python3", script).ok();
    assert_eq!(output.stdout, "1500\n", "{output}");
}

/// Reads a field of each line of the events that `jq` picks.
fn events(lab: &Lab, picks: &str) -> String {
    let script = format!("jq -rc '{picks}' .boardlock/events");
    lab.sh("sh", &script).ok().stdout
}

fn each_change_is_an_event() {
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn(
        "sh",
        "touch b; echo have; read l; rm b; echo gone; read l; touch c; echo again; read l",
    );
    holder.expect("have");
    lab.sh_as(NOBODY, "sh", "touch b").fails(1);
    holder.say("go");
    holder.expect("gone");
    holder.say("go");
    holder.expect("again");
    holder.kill();
    crate::process::eventually("it is free", crate::process::PATIENCE, || {
        !lab.path("c").exists()
    });
    let output = events(
        &lab,
        "[.event, .board, .uid, .how, .by, .code, .held_by.uid, (.token | type)]",
    );
    assert_eq!(
        output,
        format!(
            r#"["acquired","b",0,null,null,null,null,"number"]
["refused","b",{NOBODY},null,null,"busy_now",0,"null"]
["released","b",0,"released","root",null,null,"number"]
["acquired","c",0,null,null,null,null,"number"]
["released","c",0,"died",null,null,null,"number"]
"#
        )
    );
    let pid = holder.pid();
    let output = events(&lab, &format!("select(.pid == {pid}) | .event"));
    assert_eq!(output, "acquired\nreleased\nacquired\nreleased\n");
    // Each on a line of its own, whatever users call their boards.
    let script = r#"n=$(printf 'x"\\\303\244 {"event": "forged"}'); touch "$n" && rm "$n"
        jq -e -s 'map(select(.event == "forged")) == [] and length == 7' .boardlock/events
        jq -r -s 'last | .board' .boardlock/events; wc -l <.boardlock/events"#;
    let output = lab.sh("sh", script).ok();
    assert_eq!(
        output.stdout,
        "true\nx\"\\\\\u{e4} {\"event\": \"forged\"}\n7\n"
    );
}

fn tail_follows_the_events() {
    let lab = Lab::new(&[]);
    lab.sh("sh", "touch before; rm before").ok();
    let mut tail = lab.program("tail", &["-n", "1", "-f", ".boardlock/events"]);
    assert!(
        tail.line()
            .contains(r#""event":"released","board":"before""#)
    );
    for _ in 0..3 {
        lab.sh("sh", "touch b; rm b").ok();
        for event in ["acquired", "released"] {
            let line = tail.line();
            let told = format!(r#""event":"{event}","board":"b""#);
            assert!(line.contains(&told), "{line}");
        }
    }
    // Whoever serves dies, and others go on: with events that begin anew.
    let from = lab.log().len();
    kill(lab.daemon_pid());
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    lab.sh("sh", "touch after").ok();
    let line = tail.line();
    assert!(
        line.contains(r#""event":"acquired","board":"after""#),
        "{line}"
    );
    assert!(
        tail.line()
            .contains(r#""event":"released","board":"after","#)
    );
    lab.sh("sh", "touch more").ok();
    assert!(tail.line().contains(r#""event":"acquired","board":"more""#));
    assert_eq!(tail.ended(std::time::Duration::ZERO), None, "it goes on");
}

#[track_caller]
fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

fn who_polls_is_woken() {
    let lab = Lab::new(&[]);
    for (file, read) in [
        ("events", "os.read(fd, 65536)"),
        ("status.json", "os.pread(fd, 65536, 0)"),
        ("history.json", "os.pread(fd, 65536, 0)"),
        ("metrics", "os.pread(fd, 65536, 0)"),
    ] {
        let mut me = lab.python();
        me.ok("p = select.poll()");
        me.ok(&format!(
            "fd = os.open('.boardlock/{file}', os.O_RDONLY); p.register(fd, select.POLLIN)"
        ));
        me.ok(&format!("{read} and None"));
        assert_eq!(me.ok("p.poll(0)"), "[]", "{file}: it has read all");
        me.begin("len(p.poll(None))");
        lab.sh("sh", "touch b; rm b").ok();
        assert_eq!(me.done("poll"), "1", "{file}");
        // Until it is read, and no longer.
        assert_eq!(me.ok("len(p.poll(0))"), "1", "{file}");
        crate::process::eventually("it has read all", crate::process::PATIENCE, || {
            me.ok(&format!("{read} and None"));
            me.ok("len(p.poll(0))") == "0"
        });
    }
    // Whoever serves dies while they sleep.
    let mut sleepers = Vec::new();
    for file in ["events", "status.json"] {
        let mut me = lab.python();
        me.ok("p = select.poll()");
        me.ok(&format!(
            "fd = os.open('.boardlock/{file}', os.O_RDONLY); p.register(fd, select.POLLIN)"
        ));
        me.ok("os.read(fd, 65536) and None");
        me.ok("os.read(fd, 65536) and None");
        me.begin("len(p.poll(None))");
        crate::process::eventually("it polls", crate::process::PATIENCE, || {
            let at = std::fs::read_to_string(format!("/proc/{}/wchan", me.pid()));
            at.unwrap_or_default().contains("poll")
        });
        sleepers.push(me);
    }
    let from = lab.log().len();
    kill(lab.daemon_pid());
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    lab.sh("sh", "touch b; rm b").ok();
    for mut me in sleepers {
        assert_eq!(me.done("poll"), "1");
    }
    // Who is refused is told there, and counted.
    let mut holder = lab.spawn("sh", "touch h; echo have; read x");
    holder.expect("have");
    for file in ["status.json", "metrics"] {
        let mut me = lab.python();
        me.ok("p = select.poll()");
        me.ok(&format!(
            "fd = os.open('.boardlock/{file}', os.O_RDONLY); p.register(fd, select.POLLIN)"
        ));
        crate::process::eventually("it has read all", crate::process::PATIENCE, || {
            me.ok("os.pread(fd, 65536, 0) and None");
            me.ok("len(p.poll(0))") == "0"
        });
        me.begin("len(p.poll(None))");
        lab.sh("sh", "touch h").fails(1);
        assert_eq!(me.done("poll"), "1", "{file}");
    }
    // What is no event, too.
    let mut me = lab.python();
    me.ok("touch('b')");
    me.ok("p = select.poll(); fd = os.open('.boardlock/status.json', os.O_RDONLY)");
    me.ok("p.register(fd, select.POLLIN); os.pread(fd, 65536, 0) and None");
    me.ok("os.utime('b', (2000000000, 2000000000))");
    assert_eq!(me.ok("len(p.poll(0))"), "1");
}

fn what_ended_is_remembered_and_how() {
    let lab = Lab::new(&[]);
    let script = "touch a b; ln -s x l; mkdir d; touch d/in; rm -r d l; mv a b
        (exec 9>f; flock 9); rm b";
    lab.sh("sh", script).ok();
    let mut holder = lab.spawn("sh", "touch k; echo have; read line");
    holder.expect("have");
    holder.kill();
    crate::process::eventually("it is free", crate::process::PATIENCE, || {
        !lab.path("k").exists()
    });
    let told =
        "jq -rc '.holds[] | [.board, .how, .by, .kind, .uid] | @csv' .boardlock/history.json";
    let lines = r#""d/in","released","root","claim",0
"d","released","root","claim",0
"l","released","root","claim",0
"b","replaced",,"claim",0
"a","renamed",,"claim",0
"f","unlocked",,"lock",0
"b","released","root","claim",0
"k","died",,"claim",0
"#;
    assert_eq!(lab.sh("sh", told).ok().stdout, lines);
    let script = "jq -e '.version == 1 and (.holds | all(.since <= .ended and .seconds < 60))
        and (.holds[-1].pid == '$PID')' .boardlock/history.json";
    let script = script.replace("$PID", &holder.pid().to_string());
    lab.sh("sh", &script).ok();
    // Over the death of who serves.
    crate::process::eventually("it is written", crate::process::PATIENCE, || {
        let state = lab.dir().parent().unwrap().join("state/locks.history");
        std::fs::read_to_string(state).is_ok_and(|text| text.lines().count() == 8)
    });
    let from = lab.log().len();
    kill(lab.daemon_pid());
    lab.wait_for_log_from(from, |line| line.contains("is served on"));
    assert_eq!(lab.sh("sh", told).ok().stdout, lines);
    lab.sh("sh", "touch z; rm z").ok();
    let more = format!("{lines}\"z\",\"released\",\"root\",\"claim\",0\n");
    assert_eq!(lab.sh("sh", told).ok().stdout, more);
}

/// What prometheus_client, which reads the text as Prometheus does, makes of it.
const METRICS: &str = r#"
import os, sys, subprocess
sys.path.insert(0, sys.argv[1])
from prometheus_client.parser import text_string_to_metric_families as parse
def metrics():
    found = {}
    for family in parse(open(".boardlock/metrics").read()):
        assert family.documentation and family.type != "unknown", family
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found
before = metrics()
def more(name, **labels):
    key = (name, tuple(sorted(labels.items())))
    return metrics().get(key, 0) - before.get(key, 0)
def sh(script):
    return subprocess.run(["sh", "-c", script]).returncode
assert before[("boardlock_build_info", (("version", sys.argv[2]),))] == 1
assert before[("boardlock_boards_held", ())] == 0
sh("touch a b; rm a; sleep 0")
assert more("boardlock_acquisitions_total", kind="claim") == 2
assert more("boardlock_releases_total", how="released") == 1
assert more("boardlock_releases_total", how="died") == 1
fd = os.open("b", os.O_CREAT | os.O_WRONLY)
assert more("boardlock_boards_held") == 1 and more("boardlock_open_files") == 1
subprocess.run([sys.executable, "-c", "import os; os.open('b', os.O_WRONLY | os.O_NONBLOCK)"],
    stderr=subprocess.DEVNULL)
assert more("boardlock_refusals_total", reason="busy_now") == 1
import fcntl
fcntl.flock(fd, fcntl.LOCK_EX)
assert more("boardlock_acquisitions_total", kind="lock") == 1
waiter = subprocess.Popen(["flock", "b", "true"])
while more("boardlock_waiters") != 1: pass
assert more("boardlock_handover_seconds_count") == 0
os.close(fd)
assert waiter.wait() == 0
assert more("boardlock_waiters") == 0 and more("boardlock_waits_total") == 1
assert more("boardlock_handover_seconds_count") == 1
assert more("boardlock_handover_seconds_bucket", le="+Inf") == 1
while more("boardlock_releases_total", how="unlocked") != 2: pass
assert more("boardlock_hold_seconds_count") == 4, metrics()
assert more("boardlock_boards_held") == 0
"#;

fn what_is_counted_is_read_by_prometheus() {
    let lab = Lab::new(&[]);
    let script = lab.dir().parent().unwrap().join("metrics.py");
    std::fs::write(&script, METRICS).unwrap();
    let libraries = crate::trial::libraries();
    let args = [
        script.to_str().unwrap(),
        libraries.to_str().unwrap(),
        env!("CARGO_PKG_VERSION"),
    ];
    let python = crate::client::python();
    lab.program(python, &args)
        .wait(crate::process::PATIENCE)
        .ok();
}

fn a_board_is_taken_by_force() {
    const ALICE: u32 = 12_341;
    const BOB: u32 = 12_342;
    for options in [&[][..], &["-o", "release=holder"]] {
        let lab = Lab::new(options);
        let mut holder = lab.spawn_as(ALICE, "sh", "exec 3>b; echo have; read l; cat <b; read l");
        holder.expect("have");
        let mut poller = lab.python();
        poller.ok("fd = os.open('b', os.O_RDONLY); os.read(fd, 65536) and None");
        poller.ok("p = select.poll(); p.register(fd, select.POLLIN)");
        poller.begin("len(p.poll(None))");
        let token = lab.sh("sh", "sed -n 's/^token //p' b").ok().stdout;
        let token = token.trim();
        let force = |how: &str| format!("setfattr -n user.boardlock.release -v '{how}' .");
        let that = force(&format!("{token} force b"));
        lab.sh_as(BOB, "sh", &that).fails(1).said("not permitted");
        let other = force("99999 force b");
        lab.sh("sh", &other).fails(1).said("Stale");
        lab.sh("sh", &force("b")).fails(1).said("Invalid");
        lab.sh("sh", &force(&format!("{token} force x")))
            .fails(1)
            .said("No such");
        assert!(lab.path("b").exists());
        lab.sh("sh", &that).ok();
        assert!(!lab.path("b").exists());
        assert_eq!(poller.done("poll"), "1");
        let text = poller.ok("os.pread(fd, 65536, 0).decode()");
        assert!(text.contains("state free\n"), "{text}");
        assert!(
            text.lines()
                .any(|line| line.starts_with("ended forced by root at ")),
            "{text}"
        );
        lab.wait_for_log(|line| {
            line.contains("b: taken by force after") && line.contains("by root")
        });
        // The same once more does nothing to who has it next.
        let mut next = lab.spawn_as(BOB, "sh", "touch b; echo have; read l");
        next.expect("have");
        lab.sh("sh", &that).fails(1).said("Stale");
        assert!(lab.path("b").exists());
        let told = "jq -r '.holds[0] | .how, .by, .uid' .boardlock/history.json";
        let output = lab.sh("sh", told).ok();
        assert_eq!(output.stdout, format!("forced\nroot\n{ALICE}\n"));
    }
}

fn a_locked_board_is_taken_by_force_and_goes_to_who_waits() {
    const ALICE: u32 = 12_341;
    const BOB: u32 = 12_342;
    let lab = Lab::new(&[]);
    let mut holder = lab.spawn_as(
        ALICE,
        "bash",
        "exec 3<>b; flock 3; echo have; read l; cat <&3; flock -n 3 || echo lost",
    );
    holder.expect("have");
    let mut waiter = lab.spawn_as(BOB, "bash", "exec 3<b; flock 3; echo mine; read l");
    crate::process::eventually("it waits", crate::process::PATIENCE, || {
        lab.status("b")["waiters"] == "1"
    });
    let token = lab.status("b")["token"].clone();
    let force = format!("setfattr -n user.boardlock.release -v '{token} force ./b' .");
    // Its own user may, from another job.
    lab.sh_as(ALICE, "sh", &force).ok();
    waiter.expect("mine");
    assert_eq!(lab.status("b")["uid"], BOB.to_string());
    holder.say("go");
    let mut said = Vec::new();
    while said.last().is_none_or(|line| line != "lost") {
        said.push(holder.line());
    }
    let ended = format!("ended forced by {ALICE} at ");
    assert!(said.iter().any(|line| line.starts_with(&ended)), "{said:?}");
    assert!(said.contains(&format!("uid {BOB}")), "{said:?}");
    // Nor does the one who was forced out take it along when he ends.
    holder.kill();
    assert_eq!(lab.status("b")["uid"], BOB.to_string());
}
