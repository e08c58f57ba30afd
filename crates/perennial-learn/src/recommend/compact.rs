//! Compact forms in which the numbers of a model are published: a shop's journal keeps every model.
//!
//! Promise: what is read back is the same each time; a weight is within 0.05 % of what was learnt, or below
//! a thousand-millionth of the largest of its list and nearly nothing.
//! Absent on purpose: how numbers lie in memory, which is for speed.

/// Numbers as differences from the one before: ascending ones take a byte or two each.
pub(crate) mod gaps {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(numbers: &[u32], to: S) -> Result<S::Ok, S::Error> {
        let before = [0].iter().chain(numbers);
        to.collect_seq(numbers.iter().zip(before).map(|(number, before)| number.wrapping_sub(*before).cast_signed()))
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u32>, D::Error> {
        let gaps = Vec::<i32>::deserialize(from)?;
        let mut number = 0_u32;
        let mut next = |gap: i32| {
            number = number.wrapping_add_signed(gap);
            number
        };
        Ok(gaps.into_iter().map(&mut next).collect())
    }
}

/// Weights in half precision (IEEE 754 binary16), scaled so that the largest is well inside its range.
pub(crate) mod halves {
    use half::f16;
    use serde::ser::SerializeTuple;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// What the largest weight becomes; half precision ends at 65,504.
    const LARGEST: f32 = 32_768.0;

    pub(crate) fn serialize<S: Serializer>(weights: &[f32], to: S) -> Result<S::Ok, S::Error> {
        let most = weights.iter().map(|weight| weight.abs()).filter(|size| size.is_finite()).fold(0.0, f32::max);
        let scale = if most > 0.0 { most / LARGEST } else { 1.0 };
        let mut both = to.serialize_tuple(2)?;
        both.serialize_element(&scale)?;
        both.serialize_element(&Scaled { weights, scale })?;
        both.end()
    }

    struct Scaled<'a> {
        weights: &'a [f32],
        scale: f32,
    }

    impl Serialize for Scaled<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq(self.weights.iter().map(|weight| f16::from_f32(weight / self.scale).to_le_bytes()))
        }
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<f32>, D::Error> {
        let (scale, halves) = <(f32, Vec<[u8; 2]>)>::deserialize(from)?;
        Ok(halves.into_iter().map(|half| f16::from_le_bytes(half).to_f32() * scale).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        #[serde(with = "super::gaps")]
        places: Vec<u32>,
        #[serde(with = "super::halves")]
        weights: Vec<f32>,
    }

    fn read_back(numbers: &Numbers) -> Numbers {
        serde_json::from_str(&serde_json::to_string(numbers).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn places_come_back_and_weights_nearly(
            places in prop::collection::vec(any::<u32>(), 0..60),
            weights in prop::collection::vec(-1e6f32..1e6, 0..60),
            size in -20i32..20,
        ) {
            let weights: Vec<f32> = weights.into_iter().map(|weight| weight * 2f32.powi(size)).collect();
            let most = weights.iter().copied().map(f32::abs).fold(0.0, f32::max);
            let read = read_back(&Numbers { places: places.clone(), weights: weights.clone() });
            prop_assert_eq!(&read.places, &places);
            for (read, weight) in read.weights.iter().zip(&weights) {
                prop_assert!((read - weight).abs() <= weight.abs() * 5e-4 + most * 1e-9, "{} for {}", read, weight);
            }
            prop_assert_eq!(read_back(&read), read, "a published model is published again as it is");
        }
    }

    #[test]
    fn nothing_and_zeros_come_back() {
        for weights in [vec![], vec![0.0, 0.0, -0.0]] {
            let read = read_back(&Numbers { places: vec![], weights: weights.clone() });
            assert_eq!(read.weights, weights);
        }
    }
}
