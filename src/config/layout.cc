#include "config/layout.h"

#include <cctype>
#include <map>

#include "core/error.h"

namespace strait::config {
namespace {

constexpr const char* kRing = ".ring";

[[noreturn]] void refuse(const std::string& name) {
  throw core::InputError("layout \"" + name +
                         "\": expected factors such as dp2, tp2cp2, ep4 or cp2.ring, each axis "
                         "(dp, cp, tp, ep) once");
}

}  // namespace

std::vector<std::string> Layout::overrides() const {
  std::vector<std::string> list;
  for (const auto& [axis, size] : {std::pair{"dp", dp}, {"cp", cp}, {"tp", tp}, {"ep", ep}}) {
    list.push_back(std::string("parallel.") + axis + "=" + std::to_string(size));
  }
  return list;
}

Layout parse_layout(const std::string& name) {
  Layout layout{.name = name};
  std::string rest = name;
  if (rest.ends_with(kRing)) {
    layout.ring = true;
    rest.resize(rest.size() - std::string(kRing).size());
  }
  std::map<std::string, std::int64_t> factors;
  for (std::size_t at = 0; at < rest.size();) {
    const std::string axis = rest.substr(at, 2);
    std::size_t end = at + 2;
    while (end < rest.size() && std::isdigit(static_cast<unsigned char>(rest[end]))) ++end;
    const std::string digits = end > at + 2 ? rest.substr(at + 2, end - at - 2) : "";
    if (digits.empty() || digits.size() > 4 || std::stol(digits) < 1) refuse(name);
    if (!factors.emplace(axis, std::stol(digits)).second) refuse(name);
    at = end;
  }
  const auto take = [&](const char* axis, std::int64_t& size) {
    const auto found = factors.extract(axis);
    if (!found.empty()) size = found.mapped();
    return !found.empty();
  };
  const bool has_dp = take("dp", layout.dp), has_ep = take("ep", layout.ep);
  take("cp", layout.cp);
  take("tp", layout.tp);
  if (has_ep && !has_dp) layout.dp = layout.ep;
  if (!factors.empty() || rest.empty()) refuse(name);
  return layout;
}

}  // namespace strait::config
