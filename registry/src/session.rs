//! One writer at a time for each upload session.
//!
//! Two requests that write to one session must not interleave: the second waits for the first, for a
//! while. A client whose connection broke comes back at once, often before its old request is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::timeout;

use crate::storage::UploadId;

/// How long a second writer waits: longer than a slow disk's sync, shorter than clients' patience.
const PATIENCE: Duration = Duration::from_secs(15);

/// The right to write to a session.
pub(crate) type Guard = OwnedMutexGuard<()>;

/// The sessions that are being written to.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<UploadId, Weak<Turn<()>>>>);

impl Sessions {
    /// Waits for a session's turn; `None` if another writer keeps it for too long.
    pub(crate) async fn enter(&self, upload: &UploadId) -> Option<Guard> {
        let turn = self.turn(upload);
        timeout(PATIENCE, turn.lock_owned()).await.ok()
    }

    fn turn(&self, upload: &UploadId) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().expect("because no holder of the lock panics");
        if let Some(turn) = turns.get(upload).and_then(Weak::upgrade) {
            return turn;
        }
        // As many entries as writers, and some dead ones: swept when they are the most.
        if turns.len() >= 64 && turns.len() == turns.capacity() {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(upload.clone(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::Sessions;
    use crate::storage::UploadId;

    #[tokio::test(start_paused = true)]
    async fn a_session_has_one_writer_and_others_are_free() {
        let sessions = Sessions::default();
        let (one, two) = (UploadId::draw(), UploadId::draw());
        let guard = sessions.enter(&one).await;
        assert!(guard.is_some());
        assert!(sessions.enter(&two).await.is_some());
        assert!(sessions.enter(&one).await.is_none());
        drop(guard);
        assert!(sessions.enter(&one).await.is_some());
    }
}
