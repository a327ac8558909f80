//! A connection as the HTTP layer sees it: with or without TLS, never silent for ever, gone when it is in the way of others, and polite when it ends.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Sleep, sleep};

use crate::http2::{Http2, READ_BYTES};
use crate::server::HEAD_TIMEOUT;

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
    /// By these bytes it was seen to be used, and what it speaks.
    start: Bytes,
    connection: Rc<C>,
    is_busy: fn(&C) -> bool,
    fate: Fate,
    is_unwanted: bool,
    is_leaving: bool,
    has_answered: bool,
    /// Over HTTP/1.1, when a head must have come that is not the first: only for that one the HTTP layer has a clock.
    head_due: Option<Pin<Box<Sleep>>>,
    /// If it is HTTP/2.
    http2: Option<Http2>,
    /// The turn of those requests that are there: until it has come nothing is read.
    turn: Option<JoinHandle<()>>,
}

impl<I: AsyncRead + AsyncWrite, C> Stream<I, C> {
    pub(crate) fn new(io: Pin<Box<I>>, start: Bytes, connection: Rc<C>, is_busy: fn(&C) -> bool, fate: Fate, is_http2: bool) -> Self {
        Self {
            io,
            start,
            connection,
            is_busy,
            fate,
            is_unwanted: false,
            is_leaving: false,
            has_answered: false,
            head_due: None,
            http2: is_http2.then(Http2::default),
            turn: None,
        }
    }

    /// What the observer keeps of it.
    pub(crate) fn connection(&self) -> &Rc<C> {
        &self.connection
    }

    /// These bytes came from the client.
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.http2 {
            Some(http2) => http2.read(bytes)?,
            // Between requests nothing comes but the next head; line breaks before it may end the body before (RFC 9112, section 2.2).
            None if self.has_answered && !is_blank(bytes) && !(self.is_busy)(&self.connection) => {
                self.head_due.get_or_insert_with(|| Box::pin(sleep(HEAD_TIMEOUT)));
            }
            None => {}
        }
        Ok(())
    }

    /// An error once a head has been coming for too long. One that has come is a request.
    fn check_head(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if (self.is_busy)(&self.connection) {
            self.head_due = None;
        }
        let is_late = self.head_due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready());
        if is_late { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Asks an HTTP/2 client for no further requests, once the process is about to leave and no frame is half written.
    fn say_last_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(http2) = &mut self.http2 else { return Poll::Ready(Ok(())) };
        if !self.is_leaving {
            self.is_leaving = self.fate.leaving.as_mut().poll(cx).is_ready();
        }
        if !self.is_leaving {
            return Poll::Ready(Ok(()));
        }
        while let Some(bytes) = http2.unsaid() {
            match ready!(self.io.as_mut().poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                said => http2.say(said),
            }
            if http2.unsaid().is_none() {
                // What cannot be flushed now is with the next frame.
                let _ = self.io.as_mut().poll_flush(cx)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

impl<I: AsyncRead + AsyncWrite, C> AsyncRead for Stream<I, C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.http2.as_mut().is_some_and(Http2::has_read_many) {
            // It comes after the requests that the HTTP layer begins now, as tasks of the same thread.
            self.turn = Some(spawn_local(async {}));
        }
        if let Some(turn) = &mut self.turn {
            let _ = ready!(Pin::new(turn).poll(cx));
            self.turn = None;
        }
        let before = buffer.filled().len();
        let is_read = match &self.http2 {
            _ if !self.start.is_empty() => {
                let most = buffer.remaining().min(self.start.len());
                buffer.put_slice(&self.start.split_to(most));
                true
            }
            None => self.io.as_mut().poll_read(cx, buffer)?.is_ready(),
            Some(_) => {
                // The buffer is as large as what came before: a whole crowd of requests would fit.
                let most = buffer.remaining().min(READ_BYTES);
                let mut few = ReadBuf::new(buffer.initialize_unfilled_to(most));
                let is_read = self.io.as_mut().poll_read(cx, &mut few)?.is_ready();
                let read = few.filled().len();
                buffer.advance(read);
                is_read
            }
        };
        if is_read {
            // Before the HTTP layer sees it, which takes whatever a head becomes.
            return Poll::Ready(self.read(&buffer.filled()[before..]));
        }
        self.check_head(cx)?;
        if let Some(http2) = &mut self.http2 {
            http2.has_paused();
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
        // What came since the last answer was a request.
        (self.has_answered, self.head_due) = (true, None);
        ready!(self.say_last_word(cx))?;
        let written = ready!(self.io.as_mut().poll_write(cx, bytes))?;
        if let Some(http2) = &mut self.http2 {
            http2.written(&bytes[..written]);
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
    use std::cell::Cell;
    use std::time::Duration;

    use futures_util::task::noop_waker_ref;
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    fn poll_read<I: AsyncRead + AsyncWrite>(stream: &mut Stream<I, Cell<bool>>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(stream).poll_read(&mut Context::from_waker(noop_waker_ref()), &mut buffer)?;
        read.map(|()| Ok(buffer.filled().len()))
    }

    fn stream(unwanted: bool) -> Stream<tokio::io::DuplexStream, Cell<bool>> {
        let (ours, theirs) = duplex(64);
        std::mem::forget(theirs);
        over(ours, unwanted, false)
    }

    fn over(ours: tokio::io::DuplexStream, unwanted: bool, is_http2: bool) -> Stream<tokio::io::DuplexStream, Cell<bool>> {
        let fate = |is_due: bool| async move {
            if !is_due {
                std::future::pending::<()>().await;
            }
        };
        let fate = Fate { unwanted: Box::pin(fate(unwanted)), leaving: Box::pin(fate(false)) };
        Stream::new(Box::pin(ours), Bytes::from_static(b"P"), Rc::default(), Cell::get, fate, is_http2)
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

    #[tokio::test(start_paused = true)]
    async fn a_head_after_the_first_has_its_time_and_what_is_under_way_or_silent_has_longer() {
        let moment = Duration::from_millis(10);
        let (ours, mut theirs) = duplex(64);
        let mut stream = over(ours, false, false);
        let mut say = async |stream: &mut _, text: &[u8]| {
            theirs.write_all(text).await.unwrap();
            assert!(matches!(poll_read(stream), Poll::Ready(Ok(bytes)) if bytes == text.len()));
            poll_read(stream)
        };
        let answer = |stream: &mut Stream<_, _>| {
            assert!(Pin::new(stream).poll_write(&mut Context::from_waker(noop_waker_ref()), b"HTTP/1.1").is_ready());
        };
        assert!(matches!(poll_read(&mut stream), Poll::Ready(Ok(1))));
        assert!(say(&mut stream, b"OST").await.is_pending());
        sleep(HEAD_TIMEOUT + moment).await;
        assert!(poll_read(&mut stream).is_pending(), "the HTTP layer has a clock for the first head");
        answer(&mut stream);
        sleep(HEAD_TIMEOUT * 20).await;
        assert!(poll_read(&mut stream).is_pending(), "between requests");

        assert!(say(&mut stream, b"POST").await.is_pending());
        sleep(HEAD_TIMEOUT - moment).await;
        stream.connection().set(true);
        assert!(say(&mut stream, b"{}").await.is_pending());
        sleep(HEAD_TIMEOUT).await;
        assert!(poll_read(&mut stream).is_pending(), "a request is under way");
        stream.connection().set(false);
        answer(&mut stream);

        assert!(say(&mut stream, b"P").await.is_pending());
        sleep(HEAD_TIMEOUT - moment).await;
        assert!(say(&mut stream, b"O").await.is_pending());
        sleep(moment * 2).await;
        assert!(matches!(poll_read(&mut stream), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_an_error_before_the_http_layer_sees_it_over_http_2_only() {
        let said = [&b"RI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x61\x01\x04\0\0\0\x01"[..], &[0x82; 97]].concat();
        for is_http2 in [false, true] {
            let (ours, mut theirs) = duplex(1_024);
            theirs.write_all(&said).await.unwrap();
            // As after a handshake, the first byte is there already.
            let mut stream = over(ours, false, is_http2);
            let mut read = 0;
            let end = loop {
                match poll_read(&mut stream) {
                    Poll::Ready(Ok(bytes)) => read += bytes,
                    end => break end,
                }
            };
            match end {
                Poll::Ready(Err(error)) => assert!(is_http2 && error.to_string() == "head_too_large" && read < 1 + said.len(), "{error}"),
                _ => assert!(!is_http2 && read == 1 + said.len()),
            }
        }
    }
}
