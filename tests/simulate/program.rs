//! `simulate`: whole deployments on simulated time. See `src/simulate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dfks::simulate::main()
}
