//! Members against comparable non-members: difference in differences and matching.
