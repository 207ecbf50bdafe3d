// Sections as streams of elements: the decoders of the format's encodings.
#pragma once

#include "archive_index.h"

namespace glz {

// The elements of a section of exactly entry.length bytes. Nothing but `section` must outlive it.
// Throws Error(kArchive) saying what is wrong with the section, without naming it.
std::unique_ptr<ElementStream> stream_section(const TensorEntry& entry, const uint8_t* section);

}  // namespace glz
