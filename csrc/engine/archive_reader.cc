// Header, sizes, checksums and structure of an archive; docs/format.md says what they must be.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>

#include "../base/check.h"
#include "../base/crc32.h"
#include "archive_index.h"
#include "archive_layout.h"
#include "archive_stream.h"
#include "model.h"

namespace glz {
namespace {

uint64_t little_endian(const uint8_t* data, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | data[i];
  return value;
}

bool starts_with(const uint8_t* data, int64_t size, std::string_view start) {
  return size >= static_cast<int64_t>(start.size()) &&
         std::memcmp(data, start.data(), start.size()) == 0;
}

// A guess at a foreign file, from its first bytes.
std::string what_it_is(const uint8_t* data, int64_t size) {
  using namespace std::string_view_literals;
  if (size == 0) return "the file is empty";
  static const std::pair<std::string_view, const char*> kKnown[] = {
      {"\x89GLZ"sv,
       "its line ends were rewritten by a transfer in text mode: transfer it as binary"},
      {"PK\x03\x04"sv, "it is a ZIP file (.npz, .zip)"},
      {"\x12\x01\0\0\0\0\0\0"sv, "it looks like MXNet's .params: trace the network, then write it"},
      {"\x93NUMPY"sv, "it is a NumPy .npy array"},
      {"\x89HDF\r\n\x1a\n"sv, "it is an HDF5 file"},
      {"\x1f\x8b"sv, "it is gzip-compressed: decompress it first"},
      {"{"sv, "it looks like JSON (MXNet's -symbol.json?): trace the network, then write it"},
      {"\x08"sv, "it looks like ONNX"}};
  for (const auto& [start, name] : kKnown) {
    if (starts_with(data, size, start)) return name;
  }
  return "it does not start with 89 47 4c 5a 0d 0a 1a 0a";
}

struct Header {
  int64_t index_bytes;
  uint32_t index_crc;
};

Header read_header(const uint8_t* data, int64_t size) {
  const std::string_view magic(reinterpret_cast<const char*>(kArchiveMagic), sizeof kArchiveMagic);
  GLZ_CHECK(starts_with(data, size, magic), kArchive,
            "not a gluonzip archive: " << what_it_is(data, size));
  GLZ_CHECK(size >= kHeaderBytes, kArchive,
            "truncated: " << size << " bytes, the header alone takes " << kHeaderBytes);
  const uint64_t version = little_endian(data + 8, 4), flags = little_endian(data + 12, 4);
  GLZ_CHECK(version <= kArchiveVersion, kArchive,
            "written by format version " << version << ", this gluonzip reads up to "
                                         << kArchiveVersion << ": upgrade gluonzip");
  GLZ_CHECK(crc32(data, kHeaderBytes - 4) == little_endian(data + 28, 4), kArchive,
            "header: the checksum does not match: the file is corrupted");
  GLZ_CHECK(version == kArchiveVersion, kArchive, "header: there is no format version " << version);
  GLZ_CHECK(flags == 0, kArchive,
            "header: flags 0x" << std::hex << flags << " are not known to format version 1");
  const uint64_t length = little_endian(data + 16, 8);
  const int64_t left = size - kHeaderBytes;
  GLZ_CHECK(length <= static_cast<uint64_t>(left), kArchive,
            "truncated: the index takes " << length << " bytes, " << left << " are left");
  return {static_cast<int64_t>(length), static_cast<uint32_t>(little_endian(data + 24, 4))};
}

// Tensors that are in memory together, this often, take no more than is reasonable.
void check_decoded(int64_t decoded, int64_t file_bytes) {
  const int64_t limit = max_decoded_bytes(file_bytes);
  GLZ_CHECK(decoded <= limit, kArchive,
            "the tensors would take " << decoded << " bytes of memory, the limit for a file of "
                                      << file_bytes << " bytes is " << limit);
}

int64_t decoded_bytes(const TensorEntry& entry) {
  return entry.elements * decoded_item_bytes(entry.tensor.dtype);
}

// The sections fill the file exactly, and decode to no more than is reasonable.
void check_sizes(const ArchiveIndex& index, int64_t file_bytes, int64_t left) {
  int64_t total = index.meta.length, decoded = 0;  // far from overflow by the limits of the format
  for (const TensorEntry& entry : index.tensors) {
    total += entry.length;
    decoded += decoded_bytes(entry);
  }
  GLZ_CHECK(total <= left, kArchive,
            "truncated: the sections take " << total << " bytes, " << left << " are left");
  GLZ_CHECK(total == left, kArchive, left - total << " bytes follow the last section");
  check_decoded(decoded, file_bytes);
}

void check_crc(const std::string& what, const uint8_t* data, int64_t size, uint32_t crc) {
  GLZ_CHECK(crc32(data, static_cast<size_t>(size)) == crc, kArchive,
            what << ": the checksum does not match: the file is corrupted");
}

// Names are unique, and every tensor is defined once, before it is read.
void check_structure(const Model& model) {
  std::set<std::string> defined, nodes;
  const auto define = [&](const std::string& name, const std::string& what) {
    GLZ_CHECK(defined.insert(name).second, kArchive,
              what << ": tensor " << quoted(name) << " is defined twice");
  };
  for (const ModelInput& input : model.inputs) define(input.name, "input " + quoted(input.name));
  for (const auto& [name, tensor] : model.tensors) define(name, "tensor " + quoted(name));
  for (const ModelNode& node : model.nodes) {
    const std::string what = "node " + quoted(node.name);
    GLZ_CHECK(nodes.insert(node.name).second, kArchive, what << ": another node has the same name");
    for (const std::string& name : node.inputs) {
      GLZ_CHECK(name.empty() || defined.count(name), kArchive,
                what << " reads tensor " << quoted(name) << ", which nothing before it defines");
    }
    GLZ_CHECK(!node.outputs.empty(), kArchive, what << " has no output");
    for (const std::string& name : node.outputs) define(name, what);
  }
  for (const std::string& name : model.outputs) {
    GLZ_CHECK(defined.count(name), kArchive,
              "output " << quoted(name) << " of the graph is a tensor that nothing defines");
  }
}

// Which network: the only one, or the one called `member`.
size_t choose(const ArchiveIndex& index, const std::optional<std::string>& member) {
  if (!index.family) {
    GLZ_CHECK(!member, kConfig,
              "holds one network, so there is no member " << quoted(member.value_or("")));
    return 0;
  }
  std::string known;
  for (size_t i = 0; i < index.members.size(); ++i) {
    const std::string& name = index.members[i].name;
    if (member == name) return i;
    known += (i == 0 ? "" : ", ") + quoted(name);
  }
  if (known.empty()) known = "none";
  GLZ_CHECK(member, kConfig, "holds a family of networks; say which member: " << known);
  throw Error(ErrorKind::kConfig, "has no member " + quoted(*member) + "; there are " + known);
}

// The tensors that network number `chosen` has, and what it calls them.
std::vector<std::pair<int64_t, std::string>> uses_of(const ArchiveIndex& index, size_t chosen,
                                                     int64_t file_bytes) {
  std::vector<std::pair<int64_t, std::string>> uses;
  if (!index.family) {
    for (const TensorEntry& entry : index.tensors) {
      uses.emplace_back(static_cast<int64_t>(uses.size()), entry.tensor.name);
    }
    return uses;
  }
  uses = index.members[chosen].uses;
  int64_t decoded = 0;
  for (const auto& use : uses) decoded += decoded_bytes(index.tensors[use.first]);  // below 2^62
  check_decoded(decoded, file_bytes);
  return uses;
}

// A file in memory whose pages are given back as soon as they are decoded: packed weights take the
// place of the file's bytes, and the two are never there together.
class FileBytes {
 public:
  explicit FileBytes(size_t size) : size_(size) {
    if (size == 0) return;
    void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<uint8_t*>(pages);
  }
  FileBytes(const FileBytes&) = delete;
  ~FileBytes() {
    if (data_ != nullptr) munmap(data_, size_);
  }
  uint8_t* data() { return data_; }

  // These bytes read as zeros from now on; the pages that lie wholly inside are free.
  void release(const uint8_t* from, int64_t length) {
    const auto page = static_cast<int64_t>(sysconf(_SC_PAGESIZE));
    const int64_t begin = round_up(from - data_, page);
    const int64_t end = (from - data_ + length) / page * page;
    if (begin < end) madvise(data_ + begin, end - begin, MADV_DONTNEED);
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_;
};

// Puts where it was in front of what is wrong with a section.
template <typename Fn>
auto told_with(const std::string& where, Fn fn) {
  try {
    return fn();
  } catch (const Error& error) {
    throw Error(error.kind(), where + ": " + error.what());
  }
}

class NamedStream final : public ElementStream {
 public:
  NamedStream(std::string where, std::unique_ptr<ElementStream> stream)
      : where_(std::move(where)), stream_(std::move(stream)) {}
  void read(void* out, int64_t count) override {
    told_with(where_, [&] { stream_->read(out, count); });
  }
  void finish() override {
    told_with(where_, [&] { stream_->finish(); });
  }

 private:
  const std::string where_;
  const std::unique_ptr<ElementStream> stream_;
};

// A section whose checksum was right.
class StoredSection final : public StoredTensor {
 public:
  StoredSection(std::shared_ptr<const TensorEntry> entry, const uint8_t* section, std::string where,
                std::shared_ptr<FileBytes> owner)
      : entry_(std::move(entry)),
        section_(section),
        where_(std::move(where)),
        owner_(std::move(owner)) {}
  ~StoredSection() override {
    if (owner_ != nullptr) owner_->release(section_, entry_->length);
  }
  std::unique_ptr<ElementStream> open() const override {
    return std::make_unique<NamedStream>(
        where_, told_with(where_, [this] { return stream_section(*entry_, section_); }));
  }

 private:
  const std::shared_ptr<const TensorEntry> entry_;
  const uint8_t* const section_;
  const std::string where_;
  const std::shared_ptr<FileBytes> owner_;  // null: the data is the caller's
};

struct Source {
  const uint8_t* data;
  int64_t size;
  std::string origin;
  std::shared_ptr<FileBytes> owner;  // of the data; null: the caller
  bool decode;                       // at once
};

// The sections, each with its checksum compared when it is first asked for.
class Sections {
 public:
  Sections(const Source& source, std::shared_ptr<const ArchiveIndex> index, const uint8_t* at)
      : source_(source), index_(std::move(index)), stored_(index_->tensors.size()) {
    for (const TensorEntry& entry : index_->tensors) {
      begins_.push_back(at);
      at += entry.length;
    }
    end_ = at;
  }

  // Tensor number `number` as network calls it `name`.
  ModelTensor tensor(int64_t number, const std::string& name) {
    const ModelTensor& as = index_->tensors[number].tensor;
    ModelTensor tensor{name,    as.dtype, as.shape,       {}, stored(number), as.scale,
                       as.axis, as.bits,  as.stored_bytes};
    if (tensor.dtype == DType::kF16) tensor.dtype = DType::kF32;
    if (source_.decode) {
      decode_tensor(&tensor);
      if (!index_->family) stored_[number].reset();  // members may use a section twice
    }
    return tensor;
  }
  const uint8_t* end() const { return end_; }

 private:
  std::shared_ptr<const StoredTensor> stored(int64_t number) {
    if (stored_[number] == nullptr) {
      const TensorEntry& entry = index_->tensors[number];
      const std::string what = "tensor " + quoted(entry.tensor.name);
      check_crc(what, begins_[number], entry.length, entry.crc);
      const std::string where = source_.decode ? what : source_.origin + ": " + what;
      stored_[number] =
          std::make_shared<StoredSection>(std::shared_ptr<const TensorEntry>(index_, &entry),
                                          begins_[number], where, source_.owner);
    }
    return stored_[number];
  }

  const Source& source_;
  const std::shared_ptr<const ArchiveIndex> index_;
  std::vector<const uint8_t*> begins_;
  const uint8_t* end_;
  std::vector<std::shared_ptr<const StoredTensor>> stored_;
};

Model parse(const Source& source, const std::optional<std::string>& member) {
  const uint8_t* data = source.data;
  const Header header = read_header(data, source.size);
  const uint8_t* at = data + kHeaderBytes;
  check_crc("index", at, header.index_bytes, header.index_crc);
  const auto index = std::make_shared<ArchiveIndex>(read_index(at, header.index_bytes));
  at += header.index_bytes;
  check_sizes(*index, source.size, data + source.size - at);

  Sections sections(source, index, at);
  const size_t chosen = choose(*index, member);
  Model model = std::move(index->models[chosen]);
  for (const auto& [number, name] : uses_of(*index, chosen, source.size)) {
    const std::string what = "tensor " + quoted(name);
    GLZ_CHECK(!model.tensors.count(name), kArchive, what << ": " << what << " is defined twice");
    model.tensors[name] = sections.tensor(number, name);
  }
  check_crc("meta", sections.end(), index->meta.length, index->meta.crc);
  check_structure(model);
  return model;
}

Model read(const Source& source, const std::optional<std::string>& member) {
  try {
    return parse(source, member);
  } catch (const Error& error) {
    throw Error(error.kind(), source.origin + ": " + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(ErrorKind::kArchive,
                source.origin + ": its tensors do not fit this machine's memory");
  }
}

Model read_file(const std::string& path, const std::optional<std::string>& member, bool decode) {
  const auto fail = [&](int code) {
    throw Error(ErrorKind::kArchive, path + ": cannot be read: " + std::strerror(code));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr) fail(errno);
  struct stat status;
  if (fstat(fileno(file.get()), &status) != 0) fail(errno);
  if (S_ISDIR(status.st_mode)) fail(EISDIR);
  const auto size = static_cast<size_t>(status.st_size);
  const auto bytes = std::make_shared<FileBytes>(size);
  const size_t used = std::fread(bytes->data(), 1, size, file.get());
  if (std::ferror(file.get())) fail(errno);
  return read({bytes->data(), static_cast<int64_t>(used), path, bytes, decode}, member);
}

}  // namespace

void decode_tensor(ModelTensor* tensor) {
  if (tensor->stored == nullptr) return;
  int64_t count = 1;  // within the limits of the format
  for (const int64_t axis : tensor->shape) count *= axis;
  tensor->data = Buffer(static_cast<size_t>(count * decoded_item_bytes(tensor->dtype)));
  const auto stream = tensor->stored->open();
  stream->read(tensor->data.data(), count);
  stream->finish();
  tensor->stored.reset();
}

Model read_archive(const uint8_t* data, size_t size, const std::string& origin,
                   const std::optional<std::string>& member) {
  return read({data, static_cast<int64_t>(size), origin, nullptr, true}, member);
}

Model read_archive_file(const std::string& path, const std::optional<std::string>& member) {
  return read_file(path, member, true);
}

Model open_archive(const uint8_t* data, size_t size, const std::string& origin,
                   const std::optional<std::string>& member) {
  const auto bytes = std::make_shared<FileBytes>(size);
  if (size > 0) std::memcpy(bytes->data(), data, size);
  return read({bytes->data(), static_cast<int64_t>(size), origin, bytes, false}, member);
}

Model open_archive_file(const std::string& path, const std::optional<std::string>& member) {
  return read_file(path, member, false);
}

}  // namespace glz
