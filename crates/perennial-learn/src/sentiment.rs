//! Sentiment and themes of what customers write.
