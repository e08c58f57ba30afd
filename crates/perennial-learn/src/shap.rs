//! TreeSHAP: exact contributions of each feature to a tree ensemble's answer.
