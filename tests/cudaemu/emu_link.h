/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the ranks of one communicator share: files that all of them map.
 *  Nothing here waits; the owner of a link asks again. */
#ifndef ZT_CUDAEMU_EMU_LINK_H
#define ZT_CUDAEMU_EMU_LINK_H

#include <atomic>
#include <stddef.h>
#include <stdint.h>
#include <string>
#include <vector>

namespace emu {

/** What a rank says about a message; the same on all for a collective. */
struct Header {
  int32_t kind, type, op, root;
  uint64_t count;
};

class Link {
public:
  /** NULL: the files cannot be made. */
  static Link *open(const std::string &directory, const std::string &id,
                    int size, int rank, int device);
  ~Link();

  /** All ranks have opened it. */
  bool complete() const;
  /** A rank with the same device as another one, -1: none. */
  int duplicate() const;
  /** A rank that has opened it and is no more, -1: none. */
  int dead();

  /** Collective number 1, 2, ...: post once may_post(), read what all have
   *  posted, then say so. */
  bool may_post(uint64_t number) const;
  void post(uint64_t number, const Header &header, const void *data,
            size_t bytes);
  bool posted(int rank, uint64_t number) const;
  const Header &header(int rank, uint64_t number) const;
  const char *data(int rank, uint64_t number, size_t bytes);
  void finished(uint64_t number);

  /** Messages between two ranks, one at a time in each direction. */
  bool may_send(int to) const;
  void send(int to, const Header &header, const void *data, size_t bytes);
  /** NULL: nothing has come. */
  const Header *arrived(int from) const;
  const char *arrived_data(int from, size_t bytes);
  void take(int from);

private:
  struct Message {
    Header header;
    std::atomic<uint64_t> number; /* of the last one written */
    std::atomic<uint64_t> taken;  /* of the last one read (pairs) */
  };
  enum { NOT_YET, HERE, LEFT };
  struct Shared {
    std::atomic<int> arrived, left;
  };
  struct Peer {
    std::atomic<int> here, device;
    std::atomic<uint64_t> finished;
    Message posts[2]; /* by parity of the number */
  };
  struct Map {
    char *p = nullptr;
    size_t bytes = 0;
  };

  Link(const std::string &path, int size, int rank);
  Message &pair(int from, int to) const;
  char *reach(Map &map, const std::string &name, size_t bytes, bool grow);
  std::string name(const char *kind, int a, int b) const;
  int lock(int rank) const;

  std::string path_;
  int size_, rank_, own_lock_;
  Shared *shared_;
  Peer *peers_;
  Message *pairs_;
  std::vector<Map> posts_, pair_maps_; /* [rank * 2 + parity], [from * n + to]*/
  std::vector<int> locks_;
};

} // namespace emu

#endif
