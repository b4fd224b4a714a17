#include "tests/kernels_cuda/device_test.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace strait::kernels::test {
namespace {

/// To the float `dtype` and back.
double rounded(double value, DType dtype) {
  if (dtype == DType::bf16) return strait::test::from_bf16(strait::test::to_bf16(value));
  return dtype == DType::f32 ? static_cast<float>(value) : value;
}

/// The relative error of one rounding at most. Doubles are sums over many rows on both sides, in
/// different orders: their bound is some thousand roundings.
double unit_roundoff(DType dtype) {
  if (dtype == DType::bf16) return 0x1.0p-9;
  return dtype == DType::f32 ? 0x1.0p-24 : 0x1.0p-42;
}

bool is_integer(DType dtype) {
  return dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8;
}

std::uint64_t seed_of(const std::string& name, int draw) {
  std::uint64_t seed = 1469598103934665603ull + static_cast<std::uint64_t>(draw);  // FNV-1a
  for (char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return seed;
}

}  // namespace

/// The whole buffer of a tensor on its device and on the host, and the views into both.
struct Side::Slot {
  std::string name;
  Device device;
  void* memory = nullptr;
  std::vector<char> before, after;
  Tensor host, view;  // on `after`, on `memory`
  DType storage;
  bool written = false;

  ~Slot() { release(device, memory); }

  /// Whether bytes that the op has no business with are as they were.
  bool intact() {
    std::vector<char> expected = before;
    if (written) {
      const std::size_t size = size_of(host.dtype);
      const std::int64_t width = host.shape[host.rank - 1];
      const std::int64_t rows = width == 0 ? 0 : host.numel() / width;
      for (std::int64_t r = 0; r < rows; ++r) {
        std::int64_t at = 0, rest = r;
        for (int i = host.rank - 2; i >= 0; --i) {
          at += rest % host.shape[i] * host.stride[i];
          rest /= host.shape[i];
        }
        const auto offset = static_cast<const char*>(host.data) - after.data() +
                            at * static_cast<std::int64_t>(size);
        std::memcpy(expected.data() + offset, after.data() + offset, width * size);
      }
    }
    return expected == after;
  }
};

Side::Side(Kind kind, DType storage, int draw, Drawn* drawn)
    : kind_(kind), storage_(storage), draw_(draw), drawn_(drawn ? drawn : &own_) {}
Side::~Side() = default;

DType Side::dtype_on(Kind kind, const Make& make) const {
  if (make.f64 || kind == Kind::wide) return DType::f64;
  if (kind == Kind::naive) return DType::f32;
  return make.stat ? stat_dtype(storage_) : storage_;
}

Tensor Side::add(const std::string& name, std::initializer_list<std::int64_t> shape, DType dtype,
                 DType storage, const Make& make, bool written,
                 const std::function<void(const Tensor&)>& fill) {
  auto slot = std::make_unique<Slot>();
  slot->name = name;
  slot->device = device();
  slot->storage = storage;
  slot->written = written;
  Tensor whole(nullptr, dtype, shape);
  const int last = std::max(whole.rank, 1) - 1;
  const std::int64_t width = whole.shape[last], padded = make.pad_left + width + make.pad_right;
  std::int64_t stride = 1;
  for (int i = last; i >= 0; --i) {
    whole.shape[i] = i == last ? padded : whole.shape[i];
    whole.stride[i] = stride;
    stride *= whole.shape[i];
  }
  slot->before.assign(whole.bytes() + 256, '\xff');
  whole.data = slot->before.data();
  fill(whole.slice(last, make.pad_left, width));
  slot->after = slot->before;
  slot->memory = allocate(slot->device, slot->before.size());
  copy_to_device(slot->memory, slot->before.data(), slot->before.size(), stream());
  synchronise(stream());
  whole.data = slot->after.data();
  slot->host = whole.slice(last, make.pad_left, width);
  whole.data = slot->memory;
  slot->view = whole.slice(last, make.pad_left, width);
  slots_.push_back(std::move(slot));
  return slots_.back()->view;
}

Tensor Side::input(const std::string& name, std::initializer_list<std::int64_t> shape, Make make) {
  const Tensor t = in_out(name, shape, make);
  slots_.back()->written = false;
  return t;
}

const std::vector<double>& Side::random(const std::string& name, std::int64_t count, DType storage,
                                        const Make& make) {
  const auto [at, missing] =
      drawn_->try_emplace({name, count, make.scale, make.mean, make.grid, storage});
  if (!missing) return at->second;
  strait::test::Buffers buffers(seed_of(name, draw_));
  at->second = strait::test::values(buffers.normal(DType::f64, {count}, make.scale));
  for (double& value : at->second) {
    value += make.mean;
    if (make.grid > 0) value = make.grid * std::round(value / make.grid);
    value = rounded(value, storage);
  }
  return at->second;
}

Tensor Side::in_out(const std::string& name, std::initializer_list<std::int64_t> shape, Make make) {
  const DType storage = dtype_on(Kind::device, make);
  return add(name, shape, dtype_on(kind_, make), storage, make, true,
             [&](const Tensor& view) { assign(view, random(name, view.numel(), storage, make)); });
}

Tensor Side::output(const std::string& name, std::initializer_list<std::int64_t> shape, Make make) {
  return add(name, shape, dtype_on(kind_, make), dtype_on(Kind::device, make), make, true,
             [](const Tensor&) {});
}

Tensor Side::values(const std::string& name, const std::vector<double>& values,
                    std::initializer_list<std::int64_t> shape, Make make) {
  const DType storage = dtype_on(Kind::device, make);
  return add(name, shape, dtype_on(kind_, make), storage, make, make.written,
             [&](const Tensor& view) {
               std::vector<double> kept = values;
               for (double& value : kept) value = rounded(value, storage);
               assign(view, kept);
             });
}

Tensor Side::ints(const std::string& name, const std::vector<std::int32_t>& values,
                  std::initializer_list<std::int64_t> shape) {
  return add(name, shape, DType::i32, DType::i32, {}, false, [&](const Tensor& view) {
    assign(view, {values.begin(), values.end()});
  });
}

Tensor Side::int_output(const std::string& name, std::initializer_list<std::int64_t> shape,
                        DType dtype) {
  return add(name, shape, dtype, dtype, {}, true, [](const Tensor&) {});
}

std::vector<Side::Result> Side::collect() {
  std::vector<Result> results;
  for (const auto& slot : slots_) {
    copy_to_host(slot->after.data(), slot->memory, slot->after.size(), stream());
    synchronise(stream());
    results.push_back({slot->name, slot->host, slot->storage, slot->written, slot->intact()});
  }
  return results;
}

bool launch_only() {
  return std::getenv("STRAIT_LAUNCH_ONLY") != nullptr;
}

namespace {

double squared(const std::vector<double>& got, const std::vector<double>& want) {
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) sum += (got[i] - want[i]) * (got[i] - want[i]);
  return std::isnan(sum) ? std::numeric_limits<double>::infinity() : sum;
}

double allowed(const Distance& d, const Tolerance& tolerance) {
  return std::max(tolerance.factor * d.naive_error(), unit_roundoff(d.storage));
}

/// Draws that are judged together: one, unless an output of few numbers misses its limit.
int draws_for(const std::vector<Distance>& first, const Tolerance& tolerance) {
  constexpr std::size_t kEnough = 32;
  std::size_t draws = 1;
  for (const Distance& d : first) {
    if (d.device_error() <= allowed(d, tolerance)) continue;
    draws = std::max(draws, (kEnough + d.elements - 1) / d.elements);
  }
  return static_cast<int>(draws);
}

}  // namespace

double Distance::device_error() const {
  return std::sqrt(device) / std::max(std::sqrt(truth), 1e-30);
}

double Distance::naive_error() const {
  return std::sqrt(naive) / std::max(std::sqrt(truth), 1e-30);
}

std::vector<Distance> distances(const Draw& draw, const Tolerance& tolerance) {
  std::vector<Distance> result;
  int compared = 0;
  for (std::size_t i = 0; i < draw.device.size(); ++i) {
    const DType storage = draw.device[i].storage;
    const std::string& name = draw.device[i].name;
    if (!draw.device[i].written) continue;
    ++compared;
    std::vector<double> want = strait::test::values(draw.wide[i].view);
    std::vector<double> fair = strait::test::values(draw.naive[i].view);
    const std::vector<double> got = strait::test::values(draw.device[i].view);
    if (tolerance.exact || is_integer(storage)) {
      if (!is_integer(storage))
        for (double& x : want) x = rounded(x, storage);
      EXPECT_EQ(got, want) << name;
      continue;
    }
    if (got.empty()) continue;
    for (double& x : fair) x = rounded(x, storage);
    result.push_back({name, storage, got.size(), squared(got, want), squared(fair, want),
                      squared(want, std::vector<double>(want.size()))});
  }
  EXPECT_GT(compared, 0) << "the op has no output: nothing was compared";
  return result;
}

void expect_close(const std::function<std::vector<Distance>(int)>& draw,
                  const Tolerance& tolerance) {
  std::vector<Distance> total = draw(0);
  const int draws = draws_for(total, tolerance);
  for (int number = 1; number < draws; ++number) {
    const std::vector<Distance> next = draw(number);
    for (std::size_t i = 0; i < total.size(); ++i) {
      total[i].device += next[i].device;
      total[i].naive += next[i].naive;
      total[i].truth += next[i].truth;
    }
  }
  for (const Distance& d : total) {
    EXPECT_TRUE(std::isfinite(d.naive)) << d.name << ": the naive evaluation failed";
    EXPECT_LE(d.device_error(), allowed(d, tolerance))
        << d.name << ": naive error " << d.naive_error() << " over " << draws << " draws";
  }
}

void expect_intact(const std::vector<Side::Result>& results) {
  for (const Side::Result& result : results) {
    EXPECT_TRUE(result.intact) << result.name << ": bytes changed that the op must leave alone";
  }
}

void expect_same_bits(const std::vector<Side::Result>& first,
                      const std::vector<Side::Result>& second) {
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(bit_equal(first[i].view, second[i].view))
        << first[i].name << ": differs run to run";
  }
}

}  // namespace strait::kernels::test
