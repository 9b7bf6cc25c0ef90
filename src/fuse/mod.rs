//! The kernel's side: the directory that is mounted over, the mount, and the
//! adapter, the only place that names fuser.

pub mod adapter;
pub mod attributes;
pub mod device;
pub mod errno;
pub mod mount;
pub mod mountinfo;
pub mod prepare;
pub mod xattr;
