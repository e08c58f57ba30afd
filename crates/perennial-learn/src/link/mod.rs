//! Record linkage: which records are one person, with stated error rates.
