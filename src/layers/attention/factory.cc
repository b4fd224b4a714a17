#include "layers/attention/factory.h"

#include "layers/attention/cca.h"
#include "layers/attention/gqa.h"
#include "layers/attention/mla.h"

namespace strait::layers {

std::unique_ptr<Layer> make_attention(const Build& build, const std::string& name) {
  using config::AttentionKind;
  switch (build.model.attention.kind) {
    case AttentionKind::mha:
    case AttentionKind::gqa:
      return std::make_unique<GqaAttention>(build, name);
    case AttentionKind::mla:
      return std::make_unique<MlaAttention>(build, name);
    case AttentionKind::cca:
    case AttentionKind::ccgqa:
      return std::make_unique<CcaAttention>(build, name);
  }
  return nullptr;
}

}  // namespace strait::layers
