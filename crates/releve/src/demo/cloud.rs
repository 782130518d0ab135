//! The demo's cloud: an S3 endpoint served by this process, whose objects lie in a folder that no crash of the company touches.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const BUCKET: &str = "releve";

/// A running endpoint. It stops when dropped.
pub(super) struct Cloud {
    port: u16,
    runtime: Option<Runtime>,
}

impl Cloud {
    /// Starts the endpoint over a folder, on a free port of the loopback. Only these keys are let in.
    pub(super) fn start(folder: &Path, access_key: &str, secret_key: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let objects =
            s3s_fs::FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(objects);
        builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let port = listener.local_addr()?.port();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                // A client that hangs up is none of our business.
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Ok(Self { port, runtime: Some(runtime) })
    }

    /// Returns the vault's address.
    pub(super) fn address(&self) -> String {
        format!("s3://{BUCKET}/vault?endpoint=http://127.0.0.1:{}&region=eu-west-3", self.port)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
