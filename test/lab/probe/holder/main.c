// A hostile holder: stands where a guest's QEMU stands, and tries with a descriptor what a guest
// that has taken QEMU over could try. It is labelled qemu_exec_t, so it runs in a guest's domain.
//
// Descriptor 3 is a connected Unix socket (SOCK_SEQPACKET, or SOCK_STREAM with one message in
// flight). Each message is one command, each answer one line: "ok VALUE" or "err ENAME". A command
// after "@NAME " is carried out under that name (comm), so that its denials can be told from others.
//
//   whoami                  context, pid and uid
//   recv                    takes one descriptor out of this message: its number and F_GETFL flags;
//                           "err MSG_CTRUNC" when the kernel dropped it, "err ENODATA" without one
//   exit
//
// The others stand at the head of keep.c, write.c, change.c and reach.c.
#include "holder.h"

#include <stdarg.h>
#include <sys/prctl.h>

enum { CONTROL = 3 };

static _Thread_local char answer[LONGEST];

void say_text(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(answer, sizeof answer, format, arguments);
  va_end(arguments);
}

void say_ok(long long value) { say_text("ok %lld\n", value); }
void say_error(const char *name) { say_text("err %s\n", name); }

void say(long long result) {
  if (result < 0) say_error(strerrorname_np(errno));
  else say_ok(result);
}

long long number(const char *word) { return strtoll(word, NULL, 0); }
int access_mode(const char *word) { return strcmp(word, "rw") == 0 ? O_RDWR : O_RDONLY; }

static void whoami(void) {
  char context[256] = "?";
  int fd = open("/proc/thread-self/attr/current", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, context, sizeof context - 1);
  if (fd >= 0) close(fd);
  if (length < 0) { say(-1); return; }
  context[length] = 0;
  context[strcspn(context, "\n")] = 0;
  say_text("ok %s %d %d\n", context, getpid(), getuid());
}

// The descriptor came with the command's own message.
static void receive(int fd, int flags) {
  if (flags & MSG_CTRUNC) { say_error("MSG_CTRUNC"); return; }
  if (fd < 0) { say_error("ENODATA"); return; }
  say_text("ok %d 0%o\n", fd, fcntl(fd, F_GETFL));
}

static int passed_in(struct msghdr *message) {
  int fd = -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

// One part of a message, and room for one descriptor.
#define MESSAGE(bytes, length)                                                            \
  union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int))]; } control = {0};      \
  struct iovec part = {bytes, length};                                                    \
  struct msghdr message = {                                                               \
      .msg_iov = &part, .msg_iovlen = 1,                                                  \
      .msg_control = control.room, .msg_controllen = sizeof control.room}

long long send_descriptor(int socket, int fd) {
  MESSAGE("d", 1);
  if (fd < 0) message.msg_controllen = 0;
  else {
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

void say_received(int socket) {
  char byte;
  MESSAGE(&byte, 1);
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) say(-1);
  else receive(passed_in(&message), message.msg_flags);
}

static void obey(words w) {
  const struct verb *const ALL[] = {KEEPING, WRITING, CHANGING, REACHING};
  for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
    for (const struct verb *verb = ALL[i]; verb->name; verb++)
      if (!strcmp(verb->name, w[0])) { verb->obey(w); return; }
  say_error("ENOSYS");
}

int serve(int socket) {
  static _Thread_local char command[LONGEST];
  for (;;) {
    MESSAGE(command, sizeof command - 1);
    ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (length <= 0) return length < 0;
    command[length] = 0;
    command[strcspn(command, "\n")] = 0;

    char *w[MOST_WORDS], *rest = command;
    for (int i = 0; i < MOST_WORDS; i++) w[i] = "";
    for (int i = 0; i < MOST_WORDS && rest; i++) {
      w[i] = strsep(&rest, " ");
      if (i == 0 && w[0][0] == '@') {
        prctl(PR_SET_NAME, w[0] + 1);
        w[0] = rest ? strsep(&rest, " ") : "";
      }
      // To another holder goes the rest as it is.
      if (i == 1 && !strcmp(w[0], "in")) { w[2] = rest ? rest : ""; break; }
    }
    if (!strcmp(w[0], "exit")) return 0;
    if (!strcmp(w[0], "whoami")) whoami();
    else if (!strcmp(w[0], "recv")) receive(passed_in(&message), message.msg_flags);
    else obey(w);
    if (send(socket, answer, strlen(answer), MSG_NOSIGNAL) < 0) return 1;
  }
}

int main(void) {
  // Whoever made the socket may have made it non-blocking; the holder waits for its commands.
  fcntl(CONTROL, F_SETFL, fcntl(CONTROL, F_GETFL) & ~O_NONBLOCK);
  return serve(CONTROL);
}
