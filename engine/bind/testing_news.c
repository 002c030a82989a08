/***
What tasks say of themselves, until Redis knows.
@module taskengine.core.testing.news
*/
#include "bind/bind.h"
#include "news.h"

#define CLASS     "taskengine.testing.news"
#define TASKS_MAX ((lua_Integer)2 * TE_NEWS_MAX)

typedef struct box {
  te_news news;
  te_task *tasks[TASKS_MAX];
  lua_Integer count;
} box;

static box *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static te_task *check_task(lua_State *L, int arg) {
  box *b = check(L);
  lua_Integer i = luaL_checkinteger(L, arg);
  luaL_argcheck(L, i >= 1 && i <= b->count, arg, "no such task");
  return b->tasks[i - 1];
}

/***
News of nobody.
@function new
@treturn news
*/
static int news_new(lua_State *L) {
  box *b = lua_newuserdatauv(L, sizeof(*b), 0);
  te_news_init(&b->news);
  b->count = 0;
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Adds a task that runs.
@function news:task
@tparam string envelope
@treturn int its number, from 1
*/
static int news_task(lua_State *L) {
  box *b = check(L);
  te_task *t = te_task_new(te_bind_check_slice(L, 2), 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  luaL_argcheck(L, b->count < TASKS_MAX, 1, "full");
  b->tasks[b->count++] = t;
  lua_pushinteger(L, b->count);
  return 1;
}

/***
A task says something.
@function news:say
@tparam int task
@tparam string word
*/
static int news_say(lua_State *L) {
  te_task *t = check_task(L, 2);
  te_news_say(&check(L)->news, t, te_bind_check_slice(L, 3));
  return 0;
}

/***
A task has ended.
@function news:hush
@tparam int task
*/
static int news_hush(lua_State *L) {
  te_task_hush(check_task(L, 2));
  return 0;
}

/***
The flags of a task's envelope, as the master knows them.
@function news:flags
@tparam int task
@treturn int
*/
static int news_flags(lua_State *L) {
  lua_pushinteger(L, check_task(L, 2)->envelope.flags);
  return 1;
}

/***
How long until there is something to tell.
@function news:wait
@tparam int now ms
@treturn ?int ms; nil when there is nothing
*/
static int news_wait(lua_State *L) {
  uint64_t wait_ms;
  uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
  if (!te_news_wait(&check(L)->news, now, &wait_ms)) return 0;
  lua_pushinteger(L, (lua_Integer)wait_ms);
  return 1;
}

static void add_arg(void *arg, te_slice s) {
  lua_State *L = arg;
  lua_pushlstring(L, s.data, s.size);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/***
Takes what goes into one call, if it is time, and writes it.
@function news:write
@tparam int now ms
@treturn int how many arguments were announced
@treturn {string,...} the arguments
*/
static int news_write(lua_State *L) {
  box *b = check(L);
  uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
  lua_pushinteger(L, (lua_Integer)te_news_tell(&b->news, now));
  lua_newtable(L);
  te_news_write(&b->news, add_arg, L);
  return 2;
}

/***
Redis has confirmed the call.
@function news:confirm
*/
static int news_confirm(lua_State *L) {
  te_news_forget_told(&check(L)->news);
  return 0;
}

/***
Nobody knows whether Redis has got the call.
@function news:lose
*/
static int news_lose(lua_State *L) {
  te_news_tell_again(&check(L)->news);
  return 0;
}

/***
The lease is lost: all tasks are somebody else's.
@function news:drop
*/
static int news_drop(lua_State *L) {
  te_news_drop(&check(L)->news);
  return 0;
}

static int news_gc(lua_State *L) {
  box *b = check(L);
  while (b->count > 0)
    te_task_free(b->tasks[--b->count]);
  return 0;
}

static const luaL_Reg methods[] = {
    {"task", news_task},   {"say", news_say},         {"hush", news_hush},
    {"flags", news_flags}, {"wait", news_wait},       {"write", news_write},
    {"lose", news_lose},   {"confirm", news_confirm}, {"drop", news_drop},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", news_gc},
    {"__close", news_gc},
    {NULL, NULL},
};

int te_bind_open_testing_news(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", news_new},   {"PAUSE_MS", NULL}, {"TASKS_MAX", NULL},
      {"BYTES_MAX", NULL}, {NULL, NULL},
  };
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_NEWS_PAUSE_MS);
  lua_setfield(L, -2, "PAUSE_MS");
  lua_pushinteger(L, TE_NEWS_MAX);
  lua_setfield(L, -2, "TASKS_MAX");
  lua_pushinteger(L, (lua_Integer)TE_NEWS_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
