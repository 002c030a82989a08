/*
 * What a task's native module may do to its process. Lua calls these as they
 * are, through package.loadlib; none of them returns anything.
 */
#include <stdlib.h>
#include <unistd.h>

struct lua_State;

int poison_segfault(struct lua_State *L);
int poison_abort(struct lua_State *L);
int poison_close_all(struct lua_State *L);

int poison_segfault(struct lua_State *L) {
  (void)L;
  volatile int *nowhere = NULL;
  *nowhere = 1;
  return 0;
}

int poison_abort(struct lua_State *L) {
  (void)L;
  abort();
}

int poison_close_all(struct lua_State *L) {
  (void)L;
  for (int fd = 0; fd < 1024; fd++)
    close(fd);
  return 0;
}
