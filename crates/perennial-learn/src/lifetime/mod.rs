//! Lifetime value: how long a customer stays, buys and is worth.
