//! The kernel's side: the directory that is mounted over, the mount, and the
//! adapter. Nothing outside names fuser.

pub mod adapter;
mod answer;
pub mod attributes;
pub mod device;
pub mod errno;
pub mod interrupt;
pub mod linger;
mod locks;
pub mod mount;
pub mod mountinfo;
pub mod prepare;
mod raw;
mod resent;
pub mod resume;
pub mod session;
mod shut;
pub mod timeout;
pub mod xattr;
