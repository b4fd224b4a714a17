#pragma once

#include <string>

#include "parallel/communicator.h"

namespace strait::parallel {

/// All ranks must have the same of something ("config", "program"). Throws InputError on every rank
/// that names the first rank that differs from rank 0, its host, and both values. Collective.
void require_same(Communicator& world, const std::string& what, const std::string& mine,
                  const std::string& remedy);

/// Tells builds apart: revision, build flags, size and a hash of the running program's file.
std::string program_identity();

}  // namespace strait::parallel
