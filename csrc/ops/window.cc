#include "window.h"

namespace glz {
namespace {

int64_t out_length(int64_t length, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad,
                   bool ceil_mode, const std::string& label) {
  const int64_t span = length + pad - (dilation * (kernel - 1) + 1);
  GLZ_CHECK(kernel > 0 && span >= 0, kShape,
            label << ": a kernel of " << kernel << " (dilation " << dilation
                  << ") does not fit into an input of " << length << " + " << pad << " of padding");
  return (ceil_mode ? ceil_div(span, stride) : span / stride) + 1;
}

}  // namespace

std::vector<int64_t> read_sizes(const Node& node, const std::string& name, size_t count,
                                int64_t least, const std::vector<int64_t>& otherwise) {
  std::vector<int64_t> values = otherwise.empty() ? node.list(name) : node.list(name, otherwise);
  GLZ_CHECK(values.size() == count, kGraph,
            node.label() << ": attribute '" << name << "' has " << values.size()
                         << " numbers, must have " << count);
  for (int64_t value : values) {
    GLZ_CHECK(value >= least && value < (int64_t{1} << 31), kGraph,
              node.label() << ": attribute '" << name << "' holds " << value
                           << ", must be at least " << least);
  }
  return values;
}

Window read_window(const Node& node) {
  const auto stride = read_sizes(node, "stride", 2, 1, {1, 1});
  const auto pad = read_sizes(node, "pad", 4, 0, {0, 0, 0, 0});
  const auto dilation = read_sizes(node, "dilation", 2, 1, {1, 1});
  Window window;
  window.sh = stride[0];
  window.sw = stride[1];
  window.dh = dilation[0];
  window.dw = dilation[1];
  window.top = pad[0];
  window.left = pad[1];
  window.bottom = pad[2];
  window.right = pad[3];
  return window;
}

int64_t Window::out_height(int64_t h, const std::string& label) const {
  return out_length(h, kh, sh, dh, top + bottom, ceil_mode, label);
}

int64_t Window::out_width(int64_t w, const std::string& label) const {
  return out_length(w, kw, sw, dw, left + right, ceil_mode, label);
}

ConvGeometry Window::geometry(const View& x, const View& out) const {
  ConvGeometry g{};
  g.zero = zero_byte(x.type);
  g.n = x.n;
  g.h = x.h;
  g.w = x.w;
  g.channels = g.out_channels = x.c;
  g.stride_c = x.stride;
  g.kh = kh;
  g.kw = kw;
  g.sh = sh;
  g.sw = sw;
  g.pad_top = top;
  g.pad_left = left;
  g.dh = dh;
  g.dw = dw;
  g.oh = out.h;
  g.ow = out.w;
  return g;
}

}  // namespace glz
