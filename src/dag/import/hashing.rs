//! Hashing on every core, results in the order of submission.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::CidError;
use crate::task;
use crate::unixfs::chunk::fixed::Framed;

/// Chunks in flight for each core: enough that no core waits for the reader, and the whole memory
/// of an import beyond the write buffers.
const CHUNKS_A_CORE: usize = 4;

type Hashed = Result<(Block, usize), CidError>;

struct Job {
    prefix: Prefix,
    framed: Framed,
    reply: SyncSender<Hashed>,
}

/// Threads that hash; they end when this is dropped.
pub struct Hashers {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    flying: VecDeque<Receiver<Hashed>>,
    most: usize,
}

impl Hashers {
    /// One thread a core.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start() -> io::Result<Self> {
        let cores = task::cores();
        let most = cores * CHUNKS_A_CORE;
        let (jobs, inbox) = sync_channel::<Job>(most);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::with_capacity(cores);
        for n in 0..cores {
            let inbox = Arc::clone(&inbox);
            threads.push(task::thread(&format!("hash-{n}"), move || work(&inbox))?);
        }
        Ok(Self { jobs: Some(jobs), threads, flying: VecDeque::new(), most })
    }

    /// Hands a chunk over. [`Self::take`] must be called between submissions: it holds the bound.
    pub fn submit(&mut self, prefix: Prefix, framed: Framed) {
        let (reply, answer) = sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // The threads live as long as this handle, so the channel is open.
            let _ = jobs.send(Job { prefix, framed, reply });
        }
        self.flying.push_back(answer);
    }

    /// The next result in order: waits for it when as many as allowed are in flight, or when
    /// `all` are wanted; `None` when there is nothing to wait for.
    ///
    /// # Errors
    /// The hash function's.
    pub fn take(&mut self, all: bool) -> Result<Option<(Block, usize)>, CidError> {
        if !all && self.flying.len() < self.most {
            return Ok(None);
        }
        let Some(answer) = self.flying.pop_front() else { return Ok(None) };
        match answer.recv() {
            Ok(hashed) => hashed.map(Some),
            Err(_) => Err(CidError::Hash("the hashing thread is gone".into())),
        }
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic there was an error here already, by the reply that never came.
            let _ = thread.join();
        }
    }
}

/// Takes jobs until the last sender is gone.
fn work(inbox: &Mutex<Receiver<Job>>) {
    loop {
        let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { prefix, framed, reply }) = job else { return };
        let hashed = Block::hashed(prefix, framed.block).map(|block| (block, framed.content));
        // Nobody waits any more when the import has failed.
        let _ = reply.send(hashed);
    }
}
