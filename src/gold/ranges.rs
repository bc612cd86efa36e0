//! Ranges of keys, of inputs that lie on disk about in the order of their keys, as records do whose ids ascend and that came in
//! as they arose. The rows of a range are read by leaving out row groups; nothing has to be divided before.

use std::cmp::Ordering;

use arrow::datatypes::SchemaRef;
use deltalake::datafusion::common::ScalarValue;
use deltalake::datafusion::logical_expr::{Expr, lit};

use crate::contract::KeyedInput;
use crate::error::Result;
use crate::lake::{LakeTable, Span, spans};

/// How many times the rows may be read altogether, since row groups belong to more than one range: beyond, it costs less to
/// divide them.
const MOST_READ: usize = 2;

/// Keys that begin with a value from one up to another; without the first, those without a value too.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct KeyRange {
    from: Option<ScalarValue>,
    to: Option<ScalarValue>,
}

impl KeyRange {
    /// The keys of the range and all after it.
    pub fn onwards(self) -> Self {
        Self { to: None, ..self }
    }

    /// The condition that a row's key is of the range; `None` where each is.
    pub fn holds(&self, key: &[Expr]) -> Option<Expr> {
        let key = key.first()?;
        let value = |value: &ScalarValue| lit(value.clone());
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => Some(key.clone().gt_eq(value(from)).and(key.clone().lt(value(to)))),
            (Some(from), None) => Some(key.clone().gt_eq(value(from))),
            (None, Some(to)) => Some(key.clone().lt(value(to)).or(key.clone().is_null())),
            (None, None) => None,
        }
    }

    fn overlaps(&self, span: &Span) -> bool {
        self.from.as_ref().is_none_or(|from| span.most >= *from) && self.to.as_ref().is_none_or(|to| span.least < *to)
    }
}

/// How the rows of some inputs lie in what their keys begin with.
pub(super) struct Layout {
    spans: Vec<Span>,
    /// Those of the input with the most rows, in the order of their least values.
    of_largest: Vec<Span>,
}

impl Layout {
    /// The layout of inputs whose keys begin with a column of the type that they are compared in; `None` where one's does not,
    /// or where its files do not tell. Inputs that are broadcast do not matter.
    ///
    /// # Errors
    /// When a file's footer cannot be read.
    pub async fn of(keyed: &[KeyedInput], inputs: &[LakeTable], types: &SchemaRef) -> Result<Option<Self>> {
        let mut of_inputs = Vec::new();
        for (keyed, input) in keyed.iter().zip(inputs).filter(|(keyed, _)| !keyed.is_broadcast()) {
            let Some(Expr::Column(column)) = keyed.key.first() else { return Ok(None) };
            let (stored, compared) = (input.schema().field_with_name(&column.name)?.data_type(), types.field(0));
            // What is no number has no place among numbers.
            if stored != compared.data_type() || stored.is_floating() {
                return Ok(None);
            }
            let Some(spans) = spans(input, &column.name).await? else { return Ok(None) };
            of_inputs.push(spans);
        }
        Ok(Self::of_spans(of_inputs))
    }

    fn of_spans(of_inputs: Vec<Vec<Span>>) -> Option<Self> {
        let rows = |spans: &&Vec<Span>| rows(spans.iter());
        let mut of_largest = of_inputs.iter().max_by_key(rows)?.clone();
        let spans = of_inputs.concat();
        let are_comparable = spans.windows(2).all(|pair| pair[0].least.partial_cmp(&pair[1].least).is_some());
        of_largest.sort_by(|a, b| a.least.partial_cmp(&b.least).unwrap_or(Ordering::Equal));
        are_comparable.then_some(Self { spans, of_largest })
    }

    /// Ranges that are some keys together, each of about so many rows of the largest input: what an operator holds at a time are
    /// rows of one. `None` where it costs less to divide the rows.
    pub fn cut(&self, keys: &KeyRange, most: usize) -> Option<Vec<KeyRange>> {
        let of_largest: Vec<&Span> = self.of_largest.iter().filter(|span| keys.overlaps(span)).collect();
        let (mut ranges, mut from, mut begun) = (Vec::new(), keys.from.clone(), 0);
        let mut last = keys.from.as_ref().or(of_largest.first().map(|span| &span.least))?;
        for span in &of_largest {
            if begun >= most && span.least > *last {
                ranges.push(KeyRange { from: from.replace(span.least.clone()), to: Some(span.least.clone()) });
                (last, begun) = (&span.least, 0);
            }
            begun += span.rows;
        }
        ranges.push(KeyRange { from, to: keys.to.clone() });
        let read: usize = ranges.iter().map(|range| self.rows_of(range)).sum();
        (ranges.len() > 1 && read <= MOST_READ * self.rows_of(keys)).then_some(ranges)
    }

    /// How many rows are read for a range, at most.
    fn rows_of(&self, range: &KeyRange) -> usize {
        rows(self.spans.iter().filter(|span| range.overlaps(span)))
    }
}

fn rows<'a>(spans: impl Iterator<Item = &'a Span>) -> usize {
    spans.map(|span| span.rows).sum()
}

#[cfg(test)]
mod tests {
    use deltalake::datafusion::logical_expr::ident;

    use super::*;

    fn layout(spans: impl IntoIterator<Item = (i64, i64)>) -> Layout {
        let span = |(least, most)| Span {
            rows: 100,
            least: ScalarValue::Int64(Some(least)),
            most: ScalarValue::Int64(Some(most)),
        };
        Layout::of_spans(vec![spans.into_iter().map(span).collect()]).unwrap()
    }

    fn range(from: Option<i64>, to: Option<i64>) -> KeyRange {
        let value = |value: Option<i64>| value.map(|value| ScalarValue::Int64(Some(value)));
        KeyRange { from: value(from), to: value(to) }
    }

    #[test]
    fn ranges_are_all_keys_together() {
        // Two files whose row groups come in turns, and lie over each other's ends.
        let layout = layout((0..40).rev().map(|group| (group * 10, group * 10 + 15)));
        let ranges = layout.cut(&KeyRange::default(), 1000).unwrap();
        assert_eq!(
            ranges,
            [range(None, Some(100)), range(Some(100), Some(200)), range(Some(200), Some(300)), range(Some(300), None)]
        );
        let rest = ranges[2].clone().onwards();
        let finer = layout.cut(&rest, 500).unwrap();
        assert_eq!((finer.first().unwrap().from.clone(), finer.last().unwrap().to.clone()), (rest.from, None));
        assert!(finer.windows(2).all(|pair| pair[0].to.is_some() && pair[0].to == pair[1].from));
        assert!(finer.len() >= 4);
    }

    #[test]
    fn rows_without_order_are_divided() {
        let whole = layout((0..40).map(|group| (group % 3, 1000 - group % 7)));
        assert_eq!(whole.cut(&KeyRange::default(), 1000), None);
        let of_one_key = layout((0..40).map(|_| (7, 7)));
        assert_eq!(of_one_key.cut(&KeyRange::default(), 1000), None);
        let fine = layout((0..40).map(|group| (group * 10, group * 10 + 35)));
        assert_eq!(fine.cut(&KeyRange::default(), 50), None, "each row group would be read more than twice");
        assert_eq!(layout([]).cut(&KeyRange::default(), 50), None);
    }

    #[test]
    fn keys_without_a_value_are_of_the_first_range() {
        let condition = |range: KeyRange| range.holds(&[ident("k")]).map(|condition| condition.to_string());
        assert_eq!(condition(range(None, Some(5))).unwrap(), "k < Int64(5) OR k IS NULL");
        assert_eq!(condition(range(Some(5), Some(9))).unwrap(), "k >= Int64(5) AND k < Int64(9)");
        assert_eq!(condition(range(Some(9), None)).unwrap(), "k >= Int64(9)");
        assert_eq!(condition(KeyRange::default()), None);
    }
}
