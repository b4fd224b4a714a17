#include <cstdio>
#include <exception>

#include "ablate/results.h"

// write_results FOLDER: judges a sweep's folder as ./ablate does when its cells have ended.
int main(int argc, char** argv) {
  try {
    std::fputs(strait::ablate::write_results(argc == 2 ? argv[1] : "").c_str(), stdout);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_results: %s\n", error.what());
    return 2;
  }
}
