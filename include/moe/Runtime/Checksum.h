// XXH64, the checksum of weights files: a streaming implementation for the
// packer, which writes them, and the runtime, which checks them. Header only,
// so that both share it without linking each other.
#ifndef MOE_RUNTIME_CHECKSUM_H
#define MOE_RUNTIME_CHECKSUM_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace moe {

/// Digest of the bytes given to update() so far, seed 0. Little-endian machines
/// only, as the whole runtime.
class XXH64 {
public:
  void update(const void *data, size_t size) {
    const unsigned char *bytes = static_cast<const unsigned char *>(data);
    total += size;
    if (pending) {
      size_t take =
          size < sizeof(block) - pending ? size : sizeof(block) - pending;
      if (take)
        std::memcpy(block + pending, bytes, take);
      pending += take;
      bytes += take;
      size -= take;
      if (pending < sizeof(block))
        return;
      consume(block);
      pending = 0;
    }
    for (; size >= sizeof(block); bytes += sizeof(block), size -= sizeof(block))
      consume(bytes);
    if (size)
      std::memcpy(block, bytes, size);
    pending = size;
  }

  uint64_t digest() const {
    uint64_t hash = prime5;
    if (total >= sizeof(block)) {
      hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) +
             rotate(lane[3], 18);
      for (uint64_t value : lane)
        hash = (hash ^ round(0, value)) * prime1 + prime4;
    }
    hash += total;
    const unsigned char *bytes = block;
    size_t size = pending;
    for (; size >= 8; bytes += 8, size -= 8)
      hash =
          rotate(hash ^ round(0, load<uint64_t>(bytes)), 27) * prime1 + prime4;
    if (size >= 4) {
      hash =
          rotate(hash ^ (load<uint32_t>(bytes) * prime1), 23) * prime2 + prime3;
      bytes += 4;
      size -= 4;
    }
    for (; size; ++bytes, --size)
      hash = rotate(hash ^ (*bytes * prime5), 11) * prime1;
    hash = (hash ^ (hash >> 33)) * prime2;
    hash = (hash ^ (hash >> 29)) * prime3;
    return hash ^ (hash >> 32);
  }

  static uint64_t of(const void *data, size_t size) {
    XXH64 hash;
    hash.update(data, size);
    return hash.digest();
  }

private:
  static constexpr uint64_t prime1 = 0x9E3779B185EBCA87u,
                            prime2 = 0xC2B2AE3D27D4EB4Fu,
                            prime3 = 0x165667B19E3779F9u,
                            prime4 = 0x85EBCA77C2B2AE63u,
                            prime5 = 0x27D4EB2F165667C5u;

  static uint64_t rotate(uint64_t value, int bits) {
    return (value << bits) | (value >> (64 - bits));
  }
  static uint64_t round(uint64_t sum, uint64_t value) {
    return rotate(sum + value * prime2, 31) * prime1;
  }
  template <typename T> static uint64_t load(const unsigned char *bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  void consume(const unsigned char *bytes) {
    for (int i = 0; i < 4; ++i)
      lane[i] = round(lane[i], load<uint64_t>(bytes + 8 * i));
  }

  uint64_t lane[4] = {prime1 + prime2, prime2, 0, 0 - prime1};
  uint64_t total = 0;
  size_t pending = 0;
  unsigned char block[32];
};

} // namespace moe

#endif // MOE_RUNTIME_CHECKSUM_H
