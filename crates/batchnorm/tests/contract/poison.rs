//! The tools of these tests, tested: poison tells what is written and what is not.

use crate::support::place::{Place, bits, poison};
use batchnorm::Element;

#[test]
fn a_place_knows_what_is_written_and_what_is_not() {
    fn tells<T: Element>() {
        assert_ne!(bits(poison::<T>()), bits(T::from_f64(f64::NAN)));
        assert_eq!(bits(poison::<T>()), bits(T::from_f64(poison::<T>().to_f64())));
        // Two rows of two, the rows from the end, every second place.
        let place = Place::new(&[2, 2], &[-5, 2], &[1], [3, 1]);
        let values = [1.0, 2.0, 3.0, 4.0].map(T::from_f64);
        let right = place.filled(&values);
        assert_eq!((right.len(), right[8].to_f64(), right[5].to_f64()), (12, 1.0, 4.0));
        let taken = place.checked(right.clone()).expect("right");
        assert!(taken.iter().zip(values).all(|(one, other)| bits(*one) == bits(other)));
        for at in 0..right.len() {
            // A gap or a margin that was written, or a value that was not.
            let mut wrong = right.clone();
            wrong[at] = if [3, 5, 8, 10].contains(&at) { poison() } else { T::from_f64(1.0) };
            assert!(place.checked(wrong).is_err(), "{at}");
        }
    }
    tells::<f32>();
    tells::<f64>();
    #[cfg(feature = "half")]
    {
        tells::<half::f16>();
        tells::<half::bf16>();
    }
}
