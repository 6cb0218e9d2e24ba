//! Real clients against the binary. One module per family, so that `--skip kcat::` leaves one out.

mod go;
mod hostile;
mod http;
mod java;
mod kcat;
mod librdkafka;
mod node;
mod python;
mod scenarios;
