//! A connection as the HTTP layer sees it: with or without TLS, never silent for ever, gone when it is in the way of others, and polite when it ends.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http2::LastWord;

/// What happens to an open connection without its doing. Polled with it, on its own task.
pub(crate) struct Fate {
    /// It is in the way of others: it ends as if the client had closed it.
    pub(crate) unwanted: Pin<Box<dyn Future<Output = ()>>>,
    /// The process is about to leave.
    pub(crate) leaving: Pin<Box<dyn Future<Output = ()>>>,
}

/// A connection that is ready for requests.
pub(crate) struct Stream<I, C> {
    io: Pin<Box<I>>,
    /// The byte by which it was seen to be used.
    first: Option<u8>,
    connection: Rc<C>,
    fate: Fate,
    is_unwanted: bool,
    is_leaving: bool,
    /// For HTTP/2, which has no header to say so in.
    last_word: Option<LastWord>,
}

impl<I: AsyncRead + AsyncWrite, C> Stream<I, C> {
    pub(crate) fn new(io: Pin<Box<I>>, first: Option<u8>, connection: Rc<C>, fate: Fate, is_http2: bool) -> Self {
        Self { io, first, connection, fate, is_unwanted: false, is_leaving: false, last_word: is_http2.then(LastWord::default) }
    }

    /// What the observer keeps of it.
    pub(crate) fn connection(&self) -> &Rc<C> {
        &self.connection
    }

    /// Asks an HTTP/2 client for no further requests, once the process is about to leave and no frame is half written.
    fn say_last_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(last_word) = &mut self.last_word else { return Poll::Ready(Ok(())) };
        if !self.is_leaving {
            self.is_leaving = self.fate.leaving.as_mut().poll(cx).is_ready();
        }
        if !self.is_leaving {
            return Poll::Ready(Ok(()));
        }
        while let Some(bytes) = last_word.unsaid() {
            match ready!(self.io.as_mut().poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                said => last_word.say(said),
            }
            if last_word.unsaid().is_none() {
                // What cannot be flushed now is with the next frame.
                let _ = self.io.as_mut().poll_flush(cx)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite, C> AsyncRead for Stream<I, C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(first) = self.first.take() {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        if self.io.as_mut().poll_read(cx, buffer)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let _ = self.say_last_word(cx)?;
        // The end may be asked for more than once.
        if !self.is_unwanted {
            self.is_unwanted = self.fate.unwanted.as_mut().poll(cx).is_ready();
        }
        if self.is_unwanted { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<I: AsyncRead + AsyncWrite, C> AsyncWrite for Stream<I, C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.say_last_word(cx))?;
        let written = ready!(self.io.as_mut().poll_write(cx, bytes))?;
        if let Some(last_word) = &mut self.last_word {
            last_word.written(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker_ref;
    use tokio::io::duplex;

    use super::*;

    fn poll_read<I: AsyncRead + AsyncWrite>(stream: &mut Stream<I, ()>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(stream).poll_read(&mut Context::from_waker(noop_waker_ref()), &mut buffer)?;
        read.map(|()| Ok(buffer.filled().len()))
    }

    fn stream(unwanted: bool) -> Stream<tokio::io::DuplexStream, ()> {
        let fate = |is_due: bool| async move {
            if !is_due {
                std::future::pending::<()>().await;
            }
        };
        let (ours, theirs) = duplex(64);
        std::mem::forget(theirs);
        let fate = Fate { unwanted: Box::pin(fate(unwanted)), leaving: Box::pin(fate(false)) };
        Stream::new(Box::pin(ours), Some(b'P'), Rc::new(()), fate, false)
    }

    #[test]
    fn an_unwanted_connection_has_ended_however_often_it_is_read() {
        let mut unwanted = stream(true);
        assert!(matches!(poll_read(&mut unwanted), Poll::Ready(Ok(1))), "what was read already comes first");
        for _ in 0..3 {
            assert!(matches!(poll_read(&mut unwanted), Poll::Ready(Ok(0))));
        }
        let mut wanted = stream(false);
        assert!(matches!(poll_read(&mut wanted), Poll::Ready(Ok(1))));
        assert!(poll_read(&mut wanted).is_pending());
    }
}
