// Sections to tensors: the decoders of the format's encodings.
#pragma once

#include "archive_index.h"

namespace glz {

// A section of exactly entry.length bytes as entry.tensor with its data, row-major, f16 widened
// (the tensor's dtype becomes f32). Throws Error(kArchive) saying what is wrong with it.
ModelTensor decode_section(const TensorEntry& entry, const uint8_t* section);

}  // namespace glz
