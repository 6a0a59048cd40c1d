//! The command line: one tree of commands, parsed here and carried out in `commands`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::exit::{self, Failure};
use crate::output;

/// MySQL row changes through Kafka into Elasticsearch: highly available, lossless, near the speed of the binlog.
#[derive(Debug, Parser)]
#[command(name = "towpath", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit statuses: docs/exit-codes.md. Configuration: docs/configuration.md.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the pipelines of a configuration until a signal or a named cause ends them
    Run(RunArgs),
    /// Explain what `run` would do, and what is missing for it: settings, GRANTs, topics, indices, conditions
    Check(CheckArgs),
    /// Read binlog files or a live server: events, rows, messages, or counts
    Binlog(BinlogArgs),
    /// Show or set the position from which a pipeline goes on
    #[command(subcommand)]
    Position(PositionCommand),
    /// Show tables whose rows are held because their columns are not known, or say what they are
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// List the alarms there are, or send a test notice to the webhook
    #[command(subcommand)]
    Alarms(AlarmsCommand),
    /// Show or switch whether a pipeline's leader writes documents itself, past Kafka
    #[command(subcommand)]
    Fallback(FallbackCommand),
    /// Carry a range of changes once more, under the versions they had: into sinks or into the topic
    Replay(ReplayArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration (TOML)
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Which half of the pipelines a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Binlog to Kafka: one of all deployers leads, the others stand by
    Deployer,
    /// Kafka to Elasticsearch: the partitions are shared by all adapters
    Adapter,
    /// Both
    All,
}

/// `towpath run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which half of the pipelines to run
    #[arg(long, value_enum, default_value = "all")]
    pub role: Role,
    /// Only this pipeline (may be given several times)
    #[arg(long = "pipeline", value_name = "NAME")]
    pub pipelines: Vec<String>,
    /// Listen here for /metrics, /healthz and /readyz instead of at `admin.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin: Option<std::net::SocketAddr>,
    /// Go on although a repair is pending; it stays pending, and documents may be stale until it is done
    #[arg(long)]
    pub unrepaired: bool,
}

/// `towpath check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Look at the file alone, without asking any service
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath binlog`.
#[derive(Debug, Args)]
pub struct BinlogArgs {
    /// Binlog files, read one after the other
    #[arg(value_name = "FILE", required_unless_present = "server", conflicts_with = "server")]
    pub files: Vec<PathBuf>,
    /// Read from this server instead; without a password in it, MYSQL_PWD is taken
    #[arg(long, value_name = "mysql://USER:PASSWORD@HOST:PORT")]
    pub server: Option<String>,
    /// From the server: all transactions that are not in this set (MariaDB: DOMAIN-SERVER-SEQUENCE,…)
    #[arg(long, value_name = "SET", conflicts_with = "start")]
    pub start_gtid: Option<String>,
    /// From the server: from the start of this transaction; without any start, the oldest
    #[arg(long, value_name = "FILE:POSITION")]
    pub start: Option<String>,
    /// Wait for more at the server's present end, until a signal
    #[arg(long)]
    pub stop_never: bool,
    /// The replica id to register with; must be nobody else's [default: one made of the process id]
    #[arg(long, value_name = "ID")]
    pub server_id: Option<u32>,
    /// What to print
    #[arg(long, value_enum, default_value = "events")]
    pub format: BinlogFormat,
    /// Only rows of these tables (`database.table` with * and ?; may be given several times)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Only events of this time (UTC) or later, for example 2026-05-01 or 2026-05-01T12:30:00
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only events before this time (UTC)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only transactions of this set (MySQL)
    #[arg(long, value_name = "SET")]
    pub gtids: Option<String>,
    /// The epoch in rows' versions
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub epoch: u16,
    /// The offset at which rows' versions start: that of the first transaction read
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub offset: u64,
    /// Print JSON: one object an event, one for the counts (rows and messages always are)
    #[arg(long)]
    pub json: bool,
}

/// What `towpath binlog` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BinlogFormat {
    /// A line an event
    Events,
    /// A JSON object a row
    Rows,
    /// FlatMessages as they go to Kafka, one a line
    Flat,
    /// Events by type, rows by table and operation
    Count,
}

/// `towpath position …`.
#[derive(Debug, Subcommand)]
pub enum PositionCommand {
    /// Print the state of pipelines: epoch, checkpoint, pending repairs
    Show(ShowArgs),
    /// Print the checkpoints that are kept, and what was done by hand
    History(ShowArgs),
    /// Set where a pipeline goes on. Raises the epoch, so that what is read again wins; asks for a repair
    Set(SetArgs),
}

/// `towpath position show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only this pipeline
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath position set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The pipeline; may be left out if the configuration has one
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Where to go on.
    #[command(flatten)]
    pub target: Target,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write although a deployer leads now, or the source never had the position
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath fallback …`.
#[derive(Debug, Subcommand)]
pub enum FallbackCommand {
    /// Write documents directly from now on, whatever Kafka does; Kafka gets all of it afterwards
    On(FallbackArgs),
    /// Never write documents directly, whatever the configuration says
    Off(FallbackArgs),
    /// Do as the configuration says
    Auto(FallbackArgs),
    /// Print what was asked for, and what was written directly and is not in Kafka yet
    Status(FallbackArgs),
}

impl FallbackCommand {
    /// The arguments, which all of them have.
    pub fn args(&self) -> &FallbackArgs {
        match self {
            Self::On(args) | Self::Off(args) | Self::Auto(args) | Self::Status(args) => args,
        }
    }
}

/// The arguments of `towpath fallback …`.
#[derive(Debug, Args)]
pub struct FallbackArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The pipeline; may be left out if the configuration has one
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The pipeline; may be left out if the configuration has one
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Where the range begins; it ends at the checkpoint.
    #[command(flatten)]
    pub from: ReplayFrom,
    /// Write to this sink, past Kafka; several may be named
    #[arg(long, value_name = "NAME", required_unless_present = "to_kafka")]
    pub to_sink: Vec<String>,
    /// Produce to the topic, for everybody who reads it
    #[arg(long, conflicts_with = "to_sink")]
    pub to_kafka: bool,
    /// Say where reading would begin and end, and carry nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Where the range of `towpath replay` begins.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct ReplayFrom {
    /// All transactions that are not in this set
    #[arg(long, value_name = "SET")]
    pub from_gtid: Option<String>,
    /// All changes committed from this time on (UTC unless it says otherwise)
    #[arg(long, value_name = "TIME")]
    pub from_time: Option<String>,
}

/// Where `position set` goes to.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// Go on with all transactions that are not in this set
    #[arg(long, value_name = "SET")]
    pub gtid: Option<String>,
    /// Go on at this event
    #[arg(long, value_name = "FILE:POSITION")]
    pub file: Option<String>,
    /// Go on at the newest kept checkpoint before this time (UTC); `position history` shows them
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Go on at the end of the source's binlog; what lies before is not carried
    #[arg(long)]
    pub now: bool,
    /// Take the state that was kept before the last one
    #[arg(long)]
    pub previous: bool,
}

/// `towpath alarms …`.
#[derive(Debug, Subcommand)]
pub enum AlarmsCommand {
    /// Print every alarm with its severity, its meaning and what to do
    List(AlarmsListArgs),
    /// Send a notice with the alarm `test` to the configuration's webhook, once
    Test(AlarmsTestArgs),
}

/// `towpath alarms list`.
#[derive(Debug, Args)]
pub struct AlarmsListArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath alarms test`.
#[derive(Debug, Args)]
pub struct AlarmsTestArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `towpath schema …`.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Print the tables whose rows are held, why, and since when
    Show(ShowArgs),
    /// Give a held table's definition; its rows are then read again
    Resolve(ResolveArgs),
}

/// `towpath schema resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The pipeline; may be left out if the configuration has one
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// The table
    #[arg(long, value_name = "DATABASE.TABLE")]
    pub table: String,
    /// Its definition.
    #[command(flatten)]
    pub definition: DefinitionArgs,
    /// Give the held rows up: the table goes on at the checkpoint
    #[arg(long)]
    pub discard: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Where a definition comes from.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct DefinitionArgs {
    /// A file with its CREATE TABLE as it was when its rows began to be held
    #[arg(long, value_name = "FILE")]
    pub define: Option<PathBuf>,
    /// As the source has it now: right if no statement has changed it since
    #[arg(long)]
    pub from_source: bool,
}

/// Parses the arguments, carries the command out, prints a failure, gives the exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if even the message cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let json = cli.json();
    match commands::carry_out(cli.command) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            show(&failure, json);
            ExitCode::from(failure.status())
        }
    }
}

impl Cli {
    fn json(&self) -> bool {
        match &self.command {
            Command::Run(_) => false,
            Command::Check(args) => args.json,
            Command::Binlog(args) => args.json,
            Command::Alarms(AlarmsCommand::List(args)) => args.json,
            Command::Alarms(AlarmsCommand::Test(args)) => args.json,
            Command::Position(PositionCommand::Show(args) | PositionCommand::History(args)) => args.json,
            Command::Position(PositionCommand::Set(args)) => args.json,
            Command::Schema(SchemaCommand::Show(args)) => args.json,
            Command::Schema(SchemaCommand::Resolve(args)) => args.json,
            Command::Fallback(command) => command.args().json,
            Command::Replay(args) => args.json,
        }
    }
}

fn show(failure: &Failure, json: bool) {
    match failure.json().filter(|_| json) {
        Some(value) => output::line(value),
        None if matches!(failure, Failure::Reported(_)) => {}
        None => eprintln!("{failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }
}
