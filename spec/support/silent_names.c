/*
 * Preloaded into a process in which no name server answers.
 */
#include <netdb.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *port,
                const struct addrinfo *hints, struct addrinfo **out) {
  (void)name;
  (void)port;
  (void)hints;
  (void)out;
  sleep(30);
  return EAI_AGAIN;
}
