/*
 * policy FILE QUESTIONS: loads a binary policy once, and for each line on stdin asks libsepol all of
 * QUESTIONS (lines of SCONTEXT TCONTEXT CLASS-NUMBER PERMISSION-BITS), one after the other; prints the
 * microseconds that took. Contexts are looked up once, as the product does.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* <sepol/policydb/services.h>, so that no header package is needed. */
struct decision { uint32_t allowed, decided, auditallow, auditdeny, seqno; };
int sepol_set_policydb_from_file(FILE *fp);
int sepol_context_to_sid(const char *scontext, size_t length, uint32_t *sid);
int sepol_compute_av_reason(uint32_t ssid, uint32_t tsid, uint16_t tclass, uint32_t requested,
                            struct decision *avd, unsigned int *reason);
void sepol_debug(int on);

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  FILE *policy = fopen(argv[1], "r"), *file = fopen(argv[2], "r");
  sepol_debug(0);
  if (!policy || !file || sepol_set_policydb_from_file(policy)) return 1;
  size_t count = 0, room = 1 << 20;
  struct { uint32_t ssid, tsid, bits; uint16_t tclass; } *asked = malloc(room * sizeof *asked);
  char source[512], target[512], ask[64];
  unsigned tclass, bits;
  while (count < room && fscanf(file, "%511s %511s %u %u", source, target, &tclass, &bits) == 4) {
    asked[count].tclass = tclass;
    asked[count].bits = bits;
    if (sepol_context_to_sid(source, strlen(source) + 1, &asked[count].ssid)) return 1;
    if (sepol_context_to_sid(target, strlen(target) + 1, &asked[count].tsid)) return 1;
    count++;
  }
  uint32_t sum = 0;
  while (fgets(ask, sizeof ask, stdin)) {
    double start = now_us();
    for (size_t i = 0; i < count; i++) {
      struct decision avd;
      unsigned reason;
      if (sepol_compute_av_reason(asked[i].ssid, asked[i].tsid, asked[i].tclass, asked[i].bits,
                                  &avd, &reason)) return 1;
      sum += avd.allowed & asked[i].bits;
    }
    printf("%.2f\n", now_us() - start);
    fflush(stdout);
  }
  return sum == 1;
}
