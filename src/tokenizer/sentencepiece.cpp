/* SPDX-License-Identifier: BSD-3-Clause */
/* The one C++ file: the library has no C interface.  No exception may leave it.
 */
#include <algorithm>
#include <cstdlib>
#include <sentencepiece_processor.h>
#include <string>
#include <vector>

extern "C" {
#include "tokenizer/sentencepiece.h"

#include "base/json.h"
}

namespace {

constexpr size_t MODEL_LIMIT = size_t(256) << 20;
/* The library takes a text as a whole, with memory for each byte of it and time
 * for the square of a run of unknown characters.  Documents above CHUNK are cut
 * at a blank; where none will do, more is collected, up to CHUNK_LIMIT. */
constexpr size_t CHUNK = size_t(256) << 10;
constexpr size_t CHUNK_LIMIT = size_t(8) << 20;
constexpr size_t SURROUNDINGS = 256; /* bytes on either side of a cut */
constexpr int CUT_TRIALS = 1000;
constexpr int SENTINELS = 100;

struct sentencepiece_tokenizer : zt_tokenizer {
  std::string name;
  sentencepiece::SentencePieceProcessor model;
  std::string pending; /* of the document, not yet encoded */
  size_t full = CHUNK; /* pending size at which a cut is sought */
};

sentencepiece_tokenizer *self_of(zt_tokenizer *tokenizer) {
  return static_cast<sentencepiece_tokenizer *>(tokenizer);
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

/* Whether a text cut at `at` gives the ids of the whole, judged by the
 * surroundings.  `skip` bytes at the cut belong to neither half: words get a
 * leading blank of their own in most models. */
bool cut_is_exact(const sentencepiece_tokenizer *self, size_t at, size_t skip) {
  const std::string &text = self->pending;
  size_t from = at > SURROUNDINGS ? at - SURROUNDINGS : 0;
  size_t to = std::min(at + skip + SURROUNDINGS, text.size());
  while (from < at && is_continuation(text[from]))
    from++;
  while (to > at + skip && to < text.size() && is_continuation(text[to]))
    to--;
  std::vector<int> whole, left, right;
  if (!self->model.Encode({text.data() + from, to - from}, &whole).ok() ||
      !self->model.Encode({text.data() + from, at - from}, &left).ok() ||
      !self->model.Encode({text.data() + at + skip, to - at - skip}, &right)
           .ok())
    return false;
  left.insert(left.end(), right.begin(), right.end());
  return left == whole;
}

/* The last place where pending text may be cut; 0: none. */
size_t find_cut(const sentencepiece_tokenizer *self, size_t *skip) {
  const std::string &text = self->pending;
  int trials = 0;
  /* The right half must be long enough to judge the cut by. */
  for (size_t at = text.size() - SURROUNDINGS; at > text.size() / 2; at--) {
    if (text[at] != ' ' && text[at] != '\n')
      continue;
    if (++trials > CUT_TRIALS)
      break;
    for (*skip = 1;; *skip = 0) {
      if (cut_is_exact(self, at, *skip))
        return at;
      if (*skip == 0)
        break;
    }
  }
  return 0;
}

zt_status encode_text(sentencepiece_tokenizer *self, size_t size,
                      zt_id_sink sink, void *context) {
  std::vector<int> ids;
  if (!self->model.Encode({self->pending.data(), size}, &ids).ok())
    return zt_fail(ZT_ERR_DATA, "%.100s: cannot encode the text",
                   self->name.c_str());
  static_assert(sizeof(int) == sizeof(int32_t), "ids are passed on as int");
  return ids.empty() ? ZT_OK : sink(context, ids.data(), ids.size());
}

zt_status encode(sentencepiece_tokenizer *self, const char *text, size_t size,
                 bool last, zt_id_sink sink, void *context) {
  while (size > 0) {
    size_t n = std::min(size, CHUNK);
    self->pending.append(text, n);
    text += n;
    size -= n;
    if (self->pending.size() < self->full || (last && size == 0))
      continue;
    size_t skip, at = find_cut(self, &skip);
    if (at > 0) {
      ZT_TRY(encode_text(self, at, sink, context));
      self->pending.erase(0, at + skip);
      self->full = CHUNK;
    } else if (self->full < CHUNK_LIMIT) {
      self->full *= 2;
    } else {
      return zt_fail(ZT_ERR_DATA,
                     "%.80s: no blank to cut at in %zu MiB of one document; "
                     "use smaller documents or the tokenizer 'bytes'",
                     self->name.c_str(), CHUNK_LIMIT >> 20);
    }
  }
  if (!last)
    return ZT_OK;
  ZT_TRY(encode_text(self, self->pending.size(), sink, context));
  self->pending.clear();
  self->full = CHUNK;
  return ZT_OK;
}

bool stands_for_text(const sentencepiece_tokenizer *self, int id) {
  const zt_vocabulary *v = &self->vocabulary;
  return id >= 0 && id < self->model.GetPieceSize() &&
         !self->model.IsControl(id) && !self->model.IsUnknown(id) &&
         (id > v->sentinel || id <= v->sentinel - SENTINELS);
}

zt_status sp_encode(zt_tokenizer *tokenizer, const char *text, size_t size,
                    bool last, zt_id_sink sink, void *context) try {
  return encode(self_of(tokenizer), text, size, last, sink, context);
} catch (...) {
  return zt_fail(ZT_ERR_MEMORY, "out of memory in SentencePiece");
}

zt_status sp_decode(zt_tokenizer *tokenizer, const int32_t *ids, size_t n,
                    zt_text *text) try {
  sentencepiece_tokenizer *self = self_of(tokenizer);
  std::vector<int> kept;
  std::string decoded;
  for (size_t i = 0; i < n; i++)
    if (stands_for_text(self, ids[i]))
      kept.push_back(ids[i]);
  if (!self->model.Decode(kept, &decoded).ok())
    return zt_fail(ZT_ERR_DATA, "%.100s: cannot decode the ids",
                   self->name.c_str());
  zt_text_append(text, decoded.data(), decoded.size());
  return ZT_OK;
} catch (...) {
  return zt_fail(ZT_ERR_MEMORY, "out of memory in SentencePiece");
}

void sp_destroy(zt_tokenizer *tokenizer) {
  delete self_of(tokenizer);
}

const zt_tokenizer_ops sp_ops = {sp_encode, sp_decode, sp_destroy};

/* PieceToId() answers the unknown id for what is not there. */
int find_piece(const sentencepiece_tokenizer *self, const char *piece) {
  int id = self->model.PieceToId(piece);
  return id >= 0 && id < self->model.GetPieceSize() &&
                 self->model.IdToPiece(id) == piece
             ? id
             : -1;
}

void read_vocabulary(sentencepiece_tokenizer *self) {
  zt_vocabulary *v = &self->vocabulary;
  v->size = self->model.GetPieceSize();
  v->pad = self->model.pad_id();
  v->eos = self->model.eos_id();
  v->unk = self->model.unk_id();
  v->bos = -1;
  v->sentinel = find_piece(self, "<extra_id_0>");
  if (v->sentinel < 0) /* as mT5 writes it, with the blank before a word */
    v->sentinel = find_piece(self, "\xE2\x96\x81<extra_id_0>");
  if (v->sentinel < 0 && v->pad >= 0)
    v->sentinel = v->size + SENTINELS - 1;
}

zt_status load(const char *path, const char *where,
               sentencepiece_tokenizer *self) {
  char *bytes;
  size_t size;
  ZT_TRY(zt_read_file(path, MODEL_LIMIT, &bytes, &size));
  self->name = path;
  bool good = size > 0 &&
              self->model.LoadFromSerializedProto({bytes, size}).ok() &&
              self->model.GetPieceSize() > 0;
  std::free(bytes);
  if (!good)
    return zt_fail(ZT_ERR_DATA, "%.100s: not a SentencePiece model", path);
  self->ops = &sp_ops;
  read_vocabulary(self);
  json_t *config;
  ZT_TRY(zt_tokenizer_config_read(path, where, &config));
  const json_t *adds = json_object_get(config, "add_bos_token");
  const char *type =
      json_string_value(json_object_get(config, "tokenizer_class"));
  /* What Transformers' Llama tokenizers do if nothing is said. */
  bool llama = !adds && type && zt_starts_with(type, "LlamaTokenizer");
  if (llama || json_is_true(adds))
    self->vocabulary.bos = self->model.bos_id();
  json_decref(config);
  return ZT_OK;
}

} // namespace

extern "C" zt_status zt_sentencepiece_open(const char *path, const char *config,
                                           zt_tokenizer **tokenizer) try {
  *tokenizer = nullptr;
  sentencepiece_tokenizer *self = new sentencepiece_tokenizer();
  zt_status status = load(path, config, self);
  if (status == ZT_OK)
    *tokenizer = self;
  else
    delete self;
  return status;
} catch (...) {
  return zt_fail(ZT_ERR_MEMORY, "out of memory in SentencePiece");
}
