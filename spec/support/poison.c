/*
 * What a task's native module may do to its process. Lua calls these as they
 * are, through package.loadlib; none of them returns anything.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct lua_State;

int poison_segfault(struct lua_State *L);
int poison_abort(struct lua_State *L);
int poison_bus(struct lua_State *L);
int poison_ill(struct lua_State *L);
int poison_fpe(struct lua_State *L);
int poison_exit(struct lua_State *L);
int poison_stop(struct lua_State *L);
int poison_block(struct lua_State *L);
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

int poison_bus(struct lua_State *L) {
  (void)L;
  return raise(SIGBUS);
}

int poison_ill(struct lua_State *L) {
  (void)L;
  return raise(SIGILL);
}

int poison_fpe(struct lua_State *L) {
  (void)L;
  return raise(SIGFPE);
}

int poison_exit(struct lua_State *L) {
  (void)L;
  _exit(9);
}

int poison_stop(struct lua_State *L) {
  (void)L;
  return raise(SIGSTOP);
}

// Hears no signal but those that nobody can block.
int poison_block(struct lua_State *L) {
  sigset_t all;
  (void)L;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  for (;;)
    pause();
}

int poison_close_all(struct lua_State *L) {
  (void)L;
  for (int fd = 0; fd < 1024; fd++)
    close(fd);
  return 0;
}
