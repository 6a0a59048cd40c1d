//! The admin HTTP: `/metrics`, `/healthz`, `/readyz`. Reads what others publish; changes nothing.

pub mod board;
pub mod exposition;
pub mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use towpath_engine::metrics::Registry;

use crate::alarms::watch::Firing;
use board::Board;

/// What the handlers read.
#[derive(Clone)]
pub struct Admin {
    /// The process' metrics.
    pub registry: Registry,
    /// The pipelines' conditions.
    pub board: Arc<Board>,
    /// The alarms that are told.
    pub firing: Arc<Firing>,
}

/// A listener for the admin HTTP, bound before anything else starts, so that a taken port is told at once.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("admin.listen {address} cannot be used: {error}"))
}

/// Answers until the process ends.
pub async fn serve(listener: TcpListener, admin: Admin) {
    if let Err(error) = axum::serve(listener, router(admin)).await {
        tracing::error!(%error, "the admin HTTP ended");
    }
}

/// The routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found: /metrics, /healthz, /readyz\n") })
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = exposition::text(&admin.registry.snapshot());
    text.push_str(&admin.board.exposition());
    text.push_str(&admin.firing.exposition());
    text.push_str(&process::exposition());
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response()
}

/// The process answers: it is alive. Whether it does its work is `/readyz`' business, so that an outage of a service
/// does not make a supervisor kill what will go on by itself.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let report = admin.board.readiness();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = serde_json::json!(report);
    body["alarms"] = serde_json::json!(admin.firing.shown());
    let body = body.to_string() + "\n";
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
