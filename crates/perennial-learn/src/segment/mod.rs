//! Clusters of customers, chosen, explained and kept current.
