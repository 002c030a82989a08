/***
Heaps of numbers. An item is named by the number that `add` returned, from 1;
among equal keys the one added earlier comes first.
@module taskengine.core.testing.heap
*/
#include "bind/bind.h"
#include "heap.h"
#include "list.h"

#define CLASS     "taskengine.testing.heap"
#define ITEMS_MAX 4096

typedef struct item {
  te_heap_node node;
  lua_Integer key;
  int name;
} item;

typedef struct heap {
  te_heap heap;
  int count;
  item items[ITEMS_MAX];
} heap;

static bool comes_before(const te_heap_node *a, const te_heap_node *b) {
  const item *x = te_container_of_const(a, item, node);
  const item *y = te_container_of_const(b, item, node);
  return x->key != y->key ? x->key < y->key : x->name < y->name;
}

static heap *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static item *check_item(lua_State *L) {
  heap *h = check(L);
  lua_Integer name = luaL_checkinteger(L, 2);
  luaL_argcheck(L, name >= 1 && name <= h->count, 2, "no such item");
  return &h->items[name - 1];
}

/***
An empty heap.
@function new
@treturn heap
*/
static int heap_new(lua_State *L) {
  heap *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->count = 0;
  te_heap_init(&h->heap, comes_before);
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Gives the heap's memory back.
@function heap:free
*/
static int heap_free(lua_State *L) {
  te_heap_free(&check(L)->heap);
  return 0;
}

/***
Adds an item.
@function heap:add
@tparam int key
@treturn int its name
*/
static int heap_add(lua_State *L) {
  heap *h = check(L);
  lua_Integer key = luaL_checkinteger(L, 2);
  luaL_argcheck(L, h->count < ITEMS_MAX, 1, "full");
  item *it = &h->items[h->count++];
  *it = (item){.key = key, .name = h->count};
  te_heap_add(&h->heap, &it->node);
  lua_pushinteger(L, it->name);
  return 1;
}

static int push_item(lua_State *L, const te_heap_node *node) {
  if (node == NULL) return 0;
  const item *it = te_container_of_const(node, item, node);
  lua_pushinteger(L, it->name);
  lua_pushinteger(L, it->key);
  return 2;
}

/***
The first item.
@function heap:first
@treturn ?int its name, nil when the heap is empty
@treturn int its key
*/
static int heap_first(lua_State *L) {
  return push_item(L, te_heap_first(&check(L)->heap));
}

/***
Takes the first item out.
@function heap:take_first
@treturn ?int its name, nil when the heap is empty
@treturn int its key
*/
static int heap_take_first(lua_State *L) {
  te_heap *h = &check(L)->heap;
  te_heap_node *first = te_heap_first(h);
  if (first != NULL) te_heap_remove(h, first);
  return push_item(L, first);
}

/***
Takes any item out.
@function heap:remove
@tparam int name
*/
static int heap_remove(lua_State *L) {
  item *it = check_item(L);
  te_heap_remove(&check(L)->heap, &it->node);
  return 0;
}

/***
Changes an item's key.
@function heap:update
@tparam int name
@tparam int key
*/
static int heap_update(lua_State *L) {
  item *it = check_item(L);
  it->key = luaL_checkinteger(L, 3);
  te_heap_update(&check(L)->heap, &it->node);
  return 0;
}

/***
Whether an item is in the heap.
@function heap:holds
@tparam int name
@treturn boolean
*/
static int heap_holds(lua_State *L) {
  lua_pushboolean(L, te_heap_holds(&check_item(L)->node));
  return 1;
}

static const luaL_Reg methods[] = {
    {"free", heap_free},     {"add", heap_add},
    {"first", heap_first},   {"take_first", heap_take_first},
    {"remove", heap_remove}, {"update", heap_update},
    {"holds", heap_holds},   {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", heap_free},
    {"__close", heap_free},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", heap_new},
    {NULL, NULL},
};

int te_bind_open_testing_heap(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
