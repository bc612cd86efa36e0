//! Jumping over an element's value, nested to any depth.

use std::io::{self, Read, Seek};

use dicom_core::VR;

use super::element::{Element, ITEM_END, SEQUENCE_END, Syntax, UNDEFINED};
use super::input::Input;

/// Jumps over the value of an element whose header has just been read.
///
/// Sequences of undefined length are walked through with a counter instead of recursion, so that no nesting is too
/// deep: an item and a sequence both end with a delimiter of their own.
///
/// # Errors
/// `UnexpectedEof` where the file ends before the value; the reader's.
pub fn skip_value<R: Read + Seek>(input: &mut Input<R>, element: Element, syntax: Syntax) -> io::Result<()> {
    if element.length != UNDEFINED {
        return input.skip(u64::from(element.length));
    }
    let syntax = if element.vr == VR::UN { Syntax::IMPLICIT_LITTLE } else { syntax };
    let mut open = 1;
    while open > 0 {
        let inner = Element::read(input, syntax)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        match inner.tag {
            ITEM_END | SEQUENCE_END => open -= 1,
            _ if inner.length == UNDEFINED => open += 1,
            _ => input.skip(u64::from(inner.length))?,
        }
    }
    Ok(())
}
