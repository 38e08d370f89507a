// SPDX-License-Identifier: BSD-3-Clause
// Shared files of a communicator.
#include "emu_link.h"

#include "emu_core.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace emu {

Link::Link(const std::string &path, int size, int rank)
    : path_(path), size_(size), rank_(rank), own_lock_(-1),
      posts_((size_t) size * 2), pair_maps_((size_t) (size * size)),
      locks_((size_t) size, -1) {}

std::string Link::name(const char *kind, int a, int b) const {
  return path_ + "." + kind + "." + std::to_string(a) + "." + std::to_string(b);
}

int Link::lock(int rank) const {
  return ::open(name("lock", rank, 0).c_str(), O_CREAT | O_RDWR | O_CLOEXEC,
                0600);
}

Link *Link::open(const std::string &directory, const std::string &id, int size,
                 int rank, int device) {
  Link *l = new Link(directory + "/zt-nccl." + id, size, rank);
  size_t n = (size_t) size;
  size_t bytes = sizeof(Shared) + n * sizeof(Peer) + n * n * sizeof(Message);
  int fd = ::open(l->path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  l->own_lock_ = l->lock(rank);
  void *p = MAP_FAILED;
  if (fd >= 0 && !ftruncate(fd, (off_t) bytes))
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd >= 0)
    close(fd);
  if (p == MAP_FAILED || l->own_lock_ < 0 ||
      flock(l->own_lock_, LOCK_EX | LOCK_NB)) {
    report("rank %d of a communicator: its files in %s cannot be made, or "
           "another process has this rank",
           rank, directory.c_str());
    l->shared_ = NULL;
    return NULL;
  }
  l->shared_ = (Shared *) p;
  l->peers_ = (Peer *) (l->shared_ + 1);
  l->pairs_ = (Message *) (l->peers_ + n);
  l->peers_[rank].device = device + 1;
  l->peers_[rank].here = HERE;
  l->shared_->arrived++;
  return l;
}

/* The last one takes the files away. */
Link::~Link() {
  peers_[rank_].here = LEFT;
  for (int fd : locks_)
    if (fd >= 0)
      close(fd);
  if (++shared_->left == size_) {
    unlink(path_.c_str());
    for (int a = 0; a < size_; a++) {
      unlink(name("lock", a, 0).c_str());
      unlink(name("post", a, 0).c_str());
      unlink(name("post", a, 1).c_str());
      for (int b = 0; b < size_; b++)
        unlink(name("pair", a, b).c_str());
    }
  }
  for (auto *maps : {&posts_, &pair_maps_})
    for (Map &m : *maps)
      if (m.p)
        munmap(m.p, m.bytes);
  size_t n = (size_t) size_;
  munmap(shared_, sizeof(Shared) + n * sizeof(Peer) + n * n * sizeof(Message));
  close(own_lock_);
}

/* A file of at least so many bytes, mapped; only its writer makes it grow. */
char *Link::reach(Map &map, const std::string &file, size_t bytes, bool grow) {
  if (map.p && map.bytes >= bytes)
    return map.p;
  if (map.p)
    munmap(map.p, map.bytes);
  size_t room = 1 << 16;
  while (room < bytes)
    room *= 2;
  int fd = ::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 || (grow && ftruncate(fd, (off_t) room)))
    give_up("%s cannot be made", file.c_str());
  map.p = (char *) mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  map.bytes = room;
  close(fd);
  if (map.p == MAP_FAILED)
    give_up("%s cannot be mapped", file.c_str());
  return map.p;
}

bool Link::complete() const {
  return shared_->arrived >= size_;
}

int Link::duplicate() const {
  for (int r = 0; r < size_; r++)
    if (r != rank_ && peers_[r].device == peers_[rank_].device)
      return r;
  return -1;
}

/* A process holds its lock for life, and the kernel drops it when it ends, be
 * the process waited for or not. */
int Link::dead() {
  for (int r = 0; r < size_; r++) {
    if (r == rank_ || peers_[r].here != HERE)
      continue;
    int &fd = locks_[(size_t) r];
    if (fd < 0)
      fd = lock(r);
    if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB)) {
      flock(fd, LOCK_UN);
      return r;
    }
  }
  return -1;
}

/* ---- Collectives ---- */

bool Link::may_post(uint64_t number) const {
  for (int r = 0; r < size_; r++)
    if (peers_[r].finished + 2 < number)
      return false;
  return true;
}

void Link::post(uint64_t number, const Header &header, const void *data,
                size_t bytes) {
  int parity = (int) (number % 2);
  Message &m = peers_[rank_].posts[parity];
  if (bytes)
    memcpy(reach(posts_[(size_t) (rank_ * 2 + parity)],
                 name("post", rank_, parity), bytes, true),
           data, bytes);
  m.header = header;
  m.number = number;
}

bool Link::posted(int rank, uint64_t number) const {
  return peers_[rank].posts[number % 2].number == number;
}

const Header &Link::header(int rank, uint64_t number) const {
  return peers_[rank].posts[number % 2].header;
}

const char *Link::data(int rank, uint64_t number, size_t bytes) {
  int parity = (int) (number % 2);
  return reach(posts_[(size_t) (rank * 2 + parity)], name("post", rank, parity),
               bytes, false);
}

void Link::finished(uint64_t number) {
  peers_[rank_].finished = number;
}

/* ---- Pairs ---- */

Link::Message &Link::pair(int from, int to) const {
  return pairs_[from * size_ + to];
}

bool Link::may_send(int to) const {
  const Message &m = pair(rank_, to);
  return m.number == m.taken;
}

void Link::send(int to, const Header &header, const void *data, size_t bytes) {
  Message &m = pair(rank_, to);
  if (bytes)
    memcpy(reach(pair_maps_[(size_t) (rank_ * size_ + to)],
                 name("pair", rank_, to), bytes, true),
           data, bytes);
  m.header = header;
  m.number++;
}

const Header *Link::arrived(int from) const {
  const Message &m = pair(from, rank_);
  return m.number > m.taken ? &m.header : NULL;
}

const char *Link::arrived_data(int from, size_t bytes) {
  return reach(pair_maps_[(size_t) (from * size_ + rank_)],
               name("pair", from, rank_), bytes, false);
}

void Link::take(int from) {
  pair(from, rank_).taken++;
}

} // namespace emu
