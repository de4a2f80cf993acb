//! A reply's body, and what is to be told once the reply has been sent or given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

/// A body that keeps something for as long as it lives. Whoever wants to know when a reply ends
/// keeps a value here whose drop tells.
pub struct Held<B> {
    body: B,
    _until: Option<Box<dyn Send>>,
}

impl<B> Held<B> {
    /// A body that keeps `until`.
    pub fn new(body: B, until: Option<impl Send + 'static>) -> Self {
        Self { body, _until: until.map(|value| Box::new(value) as Box<dyn Send>) }
    }

    /// The same body, which keeps this instead.
    pub fn with(self, until: impl Send + 'static) -> Self {
        Self::new(self.body, Some(until))
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
