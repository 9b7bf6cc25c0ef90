//! The state file: what was written is read back, and damage is told or is the torn
//! last frame.

use boardlock::store::format::{Content, FIRST_MAGIC, Frame, MAGIC, Owner, enclose, push, read};

use super::bytes::Bytes;

pub fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.byte() % 4 {
        0 => whatever(bytes.0),
        1 => {
            let mut file = MAGIC.to_vec();
            while !bytes.is_over() {
                let framed = bytes.flag();
                let piece = bytes.piece();
                match framed {
                    true => enclose(&mut file, piece).unwrap(),
                    false => file.extend(piece),
                }
            }
            whatever(&file);
        }
        _ => written(&mut bytes),
    }
}

/// Any file.
fn whatever(file: &[u8]) {
    let Ok(content) = read(file) else {
        return;
    };
    assert!(content.length <= file.len());
    // What follows is not looked at.
    let again = read(&file[..content.length]).expect("what was whole is whole");
    assert_eq!(again.saved, content.saved);
    assert_eq!(again.done, content.done);
    assert!(!again.torn);
    again_as_written(&content);
}

/// Written anew, it is the same.
fn again_as_written(content: &Content) {
    let mut file = MAGIC.to_vec();
    push(&mut file, &content.owner).unwrap();
    push(&mut file, &frame(content)).unwrap();
    let again = read(&file).expect("what was written is read");
    assert_eq!(again.owner, content.owner);
    assert_eq!(again.saved, content.saved);
    assert_eq!(again.done, content.done);
    assert_eq!((again.length, again.torn), (file.len(), false));
}

fn frame(content: &Content) -> Frame {
    let values = content.saved.values.iter();
    Frame {
        counters: content.saved.counters,
        values: values
            .map(|(key, value)| (*key, Some(value.clone())))
            .collect(),
        done: content.done.iter().copied().collect(),
    }
}

/// A file of frames with right checksums, damaged.
fn written(bytes: &mut Bytes) {
    let mut file = MAGIC.to_vec();
    let owner = Owner {
        dir: bytes.piece().to_vec(),
        boot: "boot".to_owned(),
        pids: bytes.u64(),
    };
    push(&mut file, &owner).unwrap();
    // Where each frame ends, and what the file comes to there.
    let mut ends = vec![(file.len(), read(&file).expect("an empty table").saved)];
    for _ in 0..bytes.below(8) {
        let length = usize::from(bytes.u16() % 600);
        let content = bytes.take(length);
        if content.is_empty() {
            // That is reserved space.
            continue;
        }
        let before = file.len();
        enclose(&mut file, content).unwrap();
        match read(&file) {
            Ok(read) => {
                assert_eq!(read.length, file.len());
                assert_eq!(read.owner, owner);
                ends.push((file.len(), read.saved));
            }
            // No frame of ours, whose damage is told.
            Err(_) => file.truncate(before),
        }
    }
    let content = read(&file).expect("all of its frames are good");
    again_as_written(&content);
    let last = ends.len() - 1;
    let begin_of_last = match last {
        0 => 0,
        _ => ends[last - 1].0,
    };

    // Cut anywhere it is what it was at some moment, and says whether it is torn.
    let cut = usize::from(bytes.u16()) % (file.len() + 1);
    if cut >= ends[0].0 {
        let read = read(&file[..cut]).expect("a file that was cut is only torn");
        let (end, saved) = ends.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert_eq!(read.length, *end);
        assert_eq!(&read.saved, saved);
    }

    // A byte that is another is told, but for the last frame's.
    let at = usize::from(bytes.u16()) % file.len();
    let by = bytes.byte().max(1);
    let mut damaged = file.clone();
    damaged[at] ^= by;
    match read(&damaged) {
        Err(_) => {}
        // It says that it is of the first form, in which the same says the same.
        Ok(read) if damaged.starts_with(FIRST_MAGIC) => assert_eq!(read.saved, content.saved),
        Ok(_) if last == 0 => panic!("damage to whose it is, at {at}"),
        Ok(read) => {
            assert!(at >= begin_of_last, "damage at {at} that nothing tells of");
            assert_eq!(read.saved, ends[last - 1].1);
        }
    }
    // Space that was reserved.
    let mut blank = file.clone();
    blank.resize(file.len() + bytes.below(100), 0);
    let reserved = read(&blank).expect("reserved space is no damage");
    assert_eq!(reserved.saved, content.saved);
    assert!(!reserved.torn);
}
