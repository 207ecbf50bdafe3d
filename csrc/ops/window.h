// Sliding windows: kernel, stride, pad and dilation of convolutions and pools.
#pragma once

#include "../kernels/conv_s8/contract.h"
#include "node.h"
#include "view.h"

namespace glz {

struct Window {
  int64_t kh = 1, kw = 1, sh = 1, sw = 1, dh = 1, dw = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool ceil_mode = false;  // the last window may hang over

  // Throw kShape when the window does not fit into the padded image.
  int64_t out_height(int64_t h, const std::string& label) const;
  int64_t out_width(int64_t w, const std::string& label) const;
  // Everything of the geometry but the channels.
  ConvGeometry geometry(const View& x, const View& out) const;
};

// stride, pad and dilation, each checked; the kernel's size comes from elsewhere.
Window read_window(const Node& node);

// A list of `count` integers, all at least `least`.
std::vector<int64_t> read_sizes(const Node& node, const std::string& name, size_t count,
                                int64_t least, const std::vector<int64_t>& otherwise);

}  // namespace glz
