//! Pids in content.

use super::tree::*;

/// touch-like writer 100 below env 99 below script 98 below make 97 below sshd.
fn tree() -> Tree {
    let job = script("/bin/sh", "job");
    let tree = Tree::chain(&[
        prog("tee x"),
        prog("env tee x"),
        job.clone().forked(),
        job,
        prog("make"),
        daemon("sshd"),
    ]);
    tree.put(200, 97, 1, &prog("server"));
    tree.put(201, 100, 1, &prog("child"));
    tree.put(202, 201, 1, &prog("grandchild"));
    tree.put(203, 100, 1, &prog("gone").state('Z'));
    tree
}

#[test]
fn kin_counts_and_goes_through_the_rules() {
    let tree = tree();
    assert_eq!(tree.written(100, 100), "2,3 via tee < env");
    assert_eq!(tree.written(100, 99), "2,3 via env");
    assert_eq!(tree.written(100, 98), "2,3 via job");
    assert_eq!(tree.written(100, 97), "3 via job");
    assert_eq!(tree.written(100, 96), "4 via make");
    assert_eq!(tree.written(100, 201), "-101 via child");
    assert_eq!(tree.written(100, 202), "-102 via grandchild");
    tree.thread(500, 100);
    assert_eq!(tree.written(500, 100), "2,3 via tee < env");
}

#[test]
fn others_do_not_count() {
    let tree = tree();
    for number in [
        95,
        1,
        0,
        200,
        203,
        4242,
        500,
        1 << 31,
        1 << 32,
        (1 << 32) + 97,
        u64::MAX,
    ] {
        assert_eq!(tree.written(100, number), "none", "{number}");
    }
    assert_eq!(tree.written(4242, 4242), "none");
    // the writer's own processes, all of which lead to nobody
    let tree = Tree::chain(&[prog("tee x"), prog("env tee x")]);
    assert_eq!(tree.written(100, 99), "none");
}

#[test]
fn numbers_are_those_of_the_writers_namespace() {
    let tree = Tree::chain(&[
        prog("tee x").ns(&[30]),
        script("/bin/sh", "job").ns(&[20]),
        prog("entry").ns(&[1]),
        prog("runner"),
    ]);
    tree.put(301, 100, 1, &prog("child").ns(&[31]));
    tree.put(302, 301, 1, &prog("deeper").ns(&[32, 1]));
    // the same number in another container
    tree.put(303, 1, 1, &prog("alien").ns(&[31]));
    tree.put(304, 1, 1, &prog("alien").ns(&[33]));
    assert_eq!(tree.written(100, 30), "1 via tee");
    assert_eq!(tree.written(100, 20), "1 via job");
    assert_eq!(tree.written(100, 1), "2 via entry");
    assert_eq!(tree.written(100, 31), "-201 via child");
    assert_eq!(tree.written(100, 32), "-202 via deeper");
    for number in [33, 97, 98, 99, 100, 301] {
        assert_eq!(tree.written(100, number), "none", "{number}");
    }
    // from outside they are numbered as the daemon does
    assert_eq!(tree.written(97, 99), "1 via job");
    assert_eq!(tree.written(97, 20), "none");
}

#[test]
fn pids_found_in_old_files() {
    let tree = tree();
    let standing = |number: u32| {
        let found = tree.resolver().standing(pid(number)).unwrap();
        found.map_or_else(|| "none".into(), |(candidate, _)| shown(&candidate))
    };
    assert_eq!(standing(200), "-100 via server");
    assert_eq!(standing(99), "2,3 via env");
    assert_eq!(standing(97), "3 via job");
    for number in [1, 95, 203, 4242] {
        assert_eq!(standing(number), "none", "{number}");
    }
}
