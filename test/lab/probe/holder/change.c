// Ways to change what a file is: attributes, names, locks. Each sets what is there already, but for
// labels and names.
//
//   fchmod N, fchown N, touch N (times are now), utimes N (times are given)
//   chmod PATH, stat PATH
//   setxattr N NAME VALUE
//   create PATH, link PATH NEW, unlink PATH, rename PATH NEW
//   linkfd N NEW            through /proc/self/fd/N
//   linkempty N NEW         with AT_EMPTY_PATH
//   flock N, ofd N, posix N an exclusive lock, without waiting
//   lease N                 F_SETLEASE
#include "holder.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static void change_mode(words w) {
  struct stat is;
  int fd = number(w[1]);
  say(fstat(fd, &is) < 0 ? -1 : fchmod(fd, is.st_mode & 07777));
}

static void change_owner(words w) {
  struct stat is;
  int fd = number(w[1]);
  say(fstat(fd, &is) < 0 ? -1 : fchown(fd, is.st_uid, is.st_gid));
}

static void touch(words w) { say(futimens(number(w[1]), NULL)); }

static void set_times(words w) {
  struct stat is;
  int fd = number(w[1]);
  if (fstat(fd, &is) < 0) { say(-1); return; }
  struct timespec times[2] = {is.st_atim, is.st_mtim};
  say(futimens(fd, times));
}

static void change_mode_of(words w) {
  struct stat is;
  say(stat(w[1], &is) < 0 ? -1 : chmod(w[1], is.st_mode & 07777));
}

static void stat_path(words w) {
  struct stat is;
  say(stat(w[1], &is));
}

// A label counts with its final zero byte.
static void set_attribute(words w) {
  say(fsetxattr(number(w[1]), w[2], w[3], strlen(w[3]) + 1, 0));
}

static void create(words w) { say(open(w[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)); }
static void hard_link(words w) { say(link(w[1], w[2])); }
static void remove_name(words w) { say(unlink(w[1])); }
static void change_name(words w) { say(rename(w[1], w[2])); }

static void link_fd(words w) {
  char from[64];
  snprintf(from, sizeof from, "/proc/self/fd/%d", (int)number(w[1]));
  say(linkat(AT_FDCWD, from, AT_FDCWD, w[2], AT_SYMLINK_FOLLOW));
}

static void link_empty(words w) { say(linkat(number(w[1]), "", AT_FDCWD, w[2], AT_EMPTY_PATH)); }

static void lock_flock(words w) { say(flock(number(w[1]), LOCK_EX | LOCK_NB)); }

static void lock_bytes(const char *fd, int command) {
  // Beyond the bytes that QEMU and the agent lock.
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1 << 20, .l_len = 1};
  say(fcntl(number(fd), command, &lock));
}

static void lock_ofd(words w) { lock_bytes(w[1], F_OFD_SETLK); }
static void lock_posix(words w) { lock_bytes(w[1], F_SETLK); }
static void lease(words w) { say(fcntl(number(w[1]), F_SETLEASE, F_RDLCK)); }

const struct verb CHANGING[] = {
    {"fchmod", change_mode},  {"fchown", change_owner},  {"touch", touch},
    {"utimes", set_times},    {"chmod", change_mode_of}, {"stat", stat_path},
    {"setxattr", set_attribute}, {"create", create},     {"link", hard_link},
    {"unlink", remove_name},  {"rename", change_name},   {"linkfd", link_fd},
    {"linkempty", link_empty}, {"flock", lock_flock},    {"ofd", lock_ofd},
    {"posix", lock_posix},    {"lease", lease},          {0}};
