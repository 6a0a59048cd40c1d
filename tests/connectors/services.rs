//! One stack for all tests of this binary, and names that keep them apart.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Mutex, RwLock};
use towpath_stack::{Mysql, Stack, by_hand};

/// Held for writing by tests that take something away from everybody: purged binlogs, a stopped server.
pub static QUIET: RwLock<()> = RwLock::const_new(());

/// Runs a test on the one runtime that outlives them all: clients of the stack may not outlive theirs.
pub fn run(test: impl Future<Output = ()>) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(test);
}

/// The stack: shared while any test holds it, ended with the last.
pub async fn stack() -> Arc<Stack> {
    static SHARED: Mutex<Weak<Stack>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(stack) = shared.upgrade() {
        return stack;
    }
    let builder = Stack::builder().mysql().mariadb().kafka(1).kafka_sasl().zookeeper(1).es(&["hot"]);
    let stack = Arc::new(Stack::attach_or_start(builder).await.unwrap());
    *shared = Arc::downgrade(&stack);
    stack
}

/// A name nobody else uses, also on a stack that earlier runs have used.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let run = std::process::id();
    format!("{what}_{run}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs statements as root.
pub async fn sql(server: Mysql<'_>, script: &str) {
    by_hand::run_script(server, script).await.unwrap();
}

/// Waits for what must happen soon; says what did not.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(value) => value,
        Err(_) => panic!("not within a minute: {what}"),
    }
}

/// A TCP server that answers every connection's first bytes with this text, or never if it is `None`.
pub async fn answering(text: Option<&'static str>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while matches!(socket.read(&mut request).await, Ok(read) if read > 0) {
                    if let Some(text) = text {
                        let _ = socket.write_all(text.as_bytes()).await;
                        let _ = socket.shutdown().await;
                        // Closed with bytes unread, the socket would take the answer back.
                        while matches!(socket.read(&mut request).await, Ok(read) if read > 0) {}
                        return;
                    }
                }
            });
        }
    });
    address.to_string()
}
