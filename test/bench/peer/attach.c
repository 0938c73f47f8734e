/*
 * attach FOLDER LOG: the system calls of ours/attach.ts, in its order (strace shows both). A line is
 * `PID MONITOR IMAGE`.
 */
#include "qmp.h"
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static int folder, log_fd;
static const char *folder_path, *log_path;
static off_t log_end;
static char text[1 << 16];

static void look(int fd, int times) {
  struct statx st;
  while (times--)
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st)) die("statx");
}

static int open_image(const char *path, int flags) {
  const char *name = strrchr(path, '/') + 1;
  struct open_how how = { .flags = flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
  int fd = syscall(SYS_openat2, folder, name, &how, sizeof how);
  if (fd < 0) die(path);
  return fd;
}

static void read_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  while (read(fd, text, sizeof text) > 0) continue;
  close(fd);
}

static void look_up_user(const char *name, gid_t groups[64], int *count) {
  struct passwd *pw = getpwnam(name);
  *count = 64;
  if (!pw || getgrouplist(name, pw->pw_gid, groups, count) < 0) die(name);
}

static void look_at_owner(int fd) {
  look(fd, 1);
  fgetxattr(fd, "system.nfs4_acl", text, sizeof text);
  fgetxattr(fd, "system.posix_acl_access", text, sizeof text);
}

static void inspect(const char *path) {
  int fd = open_image(path, O_RDONLY);
  look(fd, 2);
  read_file("/proc/self/mountinfo");
  look(fd, 2);
  fgetxattr(fd, "security.selinux", text, 255);
  look_at_owner(fd);
  int again = open_image(path, O_RDONLY);
  look(again, 3);
  close(again);
  close(fd);
}

/* The categories that are taken: of every process, and of every file beneath the folder. */
static void look_for_levels(void) {
  char path[512];
  struct dirent *e;
  DIR *d = opendir("/proc");
  while ((e = readdir(d))) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    snprintf(path, sizeof path, "/proc/%s/attr/current", e->d_name);
    read_file(path);
  }
  closedir(d);
  d = opendir(folder_path);
  while ((e = readdir(d))) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder_path, e->d_name);
    lgetxattr(path, "security.selinux", text, 255);
  }
  closedir(d);
}

static void lock_log(int type) {
  struct flock l = { .l_type = type };
  if (fcntl(log_fd, F_OFD_SETLK, &l)) die("lock");
}

static void record(const char *image, size_t size) {
  struct statx st;
  lock_log(F_WRLCK);
  if (statx(AT_FDCWD, log_path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID, &st))
    die(log_path);
  look(log_fd, 2);
  if (image) {
    int fd = open_image(image, O_RDONLY);
    look(fd, 2);
    look_at_owner(fd);
    fgetxattr(fd, "security.selinux", text, 255);
    close(fd);
  }
  memset(text, 'x', size);
  text[size - 1] = '\n';
  if (pwrite(log_fd, text, size, log_end) != (ssize_t)size || fdatasync(log_fd)) die("log");
  log_end += size;
  lock_log(F_UNLCK);
}

static void lock_image(int fd) {
  static const int bytes[] = { 100, 101, 201, 203 };
  for (int i = 0; i < 4; i++) {
    int other = bytes[i] < 200 ? bytes[i] + 100 : bytes[i] - 100;
    struct flock set = { .l_type = F_RDLCK, .l_start = bytes[i], .l_len = 1 };
    struct flock get = { .l_type = F_WRLCK, .l_start = other, .l_len = 1 };
    if (fcntl(fd, F_OFD_SETLK, &set) || fcntl(fd, F_OFD_GETLK, &get) || get.l_type != F_UNLCK)
      die("lock image");
  }
}

/* Is the descriptor that QEMU answered with the image? */
static void check(const char *pid) {
  char path[512], link[4096];
  struct statx st;
  const char *number = strstr(answer, "\"fd\": ");
  int n = number ? atoi(number + 6) : -1;
  snprintf(path, sizeof path, "/proc/%s/fd/%d", pid, n);
  if (readlink(path, link, sizeof link) < 0) die(path);
  if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_MNT_ID, &st)) die(path);
  snprintf(path, sizeof path, "/proc/%s/fdinfo/%d", pid, n);
  read_file(path);
}

static void pass(int s, int fd, const char *mode, const char *image, const char *pid, int id) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  snprintf(text, sizeof text,
           "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1,"
           "\"opaque\":\"svirt-agent %s root %s\"},\"id\":%d}\n", mode, image, id);
  execute(s, text, copy);
  close(copy);
  check(pid);
}

static void attach(const char *pid, int s, const char *image) {
  gid_t groups[64], before[64];
  int count, n;
  look_up_user("nobody", groups, &count);
  inspect(image);
  look_for_levels();
  record(image, 1519);

  n = syscall(SYS_getgroups, 64, before);
  if (syscall(SYS_setgroups, (size_t)count, groups)) die("setgroups");
  setfsgid(groups[0]);
  setfsuid(65534);
  setfsuid(-1);
  int ro = open_image(image, O_RDONLY);
  look(ro, 2);
  int rw = open_image(image, O_RDWR);
  look(rw, 2);
  setfsuid(0);
  setfsgid(0);
  if (syscall(SYS_setgroups, (size_t)n, before)) die("setgroups");
  setfsuid(-1);
  lock_image(rw);
  fgetxattr(ro, "security.selinux", text, 255);

  pass(s, ro, "ro", image, pid, 2);
  pass(s, rw, "rw", image, pid, 3);
  int kept_ro = fcntl(ro, F_DUPFD_CLOEXEC, 0), kept_rw = fcntl(rw, F_DUPFD_CLOEXEC, 0);

  execute(s, "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"file\",\"node-name\":"
          "\"root.file\",\"filename\":\"/dev/fdset/1\",\"read-only\":false,\"locking\":\"off\","
          "\"cache\":{\"direct\":false,\"no-flush\":false}},\"id\":4}\n", -1);
  execute(s, "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":"
          "\"root\",\"file\":\"root.file\",\"read-only\":false,"
          "\"cache\":{\"direct\":false,\"no-flush\":false}},\"id\":5}\n", -1);
  execute(s, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"virtio-blk-pci\",\"id\":"
          "\"root-device\",\"drive\":\"root\",\"write-cache\":\"on\"},\"id\":6}\n", -1);
  record(NULL, 292);
  close(ro);
  close(rw);
  close(kept_ro);
  close(kept_rw);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  folder_path = argv[1];
  log_path = argv[2];
  folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  log_fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (folder < 0 || log_fd < 0) die("open");
  char line[4096], pid[32], monitor[512], image[2048];
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%31s %511s %2047s", pid, monitor, image) != 3) return 2;
    int s = qmp_connect(monitor);
    double start = now_us();
    attach(pid, s, image);
    printf("%.2f\n", now_us() - start);
    fflush(stdout);
    close(s);
  }
}
