//! The embedded engine: the seam on an in-process node.
