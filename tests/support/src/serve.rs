//! A process of `byname serve`, with its clients on loopback.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{Connection, RequestForm, free_port, repository};

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A `byname serve`, as `make cli` builds it, that ends with its value.
pub struct ServeProcess {
    child: Child,
    /// Where sidecars connect.
    pub address: SocketAddr,
    monitor: u16,
    directory: TempDir,
}

impl ServeProcess {
    /// Starts a server with more arguments, and waits until it is ready. It serves everybody, unless they say who proves what.
    ///
    /// # Errors
    /// If the program is missing, ends, or is not ready in time, with its log.
    pub async fn start(kubeconfig: &Path, arguments: &[String]) -> Result<Self> {
        let is_secure = arguments.iter().any(|argument| argument == "--identity");
        let who: &[&str] = if is_secure { &[] } else { &["--insecure"] };
        let program = repository().join("target/native/byname");
        ensure!(program.is_file(), "there is no {}; run `make cli`", program.display());
        let (port, monitor) = (free_port()?, free_port()?);
        let directory = tempfile::tempdir()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = Command::new(program)
            .args(["serve", "--listen", &address.to_string()])
            .args(who)
            .args(["--monitor", &format!("127.0.0.1:{monitor}"), "--module"])
            .arg(repository().join("target/byname.wasm"))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        let mut server = Self { child, address, monitor, directory };
        let start = Instant::now();
        while server.text("/readyz").await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("byname serve ended ({status}):\n{}", server.log());
            }
            ensure!(start.elapsed() < PATIENCE, "byname serve is not ready:\n{}", server.log());
            sleep(POLL).await;
        }
        Ok(server)
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Ends it at once, as when its node is lost.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The value of the metric `byname_serve_NAME`, 0 while there is none.
    ///
    /// # Errors
    /// If the monitor does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.text("/metrics").await?;
        let start = format!("byname_serve_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        Ok(value.map(str::parse).transpose()?.unwrap_or_default())
    }

    async fn text(&self, path: &str) -> Result<String> {
        let mut connection = Connection::open(self.monitor, RequestForm::Host).await?;
        let reply = connection.get_path("serve", path, &[]).await?;
        ensure!(reply.status == 200, "{path}: {}", reply.status);
        Ok(reply.body)
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        // It may have been killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
