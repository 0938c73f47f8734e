/* add_fd MONITOR FILE: what ours/add_fd.ts does, in C. A line is a number of them. */
#include "qmp.h"
#include <fcntl.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int fd = open(argv[2], O_RDONLY | O_CLOEXEC), s = qmp_connect(argv[1]);
  if (fd < 0) die(argv[2]);
  char line[64], text[256];
  int id = 1;
  while (fgets(line, sizeof line, stdin)) {
    int n = atoi(line);
    for (int i = 0; i < n; i++) {
      double start = now_us();
      snprintf(text, sizeof text,
               "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":2,"
               "\"opaque\":\"svirt-agent ro root bench\"},\"id\":%d}\n", ++id);
      execute(s, text, fd);
      printf(i ? " %.2f" : "%.2f", now_us() - start);
    }
    execute(s, "{\"execute\":\"cont\",\"id\":1}\n", -1);
    execute(s, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":2},\"id\":1}\n", -1);
    execute(s, "{\"execute\":\"stop\",\"id\":1}\n", -1);
    printf("\n");
    fflush(stdout);
  }
}
