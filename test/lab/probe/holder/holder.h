// What the parts of the hostile holder share: the words of a command, and its one answer.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGE = 4096, LONGEST = 2 * PAGE + 64, MOST_WORDS = 8 };

// A command's words; those that are missing are "".
typedef char *const words[MOST_WORDS];

struct verb {
  const char *name;
  void (*obey)(words w);
};

// Each ends with a verb that has no name.
extern const struct verb KEEPING[], WRITING[], CHANGING[], REACHING[];

// The answer to the command under way, of this thread.
void say_ok(long long value);
void say_error(const char *name);
void say_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A system call's result: its value, or the name of errno.
void say(long long result);

// Any base as C writes it.
long long number(const char *word);
int access_mode(const char *word);

// Obeys the commands that come over a socket until "exit" or its end.
int serve(int socket);

// A message of one byte and at most one descriptor; -1 sends none. Answers sendmsg(2).
long long send_descriptor(int socket, int fd);
// Says the number of the descriptor that came, "err MSG_CTRUNC" when the kernel dropped it.
void say_received(int socket);
