#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::lock::ids::User;

/// alice and bob, and their lab.
struct Lab;

impl Accounts for Lab {
    fn user(&self, name: &str) -> Result<Option<u32>, String> {
        match name {
            "alice" => Ok(Some(1000)),
            "bob" => Ok(Some(1001)),
            "gone" => Ok(None),
            _ => Err(format!("there is no user {name}")),
        }
    }

    fn group(&self, name: &str) -> Result<Option<u32>, String> {
        match name {
            "lab" => Ok(Some(50)),
            _ => Err(format!("there is no group {name}")),
        }
    }
}

fn user(uid: u32, gid: u32) -> User {
    User {
        uid: Uid(uid),
        gid: Gid(gid),
    }
}

const WHOLE: &str = r#"
temporary = ["flash-*.tmp"]

[directories.rack1]
description = "left of the door"

[directories."rack1/shelf"]

[boards.beagle]
description = "BeagleBone Black"
pools = ["arm", "usb", "arm"]
tags = ["emmc"]
longest_lease = "4h"
users = ["alice", 1007]
groups = ["lab"]

[boards.imx8]
out_of_service = "its power supply is broken"

[boards."rack1/shelf/zynq"]
users = ["gone"]
"#;

#[test]
fn a_whole_one() {
    let boards = parse(WHOLE, &Lab).unwrap();
    assert_eq!(boards.len(), 3);
    let beagle = boards.get(b"beagle").unwrap();
    assert_eq!(beagle.description.as_deref(), Some("BeagleBone Black"));
    assert_eq!(beagle.pools, ["arm", "usb"]);
    assert_eq!(beagle.tags, ["emmc"]);
    assert_eq!(beagle.longest_lease, Some(Duration::from_secs(4 * 3600)));
    assert_eq!(beagle.out_of_service, None);
    let may_take = beagle.may_take.as_ref().unwrap();
    for (user, groups, may) in [
        (user(1000, 1000), &[][..], true),
        (user(1007, 1007), &[], true),
        (user(1001, 1001), &[], false),
        (user(1001, 50), &[], true),
        (user(1001, 1001), &[Gid(4), Gid(50)], true),
        (user(1001, 1001), &[Gid(1000)], false),
    ] {
        assert_eq!(may_take.admits(user, groups), may, "{user:?} {groups:?}");
    }
    let imx8 = boards.get(b"imx8").unwrap();
    assert_eq!(
        imx8.out_of_service.as_deref(),
        Some("its power supply is broken")
    );
    assert_eq!(imx8.may_take, None);
    let zynq = boards.get(b"rack1/shelf/zynq").unwrap();
    assert_eq!(
        zynq.may_take,
        Some(MayTake::default()),
        "nobody, not everybody"
    );
    let directories: Vec<&[u8]> = boards.directories().map(|(path, _)| path).collect();
    assert_eq!(directories, [&b"rack1"[..], b"rack1/shelf"]);
    let (_, rack1) = boards.directories().next().unwrap();
    assert_eq!(rack1.description.as_deref(), Some("left of the door"));
    assert!(boards.is_temporary(b"flash-7.tmp") && boards.is_temporary(b"rack1/flash-.tmp"));
    assert!(boards.is_temporary(b"rack1/lock.abc") && !boards.is_temporary(b"flash"));
    let pools = boards.pools();
    assert_eq!(
        pools["usb"].iter().copied().collect::<Vec<_>>(),
        [b"beagle"]
    );
    assert_eq!(boards.suggest(b"beagel"), Some(&b"beagle"[..]));
}

#[test]
fn an_empty_one() {
    for text in ["", "# nothing\n", "[boards]\n", "boards = {}\n"] {
        assert!(parse(text, &Lab).unwrap().is_empty(), "{text}");
    }
    let boards = parse("boards.beagle = {}\nboards.imx8 = {}\n", &Lab).unwrap();
    assert_eq!(boards.len(), 2);
}

/// Each mistake with its place and a part of what is said.
#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, line, column, what) in [
        ("[boards.beagle\n", 1, 15, "unclosed table"),
        ("[boards.a]\nusers = [\n", 2, 10, "unclosed array"),
        ("[boards.a]\n\n[boards.a]\n", 3, 9, "duplicate key"),
        ("[boards.a]\nuser = [1]\n", 2, 1, "unknown field `user`"),
        ("[board.a]\n", 1, 2, "unknown field `board`"),
        ("[directories.r]\ntags = []\n", 2, 1, "unknown field `tags`"),
        (
            "[boards.a]\nusers = \"alice\"\n",
            2,
            9,
            "expected a sequence",
        ),
        (
            "[boards.a]\nusers = [1.5]\n",
            2,
            10,
            "expected a name or a number",
        ),
        (
            "[boards.a]\nusers = [-1]\n",
            2,
            10,
            "no user or group has this number",
        ),
        (
            "[boards.a]\nusers = [4294967295]\n",
            2,
            10,
            "no user or group has this number",
        ),
        (
            "[boards.a]\nusers = [\"alice\", \"alcie\"]\n",
            2,
            19,
            "no user alcie",
        ),
        ("[boards.a]\nusers = [\"\"]\n", 2, 10, "no user's name"),
        (
            "[boards.a]\ngroups = [\"alice\"]\n",
            2,
            11,
            "no group alice",
        ),
        (
            "[boards.a]\nlongest_lease = 4\n",
            2,
            17,
            "expected a string",
        ),
        (
            "[boards.a]\nlongest_lease = \"soon\"\n",
            2,
            17,
            "'soon' is no duration",
        ),
        (
            "[boards.a]\nlongest_lease = \"0\"\n",
            2,
            17,
            "shorter than a second",
        ),
        (
            "[boards.a]\nout_of_service = true\n",
            2,
            18,
            "expected a string",
        ),
        ("[boards.a]\nout_of_service = \" \"\n", 2, 18, "say why"),
        (
            "[boards.a]\npools = [\"arm\", \"a b\"]\n",
            2,
            17,
            "no pool's name",
        ),
        ("[boards.a]\ntags = [\"\"]\n", 2, 9, "no tag's name"),
        ("[boards.\"/run/a\"]\n", 1, 9, "absolute path"),
        ("[boards.\"\"]\n", 1, 9, "empty name"),
        ("[directories.r]\n[boards.\"r//a\"]\n", 2, 9, "empty name"),
        ("[boards.\"..\"]\n", 1, 9, "every directory has"),
        ("[boards.\"a\\nb\"]\n", 1, 9, "control characters"),
        ("[boards.\".boardlock\"]\n", 1, 9, "boardlock's own"),
        ("[directories.\".boardlock\"]\n", 1, 14, "boardlock's own"),
        (
            "[directories.r]\n\n[boards.r]\n",
            3,
            9,
            "r is a directory, too",
        ),
        ("[boards.\"r/a\"]\n", 1, 9, "needs [directories.r]"),
        (
            "[directories.rack1]\n[boards.\"rakc1/a\"]\n",
            2,
            9,
            "is rack1 meant?",
        ),
        ("[directories.\"r/s\"]\n", 1, 14, "needs [directories.r]"),
        ("\u{feff}[boards.a]\nx = 1\n", 2, 1, "unknown field `x`"),
        ("\u{feff}boards.a = 1\n", 1, 12, "expected a table"),
        (
            "[directories.r]\n[boards.\"r/s/a\"]\n",
            2,
            9,
            "needs [directories.\"r/s\"]",
        ),
        (
            "[boards.r]\n[boards.\"r/a\"]\n",
            2,
            9,
            "needs [directories.r]",
        ),
        ("temporary = [\"[\"]\n", 1, 14, "is no pattern"),
        ("temporary = [\"a*\", \"*\"]\n", 1, 20, "every name"),
        ("temporary = [\"a/b\"]\n", 1, 14, "has a directory in it"),
        ("boards.a = 1\n", 1, 12, "expected a table"),
        (
            "boards.a = {description = \"\u{e4}\u{f6}\", x = 1}\n",
            1,
            33,
            "unknown field `x`",
        ),
    ] {
        let wrong = parse(text, &Lab).unwrap_err();
        let right = wrong.what.contains(what) && (wrong.line, wrong.column) == (line, column);
        assert!(right, "{text}: {wrong:?}");
        assert!(!wrong.what.contains('\n'), "{wrong:?}");
    }
    let long = format!("[boards.{}]\n", "a".repeat(256));
    assert!(parse(&long, &Lab).unwrap_err().what.contains("255"));
    let deep = "a/".repeat(33) + "b";
    let deep = format!("[boards.\"{deep}\"]\n");
    assert!(parse(&deep, &Lab).unwrap_err().what.contains("too deep"));
}

#[test]
fn a_directory_is_not_meant_by_itself() {
    let wrong = parse("[directories.\"r/s\"]\n", &Lab).unwrap_err();
    assert!(!wrong.what.contains("meant"), "{wrong:?}");
}

#[test]
fn each_name_is_looked_up_once() {
    struct Counted(std::cell::Cell<usize>);
    impl Accounts for Counted {
        fn user(&self, name: &str) -> Result<Option<u32>, String> {
            self.0.set(self.0.get() + 1);
            Lab.user(name)
        }

        fn group(&self, name: &str) -> Result<Option<u32>, String> {
            self.0.set(self.0.get() + 1);
            Lab.group(name)
        }
    }
    let counted = Counted(std::cell::Cell::new(0));
    let board =
        |n: usize| format!("[boards.b{n}]\nusers = [\"alice\", \"gone\"]\ngroups = [\"lab\"]\n");
    let boards = parse(&(0..100).map(board).collect::<String>(), &counted).unwrap();
    assert_eq!((boards.len(), counted.0.get()), (100, 3));
    let may_take = boards.get(b"b99").unwrap().may_take.as_ref().unwrap();
    assert!(may_take.admits(user(1000, 1), &[]) && may_take.admits(user(1, 50), &[]));
}
