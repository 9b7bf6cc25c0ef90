//! The lock table: boards, claims, holders, expiry. Pure: an event and a time
//! in, a decision and its effects out.

pub mod caller;
pub mod ids;
