//! Real clients against the binary. One module per family, so that `--skip kcat::` leaves one out.

mod browser;
mod ceiling;
mod databases;
mod flood;
mod go;
mod hostile;
mod http;
mod java;
mod kcat;
mod librdkafka;
mod memory;
mod node;
mod open_files;
mod order;
mod prometheus;
mod python;
mod scenarios;
mod wire;
