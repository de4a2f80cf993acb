//! IPNS: names that are keys, and the signed records that say what they stand for. Pure.

pub mod record;
pub mod time;
