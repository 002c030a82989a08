#include <stdlib.h>

#include "runtime.h"

int main(int argc, char **argv) {
  lua_State *L = te_runtime_new();
  int code = te_runtime_main(L, argc, argv);
  te_runtime_free(L);
  exit(code);
}
