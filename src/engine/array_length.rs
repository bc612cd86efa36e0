//! `ARRAY_LENGTH` of one list, told from its offsets.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use deltalake::datafusion::error::Result;
use deltalake::datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

/// DataFusion's own function, but for lists without a second argument: it makes an array of each row's list to ask how long it
/// is, of structs one for each field, which took a twelfth of the time of a table with a list of structs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ArrayLength {
    general: Arc<ScalarUDF>,
}

impl ArrayLength {
    pub fn new(general: Arc<ScalarUDF>) -> Self {
        Self { general }
    }
}

impl ScalarUDFImpl for ArrayLength {
    fn name(&self) -> &str {
        self.general.name()
    }

    fn aliases(&self) -> &[String] {
        self.general.aliases()
    }

    fn signature(&self) -> &Signature {
        self.general.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.general.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[..] {
            [ColumnarValue::Array(lists)]
                if matches!(lists.data_type(), DataType::List(_) | DataType::LargeList(_)) =>
            {
                Ok(ColumnarValue::Array(cast(&length(lists)?, args.return_type())?))
            }
            _ => self.general.invoke_with_args(args),
        }
    }
}
