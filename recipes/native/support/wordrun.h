/*
 * wordrun: counted words in a file, in order.
 *
 * native.wordcount writes runs, native.wordmerge makes one of many. A run has
 * parts, so that whoever reduces one part of all words reads nothing else:
 *
 *     8 bytes   "TEwords1"
 *     4 bytes   how many parts, then for each of them
 *     8 bytes   where it ends; the first begins after the last of these
 *     entries   of the parts, one after the other
 *
 * An entry is how many bytes the word shares with the one before it in its
 * part, how many are its own, these, and how often it was counted. The words
 * of a part ascend by their bytes, so each has a byte of its own. The numbers
 * of an entry are written 7 bits a byte, the lowest first, with 128 added to
 * all bytes but the last; those of the header with the highest byte first.
 */
#ifndef WORDRUN_H
#define WORDRUN_H

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORDRUN_MAGIC          "TEwords1"
#define WORDRUN_MAGIC_BYTES    8
#define WORDRUN_PARTS_MAX      1024
#define WORDRUN_WORD_BYTES_MAX (1u << 20)

typedef struct {
  const char *data;
  size_t size;
} wordrun_word;

static inline uint64_t wordrun_ends_at(uint32_t parts) {
  return WORDRUN_MAGIC_BYTES + 4 + UINT64_C(8) * parts;
}

/*
 * Writes the header at the start of the file; what fails shows in ferror().
 */
static inline void wordrun_put_header(FILE *file, const uint64_t *ends,
                                      uint32_t parts) {
  uint32_t count = htobe32(parts);
  fwrite(WORDRUN_MAGIC, 1, WORDRUN_MAGIC_BYTES, file);
  fwrite(&count, 1, sizeof(count), file);
  for (uint32_t i = 0; i < parts; i++) {
    uint64_t end = htobe64(ends[i]);
    fwrite(&end, 1, sizeof(end), file);
  }
}

static inline size_t wordrun_put_number(FILE *file, uint64_t n) {
  size_t size = 1;
  for (; n > 0x7f; n >>= 7, size++)
    putc_unlocked((int)(0x80 | (n & 0x7f)), file);
  putc_unlocked((int)n, file);
  return size;
}

/*
 * Writes an entry and returns its size; `last` is the word before it, and
 * empty for the first of a part.
 */
static inline size_t wordrun_put(FILE *file, wordrun_word last,
                                 wordrun_word word, uint64_t count) {
  size_t most = last.size < word.size ? last.size : word.size;
  size_t shared = 0;
  while (shared < most && last.data[shared] == word.data[shared])
    shared++;
  size_t own = word.size - shared;
  size_t size = wordrun_put_number(file, shared);
  size += wordrun_put_number(file, own);
  size += fwrite(word.data + shared, 1, own, file);
  return size + wordrun_put_number(file, count);
}

/*
 * Flushes and closes a file; returns 0, or the number of the first error.
 */
static inline int wordrun_close(FILE *file) {
  int error = 0;
  if (ferror(file) || fflush(file) != 0) error = errno != 0 ? errno : EIO;
  if (fclose(file) != 0 && error == 0) error = errno;
  return error;
}

static inline int wordrun_compare(wordrun_word a, wordrun_word b) {
  int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
  if (order != 0) return order;
  return (a.size > b.size) - (a.size < b.size);
}

#endif
