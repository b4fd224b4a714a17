#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/launch.h"
#include "kernels/memory.h"
#include "tests/kernels_cuda/naive.h"
#include "tests/support/tensors.h"

// One op on CUDA against the CPU specification. A test describes the op once, as a function of a
// Side; it is built three times with the same values, which are exact in the storage dtype:
//
//   wide    CPU in f64: the truth
//   naive   CPU in f32 with plain sums (naive.h), outputs rounded to the storage dtype: the error
//           that is fair
//   device  CUDA in the storage dtype
//
// Over few numbers the naive result may be right by luck. Where an output of fewer than 32 misses
// its limit, it is judged by as many draws of the inputs as give 32, all together.
//
//   compare_op(DType::bf16, [](Side& s) {
//     return RmsNormFwd{.x = s.input("x", {5, 64}), .w = s.input("w", {64}),
//                       .y = s.output("y", {5, 64}), .rstd = s.output("rstd", {5}, {.stat =
//                       true})};
//   });
namespace strait::kernels::test {

using strait::test::assign;
using strait::test::bit_equal;
using strait::test::get;
using strait::test::set;

/// Skips, by name, where there is no CUDA device.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!available(Device::cuda)) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

/// How one tensor of an op is made.
struct Make {
  bool stat = false;   // f32 on the device even when the storage dtype is bf16 (f64 on wide)
  bool f64 = false;    // f64 everywhere
  double scale = 1.0;  // standard deviation of the random values
  double mean = 0.0;
  bool written = false;  // of values(): the op replaces them or adds to them
  double grid = 0.0;     // values are multiples of this, so that short sums are exact; 0: any
  int pad_left = 0;      // columns of a wider buffer left and right of the view: strided rows,
  int pad_right = 0;     // aligned to 16 bytes when both are multiples of 8
};

/// Rows whose starts are not aligned, and aligned ones inside a wider buffer.
inline constexpr Make kOddRows{.pad_left = 3, .pad_right = 2};
inline constexpr Make kPaddedRows{.pad_left = 8, .pad_right = 16};

/// Random values of one draw, made by the first side that asks: by name, count, what Make says of
/// scale, mean and grid, and the dtype that holds them exactly.
using Drawn = std::map<std::tuple<std::string, std::int64_t, double, double, double, DType>,
                       std::vector<double>>;

/// Makes and keeps the tensors of one evaluation. Calls with the same name give the same values on
/// every side of a draw.
class Side {
 public:
  enum class Kind { wide, naive, device };

  /// Sides that build the same op may share `drawn`, which outlives them, to make its values once.
  Side(Kind kind, DType storage, int draw = 0, Drawn* drawn = nullptr);
  ~Side();
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  Kind kind() const { return kind_; }
  DType storage() const { return storage_; }
  int draw() const { return draw_; }
  Stream stream() const { return {.device = device()}; }

  /// Random values, not to be changed by the op.
  Tensor input(const std::string& name, std::initializer_list<std::int64_t> shape, Make make = {});
  /// Poisoned with NaN (-1 in integers); the op must write all of it and nothing around it.
  Tensor output(const std::string& name, std::initializer_list<std::int64_t> shape, Make make = {});
  /// Random values that the op adds to or replaces in place.
  Tensor in_out(const std::string& name, std::initializer_list<std::int64_t> shape, Make make = {});
  Tensor ints(const std::string& name, const std::vector<std::int32_t>& values,
              std::initializer_list<std::int64_t> shape);
  Tensor int_output(const std::string& name, std::initializer_list<std::int64_t> shape,
                    DType dtype = DType::i32);
  /// An input, or with `written` an in_out, with the values given in row-major order.
  Tensor values(const std::string& name, const std::vector<double>& values,
                std::initializer_list<std::int64_t> shape, Make make = {});

  /// One tensor after collect().
  struct Result {
    std::string name;
    ConstTensor view;  // on the host
    DType storage;     // dtype on the device
    bool written;      // an output or in_out
    bool intact;       // no byte outside the view changed, and inputs did not change at all
  };
  /// Waits for the device and brings every tensor back.
  std::vector<Result> collect();

 private:
  struct Slot;
  Device device() const { return kind_ == Kind::device ? Device::cuda : Device::cpu; }
  DType dtype_on(Kind kind, const Make& make) const;
  const std::vector<double>& random(const std::string& name, std::int64_t count, DType storage,
                                    const Make& make);
  Tensor add(const std::string& name, std::initializer_list<std::int64_t> shape, DType dtype,
             DType storage, const Make& make, bool written,
             const std::function<void(const Tensor&)>& fill);

  Kind kind_;
  DType storage_;
  int draw_;
  Drawn own_;
  Drawn* drawn_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

struct Tolerance {
  /// Allowed error over the naive one; more than 2 needs a reason at the call.
  double factor = 2.0;
  /// Every output must equal the truth rounded to its dtype: ops that only move bytes.
  bool exact = false;
};

/// Builds an op on one side, launches it there and collects. `Build` is Op(Side&).
template <class Build>
std::vector<Side::Result> evaluate(Side& side, Build&& build) {
  const auto op = build(side);
  if constexpr (requires { run_naive(op, side.storage()); }) {
    if (side.kind() == Side::Kind::naive) {
      run_naive(op, side.storage());
      return side.collect();
    }
  }
  launch(op, side.stream());
  return side.collect();
}

/// Every side's results for one set of inputs.
struct Draw {
  std::vector<Side::Result> wide, naive, device;
};

/// How far one output is from the truth: squared norms, which add up over draws.
struct Distance {
  std::string name;
  DType storage;
  std::size_t elements;  // of one draw
  double device, naive, truth;
  double device_error() const;  // relative L2
  double naive_error() const;
};

/// Of every float output; integers and moved bytes must be equal.
std::vector<Distance> distances(const Draw& draw, const Tolerance& tolerance);
/// Records failures for outputs that are further from the truth than allowed. `draw(n)` evaluates
/// draw n.
void expect_close(const std::function<std::vector<Distance>(int)>& draw,
                  const Tolerance& tolerance);
/// Records failures for bytes that changed and should not have.
void expect_intact(const std::vector<Side::Result>& results);
void expect_same_bits(const std::vector<Side::Result>& first,
                      const std::vector<Side::Result>& second);

/// Whether STRAIT_LAUNCH_ONLY is set: compare_op launches on the device and compares nothing, for a
/// run under a sanitizer beside one that compares. Its tests count as skipped, never as passed.
bool launch_only();

/// The op described by `build` on all sides, on the device twice: close to the truth, nothing else
/// written, bit-equal twice. `prepare(Draw&)` may change what is compared.
template <class Build, class Prepare>
void compare_op(DType storage, Build&& build, const Tolerance& tolerance, Prepare&& prepare) {
  using Op = decltype(build(std::declval<Side&>()));
  SCOPED_TRACE(std::string(Op::kName) + " in " + name_of(storage));
  if (launch_only()) {
    Side device(Side::Kind::device, storage);
    expect_intact(evaluate(device, build));
    if (!::testing::Test::IsSkipped()) GTEST_SKIP() << "launched, not compared";
    return;
  }
  const auto evaluate_draw = [&](int number) {
    Drawn drawn;
    Side wide(Side::Kind::wide, storage, number, &drawn);
    Side naive(Side::Kind::naive, storage, number, &drawn);
    Side device(Side::Kind::device, storage, number, &drawn);
    Draw draw{evaluate(wide, build), evaluate(naive, build), evaluate(device, build)};
    expect_intact(draw.device);
    if (number == 0) {
      Side again(Side::Kind::device, storage, number, &drawn);
      expect_same_bits(draw.device, evaluate(again, build));
    }
    prepare(draw);
    return distances(draw, tolerance);
  };
  expect_close(evaluate_draw, tolerance);
}

template <class Build>
void compare_op(DType storage, Build&& build, const Tolerance& tolerance = {}) {
  compare_op(storage, build, tolerance, [](Draw&) {});
}

/// launch(op) on CUDA throws an OpError that names the op and contains `text`.
template <class Build>
void expect_unsupported(DType storage, Build&& build, const std::string& text) {
  Side side(Side::Kind::device, storage);
  const auto op = build(side);
  try {
    launch(op, side.stream());
    ADD_FAILURE() << "accepted, expected an error with: " << text;
  } catch (const OpError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find(op.kName), 0u) << message;
    EXPECT_NE(message.find(text), std::string::npos) << message;
  }
}

}  // namespace strait::kernels::test
