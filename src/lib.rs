//! henge: a content-addressed storage node that speaks IPFS.
//!
//! One [`node::Node`], a store of verified blocks with what keeps them alive, behind thin mouths.
//! The map of this tree, from the bottom up; imports only ever point down it:
//!
//! | room | what it is |
//! |---|---|
//! | [`ipld`], [`unixfs`], [`proto`] | vocabulary: CIDs, blocks, paths, codecs, files and folders |
//! | [`clock`], [`machine`], [`log`], [`metrics`] | times as text; what the process takes; what it tells of itself |
//! | [`task`], [`store`], [`net`] | mechanisms: tasks; blocks, pins and edges on the disk; peers |
//! | [`exchange`], [`routing`], [`dag`] | services: blocks from others; the DHTs; DAGs |
//! | [`remote`] | pinning services of others, as a client |
//! | [`node`] | the core: every behaviour is a method of `Node` |
//! | [`rpc`], [`gateway`], [`pinning`], [`cli`], [`config`], [`daemon`] | mouths, and what brings a node up |

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod dag;
pub mod exchange;
pub mod gateway;
pub mod http;
pub mod ipld;
pub mod ipns;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod net;
pub mod node;
pub mod pinning;
pub mod proto;
pub mod remote;
pub mod routing;
pub mod rpc;
pub mod size;
pub mod store;
pub mod task;
pub mod unixfs;

pub use node::{Error, Node};
