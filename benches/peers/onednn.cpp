// oneDNN's batch normalisation behind a C interface: one case holds the primitives and memories of one shape and
// layout, made beforehand. Blocked memories are its own; the plain layouts use the caller's buffers.
#include <oneapi/dnnl/dnnl.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <unordered_map>

using namespace dnnl;

namespace {

// The numbers are those of measure.py.
enum Call { TRAIN = 0, EVAL = 1, BACKWARD = 2, TRAIN_RELU = 3, BACKWARD_RELU = 4, EXPORT_Y = 20, EXPORT_DX = 21 };
enum Order { NCHW = 0, NHWC = 1, BLOCKED = 2 };

struct Buffers {
    float *x, *dy, *residual, *y, *dx, *dresidual, *gamma, *beta, *running_mean, *running_variance, *dgamma, *dbeta;
};

struct Common {
    engine cpu{engine::kind::cpu, 0};
    stream queue{cpu};
};

Common &common() {
    static Common one;
    return one;
}

struct Step {
    primitive call;
    std::unordered_map<int, memory> arguments;
};

struct Case {
    memory user_y, user_dx, y, dx;
    Step steps[5];
    std::string kernels;

    Case(memory::dim n, memory::dim c, memory::dim h, memory::dim w, Order order, const Buffers &b) {
        auto &cpu = common().cpu;
        using tag = memory::format_tag;
        const auto f32 = memory::data_type::f32;
        const float epsilon = 1e-5f;
        const memory::desc user({n, c, h, w}, f32, order == NHWC ? tag::nhwc : tag::nchw);
        const memory::desc data({n, c, h, w}, f32, order == BLOCKED ? tag::nChw16c : order == NHWC ? tag::nhwc : tag::nchw);
        const memory::desc channels({c}, f32, tag::a);
        auto place = [&](float *buffer) {
            return order == BLOCKED ? memory(data, cpu) : memory(data, cpu, buffer);
        };
        auto vector = [&](float *buffer) { return memory(channels, cpu, buffer); };
        memory x = place(b.x), dy = place(b.dy);
        y = place(b.y);
        dx = place(b.dx);
        user_y = memory(user, cpu, b.y);
        user_dx = memory(user, cpu, b.dx);
        if (order == BLOCKED) {
            memory from_x(user, cpu, b.x), from_dy(user, cpu, b.dy);
            reorder(from_x, x).execute(common().queue, from_x, x);
            reorder(from_dy, dy).execute(common().queue, from_dy, dy);
            common().queue.wait();
        }
        memory gamma = vector(b.gamma), beta = vector(b.beta), dgamma = vector(b.dgamma), dbeta = vector(b.dbeta);
        memory running_mean = vector(b.running_mean), running_variance = vector(b.running_variance);
        memory mean(channels, cpu), variance(channels, cpu);
        memory relu_mean(channels, cpu), relu_variance(channels, cpu);

        const auto affine = normalization_flags::use_scale | normalization_flags::use_shift;
        const auto fused = affine | normalization_flags::fuse_norm_relu;
        using forward = batch_normalization_forward;
        using backward = batch_normalization_backward;
        const forward::primitive_desc train(cpu, prop_kind::forward_training, data, data, epsilon, affine);
        const forward::primitive_desc relu(cpu, prop_kind::forward_training, data, data, epsilon, fused);
        const forward::primitive_desc eval(cpu, prop_kind::forward_inference, data, data, epsilon,
                                           affine | normalization_flags::use_global_stats);
        const backward::primitive_desc back(cpu, prop_kind::backward, data, data, data, epsilon, affine, train);
        const backward::primitive_desc back_relu(cpu, prop_kind::backward, data, data, data, epsilon, fused, relu);
        memory mask(relu.workspace_desc(), cpu);

        std::unordered_map<int, memory> input{{DNNL_ARG_SRC, x}, {DNNL_ARG_SCALE, gamma}};
        auto with = [&](std::unordered_map<int, memory> more) {
            more.insert(input.begin(), input.end());
            return more;
        };
        steps[TRAIN] = {forward(train), with({{DNNL_ARG_DST, y}, {DNNL_ARG_SHIFT, beta}, {DNNL_ARG_MEAN, mean},
                                              {DNNL_ARG_VARIANCE, variance}})};
        steps[EVAL] = {forward(eval), with({{DNNL_ARG_DST, y}, {DNNL_ARG_SHIFT, beta}, {DNNL_ARG_MEAN, running_mean},
                                            {DNNL_ARG_VARIANCE, running_variance}})};
        steps[BACKWARD] = {backward(back),
                           with({{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}, {DNNL_ARG_MEAN, mean},
                                 {DNNL_ARG_VARIANCE, variance}, {DNNL_ARG_DIFF_SCALE, dgamma},
                                 {DNNL_ARG_DIFF_SHIFT, dbeta}})};
        steps[TRAIN_RELU] = {forward(relu), with({{DNNL_ARG_DST, y}, {DNNL_ARG_SHIFT, beta}, {DNNL_ARG_MEAN, relu_mean},
                                                  {DNNL_ARG_VARIANCE, relu_variance}, {DNNL_ARG_WORKSPACE, mask}})};
        steps[BACKWARD_RELU] = {backward(back_relu),
                                with({{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_SRC, dx}, {DNNL_ARG_MEAN, relu_mean},
                                      {DNNL_ARG_VARIANCE, relu_variance}, {DNNL_ARG_WORKSPACE, mask},
                                      {DNNL_ARG_DIFF_SCALE, dgamma}, {DNNL_ARG_DIFF_SHIFT, dbeta}})};
        kernels = std::string(train.impl_info_str()) + " / " + back.impl_info_str() + " / " + eval.impl_info_str();
    }

    void run(int what) {
        auto &queue = common().queue;
        if (what == EXPORT_Y || what == EXPORT_DX) {
            // The plain layouts share the caller's buffers already.
            auto &from = what == EXPORT_Y ? y : dx, &to = what == EXPORT_Y ? user_y : user_dx;
            if (from.get_desc() != to.get_desc()) reorder(from, to).execute(queue, from, to);
        } else {
            auto &step = steps[what];
            step.call.execute(queue, step.arguments);
        }
        queue.wait();
    }
};

template <typename F> auto guarded(F &&call, decltype(call()) otherwise) {
    try {
        return call();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "oneDNN: %s\n", error.what());
        return otherwise;
    }
}

}  // namespace

extern "C" {

const char *onednn_version() {
    static const std::string text = [] {
        const auto *v = dnnl_version();
        return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
    }();
    return text.c_str();
}

Case *onednn_case(size_t n, size_t c, size_t h, size_t w, int order, const Buffers *buffers) {
    return guarded([&] { return new Case(n, c, h, w, Order(order), *buffers); }, nullptr);
}

int onednn_run(Case *one, int what) {
    return guarded([&] { one->run(what); return 0; }, -1);
}

const char *onednn_kernels(Case *one) { return one->kernels.c_str(); }

void onednn_end(Case *one) { delete one; }
}
