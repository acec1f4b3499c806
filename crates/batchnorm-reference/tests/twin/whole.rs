//! Whole arrays: rows are what they say, wherever the axes stand, and the gradients are the derivatives of the forward pass.

use crate::seeded;
use Role::{Channel, Sample, Space};
use batchnorm_reference::mixed::Statistics;
use batchnorm_reference::number::{DoubleDouble as D, Dual};
use batchnorm_reference::random::Random;
use batchnorm_reference::whole::{By, Direction, Norm, Role, Rows, Together, repeated, transposed};
use batchnorm_reference::{Real, staged};

/// Arrays with their roles: every place of the channels, on one axis and on several, several axes of samples and none, lengths of 1 and of 0.
fn arrays() -> Vec<(Vec<usize>, Vec<Role>)> {
    vec![
        (vec![5, 6], vec![Sample, Channel]),
        (vec![6, 4], vec![Channel, Sample]),
        (vec![3, 4, 5], vec![Sample, Channel, Space]),
        (vec![3, 2, 5, 4], vec![Sample, Space, Space, Channel]),
        (vec![2, 5, 4, 3], vec![Space, Space, Channel, Sample]),
        (vec![3, 2, 4, 2, 3], vec![Sample, Space, Channel, Sample, Space]),
        (vec![1, 4, 1], vec![Sample, Channel, Space]),
        (vec![2, 4, 3], vec![Space, Channel, Space]),
        (vec![0, 4, 3], vec![Sample, Channel, Space]),
        (vec![2, 3, 5, 2], vec![Channel, Sample, Space, Channel]),
        (vec![3, 2, 2, 3, 2], vec![Sample, Channel, Space, Channel, Channel]),
    ]
}

const ALL: [Together; 9] = [
    Together::Channel,
    Together::Ghost(1),
    Together::Ghost(2),
    Together::Instance,
    Together::Groups(1),
    Together::Groups(2),
    Together::LastAxes(0),
    Together::LastAxes(1),
    Together::LastAxes(2),
];

/// What two values must share to be normalised together, by their indices.
fn shared(together: Together, shape: &[usize], roles: &[Role], index: &[usize]) -> Vec<usize> {
    let of =
        |role: Role| index.iter().zip(roles).filter(|(_, own)| **own == role).map(|(&at, _)| at).collect::<Vec<_>>();
    let (samples, channel) = (of(Sample), of(Channel));
    let lengths = shape.iter().zip(roles).filter(|(_, role)| **role == Channel).map(|(&length, _)| length);
    let number = channel.iter().zip(lengths).fold(0, |number, (&at, length)| number * length + at);
    match together {
        Together::Channel => channel,
        Together::Ghost(size) => [samples.first().map_or(0, |first| first / size), number].to_vec(),
        Together::Instance => [samples, channel].concat(),
        Together::Groups(groups) => {
            let channels = [4, 6].into_iter().find(|length| number < *length && length % groups == 0).unwrap();
            [samples, vec![number / (channels / groups)]].concat()
        }
        Together::LastAxes(axes) => index[..index.len() - axes].to_vec(),
    }
}

#[test]
fn values_are_in_one_row_if_they_share_what_is_said() {
    for (shape, roles) in arrays() {
        let len: usize = shape.iter().product();
        // (Group sizes below are those of 4 channels.)
        let four = Rows::new(&shape, &roles, Together::Channel).channels() == 4;
        for together in ALL.into_iter().filter(|together| four || !matches!(together, Together::Groups(_))) {
            let rows = Rows::new(&shape, &roles, together);
            let what = format!("{shape:?} {roles:?} {together:?}");
            let all = rows.all();
            assert_eq!(all.len(), rows.count(), "{what}");
            let mut row_of = vec![usize::MAX; len];
            for (row, places) in all.iter().enumerate() {
                assert!(places.len() == rows.values() || matches!(together, Together::Ghost(_)), "{what}");
                for &place in places {
                    assert_eq!(std::mem::replace(&mut row_of[place], row), usize::MAX, "{what}: {place} twice");
                }
            }
            let keys: Vec<Vec<usize>> =
                (0..len).map(|place| shared(together, &shape, &roles, &rows.index(place))).collect();
            for one in 0..len {
                for other in 0..len {
                    assert_eq!(row_of[one] == row_of[other], keys[one] == keys[other], "{what}: {one}, {other}");
                }
            }
        }
    }
}

#[test]
fn rows_are_in_logical_order_and_neighbours_share_their_parameter() {
    for (shape, roles) in arrays() {
        for together in [Together::Channel, Together::Groups(1), Together::Instance, Together::LastAxes(1)] {
            let rows = Rows::new(&shape, &roles, together);
            let what = format!("{shape:?} {roles:?} {together:?}");
            for (number, places) in rows.all().iter().enumerate() {
                // Channel, then samples, then positions.
                let key = |&place: &usize| {
                    let index = rows.index(place);
                    let of = |role: Role| {
                        let axes = (0..shape.len()).filter(|&axis| roles[axis] == role);
                        axes.map(|axis| index[axis]).collect::<Vec<usize>>()
                    };
                    [of(Channel), of(Sample), of(Space)].concat()
                };
                let by_axes = matches!(together, Together::LastAxes(_));
                assert!(by_axes || places.is_sorted_by_key(key), "{what}");
                assert!(!by_axes || places.is_sorted(), "{what}");
                let parameters: Vec<usize> = places.iter().map(|&place| rows.parameter(place)).collect();
                for sharing in parameters.chunks(rows.sharing().max(1)) {
                    assert!(sharing.iter().all(|parameter| *parameter == sharing[0]), "{what}");
                }
                if together != Together::LastAxes(1) && !places.is_empty() {
                    assert_eq!(rows.channel(number), parameters[0], "{what}");
                }
                let sorted = rows.clone().in_order_of_the_array().places(number);
                assert!(sorted.is_sorted() && sorted.len() == places.len(), "{what}");
            }
        }
    }
}

/// What norms are made of, besides their rows.
struct Case {
    x: Vec<f64>,
    dy: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
    weights: Vec<f64>,
}

impl Case {
    fn new(rows: &Rows, random: &mut Random) -> Case {
        let (len, parameters, channels) = (rows.shape().iter().product(), rows.parameters(), rows.channels());
        Case {
            x: random.normals(len, 0.7, 1.5),
            dy: random.normals(len, 0.2, 1.0),
            gamma: random.normals(parameters, 0.8, 0.5),
            beta: random.normals(parameters, 0.0, 1.0),
            mean: random.normals(channels, 0.5, 1.0),
            variance: (0..channels).map(|_| 0.5 + random.uniform()).collect(),
            weights: (0..len).map(|at| [1.0, 2.0, 0.5, 0.0, 1.0, 3.0, 1.0][at % 7]).collect(),
        }
    }
}

/// Every norm of these rows, as a number; what it is made of is computed in R.
fn norms<T>(rows: &Rows, case: &Case, mut visit: impl FnMut(&str, Norm<T>))
where
    T: Real,
{
    let of = |values: &[f64]| values.iter().map(|&value| T::constant(value)).collect::<Vec<T>>();
    let (mean, variance) = (of(&case.mean), of(&case.variance));
    let of_channel = |(&mean, &variance)| Statistics { running: [mean, variance], share: T::constant(0.3) };
    let statistics: Vec<Statistics<T>> = mean.iter().zip(&variance).map(of_channel).collect();
    let mut ways = vec![
        ("row", By::Row),
        ("mean square", By::MeanSquare),
        ("weights", By::Weights(&case.weights)),
        ("weighted mean square", By::WeightedMeanSquare(&case.weights)),
    ];
    if matches!(rows.together(), Together::Channel | Together::Ghost(_) | Together::Instance) {
        ways.push(("constants", By::Constants(&mean, &variance)));
        ways.push(("mixed", By::Mixed(&statistics, true)));
    }
    if rows.together() == Together::Channel {
        ways.push(("covariance", By::Covariance(2)));
    }
    for (name, by) in ways {
        visit(name, Norm { rows, by, epsilon: T::constant(1e-3) });
    }
}

fn wide(values: &[f64]) -> Vec<D> {
    values.iter().map(|&value| D::from(value)).collect()
}

fn shapes() -> Vec<Rows> {
    let image = [Sample, Space, Channel];
    let of = |together: Together| Rows::new(&[5, 3, 4], &image, together);
    [Together::Channel, Together::Ghost(2), Together::Instance, Together::Groups(2), Together::LastAxes(2)]
        .map(of)
        .into()
}

fn dual(values: &[f64], at: impl Fn(usize) -> f64) -> Vec<Dual<D>> {
    values.iter().enumerate().map(|(i, &value)| Dual(D::from(value), D::from(at(i)))).collect()
}

fn one_at(at: usize) -> impl Fn(usize) -> f64 {
    move |i| f64::from(u8::from(i == at))
}

/// d sum dy y, by dual numbers, for every element of x, gamma and beta one after the other.
#[test]
fn gradients_are_the_derivatives_of_the_forward_pass() {
    let mut random = seeded(3101);
    for rows in shapes() {
        let case = Case::new(&rows, &mut random);
        let mut gradients = Vec::new();
        norms::<D>(&rows, &case, |_, norm| {
            gradients.push(norm.backward(&wide(&case.x), &wide(&case.gamma), &wide(&case.dy)))
        });
        let mut gradients = gradients.into_iter();
        norms::<Dual<D>>(&rows, &case, |name, norm| {
            let got = gradients.next().expect("as many norms");
            let derivative = |x: &[Dual<D>], gamma: &[Dual<D>], beta: &[Dual<D>]| {
                let y = norm.forward(x, gamma, beta);
                y.iter().zip(&case.dy).fold(D::from(0.0), |sum, (y, &dy)| sum + y.1 * D::from(dy))
            };
            let still = |_: usize| 0.0;
            let [x, gamma, beta] = [&case.x, &case.gamma, &case.beta].map(|values| dual(values, still));
            let equal = |got: D, truth: D, of: &str, at: usize| {
                let error = (got - truth).to_f64().abs();
                assert!(error < 1e-18, "{:?} by {name}, d{of}[{at}]: {error:e}", rows.together());
            };
            for at in 0..case.x.len() {
                equal(got.dx[at], derivative(&dual(&case.x, one_at(at)), &gamma, &beta), "x", at);
            }
            for at in 0..case.gamma.len() {
                equal(got.dgamma[at], derivative(&x, &dual(&case.gamma, one_at(at)), &beta), "gamma", at);
                equal(got.dbeta[at], derivative(&x, &gamma, &dual(&case.beta, one_at(at))), "beta", at);
            }
        });
        assert!(gradients.next().is_none());
    }
}

#[test]
fn second_order_is_the_derivative_of_the_gradients() {
    let mut random = seeded(3102);
    for rows in shapes() {
        let case = Case::new(&rows, &mut random);
        let (x_t, gamma_t) = (random.normals(case.x.len(), 0.1, 1.0), random.normals(case.gamma.len(), 0.1, 1.0));
        let mut moved = Vec::new();
        norms::<D>(&rows, &case, |_, norm| {
            let direction = Direction { x: &wide(&x_t), gamma: &wide(&gamma_t) };
            moved.push(norm.second_order(&wide(&case.x), &wide(&case.gamma), &wide(&case.dy), direction));
        });
        let mut moved = moved.into_iter();
        norms::<Dual<D>>(&rows, &case, |name, norm| {
            let got = moved.next().expect("as many norms");
            if matches!(name, "weights" | "weighted mean square" | "covariance") {
                assert_eq!(got, None);
                return;
            }
            let got = got.expect("a closed form");
            let (x, gamma) = (dual(&case.x, |at| x_t[at]), dual(&case.gamma, |at| gamma_t[at]));
            let truth = norm.backward(&x, &gamma, &dual(&case.dy, |_| 0.0));
            for (got, truth) in [(&got.dx, &truth.dx), (&got.dgamma, &truth.dgamma), (&got.dbeta, &truth.dbeta)] {
                for (got, truth) in got.iter().zip(truth) {
                    let error = (*got - truth.1).to_f64().abs();
                    assert!(error < 1e-25, "{:?} by {name}: {error:e}", rows.together());
                }
            }
        });
    }
}

/// The same array with its axes in another order, to the bit.
#[test]
fn the_order_of_the_axes_does_not_matter() {
    let mut random = seeded(3103);
    let (shape, roles) = ([3, 4, 2, 5], [Sample, Channel, Space, Space]);
    for together in [Together::Channel, Together::Ghost(2), Together::Instance, Together::Groups(2)] {
        let rows = Rows::new(&shape, &roles, together);
        let case = Case::new(&rows, &mut random);
        // Positions in the order in which they were: it is the last bits that sums in another order would change.
        for axes in [[0, 2, 3, 1], [2, 3, 1, 0], [1, 0, 2, 3]] {
            let other_rows = Rows::new(&axes.map(|axis| shape[axis]), &axes.map(|axis| roles[axis]), together);
            let moved = |values: &[f64]| transposed(values, &shape, &axes);
            let other_case = Case {
                x: moved(&case.x),
                dy: moved(&case.dy),
                weights: moved(&case.weights),
                gamma: case.gamma.clone(),
                beta: case.beta.clone(),
                mean: case.mean.clone(),
                variance: case.variance.clone(),
            };
            let mut expected = Vec::new();
            norms::<f64>(&rows, &case, |_, norm| {
                let y = norm.forward(&case.x, &case.gamma, &case.beta);
                let gradients = norm.backward(&case.x, &case.gamma, &case.dy);
                expected.push((moved(&y), moved(&gradients.dx), gradients.dgamma, gradients.dbeta));
            });
            let mut expected = expected.into_iter();
            norms::<f64>(&other_rows, &other_case, |name, norm| {
                let y = norm.forward(&other_case.x, &case.gamma, &case.beta);
                let gradients = norm.backward(&other_case.x, &case.gamma, &other_case.dy);
                let got = (y, gradients.dx, gradients.dgamma, gradients.dbeta);
                assert!(got == expected.next().expect("as many norms"), "{together:?} by {name}, axes {axes:?}");
            });
        }
    }
}

/// A row is as good as the array that it is alone: each by the twin of one feature.
#[test]
fn a_row_knows_nothing_of_the_others() {
    let mut random = seeded(3104);
    for rows in shapes() {
        let case = Case::new(&rows, &mut random);
        let norm = Norm { rows: &rows, by: By::Row, epsilon: 1e-3 };
        let xhat = norm.normalized(&case.x);
        let mut worst = 0.0f64;
        for row in 0..rows.count() {
            let nodes = staged::forward(&rows.gather(row, &case.x), 1.0, 0.0, 1e-3);
            for (got, expected) in rows.gather(row, &xhat).into_iter().zip(nodes.normalized) {
                worst = worst.max((got - expected).abs());
            }
        }
        assert!(worst < 1e-14, "{:?}: {worst:e}", rows.together());
        if matches!(rows.together(), Together::Channel | Together::Ghost(_) | Together::Instance) {
            let by_nodes = norm.backward_by(&case.x, &case.gamma, &case.dy, |_, _, x, gamma, dy| {
                staged::backward(&staged::forward(x, gamma, 0.0, 1e-3), gamma, dy).gradients
            });
            let closed = norm.backward(&case.x, &case.gamma, &case.dy);
            for (one, other) in by_nodes.dx.iter().zip(&closed.dx) {
                assert!((one - other).abs() < 1e-13);
            }
        }
    }
}

#[test]
fn what_is_masked_is_0_and_counts_for_nothing() {
    let rows = Rows::new(&[3, 1], &[Sample, Channel], Together::Channel);
    let norm = Norm { rows: &rows, by: By::Weights(&[1.0, 0.0, 1.0]), epsilon: 0.0 };
    assert_eq!(norm.forward(&[1.0, f64::NAN, 3.0], &[2.0], &[0.5]), [-1.5, 0.0, 2.5]);
}

#[test]
fn values_are_repeated_along_axes_of_length_1() {
    assert_eq!(repeated(&[1, 2, 3], &[1, 3], &[2, 3]), [1, 2, 3, 1, 2, 3]);
    assert_eq!(repeated(&[1, 2, 3, 4], &[2, 1, 2], &[2, 2, 2]), [1, 2, 1, 2, 3, 4, 3, 4]);
    assert_eq!(repeated(&[7], &[1, 1], &[2, 2]), [7; 4]);
}

#[test]
#[should_panic = "does not belong to LastAxes(1)"]
fn statistics_of_channels_are_not_for_rows_that_have_several() {
    let rows = Rows::new(&[3, 2], &[Sample, Channel], Together::LastAxes(1));
    Norm { rows: &rows, by: By::Constants(&[0.0; 2], &[1.0; 2]), epsilon: 0.0 }.normalized(&[1.0; 6]);
}
