//! A relay between two parties that cuts, stalls or delays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// CancelRequest (protocol-message-formats.html).
const CANCEL: u32 = 80_877_102;

pub struct Relay {
    pub port: u16,
    pub faults: Arc<Faults>,
}

/// What goes wrong. Times are in milliseconds; bytes are counted over all connections.
#[derive(Default)]
pub struct Faults {
    /// Once so many bytes have come from the near side, everything is cut; negative: never.
    pub cut_forth: AtomicI64,
    /// The same of the far side.
    pub cut_back: AtomicI64,
    /// Nothing passes.
    pub stalled: AtomicBool,
    /// So many bytes pass at once; 0: as many as come.
    pub piece: AtomicUsize,
    /// Cancel requests are held back for so long.
    pub cancel_delay: AtomicU64,
}

impl Relay {
    /// A relay to a port of this host.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), faults: Arc::default() };
        relay.mend();
        let faults = relay.faults.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, port, faults.clone()));
            }
        });
        relay
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.faults.cut_forth.store(-1, SeqCst);
        self.faults.cut_back.store(-1, SeqCst);
        self.faults.stalled.store(false, SeqCst);
    }
}

async fn pass(mut near: TcpStream, port: u16, faults: Arc<Faults>) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let mut first = [0; 8];
    if near.read_exact(&mut first).await.is_err() {
        return;
    }
    if first[4..] == CANCEL.to_be_bytes() {
        tokio::time::sleep(Duration::from_millis(faults.cancel_delay.load(SeqCst))).await;
    }
    if far.write_all(&first).await.is_err() {
        return;
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = copy(near_read, far_write, &faults, |faults| &faults.cut_forth) => {}
        () = copy(far_read, near_write, &faults, |faults| &faults.cut_back) => {}
    }
}

/// Copies up to an end, an error or a cut.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: &Faults,
    cut: fn(&Faults) -> &AtomicI64,
) {
    let mut bytes = vec![0; 4096];
    loop {
        let most = match faults.piece.load(SeqCst) {
            0 => bytes.len(),
            piece => piece.min(bytes.len()),
        };
        let Ok(length @ 1..) = from.read(&mut bytes[..most]).await else { return };
        while faults.stalled.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = cut(faults).load(SeqCst);
        let passed = if left < 0 { length } else { length.min(left as usize) };
        if to.write_all(&bytes[..passed]).await.is_err() || passed < length {
            return;
        }
        if faults.piece.load(SeqCst) > 0 {
            // So that it is read before the next one comes.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if left >= 0 {
            cut(faults).fetch_sub(passed as i64, SeqCst);
        }
    }
}
