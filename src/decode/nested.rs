//! Columns that are made of columns: lists, structs and maps.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, FieldRef, Fields};

use super::Unreadable;
use super::column::{Column, Nested};
use super::cursor::{Cursor, is_plain};
use super::rescue::{Path, Rescue};
use super::values::{Bytes, Rows, Validity};
use crate::error::{Error, Result};

pub(super) struct ListColumn {
    elements: Box<Column>,
    rows: Rows,
}

impl ListColumn {
    pub fn new(element: &FieldRef, nested: Nested) -> Result<Self> {
        let elements = Box::new(Column::new(element.data_type(), nested)?);
        Ok(Self { elements, rows: Rows::default() })
    }

    pub fn read(&mut self, cursor: &mut Cursor, path: Path, rescue: &mut Rescue) -> Result<(), Unreadable> {
        cursor.enter()?;
        let mut index = 0;
        while cursor.element()? {
            self.elements.read(cursor, Path::Element(&path, index), rescue)?;
            index += 1;
        }
        self.rows.end(self.elements.len(), true);
        Ok(())
    }

    pub fn append_null(&mut self) {
        self.rows.end(self.elements.len(), false);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn truncate(&mut self, rows: usize) {
        self.elements.truncate(self.rows.truncate(rows));
    }

    pub fn finish(&mut self, element: &FieldRef) -> Result<ArrayRef> {
        let values = self.elements.finish(element.data_type())?;
        let (offsets, valid) = self.rows.finish();
        Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, valid)?))
    }
}

pub(super) struct StructColumn {
    names: Vec<String>,
    /// All names stand in JSON as they are.
    are_plain: bool,
    children: Vec<Column>,
    valid: Validity,
}

/// An object that has a field twice.
struct Repeated;

impl StructColumn {
    /// `names` has the name that each field has in JSON.
    pub fn new(fields: &Fields, names: Vec<String>, nested: Nested) -> Result<Self> {
        let children = fields.iter().map(|field| Column::new(field.data_type(), nested)).collect::<Result<_>>()?;
        let are_plain = names.iter().all(|name| is_plain(name));
        Ok(Self { names, are_plain, children, valid: Validity::default() })
    }

    pub fn read(&mut self, cursor: &mut Cursor, path: Path, rescue: &mut Rescue) -> Result<(), Unreadable> {
        let (start, rows, kept) = (cursor.clone(), self.len(), rescue.kept());
        if self.read_members(cursor, path, rescue)?.is_ok() {
            self.children.iter_mut().filter(|child| child.len() == rows).for_each(Column::append_null);
            self.valid.append(true);
            return Ok(());
        }
        self.children.iter_mut().for_each(|child| child.truncate(rows));
        rescue.forget_after(kept);
        *cursor = start;
        self.read_repeated(cursor, path, rescue)
    }

    /// Reads each member where it comes, as long as no field comes twice.
    fn read_members(
        &mut self,
        cursor: &mut Cursor,
        path: Path,
        rescue: &mut Rescue,
    ) -> Result<Result<(), Repeated>, Unreadable> {
        let (rows, mut expected) = (self.len(), 0);
        let Self { names, are_plain, children, .. } = self;
        cursor.enter()?;
        loop {
            // Members mostly come in the same order: what follows is compared with the name that is expected.
            let index = match names.get(expected) {
                Some(name) if *are_plain && cursor.member_named(name) => expected,
                _ => {
                    let Some(name) = cursor.member()? else { return Ok(Ok(())) };
                    // A name that is no text, such as half of a surrogate pair, is one that no contract knows.
                    let text = name.text().unwrap_or(name.raw.into());
                    match index_of(names, &text) {
                        Some(index) => index,
                        None => {
                            rescue.keep(Path::Member(&path, &text), cursor.skip()?);
                            continue;
                        }
                    }
                }
            };
            if children[index].len() > rows {
                return Ok(Err(Repeated));
            }
            expected = index + 1;
            children[index].read(cursor, Path::Member(&path, &names[index]), rescue)?;
        }
    }

    /// Of a field given twice the last counts, as in most readers, and the others are not lost.
    fn read_repeated(&mut self, cursor: &mut Cursor, path: Path, rescue: &mut Rescue) -> Result<(), Unreadable> {
        let mut last: Vec<Option<Cursor>> = vec![None; self.children.len()];
        cursor.enter()?;
        while let Some(name) = cursor.member()? {
            let text = name.text().unwrap_or(name.raw.into());
            let here = cursor.clone();
            let raw = cursor.skip()?;
            match index_of(&self.names, &text) {
                None => rescue.keep(Path::Member(&path, &text), raw),
                Some(index) => {
                    if let Some(mut earlier) = last[index].replace(here) {
                        rescue.keep(Path::Member(&path, &text), earlier.skip()?);
                    }
                }
            }
        }
        for ((child, name), last) in self.children.iter_mut().zip(&self.names).zip(last) {
            match last {
                Some(mut value) => child.read(&mut value, Path::Member(&path, name), rescue)?,
                None => child.append_null(),
            }
        }
        self.valid.append(true);
        Ok(())
    }

    pub fn append_null(&mut self) {
        self.children.iter_mut().for_each(Column::append_null);
        self.valid.append(false);
    }

    pub fn len(&self) -> usize {
        self.valid.len()
    }

    pub fn truncate(&mut self, rows: usize) {
        self.children.iter_mut().for_each(|child| child.truncate(rows));
        self.valid.truncate(rows);
    }

    pub fn finish_children(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>> {
        self.valid.finish();
        self.children.iter_mut().zip(fields).map(|(child, field)| child.finish(field.data_type())).collect()
    }

    pub fn finish(&mut self, fields: &Fields) -> Result<ArrayRef> {
        let valid = self.valid.finish();
        let children = self.finish_children(fields)?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), children, valid)?))
    }
}

/// The field of a name.
fn index_of(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|known| known == name)
}

/// A JSON object whose names are values: keys of any number.
pub(super) struct MapColumn {
    keys: Bytes,
    values: Box<Column>,
    rows: Rows,
}

impl MapColumn {
    pub fn new(entries: &FieldRef, nested: Nested) -> Result<Self> {
        let pair = pair_of(entries)?;
        if *pair[0].data_type() != DataType::Utf8 {
            let message = format!("the keys of a payload's map cannot be of type {}", pair[0].data_type());
            return Err(Error::usage(message).hint("names in JSON are texts: write MAP<STRING, …>"));
        }
        let values = Box::new(Column::new(pair[1].data_type(), nested)?);
        Ok(Self { keys: Bytes::default(), values, rows: Rows::default() })
    }

    pub fn read(&mut self, cursor: &mut Cursor, path: Path, rescue: &mut Rescue) -> Result<(), Unreadable> {
        let mut found: Vec<(String, Cursor)> = Vec::new();
        cursor.enter()?;
        while let Some(name) = cursor.member()? {
            let (here, raw) = (cursor.clone(), cursor.skip()?);
            let Some(text) = name.text() else {
                rescue.keep(Path::Member(&path, name.raw), raw);
                continue;
            };
            let text = text.into_owned();
            match found.iter_mut().find(|(known, _)| *known == text) {
                Some((_, known)) => {
                    let mut earlier = std::mem::replace(known, here);
                    rescue.keep(Path::Member(&path, &text), earlier.skip()?);
                }
                None => found.push((text, here)),
            }
        }
        for (name, mut value) in found {
            self.values.read(&mut value, Path::Member(&path, &name), rescue)?;
            self.keys.append(Some(name.as_bytes()));
        }
        self.rows.end(self.keys.len(), true);
        Ok(())
    }

    pub fn append_null(&mut self) {
        self.rows.end(self.keys.len(), false);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn truncate(&mut self, rows: usize) {
        let entries = self.rows.truncate(rows);
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    pub fn finish(&mut self, entries: &FieldRef, sorted: bool) -> Result<ArrayRef> {
        let pair = pair_of(entries)?;
        let columns = vec![self.keys.finish_texts()?, self.values.finish(pair[1].data_type())?];
        let values = StructArray::try_new(pair.clone(), columns, None)?;
        let (offsets, valid) = self.rows.finish();
        Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, values, valid, sorted)?))
    }
}

fn pair_of(entries: &FieldRef) -> Result<&Fields> {
    match entries.data_type() {
        DataType::Struct(pair) => Ok(pair),
        _ => Err(Error::failed("a map without entries")),
    }
}
