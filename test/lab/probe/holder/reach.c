// Ways to get at another process, and to get a descriptor across to it.
//
//   attach PID, seize PID   ptrace(2); lets go again
//   vmread PID, vmwrite PID the process's memory, at the address where programs begin
//   getfd PID N             pidfd_getfd(2): N of that process; the new number
//   kill PID SIGNAL, limit PID (prlimit), affinity PID, priority PID, compare PID (kcmp)
//   connect PATH            a stream socket; "@NAME" is an abstract one
//   listen PATH             the same for the other side
//   accept                  takes a connection, and the descriptor that comes with it
//   give PATH N             connects and sends N
//   datagram PATH           bind a datagram socket; datagramto PATH sends one byte
#include "holder.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

static void trace(words w, int request) {
  pid_t pid = number(w[1]);
  long long result = ptrace(request, pid, NULL, NULL);
  if (result == 0) {
    if (request == PTRACE_SEIZE) ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    waitpid(pid, NULL, __WALL);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
  }
  say(result);
}

static void attach(words w) { trace(w, PTRACE_ATTACH); }
static void seize(words w) { trace(w, PTRACE_SEIZE); }

static void memory(words w, int writes) {
  char byte = 0;
  struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
  pid_t pid = number(w[1]);
  say(writes ? process_vm_writev(pid, &here, 1, &there, 1, 0)
             : process_vm_readv(pid, &here, 1, &there, 1, 0));
}

static void read_memory(words w) { memory(w, 0); }
static void write_memory(words w) { memory(w, 1); }

static void get_fd(words w) {
  int pidfd = syscall(SYS_pidfd_open, (pid_t)number(w[1]), 0);
  if (pidfd < 0) { say(-1); return; }
  say(syscall(SYS_pidfd_getfd, pidfd, (int)number(w[2]), 0));
}

static void send_signal(words w) { say(kill(number(w[1]), number(w[2]))); }

static void set_limit(words w) {
  struct rlimit limit = {0, RLIM_INFINITY};
  say(prlimit(number(w[1]), RLIMIT_CORE, &limit, NULL));
}

static void set_affinity(words w) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  CPU_SET(1, &cpus);
  say(sched_setaffinity(number(w[1]), sizeof cpus, &cpus));
}

static void set_priority(words w) { say(setpriority(PRIO_PROCESS, number(w[1]), 1)); }
static void compare(words w) { say(syscall(SYS_kcmp, getpid(), (pid_t)number(w[1]), 2, 0, 0)); }

static socklen_t address(const char *path, struct sockaddr_un *to) {
  *to = (struct sockaddr_un){.sun_family = AF_UNIX};
  strncpy(to->sun_path, path, sizeof to->sun_path - 1);
  if (path[0] != '@') return sizeof *to;
  to->sun_path[0] = 0;
  return offsetof(struct sockaddr_un, sun_path) + strlen(path);
}

static int connected(const char *path) {
  struct sockaddr_un to;
  socklen_t length = address(path, &to);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&to, length) == 0) return fd;
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}

static void connect_to(words w) { say(connected(w[1])); }

static int listener = -1;

static void listen_at(words w) {
  struct sockaddr_un at;
  socklen_t length = address(w[1], &at);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&at, length) < 0) say(-1);
  else say(listen(listener, 4));
}

static void accept_one(words w) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) say(-1);
  else say_received(fd);
}

static void give(words w) {
  int fd = connected(w[1]);
  say(fd < 0 ? -1 : send_descriptor(fd, number(w[2])));
}

static int datagrams = -1;

static void bind_datagram(words w) {
  struct sockaddr_un at;
  socklen_t length = address(w[1], &at);
  datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  say(datagrams < 0 ? -1 : bind(datagrams, (struct sockaddr *)&at, length));
}

static void send_datagram(words w) {
  struct sockaddr_un to;
  socklen_t length = address(w[1], &to);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  say(fd < 0 ? -1 : sendto(fd, "d", 1, MSG_DONTWAIT, (struct sockaddr *)&to, length));
}

const struct verb REACHING[] = {
    {"attach", attach},       {"seize", seize},         {"vmread", read_memory},
    {"vmwrite", write_memory}, {"getfd", get_fd},       {"kill", send_signal},
    {"limit", set_limit},     {"affinity", set_affinity}, {"priority", set_priority},
    {"compare", compare},     {"connect", connect_to},  {"listen", listen_at},
    {"accept", accept_one},   {"give", give},           {"datagram", bind_datagram},
    {"datagramto", send_datagram}, {0}};
