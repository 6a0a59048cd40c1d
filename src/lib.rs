//! The production binary of Towpath: configuration, commands, admin HTTP, log, exit status.
//!
//! Everything that decides lives in `towpath-engine`; everything that talks to a service in `towpath-connectors`. Here
//! they are put together and shown. Must contain no model, no fault and no canary.

pub mod admin;
pub mod alarms;
pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod logging;
pub mod output;
pub mod services;
