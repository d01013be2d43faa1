//! The `dfks` command.

fn main() {}
