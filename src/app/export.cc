#include <cstdio>

#include "app/support/program.h"
#include "core/error.h"
#include "train/export.h"

namespace {

using namespace strait;

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

std::vector<app::Option> options_of(train::ExportRequest& request) {
  return {
      app::text("--run", "DIR", "folder of the run; its newest checkpoint is exported",
                request.source.run),
      app::text("--hf", "DIR", "or a Hugging Face folder, to change its dtype or its sharding",
                request.source.hf),
      app::text("--to", "DIR", "the folder to write", request.to),
      {.name = "--dtype",
       .value = "NAME",
       .help = "float32 (default), bfloat16, float16 or float64",
       .take = [&](const std::string& name) { request.dtype = dtype_of(name); }},
      {.name = "--shard-gb",
       .value = "X",
       .help = "largest file (5)",
       .take = [&](const std::string& size) { request.shard_bytes = bytes_of(size); }},
      app::flag("--own",
                "as Strait's own architecture (trust_remote_code) even where transformers has one",
                request.own)};
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
    train::ExportRequest request;
    const char* synopsis = "./export --run DIR --to DIR";
    if (app::parse_arguments(argc, argv, synopsis, options_of(request))) run(request);
  });
}
