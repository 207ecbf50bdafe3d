// Words and limits of the format: the same as in gluonzip/archive/layout.py (a test compares them).
#pragma once

#include <cstdint>

namespace glz {

constexpr uint8_t kArchiveMagic[8] = {0x89, 'G', 'L', 'Z', '\r', '\n', 0x1a, '\n'};
constexpr uint32_t kArchiveVersion = 1;
constexpr int64_t kHeaderBytes = 32;

constexpr int64_t kMaxElements = int64_t{1} << 31;
constexpr int64_t kMaxNodes = 1 << 20;
constexpr int64_t kMaxTensors = 1 << 20;
constexpr int64_t kMaxMembers = 1 << 12;
constexpr int64_t kMaxAxes = 32;
constexpr int64_t kMaxNameBytes = 4096;
constexpr int64_t kMaxGapBits = 16;
constexpr int64_t kMaxStreamBytes = int64_t{1} << 33;
constexpr int64_t kMaxEntries = 256;
constexpr int64_t kMinExponent = -149;
constexpr int64_t kMaxExponent = 96;
constexpr int64_t kMaxTextBytes = int64_t{1} << 28;
constexpr int64_t kMaxMetaBytes = int64_t{1} << 26;

// Bytes that all tensors of a file of this size may take in memory.
inline int64_t max_decoded_bytes(int64_t file_bytes) {
  return (int64_t{1} << 28) + 1024 * file_bytes;
}

// Name -1 - i is word i.
constexpr const char* kArchiveWords[] = {"f32",
                                         "s8",
                                         "s32",
                                         "f16",
                                         "raw",
                                         "packed",
                                         "bitmap",
                                         "gap",
                                         "rans",
                                         "codebook",
                                         "conv2d",
                                         "dense",
                                         "max_pool",
                                         "avg_pool",
                                         "global_avg_pool",
                                         "relu",
                                         "add",
                                         "flatten",
                                         "quantize",
                                         "dequantize",
                                         "kernel",
                                         "stride",
                                         "pad",
                                         "groups",
                                         "act",
                                         "out_scale",
                                         "scale",
                                         "clip",
                                         "act_max",
                                         "softmax",
                                         "data",
                                         "concat",
                                         "dilation",
                                         "batch_norm",
                                         "identity",
                                         "eps",
                                         "axis",
                                         "leaky_relu",
                                         "act_slope",
                                         "act_min",
                                         "sigmoid",
                                         "scale_shift",
                                         "ceil_mode",
                                         "count_pad",
                                         "begin",
                                         "end",
                                         "value",
                                         "bits",
                                         "fake_quantize",
                                         "embedding",
                                         "upsample",
                                         "conv_transpose2d",
                                         "fixed",
                                         "unsigned"};
constexpr int64_t kArchiveWordCount = sizeof(kArchiveWords) / sizeof(kArchiveWords[0]);

}  // namespace glz
