#include <stdlib.h>
#include <sys/prctl.h>

#include "runtime.h"

int main(int argc, char **argv) {
  prctl(PR_SET_NAME, "taskengine");  // "exe" where /proc/self/exe is executed
  lua_State *L = te_runtime_new();
  int code = te_runtime_main(L, argc, argv);
  te_runtime_free(L);
  exit(code);
}
