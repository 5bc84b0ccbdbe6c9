//! What peers hear of each other.
