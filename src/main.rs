//! The process: hands its arguments to the library and ends with the exit status it names (docs/exit-codes.md).

use std::process::ExitCode;

fn main() -> ExitCode {
    towpath::cli::main()
}
