//! Clusters of customers, chosen, explained and kept current.
//!
//! The way through: columns become [`Points`] (logged, centred, scaled by [`Scaling`]);
//! [`choose_k`] gathers evidence on how many groups there are; [`KMeans::fit`] finds them;
//! [`suggest_names`] puts each into words and [`explain`] says why one customer belongs. Afterwards
//! [`KMeans::assign`] places a profile in well under a microsecond and [`Stream`] follows slow
//! changes. Other shapes of groups: [`Mixture`], [`ward`], [`dbscan`], [`hdbscan`].
//!
//! Promise: the same seed gives the same groups. Absent on purpose: reading data.

mod agreement;
mod choose;
mod coverage;
mod dbscan;
mod explain;
mod hdbscan;
mod kmeans;
mod mixture;
mod name;
mod neighbours;
mod points;
mod quality;
mod start;
mod stream;
mod ward;

pub use agreement::{Agreement, agreement};
pub use choose::{ChosenK, Evidence, choose_k};
pub use coverage::{GroupCoverage, coverage};
pub use dbscan::{Density, dbscan};
pub use explain::{Contribution, explain};
pub use hdbscan::{Hierarchy, hdbscan};
pub use kmeans::{KMeans, KMeansFit};
pub use mixture::{Mixture, MixtureSettings};
pub use name::{FeatureWords, suggest_names};
pub use points::{Points, Scaling};
pub use quality::{calinski_harabasz, davies_bouldin, silhouette, silhouette_sampled};
pub use stream::Stream;
pub use ward::{Merge, Ward, ward};
