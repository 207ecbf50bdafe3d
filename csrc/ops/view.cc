#include "view.h"

#include "../kernels/sparse_conv/planes.h"

namespace glz {

View plain_view(const TensorType& type, ElementType element) {
  View view;
  view.layout = Layout::kPlain;
  view.type = element;
  view.c = view.stride = type.elements();
  return view;
}

View pixel_view(const TensorType& type, ElementType element) {
  View view;
  view.layout = Layout::kPixels;
  view.type = element;
  view.n = type.shape[0];
  view.c = type.shape[1];
  if (type.rank() == 4) {
    view.h = type.shape[2];
    view.w = type.shape[3];
  }
  view.stride = channel_stride(view.c);
  return view;
}

View plane_view(const TensorType& type, ElementType element) {
  View view = pixel_view(type, element);
  view.layout = Layout::kPlanes;
  view.stride = plane_pitch(view.rows());
  return view;
}

}  // namespace glz
