//! A configuration that is read in slices, so that no request waits for the whole of it.
//!
//! A worker of Envoy that reads a table of 10,000 Services at once answers nothing for tens of milliseconds. Each slice takes about one.
//! The text is cut into Services without being understood: whatever is unusual in it is left to [`Config::read`], which reads whole
//! texts and has the words for every error.

use alloc::{boxed::Box, vec::Vec};
use core::mem::take;

use super::{Config, Defaults, building::Building, services::ServiceReader};
use crate::{
    limits::{SLICE_BYTES, SLICE_SERVICES},
    wire::{self, FieldErrors, FieldPathRef, NextEntry, Unpacking, find_services, next_entry, read_configuration},
};

/// A configuration of which slices were read.
pub struct ConfigReading {
    text: Vec<u8>,
    phase: Phase,
    /// The places of the brace of the object of Services, and behind what was read of it.
    services: usize,
    at: usize,
    reader: ServiceReader,
    /// The configuration without its Services.
    rest: Option<Box<wire::Config<ServiceReader>>>,
    unpacking: Option<Box<Unpacking>>,
    building: Option<Box<Building>>,
}

/// What is done next.
#[derive(Clone, Copy)]
enum Phase {
    Find,
    /// Read Services from the text.
    Read,
    Unpack,
    /// Read Services from what was unpacked.
    ReadUnpacked,
    Build,
}

/// What a slice has brought.
pub enum ReadingStep {
    /// There is more to read.
    More,
    /// The whole configuration.
    Done(Box<Config>),
    /// The text has to be read as a whole: there may be an error in it, or it has fields of a newer byname.
    Whole(Vec<u8>),
    /// The Services contradict each other.
    Refused(FieldErrors),
}

impl ConfigReading {
    /// Begins to read a text.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Self {
        let reader = ServiceReader::default();
        Self { text, phase: Phase::Find, services: 0, at: 0, reader, rest: None, unpacking: None, building: None }
    }

    /// Reads the next slice.
    pub fn step(&mut self, defaults: &Defaults<'_>) -> ReadingStep {
        match self.read_on(defaults) {
            Some(step) => step,
            None => ReadingStep::Whole(take(&mut self.text)),
        }
    }

    /// `None` if the text has to be read as a whole.
    #[inline(never)]
    fn read_on(&mut self, defaults: &Defaults<'_>) -> Option<ReadingStep> {
        match self.phase {
            Phase::Find => match find_services(&self.text) {
                Some(start) => self.read_from(start, Phase::Read),
                None => {
                    let mut rest = read_rest(&self.text)?;
                    let packed = rest.table.packed.take()?;
                    self.unpacking = Some(Box::new(packed.unpack(&FieldPathRef::root("table")).ok()?));
                    self.rest = Some(rest);
                    self.phase = Phase::Unpack;
                }
            },
            Phase::Read => {
                if self.read_services(None)? {
                    let mut rest = self.text.get(..=self.services)?.to_vec();
                    rest.extend(self.text.get(self.at - 1..)?);
                    let rest = read_rest(&rest)?;
                    // Both forms at once are an error, which has words.
                    if rest.table.packed.is_some() {
                        return None;
                    }
                    self.rest = Some(rest);
                    self.build(defaults)?;
                }
            }
            Phase::Unpack => {
                let unpacking = self.unpacking.as_mut()?;
                if unpacking.step(SLICE_BYTES / 4, &FieldPathRef::root("table")).ok()? {
                    let start = unpacking.text.iter().position(|byte| !byte.is_ascii_whitespace())?;
                    if unpacking.text.get(start) != Some(&b'{') {
                        return None;
                    }
                    self.read_from(start, Phase::ReadUnpacked);
                }
            }
            Phase::ReadUnpacked => {
                let unpacked = self.unpacking.take()?;
                if !self.read_services(Some(&unpacked.text))? {
                    self.unpacking = Some(unpacked);
                } else if unpacked.text.get(self.at..)?.trim_ascii().is_empty() {
                    drop(unpacked);
                    self.build(defaults)?;
                } else {
                    return None;
                }
            }
            Phase::Build => {
                if self.building.as_mut()?.step(SLICE_SERVICES) {
                    return Some(match self.building.take()?.finish() {
                        Ok(config) => ReadingStep::Done(Box::new(config)),
                        Err(errors) => ReadingStep::Refused(errors),
                    });
                }
            }
        }
        Some(ReadingStep::More)
    }

    fn read_from(&mut self, start: usize, phase: Phase) {
        (self.services, self.at, self.phase) = (start, start + 1, phase);
    }

    /// Reads the next Services of the text, or of what was unpacked, and returns whether they were the last.
    fn read_services(&mut self, unpacked: Option<&[u8]>) -> Option<bool> {
        let text = unpacked.unwrap_or(&self.text);
        let end = self.at + SLICE_BYTES;
        while self.at < end {
            match next_entry(text, self.at, self.at == self.services + 1)? {
                NextEntry::Entry { key, value } => {
                    self.at = value.end;
                    if !self.reader.read(text.get(key)?, text.get(value)?) {
                        return None;
                    }
                }
                NextEntry::End(end) => {
                    self.at = end;
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    /// Begins to compile. The text is freed before the table is built, unless a Service has an error, which only the whole text tells.
    fn build(&mut self, defaults: &Defaults<'_>) -> Option<()> {
        if !self.reader.errors.is_empty() {
            return None;
        }
        self.text = Vec::new();
        let mut rest = self.rest.take()?;
        rest.table.services = take(&mut self.reader);
        self.building = Some(Box::new(Building::begin(*rest, defaults)));
        self.phase = Phase::Build;
        Some(())
    }
}

/// Reads a configuration without its Services.
fn read_rest(text: &[u8]) -> Option<Box<wire::Config<ServiceReader>>> {
    let (wire, _) = read_configuration(text, &ServiceReader::default).ok()?;
    // Fields that this module does not know have to be counted.
    (!wire.is_newer()).then(|| Box::new(wire))
}
