//! Files that a `.proto` file imports: those it refers to in the registry, and those that clients never register
//! because every compiler has them.

use std::collections::HashMap;

use protox::Error;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// Files by the names under which they are imported.
pub(super) struct Imports {
    pub(super) files: HashMap<String, File>,
}

/// Confluent's and Google's common types, as far as their messages go.
const KNOWN: &[(&str, &str)] = &[
    ("confluent/meta.proto", include_str!("known/meta.proto")),
    ("confluent/type/decimal.proto", include_str!("known/decimal.proto")),
    ("confluent/types/decimal.proto", include_str!("known/decimal.proto")),
    ("google/type/date.proto", include_str!("known/date.proto")),
    ("google/type/dayofweek.proto", include_str!("known/dayofweek.proto")),
    ("google/type/decimal.proto", include_str!("known/google_decimal.proto")),
    ("google/type/latlng.proto", include_str!("known/latlng.proto")),
    ("google/type/money.proto", include_str!("known/money.proto")),
    ("google/type/timeofday.proto", include_str!("known/timeofday.proto")),
];

impl FileResolver for Imports {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let well_known = GoogleFileResolver::new().open_file(name);
        if well_known.is_ok() {
            return well_known;
        }
        if let Some(file) = self.files.get(name) {
            return Ok(file.clone());
        }
        match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(Error::file_not_found(name)),
        }
    }
}
