// A hostile holder: stands where a guest's QEMU stands, and tries with a descriptor what a guest
// that has taken QEMU over could try. It is labelled qemu_exec_t, so it runs in a guest's domain.
//
// Descriptor 3 is a connected Unix socket (SOCK_SEQPACKET, or SOCK_STREAM with one message in
// flight). Each message is one command, each answer one line: "ok VALUE" or "err ENAME".
//
//   whoami                  context, pid and uid
//   recv                    takes one descriptor out of this message: its number and F_GETFL flags;
//                           "err MSG_CTRUNC" when the kernel dropped it, "err ENODATA" without one
//   dup N                   the new number
//   open PATH ro|rw         by path; the new number
//   reopen N ro|rw          through /proc/self/fd/N; the new number
//   read N OFFSET LENGTH    the bytes, in hexadecimal
//   write N OFFSET LENGTH   bytes written
//   zwrite N                a write of no bytes: asks for the permission, changes nothing
//   dwrite N OFFSET         writes back the 4096 bytes that are there, past the page cache
//   ftruncate N SIZE, fallocate N, fsync N, close N
//   mmap N r|rw             maps, touches and unmaps the first page
//   moveext N M             EXT4_IOC_MOVE_EXT: the first block of N changes places with M's
//   exit
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTROL = 3, PAGE = 4096, LONGEST = 4096 };

static char answer[2 * PAGE + 64];

static void say_ok(long long value) { snprintf(answer, sizeof answer, "ok %lld\n", value); }
static void say_error(const char *name) { snprintf(answer, sizeof answer, "err %s\n", name); }

// A system call's result: its value, or the name of errno.
static void say(long long result) {
  if (result < 0) say_error(strerrorname_np(errno));
  else say_ok(result);
}

static int access_mode(const char *word) { return strcmp(word, "rw") == 0 ? O_RDWR : O_RDONLY; }

static void whoami(void) {
  char context[256] = "?";
  int fd = open("/proc/self/attr/current", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, context, sizeof context - 1);
  if (fd >= 0) close(fd);
  if (length < 0) { say(-1); return; }
  context[length] = 0;
  context[strcspn(context, "\n")] = 0;
  snprintf(answer, sizeof answer, "ok %s %d %d\n", context, getpid(), getuid());
}

// The descriptor came with the command's own message.
static void receive(int fd, int flags) {
  if (flags & MSG_CTRUNC) { say_error("MSG_CTRUNC"); return; }
  if (fd < 0) { say_error("ENODATA"); return; }
  snprintf(answer, sizeof answer, "ok %d 0%o\n", fd, fcntl(fd, F_GETFL));
}

static void read_hex(int fd, long long offset, size_t length) {
  static unsigned char bytes[PAGE] __attribute__((aligned(PAGE)));  // for O_DIRECT
  if (length > PAGE) { say_error("EINVAL"); return; }
  ssize_t got = pread(fd, bytes, length, offset);
  if (got < 0) { say(-1); return; }
  int at = snprintf(answer, sizeof answer, "ok ");
  for (ssize_t i = 0; i < got; i++) at += sprintf(answer + at, "%02x", bytes[i]);
  strcpy(answer + at, "\n");
}

static void write_bytes(int fd, long long offset, size_t length) {
  static char bytes[PAGE] __attribute__((aligned(PAGE)));
  if (length > PAGE) { say_error("EINVAL"); return; }
  memset(bytes, 'W', sizeof bytes);
  say(pwrite(fd, bytes, length, offset));
}

// O_DIRECT, or on NFS the write would succeed into the page cache and fail only at fsync. The flag
// lands on the open file, which the passer shares, so it is taken back.
static void write_direct(int fd, long long offset) {
  static char page[PAGE] __attribute__((aligned(PAGE)));
  int before = fcntl(fd, F_GETFL);
  if (before < 0 || fcntl(fd, F_SETFL, before | O_DIRECT) < 0) { say(-1); return; }
  ssize_t result = pread(fd, page, PAGE, offset);
  if (result >= 0) result = pwrite(fd, page, PAGE, offset);
  int error = errno;
  fcntl(fd, F_SETFL, before);
  errno = error;
  say(result);
}

static void map(int fd, int writable) {
  volatile char *page =
      mmap(NULL, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) { say(-1); return; }
  char byte = page[0];
  if (writable) page[0] = byte;
  munmap((void *)page, PAGE);
  say_ok(0);
}

// struct move_extent of the kernel's fs/ext4/ext4.h
static void move_extent(int fd, int donor) {
  struct { unsigned reserved, donor; unsigned long long from, to, length, moved; } arguments = {
      .donor = donor, .length = 1};
  say(ioctl(fd, _IOWR('f', 15, arguments), &arguments));
}

// Returns 0 when the holder is to end.
static int obey(char *command, int passed, int flags) {
  char verb[16] = "", word[LONGEST] = "", mode[8] = "";
  sscanf(command, "%15s %4095s %7s", verb, word, mode);
  char *rest = command + strcspn(command, " ");
  int fd = strtol(rest, &rest, 10);
  long long first = strtoll(rest, &rest, 10), second = strtoll(rest, &rest, 10);

  if (!strcmp(verb, "exit")) return 0;
  if (!strcmp(verb, "whoami")) whoami();
  else if (!strcmp(verb, "recv")) receive(passed, flags);
  else if (!strcmp(verb, "dup")) say(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  else if (!strcmp(verb, "open")) say(open(word, access_mode(mode) | O_CLOEXEC));
  else if (!strcmp(verb, "reopen")) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    say(open(link, access_mode(mode) | O_CLOEXEC));
  } else if (!strcmp(verb, "read")) read_hex(fd, first, second);
  else if (!strcmp(verb, "write")) write_bytes(fd, first, second);
  else if (!strcmp(verb, "zwrite")) say(pwrite(fd, "", 0, 0));
  else if (!strcmp(verb, "dwrite")) write_direct(fd, first);
  else if (!strcmp(verb, "ftruncate")) say(ftruncate(fd, first));
  else if (!strcmp(verb, "fallocate")) say(fallocate(fd, 0, 0, PAGE));
  else if (!strcmp(verb, "mmap")) map(fd, !strcmp(mode, "rw"));
  else if (!strcmp(verb, "moveext")) move_extent(fd, first);
  else if (!strcmp(verb, "fsync")) say(fsync(fd));
  else if (!strcmp(verb, "close")) say(close(fd));
  else say_error("ENOSYS");
  return 1;
}

int main(void) {
  // Whoever made the socket may have made it non-blocking; the holder waits for its commands.
  fcntl(CONTROL, F_SETFL, fcntl(CONTROL, F_GETFL) & ~O_NONBLOCK);
  for (;;) {
    static char command[LONGEST];
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    struct iovec part = {command, sizeof command - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1,
        .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t length = recvmsg(CONTROL, &message, MSG_CMSG_CLOEXEC);
    if (length <= 0) return length < 0;
    command[length] = 0;
    command[strcspn(command, "\n")] = 0;

    int passed = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(sizeof(int)))
      memcpy(&passed, CMSG_DATA(header), sizeof passed);

    if (!obey(command, passed, message.msg_flags)) return 0;
    if (send(CONTROL, answer, strlen(answer), MSG_NOSIGNAL) < 0) return 1;
  }
}
