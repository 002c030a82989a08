/*
 * Preloaded into the interpreter of the specs behind a sanitizer's library.
 * What this process starts runs without that library, and no module is
 * unloaded, so that a leak reported at the end is shown with its functions.
 */
#include <stdlib.h>

__attribute__((constructor)) static void unpreload(void) {
  unsetenv("LD_PRELOAD");
}

int dlclose(void *handle) {
  (void)handle;
  return 0;
}
