#include <cstdio>

#include "app/support/program.h"
#include "core/error.h"
#include "train/export.h"

namespace {

using namespace strait;

struct Request {
  train::ExportRequest request;
  bool help = false;
};

io::HfDtype dtype_of(const std::string& name) {
  using enum io::HfDtype;
  for (const io::HfDtype dtype : {f32, bf16, f16, f64}) {
    if (name == io::torch_name(dtype)) return dtype;
  }
  throw core::InputError("--dtype " + name + ": expected float32, bfloat16, float16 or float64");
}

std::int64_t bytes_of(const std::string& gigabytes) {
  const double value = app::number("--shard-gb", gigabytes, 1e-6);
  return static_cast<std::int64_t>(value * 1e9);
}

std::vector<app::Option> options_of(Request& request) {
  train::ExportRequest& what = request.request;
  return {
      {.name = "--run",
       .value = "DIR",
       .help = "folder of the run; its newest checkpoint is exported",
       .take = [&](const std::string& dir) { what.source.run = dir; }},
      {.name = "--hf",
       .value = "DIR",
       .help = "or a Hugging Face folder, to change its dtype or its sharding",
       .take = [&](const std::string& dir) { what.source.hf = dir; }},
      {.name = "--to",
       .value = "DIR",
       .help = "the folder to write",
       .take = [&](const std::string& dir) { what.to = dir; }},
      {.name = "--dtype",
       .value = "NAME",
       .help = "float32 (default), bfloat16, float16 or float64",
       .take = [&](const std::string& name) { what.dtype = dtype_of(name); }},
      {.name = "--shard-gb",
       .value = "X",
       .help = "largest file (5)",
       .take = [&](const std::string& size) { what.shard_bytes = bytes_of(size); }},
      {.name = "--own",
       .help = "as Strait's own architecture (trust_remote_code) even where transformers has one",
       .take = [&](const std::string&) { what.own = true; }},
      {.name = "--help", .help = "this text", .take = [&](const std::string&) {
         request.help = true;
       }}};
}

void run(const train::ExportRequest& request) {
  const train::ExportReport report = train::export_model(request);
  const std::string family = io::name_of(report.family.family);
  std::printf("%s -> %s as %s (%s)\n", report.weights.c_str(), request.to.c_str(), family.c_str(),
              io::architecture_of(report.family.family).c_str());
  if (!report.family.why.empty()) {
    std::printf("why not one of transformers' own: %s\nload it with trust_remote_code=True\n",
                report.family.why.c_str());
  }
  std::printf("read back: largest difference of the logits %.3g of the largest logit\n",
              report.difference);
  if (!report.exact) {
    throw core::CheckFailed(request.to.string() +
                            ": the folder computes other logits than the run; do not use it");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return app::guarded("export", [&] {
    Request request;
    const std::vector<app::Option> options = options_of(request);
    app::parse_arguments(argc, argv, options);
    if (request.help) {
      std::fputs(app::usage("./export --run DIR --to DIR", options).c_str(), stdout);
      return;
    }
    run(request.request);
  });
}
