#include "train/profile.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <tuple>

#include "core/error.h"
#include "io/json_lines.h"

namespace strait::train {
namespace {

[[noreturn]] void refuse(const std::string& text) {
  throw core::InputError("--profile " + text +
                         ": expected steps=A:B with 1 <= A <= B; for example --profile steps=5:7");
}

std::int64_t number(std::string_view digits, const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < 1) refuse(text);
  return value;
}

/// FLOP/s or bytes/s of all launches together.
double rate(double each, const OpTime& op) {
  return op.seconds > 0 ? each * static_cast<double>(op.launches) / op.seconds : 0;
}

double total_seconds(const std::vector<OpTime>& ops) {
  double total = 0;
  for (const OpTime& op : ops) total += op.seconds;
  return total;
}

}  // namespace

ProfileSteps parse_profile(const std::string& text) {
  constexpr std::string_view kKey = "steps=";
  if (!text.starts_with(kKey)) refuse(text);
  const std::string_view range = std::string_view(text).substr(kKey.size());
  const std::size_t colon = range.find(':');
  ProfileSteps steps{.first = number(range.substr(0, colon), text)};
  steps.last =
      colon == std::string_view::npos ? steps.first : number(range.substr(colon + 1), text);
  if (steps.last < steps.first) refuse(text);
  return steps;
}

void require_profiled(const ProfileSteps& profile, std::int64_t done, std::int64_t steps) {
  if (profile.first == 0 || done >= steps) return;
  if (profile.last > done && profile.first <= steps) return;
  throw core::InputError("--profile steps=" + std::to_string(profile.first) + ":" +
                         std::to_string(profile.last) + ": this run trains steps " +
                         std::to_string(done + 1) + " to " + std::to_string(steps) +
                         " (train.steps); name some of these");
}

void OpTimer::on_launch(const char* op, const kernels::Work& work) {
  launches_.push_back({op, work});
  watch_.mark();
}

void OpTimer::stop() {
  watch_.mark();
}

std::vector<OpTime> OpTimer::table() const {
  const std::vector<double> seconds = watch_.seconds();
  std::map<std::tuple<std::string, double, double>, OpTime> by_size;
  for (std::size_t i = 0; i < launches_.size(); ++i) {
    const Launch& launch = launches_[i];
    OpTime& time = by_size[{launch.op, launch.work.flops, launch.work.bytes}];
    time.op = launch.op;
    time.work = launch.work;
    ++time.launches;
    time.seconds += seconds[i];
  }
  std::vector<OpTime> out;
  for (auto& [key, time] : by_size) out.push_back(std::move(time));
  std::ranges::stable_sort(out, std::ranges::greater{}, &OpTime::seconds);
  return out;
}

std::string op_table(const std::vector<OpTime>& ops, std::int64_t steps) {
  const double total = total_seconds(ops), per_step = 1e3 / static_cast<double>(steps);
  char line[160];
  std::snprintf(line, sizeof line, "%-20s %8s %10s %7s %10s %9s %9s\n", "op", "launches",
                "ms a step", "share", "us each", "TFLOP/s", "GB/s");
  std::string out = line;
  for (const OpTime& op : ops) {
    std::snprintf(line, sizeof line, "%-20s %8lld %10.3f %6.2f%% %10.1f %9.1f %9.0f\n",
                  op.op.c_str(), static_cast<long long>(op.launches / steps), op.seconds * per_step,
                  100 * op.seconds / total, 1e6 * op.seconds / static_cast<double>(op.launches),
                  1e-12 * rate(op.work.flops, op), 1e-9 * rate(op.work.bytes, op));
    out += line;
  }
  std::snprintf(line, sizeof line, "%-20s %8s %10.3f\n", "all", "", total * per_step);
  return out + line;
}

void write_op_table(const std::filesystem::path& path, const std::vector<OpTime>& ops,
                    std::int64_t steps) {
  std::vector<io::JsonLine> rows;
  for (const OpTime& op : ops) {
    rows.emplace_back()
        .add("op", op.op)
        .add("launches", op.launches)
        .add("seconds", op.seconds)
        .add("flops_each", op.work.flops)
        .add("bytes_each", op.work.bytes);
  }
  io::write_json_file(path, io::JsonLine().add("steps", steps).add("ops", rows));
}

}  // namespace strait::train
