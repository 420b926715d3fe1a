//! The maps of sparse files: GNU's old headers and the three pax forms (GNU tar manual, "Sparse Formats").

use super::pax::{Pax, parse_number};
use super::{BLOCK, Extent, TarReader, broken};
use crate::error::{Error, Result};
use std::io::Read;

const MAX_EXTENTS: usize = 1 << 20;
/// A number and its newline in the map of format 1.0.
const MAX_NUMBER_BYTES: usize = 21;

impl<R: Read> TarReader<R> {
    /// Size and map of a sparse file; `None` when the entry is not one.
    pub(super) fn sparse(
        &mut self,
        type_byte: u8,
        header: &tar::Header,
        pax: &Pax,
    ) -> Result<Option<(u64, Vec<Extent>)>> {
        let (size, extents) = if type_byte == b'S' {
            let gnu = header.as_gnu().ok_or_else(|| broken("sparse entry without a GNU header"))?;
            let size = gnu.real_size().map_err(|_| broken("bad size of a sparse file"))?;
            (size, self.old_map(gnu)?)
        } else if pax.sparse_in_data {
            let size = pax.sparse_size.ok_or_else(|| broken("sparse file without a size"))?;
            (size, self.map_in_data()?)
        } else if let Some(map) = &pax.sparse_map {
            let size = pax.sparse_size.ok_or_else(|| broken("sparse file without a size"))?;
            (size, map.clone())
        } else {
            return Ok(None);
        };
        check(&extents, size, self.data)?;
        Ok(Some((size, extents)))
    }

    /// Four pairs in the header, then 21 in each block that follows it.
    fn old_map(&mut self, gnu: &tar::GnuHeader) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        add(&mut extents, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            if !self.block(block.as_mut_bytes())? {
                return Err(Error::Truncated);
            }
            add(&mut extents, block.sparse())?;
            more = block.is_extended();
        }
        Ok(extents)
    }

    /// Decimal lines before the data: the number of pairs, then the pairs; padded to a block.
    fn map_in_data(&mut self) -> Result<Vec<Extent>> {
        let mut lines = Lines { block: [0; BLOCK], at: BLOCK };
        let count = lines.number(self)?;
        if count > MAX_EXTENTS as u64 {
            return Err(Error::Limit { what: "number of sparse extents", limit: MAX_EXTENTS as u64 });
        }
        let mut extents = Vec::new();
        for _ in 0..count {
            extents.push(Extent { offset: lines.number(self)?, length: lines.number(self)? });
        }
        Ok(extents)
    }
}

struct Lines {
    block: [u8; BLOCK],
    at: usize,
}

impl Lines {
    fn number<R: Read>(&mut self, reader: &mut TarReader<R>) -> Result<u64> {
        let mut digits = Vec::with_capacity(MAX_NUMBER_BYTES);
        while digits.len() < MAX_NUMBER_BYTES {
            if self.at == BLOCK {
                let mut filled = 0;
                while filled < BLOCK {
                    match reader.read_data(&mut self.block[filled..])? {
                        0 => return Err(Error::Truncated),
                        n => filled += n,
                    }
                }
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            if byte == b'\n' {
                return parse_number(&digits).ok_or_else(|| broken("bad sparse map"));
            }
            digits.push(byte);
        }
        Err(broken("bad sparse map"))
    }
}

fn add(extents: &mut Vec<Extent>, pairs: &[tar::GnuSparseHeader]) -> Result<()> {
    for pair in pairs.iter().filter(|p| !p.is_empty()) {
        if extents.len() == MAX_EXTENTS {
            return Err(Error::Limit { what: "number of sparse extents", limit: MAX_EXTENTS as u64 });
        }
        let offset = pair.offset().map_err(|_| broken("bad sparse map"))?;
        let length = pair.length().map_err(|_| broken("bad sparse map"))?;
        extents.push(Extent { offset, length });
    }
    Ok(())
}

/// Ascending, without overlap, within the file, and as long together as the stored data.
fn check(extents: &[Extent], size: u64, stored: u64) -> Result<()> {
    let mut end = 0;
    let mut sum: u64 = 0;
    for extent in extents {
        let next = extent.offset.checked_add(extent.length);
        let Some(next) = next.filter(|n| extent.offset >= end && *n <= size) else {
            return Err(broken("sparse map is out of order"));
        };
        end = next;
        sum += extent.length;
    }
    if sum == stored { Ok(()) } else { Err(broken("sparse map and size differ")) }
}
