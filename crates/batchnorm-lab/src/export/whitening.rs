//! The matrix of decorrelated batch norm in evaluation.

use batchnorm::{Axes, RunningCovariance, View, WhiteningConfig};

use super::error::ExportError;

/// The matrix of each group by which a layer with this running covariance whitens, row after row and group after group: what it makes of
/// each unit vector, once mean, gamma and beta are out of the way.
pub fn matrices(
    path: &str,
    covariance: &[f64],
    channels: usize,
    group: usize,
    epsilon: f64,
) -> Result<Vec<f64>, ExportError> {
    let failed = |why: String| ExportError::Covariance { path: path.to_owned(), why };
    let running = RunningCovariance::from_parts(&vec![0.0; channels], covariance, group, 0)
        .map_err(|error| failed(error.to_string()))?;
    let mut layer =
        WhiteningConfig::new(channels, group).epsilon(epsilon).build().map_err(|error| failed(error.to_string()))?;
    layer.set_running(running).map_err(|error| failed(error.to_string()))?;
    // Example number `j` is unit vector `j` of every group at once, for groups do not mix.
    let examples: Vec<f64> =
        (0..group * channels).map(|at| if at % channels % group == at / channels { 1.0 } else { 0.0 }).collect();
    let shape = [group, channels];
    let units = View::new(&examples, &shape, Axes::NCHW).expect("as many values as the shape has");
    let columns = layer.eval(&units).map_err(|error| failed(error.to_string()))?.y;
    let columns = columns.data();
    Ok((0..channels).flat_map(|row| (0..group).map(move |column| columns[column * channels + row])).collect())
}
