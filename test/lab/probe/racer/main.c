// An administrator's careless program, as fast as it can be: it puts other files where a guest's images
// lie, and puts the images back, over and over, until it is told to end.
//
//   racer FOLDER OUTSIDE PAUSE_US
//
// FOLDER holds mine/ (the guest's folder, whose names it swaps), theirs/ (another guest's, with files
// of the same names) and park/ (empty, the racer's own). OUTSIDE lies outside of the allowed folders
// and holds files of the same names again; what opens, reads or changes one of them is counted.
//
// PAUSE_US is the longest rest between two swaps, in microseconds. It says "ready" when it begins. At
// SIGTERM it leaves every file where it was and says "swaps N overlays N outside N lost N".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ending;
static long swaps, overlays, outside, lost;

static void end(int signal) { (void)signal; ending = 1; }

static void must(int result, const char *what) {
  if (result >= 0) return;
  fprintf(stderr, "racer: %s: %s\n", what, strerror(errno));
  exit(1);
}

// Changes places; NFS has no RENAME_EXCHANGE, and there a name is missing in between.
static int swap(const char *a, const char *b) {
  swaps++;
  if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0) return 0;
  if (errno != EINVAL) return -1;
  if (rename(a, "park/aside") < 0 || rename(b, a) < 0) return -1;
  return rename("park/aside", b);
}

// Up to so many microseconds: mostly short, sometimes nothing, so that all lengths of windows are met.
static void wait_up_to(long longest) {
  long us = longest >> (random() % 8);
  us = us > 0 ? random() % us : 0;
  struct timespec time = {us / 1000000, us % 1000000 * 1000};
  if (us > 50) nanosleep(&time, NULL);
}

static void put(const char *image, const char *other, long pause) {
  must(swap(image, other), image);
  wait_up_to(pause);
  must(swap(image, other), image);
}

enum { SYMLINK, HARD_LINK, THEIRS, FIFO, FOLDER, EMPTY, SECOND_NAME, PARENT_LINK, PARENT, GONE, KINDS };

static void race(int kind, const char *name, const char *elsewhere, long pause) {
  char mine[PATH_MAX], theirs[PATH_MAX], target[PATH_MAX];
  snprintf(mine, sizeof mine, "mine/%s", name);
  snprintf(theirs, sizeof theirs, "theirs/%s", name);
  snprintf(target, sizeof target, "%s/%s", elsewhere, name);
  switch (kind) {
    case SYMLINK:
      must(symlink(target, "park/x"), "symlink");
      break;
    case HARD_LINK:
      must(link(theirs, "park/x"), "link");
      break;
    case FIFO:
      must(mkfifo("park/x", 0600), "mkfifo");
      break;
    case FOLDER:
      must(mkdir("park/x", 0700), "mkdir");
      break;
    case EMPTY:
      must(mknod("park/x", S_IFREG | 0600, 0), "mknod");
      break;
    case PARENT_LINK:
      must(symlink(elsewhere, "park/x"), "symlink");
      put("mine", "park/x", pause);
      must(unlink("park/x"), "unlink");
      return;
    case THEIRS:
      put(mine, theirs, pause);
      return;
    case PARENT:
      put("mine", "theirs", pause);
      return;
    case SECOND_NAME:
      must(link(mine, "park/x"), "link");
      wait_up_to(pause);
      must(unlink("park/x"), "unlink");
      return;
    case GONE:
      must(rename(mine, "park/x"), "rename");
      wait_up_to(pause);
      must(rename("park/x", mine), "rename");
      return;
  }
  put(mine, "park/x", pause);
  must(remove("park/x"), "remove");
}

// A name that is new in mine/: the overlay of a snapshot. The other guest's image takes its place.
static void race_overlays(int watch, long pause) {
  union { struct inotify_event event; char bytes[4096]; } buffer;
  ssize_t length = read(watch, buffer.bytes, sizeof buffer);
  for (char *at = buffer.bytes; length > 0 && at < buffer.bytes + length;) {
    struct inotify_event *event = (struct inotify_event *)at;
    at += sizeof *event + event->len;
    if (event->len == 0 || strncmp(event->name, ".nfs", 4) == 0) continue;
    char overlay[PATH_MAX];
    snprintf(overlay, sizeof overlay, "mine/%s", event->name);
    if (swap(overlay, "theirs/root.qcow2") < 0) continue;
    overlays++;
    wait_up_to(pause);
    // Whoever removed the name removed the other guest's image, unless it comes back after a look.
    int back = -1;
    for (int i = 0; i < 200 && back < 0; i++) {
      if ((back = swap(overlay, "theirs/root.qcow2")) < 0) usleep(10000);
    }
    if (back < 0) lost++;
  }
}

static void count_outside(int watch) {
  union { struct inotify_event event; char bytes[4096]; } buffer;
  ssize_t length = read(watch, buffer.bytes, sizeof buffer);
  for (char *at = buffer.bytes; length > 0 && at < buffer.bytes + length;) {
    struct inotify_event *event = (struct inotify_event *)at;
    at += sizeof *event + event->len;
    outside++;
  }
}

int main(int argc, char **argv) {
  static const char *names[] = {"root.qcow2", "base.raw"};
  if (argc != 4) return 2;
  const char *elsewhere = argv[2];
  long pause = atol(argv[3]);
  must(chdir(argv[1]), argv[1]);
  int new_names = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  must(inotify_add_watch(new_names, "mine", IN_CREATE), "inotify mine");
  int canaries = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  for (int i = 0; i < 2; i++) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", elsewhere, names[i]);
    must(inotify_add_watch(canaries, path, IN_ALL_EVENTS), path);
  }
  signal(SIGTERM, end);
  srandom(getpid());
  puts("ready");
  fflush(stdout);
  while (!ending) {
    struct pollfd ready = {new_names, POLLIN, 0};
    race(random() % KINDS, names[random() % 2], elsewhere, pause / 8);
    long us = pause >> (random() % 8);
    struct timespec rest = {us / 1000000, us % 1000000 * 1000};
    if (ppoll(&ready, 1, &rest, NULL) > 0) race_overlays(new_names, pause);
  }
  count_outside(canaries);
  printf("swaps %ld overlays %ld outside %ld lost %ld\n", swaps, overlays, outside, lost);
  return 0;
}
