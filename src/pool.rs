//! Temporary.
use crate::kernel::fault::{Fault, Kind};
#[derive(Debug)]
pub struct Pool;
#[derive(Debug, Clone, thiserror::Error)]
#[error("x")]
pub enum PoolError { Full, Lost }
impl Fault for PoolError { fn kind(&self) -> Kind { Kind::Busy } fn code(&self) -> &'static str { "pool-full" } }
impl Pool {
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| PoolError::Lost)
    }
}
