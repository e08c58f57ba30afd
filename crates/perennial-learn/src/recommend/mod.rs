//! Recommendations: what a customer may like next, each with the item it comes from.
