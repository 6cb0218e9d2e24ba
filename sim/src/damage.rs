//! Every single-bit flip.
