#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "runtime.h"

/*
 * What is large goes back to the system when it is freed. Left to itself glibc
 * keeps blocks of up to 32 MB once it has met some: after a few large results
 * every process of a worker would have their size for good.
 */
static void give_back_large_blocks(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
  mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
#endif
}

int main(int argc, char **argv) {
  prctl(PR_SET_NAME, "taskengine");  // "exe" where /proc/self/exe is executed
  give_back_large_blocks();
  lua_State *L = te_runtime_new();
  int code = te_runtime_main(L, argc, argv);
  te_runtime_free(L);
  exit(code);
}
