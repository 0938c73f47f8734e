// Ways to get at a descriptor and to keep it.
//
//   dup N                   the new number
//   close N
//   open PATH ro|rw [direct]  by path; the new number
//   reopen N ro|rw [direct] through /proc/self/fd/N; the new number
//   flight N                sends N to the holder itself over a socket and closes it
//   land                    receives what is in flight; the new number
//   ring N                  an io_uring with N as a registered (fixed) file
//   keepmap N               maps the first page, shared and writable
//   poke                    stores into that page what is there, and msync
//   fork                    a child that has all descriptors; its number for "in"
//   thread                  the same: a thread with a descriptor table of its own
//   in WHO COMMAND          what the child or thread answers
#include "holder.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { MOST_WORKERS = 8 };

static int workers[MOST_WORKERS], worker_count;

static int open_mode(const char *access, const char *direct) {
  return access_mode(access) | (*direct ? O_DIRECT : 0) | O_CLOEXEC;
}

static void dup_fd(words w) { say(fcntl(number(w[1]), F_DUPFD_CLOEXEC, 0)); }
static void close_fd(words w) { say(close(number(w[1]))); }
static void open_path(words w) { say(open(w[1], open_mode(w[2], w[3]))); }

static void reopen(words w) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", (int)number(w[1]));
  say(open(link, open_mode(w[2], w[3])));
}

static int flight[2] = {-1, -1};

static void send_to_self(words w) {
  int fd = number(w[1]);
  if (flight[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, flight) < 0) say(-1);
  else if (send_descriptor(flight[0], fd) < 0) say(-1);
  else say(close(fd));
}

static void land(words w) { say_received(flight[1]); }

// io_uring_setup(2), io_uring_register(2) with IORING_REGISTER_FILES
static void ring(words w) {
  char parameters[120] = {0};
  int fd = number(w[1]), ring = syscall(SYS_io_uring_setup, 2, parameters);
  say(ring < 0 ? ring : syscall(SYS_io_uring_register, ring, 2, &fd, 1));
}

static volatile char *kept = MAP_FAILED;

static void keep_map(words w) {
  kept = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, number(w[1]), 0);
  say(kept == MAP_FAILED ? -1 : 0);
}

static void poke(words w) {
  if (kept == MAP_FAILED) { say_error("EFAULT"); return; }
  char byte = kept[0];
  kept[0] = byte;
  say(msync((void *)kept, PAGE, MS_SYNC));
}

static void say_worker(int socket) {
  workers[worker_count] = socket;
  say_ok(worker_count++);
}

static void fork_worker(words w) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) { say(-1); return; }
  pid_t child = fork();
  if (child == 0) {
    // It ends when its parent does: at the end of this socket.
    close(pair[0]);
    _exit(serve(pair[1]));
  }
  close(pair[1]);
  if (child < 0) say(-1);
  else say_worker(pair[0]);
}

static void *serve_apart(void *socket) {
  unshare(CLONE_FILES);
  serve(*(int *)socket);
  return NULL;
}

static void start_thread(words w) {
  static int pair[2];
  pthread_t thread;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) { say(-1); return; }
  errno = pthread_create(&thread, NULL, serve_apart, &pair[1]);
  if (errno) { say(-1); return; }
  workers[worker_count++] = pair[0];
  // Its answer says that its table is its own by now.
  char reply[LONGEST];
  send(pair[0], "whoami", 6, 0);
  if (recv(pair[0], reply, sizeof reply, 0) <= 0) say_error("ECHILD");
  else say_ok(worker_count - 1);
}

static void in_worker(words w) {
  static char reply[LONGEST];
  int socket = workers[number(w[1])];
  ssize_t length = send(socket, w[2], strlen(w[2]), MSG_NOSIGNAL);
  if (length >= 0) length = recv(socket, reply, sizeof reply - 1, 0);
  if (length <= 0) { say_error("ECHILD"); return; }
  reply[length] = 0;
  say_text("%s", reply);
}

const struct verb KEEPING[] = {
    {"dup", dup_fd},       {"close", close_fd},   {"open", open_path},  {"reopen", reopen},
    {"flight", send_to_self}, {"land", land},     {"ring", ring},       {"keepmap", keep_map},
    {"poke", poke},        {"fork", fork_worker}, {"thread", start_thread}, {"in", in_worker},
    {0}};
