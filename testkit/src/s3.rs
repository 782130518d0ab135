//! An S3 server in this process, whose objects lie in a folder.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::S3;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// An S3 server on a free port of this machine, with one bucket. It stops when dropped.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    folder: TempDir,
    runtime: Option<Runtime>,
}

impl S3Server {
    /// The access key that the server knows.
    pub const ACCESS_KEY: &str = "testkit-access";
    /// The secret that belongs to it.
    pub const SECRET_KEY: &str = "testkit-secret";
    /// The bucket that is there.
    pub const BUCKET: &str = "vaults";

    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(Self::BUCKET)).unwrap();
        let (port, runtime) = serve(s3s_fs::FileSystem::new(folder.path()).unwrap());
        Self { port, folder, runtime: Some(runtime) }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the vault's address for `prefix` in the bucket.
    #[must_use]
    pub fn address(&self, prefix: &str) -> String {
        self.address_at(self.port, prefix)
    }

    /// Returns the same address as seen through a proxy on `port`.
    #[must_use]
    pub fn address_at(&self, port: u16, prefix: &str) -> String {
        format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{port}&region=us-east-1", Self::BUCKET)
    }

    /// Returns the address as restic writes it; the keys go into `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    #[must_use]
    pub fn restic_address(&self, prefix: &str) -> String {
        format!("s3:http://127.0.0.1:{}/{}/{prefix}", self.port, Self::BUCKET)
    }

    /// Returns the folder where the objects of the bucket lie as files, to look at and to damage.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(Self::BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves these objects on a free port, to whoever has the keys, until the runtime is shut down.
pub(crate) fn serve(objects: impl S3) -> (u16, Runtime) {
    let service = {
        let mut builder = S3ServiceBuilder::new(objects);
        builder.set_auth(SimpleAuth::from_single(S3Server::ACCESS_KEY, S3Server::SECRET_KEY));
        builder.build()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                // A client that hangs up is none of our business.
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (port, runtime)
}
