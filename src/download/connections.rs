//! The connections to the store, which all downloads of a step share.
//!
//! A download begins with one connection and keeps it until it ends. A large file uses spare ones as well, and gives them
//! back while other files wait for their first one.

use std::cell::Cell;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};

/// Maximum number of requests to the store that are in progress at a time.
pub(crate) const MAX_CONNECTIONS: usize = 8;

/// Limits how many connections to the store the downloads of a step use at the same time. It has permits, not sockets: those
/// belong to the HTTP client.
#[derive(Debug)]
pub struct ConnectionPool {
    size: usize,
    /// The connections that are free. Downloads that wait for one get the next ones in order.
    free: Semaphore,
    /// Number of waiting downloads for which no connection has been given back yet.
    waiting: Cell<usize>,
    /// Wakes the downloads that could use spare connections.
    given_back: Notify,
}

/// The permission to use one connection. It is given back when it is dropped.
#[derive(Debug)]
pub struct PooledConnection<'p> {
    pool: &'p ConnectionPool,
}

impl ConnectionPool {
    /// A pool of `size` connections.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, free: Semaphore::new(size), waiting: Cell::new(0), given_back: Notify::new() }
    }

    /// Waits for the first connection of a download: first come, first served. The signed URL is requested afterwards, because
    /// it expires within seconds.
    pub async fn acquire(&self) -> PooledConnection<'_> {
        if let Some(connection) = self.try_acquire() {
            return connection;
        }

        let waiter = Waiter::new(self);
        // This fails only if the semaphore is closed, which it never is.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        std::mem::forget(waiter);
        PooledConnection { pool: self }
    }

    /// Takes a spare connection. There is none while a download waits for its first one.
    pub(super) fn try_acquire(&self) -> Option<PooledConnection<'_>> {
        self.free.try_acquire().ok()?.forget();
        Some(PooledConnection { pool: self })
    }

    /// Whether a download waits for its first connection, and none has been given back for it yet.
    pub(super) fn has_waiting_download(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Returns the number of all connections.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Waits until a connection is given back after this call.
    pub(super) fn given_back(&self) -> Notified<'_> {
        self.given_back.notified()
    }

    /// Records that a connection was given back, or that a download stopped waiting.
    fn record_given_back(&self) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.given_back.notify_waiters();
    }
}

impl<'p> PooledConnection<'p> {
    /// Returns the pool that it belongs to.
    pub(super) fn pool(&self) -> &'p ConnectionPool {
        self.pool
    }
}

impl Drop for PooledConnection<'_> {
    fn drop(&mut self) {
        // If a download waits, the semaphore reserves the connection for it.
        self.pool.free.add_permits(1);
        self.pool.record_given_back();
    }
}

/// A download that waits. It is dropped if the download is cancelled.
struct Waiter<'p> {
    pool: &'p ConnectionPool,
}

impl<'p> Waiter<'p> {
    fn new(pool: &'p ConnectionPool) -> Self {
        pool.waiting.set(pool.waiting.get() + 1);
        Self { pool }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // A connection that was reserved for this download is now reserved for the next one. In both cases, one download fewer
        // needs a connection.
        self.pool.record_given_back();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;

    use futures_util::FutureExt;
    use futures_util::future::{join_all, poll_immediate};

    use super::*;

    #[test]
    fn a_connection_that_is_dropped_is_given_back() {
        let pool = ConnectionPool::new(2);
        let first = pool.acquire().now_or_never().unwrap();
        let second = pool.try_acquire().unwrap();
        assert!(pool.try_acquire().is_none() && pool.acquire().now_or_never().is_none());

        drop(first);
        let third = pool.try_acquire();
        assert!(third.is_some() && pool.try_acquire().is_none());
        drop((second, third));
        assert!(pool.acquire().now_or_never().is_some());
        assert_eq!((pool.free.available_permits(), pool.has_waiting_download()), (2, false));
    }

    #[tokio::test]
    async fn downloads_get_their_first_connection_in_order() {
        let (pool, order) = (ConnectionPool::new(2), RefCell::new(Vec::new()));
        let downloads = (0..20).map(|number| {
            let (pool, order) = (&pool, &order);
            async move {
                let _connection = pool.acquire().await;
                order.borrow_mut().push(number);
                // The later ones would like to be first.
                for _ in number..20 {
                    tokio::task::yield_now().await;
                }
            }
        });
        join_all(downloads).await;
        assert_eq!(order.into_inner(), (0..20).collect::<Vec<_>>());
        assert_eq!(pool.free.available_permits(), 2);
    }

    #[tokio::test]
    async fn no_connection_is_spare_while_a_download_waits() {
        let pool = ConnectionPool::new(2);
        let (first, second) = (pool.try_acquire(), pool.try_acquire());
        assert!(!pool.has_waiting_download());
        let mut waiting = pin!(pool.acquire());
        assert!(poll_immediate(&mut waiting).await.is_none() && pool.has_waiting_download());

        drop(first);
        assert!(pool.try_acquire().is_none(), "it is reserved for the one that waits");
        assert!(!pool.has_waiting_download(), "no other one has to be given back");
        drop(second);
        assert!(pool.try_acquire().is_some());
        assert!(poll_immediate(&mut waiting).await.is_some());
    }

    #[tokio::test]
    async fn as_many_connections_are_given_back_as_downloads_wait() {
        for cancelled in [None, Some(0), Some(1), Some(2)] {
            let pool = ConnectionPool::new(3);
            let mut connections: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
            let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.acquire())).collect();
            for waiter in &mut waiting {
                assert!(poll_immediate(waiter).await.is_none());
            }

            connections.pop();
            if let Some(cancelled) = cancelled {
                drop(waiting.remove(cancelled));
            }
            let mut given_back = 1;
            while pool.has_waiting_download() {
                connections.pop();
                given_back += 1;
            }
            assert_eq!(given_back, waiting.len(), "{cancelled:?}");
            for waiter in &mut waiting {
                assert!(poll_immediate(waiter).await.is_some(), "{cancelled:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_download_is_woken_when_a_connection_is_spare() {
        let pool = ConnectionPool::new(1);
        let connection = pool.try_acquire();
        let mut given_back = pin!(pool.given_back());
        let mut waiting = Box::pin(pool.acquire());
        assert!(poll_immediate(&mut given_back).await.is_none() && poll_immediate(&mut waiting).await.is_none());
        drop(connection);
        assert!(poll_immediate(&mut given_back).await.is_some());

        let mut given_back = pin!(pool.given_back());
        drop(waiting);
        assert!(poll_immediate(&mut given_back).await.is_some(), "the download that waited was cancelled");
        assert!(pool.try_acquire().is_some());
    }
}
