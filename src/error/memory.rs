//! Which errors of the engine say that its memory limit was reached.

use std::error::Error as StdError;

use deltalake::datafusion::error::DataFusionError;

use super::Error;

/// Whether an error, or what it was caused by, is that the engine may not take more memory.
pub(super) fn is_out_of_memory(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<Error>().is_some_and(Error::is_out_of_memory)
            || matches!(error.downcast_ref(), Some(DataFusionError::ResourcesExhausted(_)))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;

    use super::*;

    #[test]
    fn it_is_told_however_deep_it_lies() {
        let exhausted = || DataFusionError::ResourcesExhausted("Failed to allocate".to_owned());
        for error in [
            exhausted(),
            exhausted().context("in a join"),
            DataFusionError::Shared(exhausted().into()),
            DataFusionError::from(ArrowError::ExternalError(Box::new(exhausted()))),
        ] {
            assert!(Error::from(error).at("gold.x").is_out_of_memory());
        }
        assert!(!Error::from(DataFusionError::Execution("Failed to allocate".to_owned())).is_out_of_memory());
    }
}
