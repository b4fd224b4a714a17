#pragma once

#include "config/layout.h"

namespace strait::layouts {

using config::Layout;
using config::parse_layout;
using config::parse_layouts;

}  // namespace strait::layouts
