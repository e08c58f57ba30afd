//! Views: a customer as the API shows it.
