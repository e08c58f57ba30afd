//! Text similarity and phonetic codes for matching names.
