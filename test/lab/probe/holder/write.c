// Ways to change what a file holds. But for those with bytes of their own they put back what is
// there, so that where they are allowed nothing is lost. N is the descriptor.
//
//   read N OFFSET LENGTH    the bytes, in hexadecimal
//   write N OFFSET LENGTH   so many times 'W'
//   hexwrite N OFFSET HEX   these bytes, past the page cache
//   zwrite N                a write of no bytes: asks for the permission, changes nothing
//   rewrite N               pwrite of the first page, and fsync
//   append N                a write of no bytes with O_APPEND set for it
//   pwritev2 N              the same page with RWF_DSYNC
//   dwrite N OFFSET         the 4096 bytes that are there, past the page cache
//   aio N                   the first page by io_submit
//   ftruncate N [SIZE], truncate PATH   to the size it has
//   fallocate N MODE OFFSET LENGTH
//   copyrange N, sendfile N  the third page over the fourth
//   splice N                the first page through a pipe
//   mmap N ro|rw shared|private  maps, touches and unmaps the first page
//   moveext N M             EXT4_IOC_MOVE_EXT: the first block of N changes places with M's
//   ioctl N NUMBER [VALUE]  without a value with a page of zeroes
//   fsync N
#include "holder.h"

#include <linux/aio_abi.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { FROM = 2 * PAGE, TO = 3 * PAGE };

// For O_DIRECT.
static _Thread_local char page[PAGE] __attribute__((aligned(PAGE)));

static ssize_t read_page(int fd) { return pread(fd, page, PAGE, 0); }

static void read_hex(words w) {
  char text[2 * PAGE + 1] = "";
  size_t length = number(w[3]);
  if (length > PAGE) { say_error("EINVAL"); return; }
  ssize_t got = pread(number(w[1]), page, length, number(w[2]));
  if (got < 0) { say(-1); return; }
  for (ssize_t i = 0; i < got; i++) sprintf(text + 2 * i, "%02x", (unsigned char)page[i]);
  say_text("ok %s\n", text);
}

static void write_bytes(words w) {
  size_t length = number(w[3]);
  if (length > PAGE) { say_error("EINVAL"); return; }
  memset(page, 'W', sizeof page);
  say(pwrite(number(w[1]), page, length, number(w[2])));
}

// Runs with flags set on the open file, which the passer shares: they are taken back.
static long long with_flags(int fd, int flags, long long (*action)(int fd, long long argument),
                            long long argument) {
  int before = fcntl(fd, F_GETFL);
  if (before < 0 || fcntl(fd, F_SETFL, before | flags) < 0) return -1;
  long long result = action(fd, argument);
  int error = errno;
  fcntl(fd, F_SETFL, before);
  errno = error;
  return result;
}

// O_DIRECT, or on NFS the write would succeed into the page cache and fail only at fsync.
static long long write_back(int fd, long long offset) {
  ssize_t got = pread(fd, page, PAGE, offset);
  return got < 0 ? got : pwrite(fd, page, PAGE, offset);
}

static void write_direct(words w) {
  say(with_flags(number(w[1]), O_DIRECT, write_back, number(w[2])));
}

static void write_hex(words w) {
  int fd = number(w[1]);
  long long offset = number(w[2]), inside = offset % PAGE, length = strlen(w[3]) / 2;
  if (inside + length > PAGE) { say_error("EINVAL"); return; }
  if (pread(fd, page, PAGE, offset - inside) < 0) { say(-1); return; }
  for (int i = 0; i < length; i++) sscanf(w[3] + 2 * i, "%2hhx", (unsigned char *)page + inside + i);
  ssize_t wrote = pwrite(fd, page, PAGE, offset - inside);
  say(wrote < 0 || fsync(fd) < 0 ? -1 : length);
}

static void write_nothing(words w) { say(pwrite(number(w[1]), "", 0, 0)); }
static long long write_zero(int fd, long long unused) { return write(fd, "", 0); }
static void append(words w) { say(with_flags(number(w[1]), O_APPEND, write_zero, 0)); }

static void rewrite(words w) {
  int fd = number(w[1]);
  if (read_page(fd) < 0 || pwrite(fd, page, PAGE, 0) < 0) say(-1);
  else say(fsync(fd));
}

static void write_vector(words w) {
  int fd = number(w[1]);
  struct iovec part = {page, PAGE};
  say(read_page(fd) < 0 ? -1 : pwritev2(fd, &part, 1, 0, RWF_DSYNC));
}

static void write_aio(words w) {
  int fd = number(w[1]);
  aio_context_t context = 0;
  struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd,
                       .aio_buf = (unsigned long)page, .aio_nbytes = PAGE}, *blocks = &block;
  struct io_event done;
  if (read_page(fd) < 0 || syscall(SYS_io_setup, 1, &context) < 0) { say(-1); return; }
  long long result = syscall(SYS_io_submit, context, 1, &blocks);
  if (result == 1) {
    syscall(SYS_io_getevents, context, 1, 1, &done, NULL);
    result = done.res;
    if (result < 0) { errno = -result; result = -1; }
  }
  int error = errno;
  syscall(SYS_io_destroy, context);
  errno = error;
  say(result);
}

static void truncate_fd(words w) {
  struct stat is;
  int fd = number(w[1]);
  say(fstat(fd, &is) < 0 ? -1 : ftruncate(fd, *w[2] ? number(w[2]) : is.st_size));
}

static void truncate_path(words w) {
  struct stat is;
  say(stat(w[1], &is) < 0 ? -1 : truncate(w[1], is.st_size));
}

static void allocate(words w) {
  say(fallocate(number(w[1]), number(w[2]), number(w[3]), number(w[4])));
}

static void copy_range(words w) {
  off64_t from = FROM, to = TO;
  say(copy_file_range(number(w[1]), &from, number(w[1]), &to, PAGE, 0));
}

static void send_file(words w) {
  int fd = number(w[1]);
  off_t from = FROM;
  lseek(fd, TO, SEEK_SET);
  say(sendfile(fd, fd, &from, PAGE));
}

static void splice_in(words w) {
  int fd = number(w[1]), ends[2];
  off64_t to = 0;
  if (read_page(fd) < 0 || pipe2(ends, O_CLOEXEC) < 0) { say(-1); return; }
  long long result = write(ends[1], page, PAGE);
  if (result == PAGE) result = splice(ends[0], NULL, fd, &to, PAGE, 0);
  int error = errno;
  close(ends[0]);
  close(ends[1]);
  errno = error;
  say(result);
}

static void map(words w) {
  int writable = !strcmp(w[2], "rw"), kind = !strcmp(w[3], "private") ? MAP_PRIVATE : MAP_SHARED;
  volatile char *mapped = mmap(NULL, PAGE, writable ? PROT_READ | PROT_WRITE : PROT_READ, kind,
                               number(w[1]), 0);
  if (mapped == MAP_FAILED) { say(-1); return; }
  char byte = mapped[0];
  if (writable) mapped[0] = byte;
  munmap((void *)mapped, PAGE);
  say_ok(0);
}

// struct move_extent of the kernel's fs/ext4/ext4.h
static void move_extent(words w) {
  struct { unsigned reserved, donor; unsigned long long from, to, length, moved; } arguments = {
      .donor = number(w[2]), .length = 1};
  say(ioctl(number(w[1]), _IOWR('f', 15, arguments), &arguments));
}

static void any_ioctl(words w) {
  memset(page, 0, sizeof page);
  unsigned long argument = *w[3] ? (unsigned long)number(w[3]) : (unsigned long)page;
  say(ioctl(number(w[1]), (unsigned long)number(w[2]), argument));
}

static void sync_fd(words w) { say(fsync(number(w[1]))); }

const struct verb WRITING[] = {
    {"read", read_hex},          {"write", write_bytes},   {"hexwrite", write_hex},
    {"zwrite", write_nothing},   {"rewrite", rewrite},     {"append", append},
    {"pwritev2", write_vector},  {"dwrite", write_direct}, {"aio", write_aio},
    {"ftruncate", truncate_fd},  {"truncate", truncate_path}, {"fallocate", allocate},
    {"copyrange", copy_range},   {"sendfile", send_file},  {"splice", splice_in},
    {"mmap", map},               {"moveext", move_extent}, {"ioctl", any_ioctl},
    {"fsync", sync_fd},          {0}};
