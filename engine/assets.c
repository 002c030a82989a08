#include "assets.h"

#include <string.h>

const te_embedded_file *te_embedded_file_find(const char *name) {
  for (const te_embedded_file *f = te_embedded_files; f->name; f++) {
    if (strcmp(f->name, name) == 0) return f;
  }
  return NULL;
}
