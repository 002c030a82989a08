/*
 * Preloaded into a process in which every name has two addresses. Nobody
 * listens at the first; the second is that of the spec's server.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>

typedef struct entry {
  struct addrinfo info;
  struct sockaddr_in address;
} entry;

static entry entries[2];

static void fill(entry *e, uint32_t address, const char *port) {
  e->address = (struct sockaddr_in){
      .sin_family = AF_INET,
      .sin_port = htons((uint16_t)atoi(port)),
      .sin_addr.s_addr = htonl(address),
  };
  e->info = (struct addrinfo){
      .ai_family = AF_INET,
      .ai_socktype = SOCK_STREAM,
      .ai_addrlen = sizeof(e->address),
      .ai_addr = (struct sockaddr *)&e->address,
  };
}

int getaddrinfo(const char *name, const char *port,
                const struct addrinfo *hints, struct addrinfo **out) {
  (void)name;
  (void)hints;
  fill(&entries[0], INADDR_LOOPBACK + 1, port);
  fill(&entries[1], INADDR_LOOPBACK, port);
  entries[0].info.ai_next = &entries[1].info;
  *out = &entries[0].info;
  return 0;
}

void freeaddrinfo(struct addrinfo *list) {
  (void)list;
}
