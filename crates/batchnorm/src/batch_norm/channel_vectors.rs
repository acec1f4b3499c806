//! What a pass knows of each channel: a vector of each kind, all in one allocation.

/// What is known of one channel, in the order of the vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelValues {
    /// n: the sum of the weights of all values that the statistics are of; without weights, their number.
    pub total_weight: f64,
    pub mean: f64,
    /// Correction of xhat for the low part of the mean: `mean_low * inverse_deviation`.
    pub xhat_low: f64,
    /// Correction that takes xhat to (x - batch mean) / deviation: `xhat_low`, but where the mean is a mix.
    pub batch_xhat_low: f64,
    /// 0 where the gradient is declared to be 0.
    pub inverse_deviation: f64,
    /// gamma times the inverse standard deviation.
    pub scale: f64,
    /// beta, less what the low part of the mean takes off.
    pub shift: f64,
    /// What is taken off the input in the sums of products.
    pub about: f64,
}

/// Number of kinds.
const KINDS: usize = 8;

/// A vector of each kind of [`ChannelValues`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelVectors {
    /// One kind after the other.
    values: Vec<f64>,
    channels: usize,
}

impl ChannelVectors {
    /// From what is known of each channel.
    pub fn new(channels: usize, of_channel: impl Fn(usize) -> ChannelValues) -> Self {
        let mut values = vec![0.0; KINDS * channels];
        if channels > 0 {
            let mut kinds = values.chunks_exact_mut(channels);
            let mut vectors: [&mut [f64]; KINDS] =
                std::array::from_fn(|_| kinds.next().expect("a vector of each kind"));
            for channel in 0..channels {
                let of = of_channel(channel);
                let in_order = [
                    of.total_weight,
                    of.mean,
                    of.xhat_low,
                    of.batch_xhat_low,
                    of.inverse_deviation,
                    of.scale,
                    of.shift,
                    of.about,
                ];
                for (vector, value) in vectors.iter_mut().zip(in_order) {
                    vector[channel] = value;
                }
            }
        }
        ChannelVectors { values, channels }
    }

    /// Those of some of the channels.
    pub fn selected(&self, channels: &[usize]) -> Self {
        let kinds = self.values.chunks_exact(self.channels.max(1));
        let values = kinds.flat_map(|vector| channels.iter().map(|&channel| vector[channel])).collect();
        ChannelVectors { values, channels: channels.len() }
    }

    /// Number of channels.
    pub fn len(&self) -> usize {
        self.channels
    }

    fn kind(&self, kind: usize) -> &[f64] {
        &self.values[kind * self.channels..][..self.channels]
    }

    pub fn total_weight(&self) -> &[f64] {
        self.kind(0)
    }

    pub fn mean(&self) -> &[f64] {
        self.kind(1)
    }

    pub fn xhat_low(&self) -> &[f64] {
        self.kind(2)
    }

    pub fn batch_xhat_low(&self) -> &[f64] {
        self.kind(3)
    }

    pub fn inverse_deviation(&self) -> &[f64] {
        self.kind(4)
    }

    pub fn scale(&self) -> &[f64] {
        self.kind(5)
    }

    pub fn shift(&self) -> &[f64] {
        self.kind(6)
    }

    pub fn about(&self) -> &[f64] {
        self.kind(7)
    }
}
