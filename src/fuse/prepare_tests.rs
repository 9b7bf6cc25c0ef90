#![allow(clippy::unwrap_used)]

use super::*;

fn refusal(dir: &Path, over: bool) -> String {
    prepare(dir, over).unwrap_err().to_string()
}

#[test]
fn a_missing_directory_is_made_and_not_writable() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    let prepared = prepare(&dir, false).unwrap();
    assert_eq!(prepared.dir, fs::canonicalize(&dir).unwrap());
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o555);
    assert!(prepared.found.is_empty());
}

#[test]
fn a_link_to_a_directory_is_followed() {
    let temp = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(temp.path(), temp.path().join("link")).unwrap();
    let real = temp.path().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, temp.path().join("to-real")).unwrap();
    let prepared = prepare(&temp.path().join("to-real"), false).unwrap();
    assert_eq!(prepared.dir, fs::canonicalize(real).unwrap());
}

#[test]
fn what_cannot_be_served_is_refused_with_a_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refusal(&file, false).ends_with("it is not a directory; give a directory"));
    std::os::unix::fs::symlink("nowhere", temp.path().join("dangling")).unwrap();
    assert!(refusal(&temp.path().join("dangling"), false).contains("leads nowhere"));
    let full = refusal(temp.path(), false);
    assert!(
        full.contains("not empty (dangling, file)") && full.contains("--over"),
        "{full}"
    );
    for n in 0..9 {
        fs::write(temp.path().join(format!("x\n{n}")), "").unwrap();
    }
    let full = refusal(temp.path(), false);
    assert!(
        full.contains("and 8 more") && !full.contains('\n'),
        "{full}"
    );
}

#[test]
fn only_one_prepares_at_a_time() {
    let temp = crate::fuse::shut::Site::new().unwrap();
    let first = prepare(temp.path(), false).unwrap();
    assert!(refusal(temp.path(), false).contains("another process has it locked"));
    drop(first);
    assert!(temp.prepare_again().is_ok());
}

#[test]
fn over_gives_back_the_files() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("b"), "0 42\n").unwrap();
    fs::write(temp.path().join("a"), [b'x'; 9000]).unwrap();
    fs::create_dir(temp.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("b", temp.path().join("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        temp.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let found = prepare(temp.path(), true).unwrap().found;
    let names: Vec<_> = found.iter().map(|f| f.name.to_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(found[0].content.len(), 4097);
    assert_eq!(found[1].content, b"0 42\n");
    assert_eq!(found[1].uid, rustix::process::geteuid().as_raw());
}

#[test]
fn a_writable_bare_directory_is_warned_of() {
    let temp = tempfile::tempdir().unwrap();
    let warning = |mode: u32| {
        fs::set_permissions(temp.path(), PermissionsExt::from_mode(mode)).unwrap();
        writable(temp.path(), &fs::metadata(temp.path()).unwrap())
    };
    assert!(warning(0o1777).unwrap().contains("mode 1777"));
    assert!(warning(0o775).unwrap().contains("chmod 0555"));
    assert_eq!(warning(0o555), None);
    let of_root = fs::metadata(temp.path()).unwrap().uid() == 0;
    assert_eq!(warning(0o755).is_none(), of_root);
}
