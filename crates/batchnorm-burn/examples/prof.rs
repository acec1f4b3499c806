//! temp
use batchnorm_burn::BatchNormConfig;
use burn::tensor::{Device, Distribution, Tensor};
fn main() {
    let kind = std::env::args().nth(1).unwrap();
    let device = Device::default().autodiff();
    let x = Tensor::<2>::random([2, 1024], Distribution::Normal(0.5, 2.0), &device);
    let plain = x.clone().inner();
    let norm = BatchNormConfig::new(1024).init(&device);
    use burn::module::Module;
    let valid = norm.valid();
    for _ in 0..20000 {
        match kind.as_str() {
            "train" => drop(norm.forward(x.clone())),
            "eval" => drop(norm.forward(plain.clone())),
            "valid" => drop(valid.forward(plain.clone())),
            "plain" => drop(valid.forward_train(plain.clone())),
            _ => {
                let x = x.clone().require_grad();
                let g = norm.forward(x.clone()).sum().backward();
                drop(x.grad(&g));
            }
        }
    }
}
