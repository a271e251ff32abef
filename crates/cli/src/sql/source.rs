//! Where statements come from.

use super::data::CopyData;
use super::is_stdin;
use super::split::{Item, Splitter};
use crate::console::Failure;
use nodedb::{Error, Result};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

/// Longest statement, and longest line of data. PostgreSQL has the same limit.
const LONGEST: usize = (1 << 30) - 1;

/// Text that is read piece by piece and cut into statements.
pub struct Source {
    splitter: Splitter,
    reader: Option<Box<dyn Read>>,
    buffer: Vec<u8>,
    interactive: bool,
    /// How much was read since something came out.
    pending: usize,
}

/// That a file can be opened.
pub fn check(path: &Path) -> Result<(), Failure> {
    if is_stdin(path) { Ok(()) } else { open(path).map(drop) }
}

fn open(path: &Path) -> Result<File, Failure> {
    let wrong = |error| Failure::Usage(format!("could not open {}: {error}", path.display()));
    let file = File::open(path).map_err(wrong)?;
    if file.metadata().map_err(wrong)?.is_dir() {
        return Err(Failure::Usage(format!("could not open {}: it is a directory", path.display())));
    }
    Ok(file)
}

impl Source {
    /// A text from the command line.
    pub fn text(text: &str) -> Self {
        let mut source = Self::new(None, false);
        source.splitter.push(text.as_bytes());
        source.splitter.end();
        source
    }

    /// A file.
    pub fn file(path: &Path) -> Result<Self, Failure> {
        Ok(Self::new(Some(Box::new(open(path)?)), false))
    }

    /// Standard input. Somebody who sits before it is prompted.
    pub fn stdin() -> Self {
        let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        Self::new(Some(Box::new(io::stdin())), interactive)
    }

    fn new(reader: Option<Box<dyn Read>>, interactive: bool) -> Self {
        Self { splitter: Splitter::new(), reader, buffer: vec![0; 64 << 10], interactive, pending: 0 }
    }

    /// The next statement or command.
    pub fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.splitter.next() {
                self.pending = 0;
                return Ok(Some(item));
            }
            let prompt = if self.splitter.in_statement() { "nodedb-> " } else { "nodedb=> " };
            if !self.more(prompt)? {
                return Ok(self.splitter.next());
            }
        }
    }

    /// Whether the data of a `COPY` that was just taken can come from here.
    pub fn has_data(&self) -> bool {
        self.reader.is_some() || self.splitter.has_lines()
    }

    /// Takes the lines that follow the line of the latest statement and hands them on, up to their end.
    pub fn data_behind(&mut self, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let aside = loop {
            match self.splitter.set_aside() {
                Some(aside) => break aside,
                None => _ = self.more("")?,
            }
        };
        let outcome = self.data(sink);
        self.splitter.put_back(aside);
        outcome
    }

    /// Takes lines and hands them on, up to their end. What `sink` says is returned after all of them were taken,
    /// so that none is run as a statement.
    pub fn data(&mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut outcome = Ok(());
        loop {
            match self.splitter.copy_data() {
                CopyData::Lines(lines) => {
                    self.pending = 0;
                    outcome = outcome.and_then(|()| sink(&lines));
                }
                CopyData::End => return outcome,
                CopyData::More => _ = self.more(">> ")?,
            }
        }
    }

    /// Hands on all that is left, which need not be text.
    pub fn bytes(&mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            sink(&self.splitter.take_rest())?;
            self.pending = 0;
            if !self.more(">> ")? {
                return Ok(());
            }
        }
    }

    /// Reads a piece. `false` at the end.
    fn more(&mut self, prompt: &str) -> Result<bool> {
        let Some(reader) = &mut self.reader else {
            self.splitter.end();
            return Ok(false);
        };
        if self.interactive {
            print!("{prompt}");
            // A prompt that nobody can see does no harm.
            let _ = io::stdout().flush();
        }
        let length = loop {
            match reader.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| Error::io("read statements", &error))?,
            }
        };
        self.pending += length;
        if self.pending > LONGEST {
            self.splitter.clear();
            self.splitter.end();
            self.reader = None;
            return Err(Error::limit("54000", format!("a statement or line is longer than {LONGEST} bytes")));
        }
        self.splitter.push(self.buffer.get(..length).unwrap_or_default());
        if length == 0 {
            self.splitter.end();
            self.reader = None;
        }
        Ok(length > 0)
    }
}
