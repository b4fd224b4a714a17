#include "tests/layouts/values.h"

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "tests/support/tensors.h"

namespace strait::layouts {
namespace {

std::int64_t product(const std::vector<std::int64_t>& dims, std::size_t begin, std::size_t end) {
  std::int64_t n = 1;
  for (std::size_t i = begin; i < end; ++i) n *= dims[i];
  return n;
}

/// Values of a view on any device, row-major.
std::vector<double> download(const Tensor& view, const Stream& stream) {
  std::vector<char> host(view.bytes());
  std::vector<double> out(static_cast<std::size_t>(view.numel()));
  if (out.empty()) return out;
  Tensor packed(host.data(), view.dtype, {view.numel()});
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < view.rank; ++i) (i + 1 < view.rank ? outer : inner) *= view.shape[i];
  for (std::int64_t row = 0; row < outer; ++row) {
    std::int64_t rest = row, offset = 0;
    for (int i = view.rank - 2; i >= 0; --i) {
      offset += rest % view.shape[i] * view.stride[i];
      rest /= view.shape[i];
    }
    const auto element = static_cast<std::int64_t>(kernels::size_of(view.dtype));
    kernels::copy_to_host(host.data() + row * inner * element,
                          static_cast<const char*>(view.data) + offset * element,
                          static_cast<std::size_t>(inner * element), stream);
  }
  kernels::synchronise(stream);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = test::get(packed, static_cast<std::int64_t>(i));
  }
  return out;
}

template <class T>
void put(std::ostream& out, const T& value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof value);
}
template <class T>
void put_all(std::ostream& out, const T& list) {
  put(out, static_cast<std::int64_t>(list.size()));
  out.write(reinterpret_cast<const char*>(list.data()),
            static_cast<std::streamsize>(list.size() * sizeof(list[0])));
}
template <class T>
T get(std::istream& in) {
  T value{};
  in.read(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}
template <class T>
T get_all(std::istream& in) {
  T list;
  list.resize(static_cast<std::size_t>(get<std::int64_t>(in)));
  in.read(reinterpret_cast<char*>(list.data()),
          static_cast<std::streamsize>(list.size() * sizeof(list[0])));
  return list;
}

void put_draws(std::ostream& out, const Draws& draws) {
  put(out, static_cast<std::int64_t>(draws.size()));
  for (const std::vector<Piece>& pieces : draws) {
    put(out, static_cast<std::int64_t>(pieces.size()));
    for (const Piece& piece : pieces) {
      put_all(out, piece.name);
      put_all(out, piece.shape);
      put(out, piece.cut_dim);
      put_all(out, piece.runs);
      put_all(out, piece.values);
    }
  }
}
Draws get_draws(std::istream& in) {
  Draws draws(static_cast<std::size_t>(get<std::int64_t>(in)));
  for (std::vector<Piece>& pieces : draws) {
    pieces.resize(static_cast<std::size_t>(get<std::int64_t>(in)));
    for (Piece& piece : pieces) {
      piece.name = get_all<std::string>(in);
      piece.shape = get_all<std::vector<std::int64_t>>(in);
      piece.cut_dim = get<int>(in);
      piece.runs = get_all<std::vector<core::Run>>(in);
      piece.values = get_all<std::vector<double>>(in);
    }
  }
  return draws;
}

/// Calls visit(index in the whole, index in the piece) for every element of a piece.
template <class Visit>
void for_each_element(const Piece& piece, Visit&& visit) {
  const auto cut = static_cast<std::size_t>(piece.cut_dim);
  const std::int64_t outer = product(piece.shape, 0, cut);
  const std::int64_t inner = product(piece.shape, cut + 1, piece.shape.size());
  std::int64_t held = 0;
  for (const core::Run& run : piece.runs) held += run.size;
  for (std::int64_t i = 0; i < outer; ++i) {
    for (const core::Run& run : piece.runs) {
      for (std::int64_t j = 0; j < run.size * inner; ++j) {
        visit((i * piece.shape[cut] + run.global) * inner + j, (i * held + run.local) * inner + j);
      }
    }
  }
}

/// The mean square of all numbers.
double mean_square(const std::vector<Piece>& pieces) {
  double squares = 0, elements = 0;
  for (const Piece& piece : pieces) {
    for (const double x : piece.values) squares += x * x;
    elements += static_cast<double>(piece.values.size());
  }
  return squares / std::max(elements, 1.0);
}

/// Sums of squares over all copies of a tensor's elements.
struct Squares {
  double difference = 0, reference = 0;
};
Squares compare(const Piece& whole, const std::vector<const Piece*>& held) {
  const std::vector<double>& want = whole.values;
  std::vector<int> copies(want.size());
  Squares squares;
  for (const Piece* piece : held) {
    for_each_element(*piece, [&](std::int64_t global, std::int64_t local) {
      squares.difference += std::pow(piece->values.at(local) - want.at(global), 2);
      ++copies[global];
    });
  }
  for (std::size_t e = 0; e < want.size(); ++e) {
    squares.reference += copies[e] * want[e] * want[e];
    if (copies[e] == 0) throw core::RuntimeFault(whole.name + ": no rank holds all of it");
  }
  return squares;
}

}  // namespace

std::vector<Piece> pieces_of(const core::ParamTable& table, Field field, const Stream& stream) {
  std::vector<Piece> pieces;
  for (const core::Part& part : table.parts()) {
    if (!part.param->spec.trainable) continue;
    const Tensor& of = field == Field::gradient ? part.param->grad : part.param->master;
    pieces.push_back({.name = part.name,
                      .shape = part.global_shape,
                      .cut_dim = part.cut_dim,
                      .runs = part.runs,
                      .values = download(part.view(of), stream)});
  }
  return pieces;
}

void write_values(const std::filesystem::path& path, const RankValues& values) {
  std::ofstream out(path, std::ios::binary);
  put(out, values.loss);
  put_all(out, values.bytes_error);
  put_draws(out, values.gradients);
  put_draws(out, values.weights);
  if (!out.flush()) throw core::RuntimeFault(path.string() + ": cannot write");
}

RankValues read_values(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  RankValues values;
  values.loss = get<double>(in);
  values.bytes_error = get_all<std::string>(in);
  values.gradients = get_draws(in);
  values.weights = get_draws(in);
  if (!in) throw core::RuntimeFault(path.string() + ": cannot read");
  return values;
}

std::map<std::string, double> distances(const Draws& whole,
                                        const std::vector<const Draws*>& ranks) {
  std::map<std::string, Squares> sums;
  for (std::size_t draw = 0; draw < whole.size(); ++draw) {
    const double floor = mean_square(whole[draw]);
    for (std::size_t i = 0; i < whole[draw].size(); ++i) {
      const Piece& piece = whole[draw][i];
      const auto size = static_cast<std::int64_t>(piece.values.size());
      if (static_cast<std::int64_t>(draw) * size >= kNumbers) continue;
      std::vector<const Piece*> held;
      for (const Draws* rank : ranks) held.push_back(&rank->at(draw).at(i));
      const Squares squares = compare(piece, held);
      sums[piece.name].difference += squares.difference;
      sums[piece.name].reference +=
          std::max(squares.reference, kFloor * kFloor * floor * static_cast<double>(size));
    }
  }
  std::map<std::string, double> out;
  for (const auto& [name, squares] : sums) {
    out[name] = std::sqrt(squares.difference / std::max(squares.reference, 1e-300));
  }
  return out;
}

Distance worst(const std::map<std::string, double>& all) {
  Distance out;
  for (const auto& [name, relative] : all) {
    // Not a number is the worst of all.
    if (out.name.empty() || !(relative <= out.relative)) out = {relative, name};
  }
  return out;
}

}  // namespace strait::layouts
