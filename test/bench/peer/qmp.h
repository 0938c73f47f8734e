/* A QMP client: connects, leaves negotiation mode, sends a command with at most one descriptor. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static char answer[1 << 20];

/* Reads lines until one is a reply: events and the greeting in between are skipped. */
static void read_reply(int s) {
  size_t have = 0;
  for (;;) {
    ssize_t n = recv(s, answer + have, sizeof answer - 1 - have, 0);
    if (n <= 0) die("recv");
    have += n;
    answer[have] = 0;
    char *line = answer, *end;
    while ((end = strchr(line, '\n'))) {
      *end = 0;
      if (strstr(line, "\"return\"")) return;
      if (strstr(line, "\"error\"")) {
        fprintf(stderr, "%s\n", line);
        exit(1);
      }
      line = end + 1;
    }
    have -= line - answer;
    memmove(answer, line, have);
  }
}

static void execute(int s, const char *text, int fd) {
  struct iovec iov = { (void *)text, strlen(text) };
  union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } control;
  struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
  if (fd >= 0) {
    m.msg_control = &control;
    m.msg_controllen = CMSG_SPACE(sizeof(int));
    control.h.cmsg_level = SOL_SOCKET;
    control.h.cmsg_type = SCM_RIGHTS;
    control.h.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.h), &fd, sizeof fd);
  }
  if (sendmsg(s, &m, MSG_NOSIGNAL) != (ssize_t)iov.iov_len) die("sendmsg");
  read_reply(s);
}

static int qmp_connect(const char *path) {
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  snprintf(a.sun_path, sizeof a.sun_path, "%.107s", path);
  if (connect(s, (struct sockaddr *)&a, sizeof a)) die(path);
  execute(s, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n", -1);
  return s;
}
