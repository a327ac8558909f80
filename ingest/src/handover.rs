//! A starting ingest takes the open ports from a running one, so that no connection is refused in between.
//!
//! ```text
//! running                            starting
//!    │ ◀──────── connects ───────────── │
//!    │ ── greeting, both sockets ─────▶ │   waits until it is ready, answering nobody
//!    │                                  │   serves on them, and offers them to the next
//!    │ ◀──────── "ready" ────────────── │
//!    ▼ drains and ends                  ▼
//! ```
//!
//! The sockets stay the same, and with them the connections that wait to be accepted. Closing one of two `SO_REUSEPORT` listeners would reset those
//! in its queue.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Names the protocol and its version.
const GREETING: &[u8; 20] = b"aftersend-handover-1";
const READY: &[u8] = b"ready";
/// A process that does not answer the connection in this time is not one of ours.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where nobody can be answered, for now.
const RETRY: Duration = Duration::from_secs(1);

/// The two listening sockets of an ingest.
#[derive(Debug)]
pub(crate) struct Ports {
    /// For webhooks.
    pub(crate) listen: TcpListener,
    /// For the admin pages.
    pub(crate) admin: TcpListener,
}

impl Ports {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { listen: self.listen.try_clone()?, admin: self.admin.try_clone()? })
    }
}

/// The process from which the ports came. It goes on serving until it is told that its successor is ready.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Sends it away.
    pub(crate) fn leave(mut self) -> io::Result<()> {
        self.0.write_all(READY)
    }

    /// Waits until it has gone, however it went: it says nothing before that.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(self.0.try_clone()?)?;
        loop {
            stream.readable().await?;
            match stream.try_read(&mut [0; 16]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A connection that fails is one to nobody.
                Err(_) => return Ok(()),
            }
        }
    }
}

/// True if `path` can be a socket of ours: what else stands there would be lost.
pub(crate) fn is_usable(path: &Path) -> bool {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_ours = std::fs::symlink_metadata(path).map_or(true, |file| file.file_type().is_socket());
    path.file_name().is_some() && directory.is_dir() && is_ours
}

/// Asks the process that offers its ports at `path`. Nothing if there is none.
pub(crate) fn take(path: &Path) -> io::Result<Option<(Ports, Predecessor)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut greeting = [0; GREETING.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // A signal interrupts it, whatever its handler does: it has a timeout.
    let received = retry_on_intr(|| recvmsg(&stream, &mut [IoSliceMut::new(&mut greeting)], &mut control, RecvFlags::CMSG_CLOEXEC));
    let received = received.map_err(|error| match io::Error::from(error) {
        late if late.kind() == io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            "the running ingest does not answer; another process may be taking over just now: end it",
        ),
        error => error,
    })?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    match <[OwnedFd; 2]>::try_from(sockets) {
        Ok([listen, admin]) if received.bytes == GREETING.len() && greeting == *GREETING => {
            let ports = Ports { listen: listen.into(), admin: admin.into() };
            Ok(Some((ports, Predecessor(stream))))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the process behind it is no ingest of this release")),
    }
}

/// Offers ports at a path until the value is dropped.
pub(crate) struct Offer {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    inode: u64,
    ports: Ports,
}

impl Offer {
    /// Replaces whatever is at `path`. Only the same user can connect.
    pub(crate) fn new(path: &Path, ports: Ports) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let listener = UnixListener::bind(&temporary)?;
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
        let inode = std::fs::metadata(&temporary)?.ino();
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        std::fs::rename(&temporary, path)?;
        Ok(Self { listener, path: path.to_owned(), inode, ports })
    }

    /// Hands the ports to whoever connects. Returns when one of them is ready to go on alone; those that fail before that change nothing.
    pub(crate) async fn until_taken(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tracing::info!("a starting ingest asks for the ports");
                    match self.hand_over(stream).await {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(%error, "it did not become ready; this process goes on"),
                    }
                }
                // No open files are left, for one: not for ever.
                Err(error) => {
                    tracing::warn!(%error, "cannot answer at ingest.handover; this process goes on");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn hand_over(&self, stream: tokio::net::UnixStream) -> io::Result<()> {
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let sockets = [self.ports.listen.as_fd(), self.ports.admin.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(&stream, &[IoSlice::new(GREETING)], &mut control, SendFlags::empty())?;
        stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        let mut answer = [0; READY.len()];
        let mut read = 0;
        while read < answer.len() {
            stream.readable().await?;
            match stream.try_read(&mut answer[read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if answer == READY { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // A successor may have put its own there.
        if std::fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
