use std::io::{self, Write};

use crate::failure::Failure;

/// Prints a line and flushes it, for programs that wait for it.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    write(&format!("{line}\n"))
}

/// Prints text as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(Failure::output)
}

/// Tells the user something that is no output of the command.
pub(crate) fn note(line: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(io::stderr(), "{line}");
}
