#include "parallel/host_signs.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <set>

#include "core/host_name.h"
#include "core/rng.h"

namespace strait::parallel {
namespace {

/// A port of this machine that datagrams come to; -1: none to be had.
int open_port() {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  if (socket >= 0 && ::bind(socket, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0) {
    return socket;
  }
  if (socket >= 0) ::close(socket);
  return -1;
}

std::string port_of(int socket) {
  sockaddr_in bound = {};
  socklen_t size = sizeof bound;
  if (socket < 0 || ::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return "";
  }
  return std::to_string(ntohs(bound.sin_port));
}

/// The socket address of "host port"; empty where it is not known.
std::vector<char> resolve(const std::string& text) {
  const std::size_t space = text.find(' ');
  const std::string host = text.substr(0, space), port = text.substr(space + 1);
  addrinfo wanted = {}, *found = nullptr;
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_DGRAM;
  if (port.empty() || ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found) != 0) return {};
  const char* bytes = reinterpret_cast<const char*>(found->ai_addr);
  std::vector<char> address(bytes, bytes + found->ai_addrlen);
  ::freeaddrinfo(found);
  return address;
}

}  // namespace

struct HostSigns::Datagram {
  std::uint64_t run;
  std::int64_t rank;
  Sign sign;
};

HostIdentity HostIdentity::own() {
  return {core::host_name(), core::host_name()};
}

HostSigns::HostSigns(Communicator& world, const std::vector<std::string>& hosts,
                     const std::string& address)
    : rank_(world.rank()) {
  const core::Rng rng(static_cast<std::uint64_t>(::getpid()), hosts[0]);
  const auto drawn = static_cast<std::uint64_t>(rng.uniform(0) * 9e15);
  run_ = std::stoull(world.broadcast(std::to_string(drawn), 0));
  const std::string& own = hosts[static_cast<std::size_t>(rank_)];
  if (std::set<std::string>(hosts.begin(), hosts.end()).size() > 1) socket_ = open_port();
  const std::vector<std::string> ports = world.gather_all(address + ' ' + port_of(socket_));
  std::set<std::string> seen{own};
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    if (!seen.insert(hosts[rank]).second) continue;
    std::vector<char> peer = resolve(ports[rank]);
    if (!peer.empty()) peers_.push_back(std::move(peer));
  }
}

HostSigns::~HostSigns() {
  if (socket_ >= 0) ::close(socket_);
}

void HostSigns::send(const Sign& sign) const {
  if (socket_ < 0) return;
  const Datagram out{run_, rank_, sign};
  for (const std::vector<char>& peer : peers_) {
    // What is lost is made up for by the next one.
    [[maybe_unused]] const auto sent = ::sendto(socket_, &out, sizeof out, MSG_NOSIGNAL,
                                                reinterpret_cast<const sockaddr*>(peer.data()),
                                                static_cast<socklen_t>(peer.size()));
  }
}

void HostSigns::receive(const std::function<void(int rank, const Sign& sign)>& take) const {
  if (socket_ < 0) return;
  Datagram in;
  for (ssize_t size; (size = ::recv(socket_, &in, sizeof in, 0)) >= 0 || errno == ECONNREFUSED;) {
    if (size != static_cast<ssize_t>(sizeof in) || in.run != run_ || in.rank < 0) continue;
    in.sign.what[sizeof in.sign.what - 1] = 0;
    take(static_cast<int>(in.rank), in.sign);
  }
}

}  // namespace strait::parallel
