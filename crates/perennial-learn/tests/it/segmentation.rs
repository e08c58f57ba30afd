//! Segmentation against scikit-learn.

use crate::answers::segmentation::{Folder, answer};
use crate::reference_file::{check_every_case, shared};
use perennial_learn::segment::KMeans;

#[test]
fn every_case_of_the_segmentation_file_is_met() {
    let Some(folder) = shared() else { return };
    let mut data = Folder::new(folder.join("data/rfm"));
    // Cases refer to the results of earlier ones, so they are answered in order with one memory.
    let data = std::cell::RefCell::new(&mut data);
    check_every_case("segmentation.json", |kind, input| answer(&mut data.borrow_mut(), kind, input));
}

/// The best inertia known for each number of groups; every run must come within a thousandth.
#[test]
fn every_run_of_k_means_comes_close_to_the_best() {
    let Some(folder) = shared() else { return };
    let points = Folder::new(folder.join("data/rfm")).points("online_retail_rfm.csv").expect("the data can be read");
    for (k, best) in [(3, 4823.432_786_722_085), (5, 3262.138_218_078_005), (8, 2309.935_511_939_188)] {
        for seed in 0..5 {
            let inertia = KMeans::fit(&points, k, seed).expect("k-means runs").inertia;
            assert!(inertia <= best * 1.001, "k {k} seed {seed}: {inertia} against {best}");
        }
    }
}
