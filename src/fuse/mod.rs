//! The kernel's side: the directory that is mounted over, the mount, the adapter.

pub mod device;
pub mod mount;
pub mod mountinfo;
pub mod prepare;
