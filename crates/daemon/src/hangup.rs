//! Notices that a client has closed its connection altogether.
//!
//! Half-close is part of the protocol (a client that ends a container's input still reads its output), so reading
//! the end of the input says nothing. The kernel tells a full close of a unix socket by `EPOLLHUP`, which is
//! reported whatever is asked for; asking for `EPOLLPRI` alone therefore wakes nobody until then (kernel 6.18:
//! tried). A pipe in memory needs none of this: its other end is this process.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watch on one connection. Clones watch the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hangup(Option<Arc<AsyncFd<OwnedFd>>>);

impl Hangup {
    /// Watches the connection that `fd` is a duplicate of.
    pub(crate) fn watch(fd: OwnedFd) -> std::io::Result<Hangup> {
        Ok(Hangup(Some(Arc::new(crate::descriptor::register(fd, Interest::PRIORITY)?))))
    }

    /// Returns when the client has gone; never for a connection that is not watched.
    pub(crate) async fn wait(&self) {
        match &self.0 {
            None => std::future::pending().await,
            // An error means that the watch cannot work: then nothing is noticed, as without it.
            Some(fd) => match fd.ready(Interest::PRIORITY).await {
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// Whether the watch has fired; everything that could make it fire has happened before.
    async fn fired(hangup: &Hangup) -> bool {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            () = hangup.wait() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn only_a_full_close_counts() {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let hangup = Hangup::watch(server.as_fd().try_clone_to_owned().unwrap()).unwrap();
        client.write_all(b"x").await.unwrap();
        assert!(!fired(&hangup).await, "data");
        client.shutdown().await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert!(!fired(&hangup).await, "half-close");
        server.write_all(b"y").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'y');
        assert!(!fired(&hangup).await, "after half-close");
        drop(client);
        hangup.wait().await;
    }
}
