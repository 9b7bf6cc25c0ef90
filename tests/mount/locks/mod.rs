//! File locks as programs use them: the same cases on a tmpfs and on the mount,
//! which differ only where a case says so, and why.

mod actor;
mod claims;
mod fcntl;
mod flock1;
mod flock2;
mod libraries;
mod mixed;
mod play;
mod side;
mod signals;
mod stress;
mod terminal;
mod tools;
mod waiting;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [
        claims::tests(),
        fcntl::tests(),
        flock1::tests(),
        flock2::tests(),
        libraries::tests(),
        mixed::tests(),
        signals::tests(),
        stress::tests(),
        tools::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
