#include "archive_index.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "../base/rans.h"
#include "archive_layout.h"
#include "msgpack.h"

namespace glz {
namespace {

using Kind = MsgpackCursor::Kind;
using Token = MsgpackCursor::Token;

class IndexReader : MsgpackCursor {
 public:
  using MsgpackCursor::MsgpackCursor;
  ArchiveIndex read();

 private:
  void read_strings();
  std::string charge(std::string_view text);
  std::string resolve(const Token& token, const std::string& what);
  std::string name(const std::string& what, bool empty = false);
  int64_t many(const std::string& what, int64_t limit);

  Model graph();
  ModelInput input();
  std::vector<int64_t> shape();
  DType dtype(const std::string& name) const;
  ModelNode node(int64_t number);
  Attribute attribute(const std::string& key);
  std::map<std::string, std::string> string_map(int64_t count, const std::string& what);

  TensorEntry tensor(int64_t number);
  void read_type(TensorEntry* entry);
  std::vector<float> scale(const std::vector<int64_t>& shape, int64_t axis);
  Encoding encoding(DType dtype, int64_t elements);
  Coding coding(const std::string& kind, DType dtype);
  Coding integer_coding(const std::string& kind, int64_t widest);
  std::string word(const std::string& what);
  int64_t parameter(const std::string& what, int64_t low, int64_t high);
  void take_item(const std::string& what);

  MetaEntry meta();
  std::vector<MemberEntry> members(int64_t graphs, int64_t tensors);

  std::vector<std::string> strings_;
  int64_t text_left_ = kMaxTextBytes;
  int64_t items_left_ = 0;  // of the tensor's entry being read
};

ArchiveIndex IndexReader::read() {
  ArchiveIndex index;
  const int64_t items = array("the index");
  if (items != 4 && items != 5) {
    fail("the index must have 4 items, or 5 for a family, has " + std::to_string(items));
  }
  index.family = items == 5;
  where = "index, strings";
  read_strings();

  where = "index, graph";
  const int64_t graphs = index.family ? many("members", kMaxMembers) : 1;
  for (int64_t i = 0; i < graphs; ++i) index.models.push_back(graph());

  where = "index, tensors";
  const int64_t tensors = many("tensors", kMaxTensors);
  for (int64_t i = 0; i < tensors; ++i) index.tensors.push_back(tensor(i));

  where = "index, meta";
  index.meta = meta();
  if (index.family) index.members = members(graphs, tensors);
  if (left() > 0) fail(std::to_string(left()) + " bytes follow the end of the index");
  return index;
}

// ---------------------------------------------------------------- names
void IndexReader::read_strings() {
  std::string before;
  for (int64_t items = array("strings"); items > 0; --items) {
    Token found = token();
    int64_t shared = 0;
    if (found.kind == Kind::kInt) {
      shared = found.integer;
      const auto longest = static_cast<int64_t>(before.size());
      if (found.over_int64 || shared < 0 || shared > longest || items == 1) {
        fail("a shared length is not that of a string before another");
      }
      --items;
      found = expect(Kind::kString, "a string");
    } else if (found.kind != Kind::kString) {
      fail("strings must hold strings and their shared lengths");
    }
    before.resize(static_cast<size_t>(shared));
    before += found.bytes;
    strings_.push_back(charge(before));
  }
}

// `text` as a name, counted against the limits.
std::string IndexReader::charge(std::string_view text) {
  const auto size = static_cast<int64_t>(text.size());
  if (size > kMaxNameBytes) {
    fail("a name of " + std::to_string(size) + " bytes is longer than the limit of " +
         std::to_string(kMaxNameBytes));
  }
  text_left_ -= size;
  if (text_left_ < 0) fail("names take more than " + std::to_string(kMaxTextBytes) + " bytes");
  if (!valid_utf8(text)) fail("a string is not valid UTF-8");
  return std::string(text);
}

std::string IndexReader::resolve(const Token& token, const std::string& what) {
  if (token.kind == Kind::kString) return charge(token.bytes);
  if (token.kind != Kind::kInt) fail(what + " must be a name (a string or its number)");
  const int64_t number = int64(token, what);
  if (number < 0 && number >= -kArchiveWordCount) return charge(kArchiveWords[-1 - number]);
  const auto count = static_cast<int64_t>(strings_.size());
  if (number < 0 || number >= count) {
    fail(what + " is string number " + std::to_string(number) + ", there are " +
         std::to_string(count));
  }
  return charge(strings_[static_cast<size_t>(number)]);
}

std::string IndexReader::name(const std::string& what, bool empty) {
  std::string found = resolve(token(), what);
  if (found.empty() && !empty) fail(what + " is empty");
  return found;
}

int64_t IndexReader::many(const std::string& what, int64_t limit) {
  const int64_t count = array(what);
  if (count > limit) {
    fail(std::to_string(count) + " " + what + " are more than the limit of " +
         std::to_string(limit));
  }
  return count;
}

// ---------------------------------------------------------------- graph
Model IndexReader::graph() {
  array("the graph", 4);
  Model model;
  model.name = name("the graph's name", true);
  for (int64_t left = array("inputs"); left > 0; --left) model.inputs.push_back(input());
  for (int64_t left = array("outputs"); left > 0; --left)
    model.outputs.push_back(name("an output"));
  const int64_t nodes = many("nodes", kMaxNodes);
  for (int64_t i = 0; i < nodes; ++i) model.nodes.push_back(node(i));
  return model;
}

ModelInput IndexReader::input() {
  ModelInput input;
  array("an input", 3);
  input.name = name("an input's name");
  input.shape = shape();
  input.dtype = dtype(name("a dtype"));
  return input;
}

std::vector<int64_t> IndexReader::shape() {
  const int64_t axes = array("a shape");
  if (axes > kMaxAxes) {
    fail("a shape of " + std::to_string(axes) + " axes is past the limit of " +
         std::to_string(kMaxAxes));
  }
  std::vector<int64_t> shape;
  for (int64_t i = 0; i < axes; ++i) shape.push_back(integer("an axis", 0, kMaxElements));
  return shape;
}

DType IndexReader::dtype(const std::string& name) const {
  if (name == "f32") return DType::kF32;
  if (name == "f16") return DType::kF16;
  if (name == "s8") return DType::kS8;
  if (name == "s32") return DType::kS32;
  fail("dtype " + quoted(name) + " is not known to format version 1");
}

ModelNode IndexReader::node(int64_t number) {
  where = "index, node " + std::to_string(number);
  array("a node", 5);
  ModelNode node;
  node.op = name("an operator");
  node.name = name("a node's name");
  where = "index, node " + quoted(node.name);
  for (int64_t left = array("inputs"); left > 0; --left) {
    node.inputs.push_back(name("an input", true));
  }
  for (int64_t left = array("outputs"); left > 0; --left) node.outputs.push_back(name("an output"));
  for (int64_t left = expect(Kind::kMap, "attributes").integer; left > 0; --left) {
    const std::string key = name("an attribute's name");
    if (node.attrs.count(key)) fail("attribute " + quoted(key) + " is there twice");
    node.attrs.emplace(key, attribute(key));
  }
  return node;
}

// A value. Its strings are never numbers of strings, except in a map.
Attribute IndexReader::attribute(const std::string& key) {
  const std::string what = "attribute " + quoted(key);
  const Token found = token();
  switch (found.kind) {
    case Kind::kBool:
      return found.boolean;
    case Kind::kInt:
      return int64(found, what);
    case Kind::kFloat:
      return found.real;
    case Kind::kString:
      return charge(found.bytes);
    case Kind::kMap:
      return string_map(found.integer, what);
    case Kind::kArray: {
      std::vector<int64_t> list;
      for (int64_t i = 0; i < found.integer; ++i) {
        list.push_back(int64(expect(Kind::kInt, what), what));
      }
      return list;
    }
    default:
      fail(what + " is of a type that attributes do not have");
  }
}

std::map<std::string, std::string> IndexReader::string_map(int64_t count, const std::string& what) {
  std::map<std::string, std::string> map;
  for (; count > 0; --count) {
    const std::string key = name(what, true);
    if (map.count(key)) fail(what + " has " + quoted(key) + " twice");
    map[key] = name(what, true);
  }
  return map;
}

// ---------------------------------------------------------------- tensors
int64_t elements_of(const std::vector<int64_t>& shape) {
  if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
  int64_t elements = 1;
  for (const int64_t axis : shape) {
    if (!checked_mul(elements, axis, &elements) || elements > kMaxElements) return -1;
  }
  return elements;
}

TensorEntry IndexReader::tensor(int64_t number) {
  where = "index, tensor " + std::to_string(number);
  const int64_t items = array("a tensor");
  if (items < 6) fail("a tensor must have 6 items or more, has " + std::to_string(items));
  TensorEntry entry;
  entry.tensor.name = name("a tensor's name");
  where = "index, tensor " + quoted(entry.tensor.name);
  entry.tensor.shape = shape();
  entry.elements = elements_of(entry.tensor.shape);
  if (entry.elements < 0) {
    fail("shape has more elements than the limit of " + std::to_string(kMaxElements));
  }
  read_type(&entry);
  entry.length = integer("the section's length", 0, INT64_MAX);
  entry.crc = static_cast<uint32_t>(integer("the section's checksum", 0, UINT32_MAX));
  items_left_ = items - 5;
  entry.encoding = encoding(entry.tensor.dtype, entry.elements);
  if (items_left_ > 0) fail(std::to_string(items_left_) + " items follow the encoding");
  const int64_t expected =
      entry.encoding.position_bytes(entry.elements) +
      entry.encoding.value_bytes(entry.elements, stored_item_bytes(entry.tensor.dtype));
  if (entry.length != expected) {
    fail("the section has " + std::to_string(entry.length) + " bytes, its encoding needs " +
         std::to_string(expected));
  }
  entry.tensor.stored_bytes = entry.length;
  return entry;
}

void IndexReader::read_type(TensorEntry* entry) {
  ModelTensor& tensor = entry->tensor;
  const Token found = token();
  if (found.kind != Kind::kArray) {
    tensor.dtype = dtype(resolve(found, "a dtype"));
    return;
  }
  if (found.integer != 3) {
    fail("a quantized tensor's type must have 3 items, has " + std::to_string(found.integer));
  }
  entry->quantized = true;
  tensor.dtype = DType::kS8;
  tensor.bits = integer("bits", 1, 8);
  const auto axes = static_cast<int64_t>(tensor.shape.size());
  tensor.axis = integer("axis", 0, std::max<int64_t>(axes, 1) - 1);
  tensor.scale = scale(tensor.shape, tensor.axis);
}

// One for each index of `axis`, or for each of as many groups of the elements there.
bool scales_fit(const std::vector<int64_t>& shape, int64_t axis, int64_t count) {
  if (shape.empty()) return false;
  const int64_t channels = shape[axis];
  if (count == channels) return true;
  if (channels == 0 || count == 0 || count % channels != 0) return false;
  int64_t inputs = 1;  // the index has checked that the product of all axes fits
  for (size_t i = 0; i < shape.size(); ++i) {
    if (static_cast<int64_t>(i) != axis) inputs *= shape[i];
  }
  return inputs % (count / channels) == 0;
}

std::vector<float> IndexReader::scale(const std::vector<int64_t>& shape, int64_t axis) {
  const Token found = token();
  std::vector<float> scale;
  if (found.kind == Kind::kFloat) {
    scale.push_back(static_cast<float>(found.real));
  } else if (found.kind == Kind::kBinary) {
    const size_t count = found.bytes.size() / 4;
    if (found.bytes.size() % 4 != 0 || !scales_fit(shape, axis, static_cast<int64_t>(count))) {
      fail("scale takes " + std::to_string(found.bytes.size()) +
           " bytes, which is not 4 for each index of axis " + std::to_string(axis) +
           " or for each of its groups");
    }
    scale.resize(count);
    if (count > 0) std::memcpy(scale.data(), found.bytes.data(), found.bytes.size());
  } else {
    fail("scale must be a float, or binary with a float32 for each channel");
  }
  for (const float value : scale) {
    if (!std::isfinite(value)) fail("scale is not finite");
  }
  return scale;
}

// The encoding, from the items that are left of a tensor's entry.
Encoding IndexReader::encoding(DType dtype, int64_t elements) {
  const std::string kind = word("an encoding");
  Encoding encoding;
  if (kind == "bitmap") {
    encoding.positions = Positions::kBitmap;
    encoding.nonzeros = parameter("non-zeros", 0, elements);
    encoding.values = coding(word("a coding"), dtype);
  } else if (kind == "gap") {
    encoding.positions = Positions::kGap;
    encoding.symbols = parameter("gap symbols", 0, elements);
    encoding.nonzeros = parameter("non-zeros", 0, encoding.symbols);
    encoding.gaps = integer_coding(word("a coding"), kMaxGapBits);
    encoding.values = coding(word("a coding"), dtype);
  } else {
    encoding.values = coding(kind, dtype);
  }
  return encoding;
}

Coding IndexReader::coding(const std::string& kind, DType dtype) {
  if (kind == "raw") return {};
  const bool floats = dtype == DType::kF32 || dtype == DType::kF16;
  if (kind == "codebook") {
    if (!floats) fail("coding 'codebook' is for floats, the tensor holds integers");
    const int64_t entries = parameter("entries of a codebook", 1, kMaxEntries);
    Coding coding = integer_coding(word("a coding"), kRansMaxSymbolBits);
    coding.entries = entries;
    return coding;
  }
  if (kind == "fixed") {
    if (dtype != DType::kF32) fail("coding 'fixed' is for f32");
    const int64_t exponent = parameter("exponent", kMinExponent, kMaxExponent);
    Coding coding = integer_coding(word("a coding"), 32);
    coding.fixed = true;
    coding.exponent = exponent;
    return coding;
  }
  if (kind == "rans" && floats) fail("coding 'rans' is for integers, the tensor holds floats");
  return integer_coding(kind, 8 * stored_item_bytes(dtype));
}

// packed with up to `widest` bits, or rans.
Coding IndexReader::integer_coding(const std::string& kind, int64_t widest) {
  Coding coding;
  if (kind == "packed") {
    coding.kind = CodingKind::kPacked;
    coding.bits = parameter("bits of a value", 1, widest);
    return coding;
  }
  if (kind != "rans") fail("coding " + quoted(kind) + " is not known to format version 1 here");
  coding.kind = CodingKind::kRans;
  coding.bits = parameter("bits of a value", 1, kRansMaxSymbolBits);
  coding.length = parameter("length of a stream", 0, kMaxStreamBytes);
  return coding;
}

std::string IndexReader::word(const std::string& what) {
  take_item(what);
  return name(what);
}

int64_t IndexReader::parameter(const std::string& what, int64_t low, int64_t high) {
  take_item(what);
  return integer(what, low, high);
}

void IndexReader::take_item(const std::string& what) {
  if (items_left_ < 1) fail(what + " is missing");
  --items_left_;
}

// ---------------------------------------------------------------- meta
MetaEntry IndexReader::meta() {
  const Token found = token();
  if (found.kind == Kind::kNil) return {};
  if (found.kind != Kind::kArray || found.integer != 3) {
    fail("meta must be nil or a list of 3 items");
  }
  MetaEntry meta;
  meta.length = integer("the section's length", 0, 2 * kMaxMetaBytes);
  meta.size = integer("the decompressed size", 0, kMaxMetaBytes);
  meta.crc = static_cast<uint32_t>(integer("the section's checksum", 0, UINT32_MAX));
  return meta;
}

// ---------------------------------------------------------------- members
std::vector<MemberEntry> IndexReader::members(int64_t graphs, int64_t tensors) {
  where = "index, members";
  const int64_t count = array("members");
  if (count != graphs) {
    fail("there are " + std::to_string(count) + " members but " + std::to_string(graphs) +
         " graphs");
  }
  std::vector<MemberEntry> members;
  std::set<std::string> names;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t items = array("a member");
    if (items % 2 == 0) fail("a member must be a name, then pairs of a tensor and its name");
    MemberEntry member;
    member.name = name("a member's name");
    if (!names.insert(member.name).second) {
      fail("member " + quoted(member.name) + " is there twice");
    }
    for (int64_t left = items / 2; left > 0; --left) {
      const int64_t number = integer("a tensor's number", 0, std::max<int64_t>(tensors, 1) - 1);
      if (tensors == 0) fail("there is no tensor to use");
      member.uses.emplace_back(number, name("a tensor's name"));
    }
    members.push_back(std::move(member));
  }
  return members;
}

}  // namespace

std::string quoted(const std::string& name) {
  static const char* const kHex = "0123456789abcdef";
  std::string out = "'";
  for (const char byte : name) {
    const auto code = static_cast<uint8_t>(byte);
    if (code >= 0x20 && code != 0x7F) {
      out += byte;
    } else {
      out += {'\\', 'x', kHex[code >> 4], kHex[code & 15]};
    }
  }
  return out + "'";
}

int64_t Coding::bytes(int64_t count, int64_t itemsize) const {
  const int64_t book = entries * itemsize;
  if (kind == CodingKind::kRans) return book + length;
  return book + (kind == CodingKind::kRaw ? count * itemsize : (count * bits + 7) / 8);
}

int64_t Encoding::position_bytes(int64_t elements) const {
  if (positions == Positions::kDense) return 0;
  return positions == Positions::kBitmap ? (elements + 7) / 8 : gaps.bytes(symbols, 2);
}

int64_t Encoding::value_bytes(int64_t elements, int64_t itemsize) const {
  return values.bytes(positions == Positions::kDense ? elements : nonzeros, itemsize);
}

int64_t stored_item_bytes(DType dtype) {
  return dtype == DType::kS8 ? 1 : dtype == DType::kF16 ? 2 : 4;
}

int64_t decoded_item_bytes(DType dtype) { return dtype == DType::kS8 ? 1 : 4; }

ArchiveIndex read_index(const uint8_t* data, int64_t size) {
  return IndexReader(data, size).read();
}

}  // namespace glz
